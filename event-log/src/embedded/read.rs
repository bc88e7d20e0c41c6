//! Reading: from the tail in memory, else from the disk, with every checksum verified.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pelton_event::Record;

use super::disk::DiskFile;
use super::format::RecordPlace;
use super::index::Home;
use super::partition::{Partition, View, lock};
use super::segment::{Segment, visit_records};
use super::shared::Shared;
use super::stats::Counters;
use crate::limits::READ_BYTES_MAX;
use crate::{Chunk, Content, Entry, Offset, ReadLimit};

/// What a read has to do.
#[derive(Debug)]
pub(super) enum Plan {
    /// The topic is gone.
    Gone,
    /// Nothing at or after `next` yet.
    AtEnd { next: Offset },
    /// It is in memory.
    Tail { first: Offset, payloads: Vec<Bytes> },
    /// It is lost: nothing on the disk holds the offsets from `from` to `to` (exclusive).
    Lost { from: Offset, to: Offset },
    /// It is in a segment.
    Disk { segment: Arc<Segment>, from: Offset, to: Offset },
}

/// Decides how to read a partition from `from` on.
pub(super) fn plan(shared: &Shared, partition: &Partition, from: Offset, limit: ReadLimit) -> Plan {
    let mut view = partition.view();
    if view.deleted {
        return Plan::Gone;
    }
    let from = from.max(view.start);
    if from >= view.end {
        view.waiting |= limit.wait;
        return Plan::AtEnd { next: from };
    }
    let tail_start = view.tail_start();
    if from >= tail_start {
        return Plan::Tail { first: from, payloads: from_tail(&view, from, limit) };
    }
    match view.runs.at_or_after(from).copied() {
        Some(piece) if piece.first <= from => match lock(&shared.segments).get(&piece.segment) {
            Some(segment) => {
                Plan::Disk { segment: Arc::clone(segment), from, to: piece.last.min(tail_start - 1) }
            }
            None => Plan::Lost { from, to: (piece.last + 1).min(tail_start) },
        },
        Some(piece) => Plan::Lost { from, to: piece.first.min(tail_start) },
        None => Plan::Lost { from, to: tail_start },
    }
}

fn from_tail(view: &View, from: Offset, limit: ReadLimit) -> Vec<Bytes> {
    let skipped = usize::try_from(from - view.tail_start()).unwrap_or(usize::MAX);
    let mut bytes = 0;
    let within = |payload: &&Bytes| {
        let first = bytes == 0;
        bytes += payload.len();
        first || bytes <= limit.bytes
    };
    view.tail.iter().skip(skipped).take(limit.entries.max(1)).take_while(within).cloned().collect()
}

/// Makes entries of payloads in memory.
pub(super) fn decode_tail(first: Offset, payloads: Vec<Bytes>) -> Chunk {
    let next = first + payloads.len() as u64;
    let entries = (first..).zip(payloads).map(|(offset, payload)| entry(offset, payload)).collect();
    Chunk::new(entries, next)
}

fn entry(offset: Offset, payload: Bytes) -> Entry {
    let content = match Record::decode(payload.clone()) {
        Ok(record) => Content::Record(record),
        Err(error) => Content::Undecodable { reason: error.to_string().into(), bytes: payload },
    };
    Entry { offset, content }
}

const DAMAGED: &str = "the record is damaged on the disk";

/// Entries for lost offsets, so that each is accounted for.
pub(super) fn lost(from: Offset, to: Offset, limit: ReadLimit) -> Chunk {
    let mut chunk = Chunk::new(Vec::new(), from);
    fill_lost(&mut chunk, to, limit.entries.max(1));
    chunk
}

fn fill_lost(chunk: &mut Chunk, to: Offset, max_entries: usize) {
    while chunk.next < to && chunk.entries.len() < max_entries {
        let content = Content::Undecodable { reason: DAMAGED.into(), bytes: Bytes::new() };
        chunk.entries.push(Entry { offset: chunk.next, content });
        chunk.next += 1;
    }
}

/// Reads entries out of a segment. Blocks.
pub(super) fn from_disk(
    shared: &Shared,
    segment: &Arc<Segment>,
    home: Home,
    range: (Offset, Offset),
    limit: ReadLimit,
) -> io::Result<Chunk> {
    Counters::add(&shared.counters.disk_reads, 1);
    let (from, to) = range;
    let max_entries = limit.entries.max(1);
    let max_bytes = limit.bytes.min(READ_BYTES_MAX);
    let mut chunk = Chunk::new(Vec::new(), from);
    let mut bytes = 0;
    let wanted = Stretch { home, from, to, bytes: max_bytes };
    let reached = stretch(shared, segment, wanted, |place, payload| {
        let first = chunk.entries.is_empty();
        if !first && bytes + payload.len() > max_bytes {
            return false;
        }
        // What is missing before it is lost.
        fill_lost(&mut chunk, place.offset, max_entries);
        if chunk.next < place.offset || chunk.entries.len() >= max_entries {
            return false;
        }
        bytes += payload.len();
        // A copy, so that one record under way does not hold a whole stretch in memory.
        chunk.entries.push(entry(place.offset, Bytes::copy_from_slice(payload)));
        chunk.next = place.offset + 1;
        true
    })?;
    fill_lost(&mut chunk, reached, max_entries);
    Ok(chunk)
}

/// The part of a segment that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) home: Home,
    pub(super) from: Offset,
    /// The last offset, inclusive.
    pub(super) to: Offset,
    /// Bytes to read at once, about.
    pub(super) bytes: usize,
}

/// Visits the records of a stretch until `visit` answers false. Answers the offset up to which (exclusive) all there is has
/// been visited.
pub(super) fn stretch(
    shared: &Shared,
    segment: &Arc<Segment>,
    wanted: Stretch,
    mut visit: impl FnMut(&RecordPlace, &[u8]) -> bool,
) -> io::Result<Offset> {
    let Stretch { home, from, to, bytes } = wanted;
    let (extents, reach) = segment.extents(&shared.indexes, home, from, bytes)?;
    let reach = reach.min(to + 1);
    let Some(first) = extents.first() else {
        shared.damaged(segment, 0, "its index has lost records");
        return Ok(reach);
    };
    let mut expected = from;
    let mut stopped = None;
    for (at, length) in together(&extents) {
        let mut buffer = vec![0; length];
        let read = segment.file.read_at(&mut buffer, at)?;
        shared.unreadable(segment);
        let damage =
            visit_records(&buffer[..read], at, segment.seed, segment.number, home, |place, payload| {
                // Other runs of the partition may lie between: what was appended between what was carried forward.
                if place.offset < expected || place.offset >= reach {
                    return true;
                }
                if !visit(&place, payload) {
                    stopped = Some(expected);
                    return false;
                }
                if place.offset > expected {
                    shared.damaged(segment, at, "records are missing");
                }
                expected = place.offset + 1;
                expected < reach
            });
        for at in damage {
            shared.damaged(segment, at, "a checksum is wrong");
        }
        if let Some(stopped) = stopped {
            return Ok(stopped);
        }
    }
    if expected < reach {
        shared.damaged(segment, u64::from(first.at), "records are missing");
    }
    Ok(reach)
}

/// Joins extents that follow each other closely, so that few reads bring many.
fn together(extents: &[super::index::Extent]) -> Vec<(u64, usize)> {
    const GAP: u64 = 16 * 1024;
    let mut joined: Vec<(u64, usize)> = Vec::new();
    for extent in extents {
        let (at, length) = (u64::from(extent.at), extent.length as usize);
        match joined.last_mut() {
            Some((start, joined)) if at <= *start + *joined as u64 + GAP && at >= *start => {
                *joined = usize::try_from(at - *start).unwrap_or(usize::MAX) + length;
            }
            _ => joined.push((at, length)),
        }
    }
    joined
}
