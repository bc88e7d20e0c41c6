//! Retiring a segment: what is still kept in it is written once more, further ahead, with its offsets unchanged; then the
//! file goes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use pelton_event::Timestamp;

use super::core::{Core, Failure, Fatal, Room};
use super::format::{BatchBuffer, RECORD_OVERHEAD, RecordPlace};
use super::partition::{Partition, lock};
use super::read::{self, Stretch};
use super::runs::Piece;
use super::segment::{self, Segment};
use super::stats::Counters;

/// The folder of what was damaged.
pub(super) const QUARANTINE: &str = "quarantine";

/// A retirement under way. Between its steps the log serves.
#[derive(Debug)]
pub(super) struct Carry {
    from: Arc<Segment>,
    size: u64,
    /// What is still to be written again.
    todo: VecDeque<(Arc<Partition>, Piece)>,
    /// What was: shown to readers when all is.
    moved: Vec<(Arc<Partition>, Piece)>,
}

/// What one step carries.
#[derive(Debug, Default)]
struct Load {
    batch: BatchBuffer,
    /// Each record of the batch: whose it is, its position there, and its size.
    placed: Vec<(Arc<Partition>, RecordPlace, u32, u32)>,
}

impl Carry {
    /// Starts to retire a segment.
    pub(super) fn start(core: &mut Core, number: u64) -> Option<Self> {
        let sealed = core.sealed.get(&number)?;
        let mut todo = VecDeque::new();
        for partition in core.topics.values().flat_map(|topic| &topic.partitions) {
            let view = partition.view();
            let pieces = view.runs.iter().filter(|piece| piece.segment == number);
            todo.extend(pieces.map(|piece| (Arc::clone(partition), *piece)));
        }
        Some(Self { from: Arc::clone(&sealed.segment), size: sealed.size, todo, moved: Vec::new() })
    }
}

impl Core {
    /// One step of the retirement under way: carries some, or finishes. Answers whether more is to do.
    pub(super) fn carry_on(&mut self, now: Timestamp) -> Result<bool, Failure> {
        let Some(mut carry) = self.carry.take() else { return Ok(false) };
        if carry.todo.is_empty() {
            self.retire(carry).map_err(Failure::Fatal)?;
            return Ok(true);
        }
        let mut load = Load::default();
        load.batch.clear();
        if let Err(error) = self.collect(&mut carry, &mut load) {
            self.keep_unreadable(&carry.from, &error);
            return Ok(true);
        }
        // On a full disk it is given up, so that segments that need no carrying can go first. What was written is a second
        // copy that nobody looks at.
        self.put(&mut carry, load, now)?;
        self.carry = Some(carry);
        Ok(true)
    }

    /// Reads what the next step carries.
    fn collect(&self, carry: &mut Carry, load: &mut Load) -> io::Result<()> {
        while load.batch.disk_bytes() < self.settings.carry_bytes as u64 {
            let Some((partition, piece)) = carry.todo.pop_front() else { break };
            if let Some(rest) = self.collect_piece(&carry.from, &partition, &piece, load)? {
                carry.todo.push_front((partition, rest));
            }
        }
        Ok(())
    }

    fn put(&mut self, carry: &mut Carry, mut load: Load, now: Timestamp) -> Result<(), Failure> {
        if load.batch.is_empty() {
            return Ok(());
        }
        let (segment, base) = self.write(&mut load.batch, 0, Room::Normal, now)?;
        Counters::add(&self.shared.counters.carried_records, load.placed.len() as u64);
        for (partition, place, at, size) in load.placed {
            segment.with_index(|index| index.add(&place, base as u32 + at, size));
            note_moved(&mut carry.moved, partition, &place, segment.number, u64::from(size));
        }
        Ok(())
    }

    /// A segment that cannot be read is not carried forward, so that what another try may read is not given up; what was
    /// written already is a second copy that nobody looks at. It stays until nothing in it is kept any more.
    fn keep_unreadable(&self, segment: &Segment, error: &io::Error) {
        segment.file.set_unreadable();
        self.shared.unreadable(segment);
        self.shared.notice(format!(
            "segment {} stays on the disk as long as anything in it is kept: it cannot be carried forward ({error})",
            segment.number
        ));
    }

    /// Whether a segment holds records that are kept.
    pub(super) fn is_kept(&self, number: u64) -> bool {
        let mut partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        partitions.any(|partition| partition.view().runs.iter().any(|piece| piece.segment == number))
    }

    /// Puts the records of a piece into the batch until that is large enough; answers what is left of it.
    fn collect_piece(
        &self,
        from: &Arc<Segment>,
        partition: &Arc<Partition>,
        piece: &Piece,
        load: &mut Load,
    ) -> io::Result<Option<Piece>> {
        let start = partition.view().start;
        if piece.last < start {
            return Ok(None);
        }
        let first = piece.first.max(start);
        let stretch =
            Stretch { home: partition.home, from: first, to: piece.last, bytes: self.settings.carry_bytes };
        let reached = read::stretch(&self.shared, from, stretch, |place, payload| {
            let at = load.batch.record(*place, payload);
            let size = (payload.len() + RECORD_OVERHEAD) as u32;
            load.placed.push((Arc::clone(partition), *place, at, size));
            true
        })?;
        if from.file.is_unreadable() {
            return Err(io::Error::other("the disk cannot read all of it"));
        }
        Ok((reached <= piece.last).then(|| piece.part(reached, piece.last)))
    }

    /// Everything kept is elsewhere and durable: readers go there, and the file goes.
    fn retire(&mut self, carry: Carry) -> Result<(), Fatal> {
        let number = carry.from.number;
        let mut touched = BTreeMap::new();
        for (partition, piece) in carry.moved {
            let mut freed = Vec::new();
            {
                let mut view = partition.view();
                if view.deleted || piece.last < view.start {
                    continue;
                }
                freed.extend(view.runs.insert(piece));
                let start = view.start;
                self.keep(piece.segment, piece.bytes);
                freed.extend(view.runs.trim(start));
            }
            self.freed(&freed);
            touched.insert(partition.home, partition);
        }
        for partition in self.topics.values().flat_map(|topic| &topic.partitions) {
            partition.view().runs.forget(number);
        }
        self.sealed.remove(&number);
        lock(&self.shared.segments).remove(&number);
        self.shared.indexes.forget(number);
        if carry.from.is_damaged() {
            self.quarantine(number, carry.size)?;
        } else {
            self.remove_segment_file(number)?;
        }
        Counters::add(&self.shared.counters.retired_segments, 1);
        self.count_space();
        self.count_accounts();
        Ok(())
    }

    /// A damaged segment is kept for people.
    fn quarantine(&self, number: u64, size: u64) -> Result<(), Fatal> {
        let to = format!("{QUARANTINE}/{number:016}.segment");
        self.disk.rename(&segment::file_name(number), &to).map_err(|error| {
            Fatal(format!("moving the damaged log segment {number} to {to}: {error}").into())
        })?;
        self.shared.notice(format!("the damaged segment {number} ({size} bytes) was retired to {to}"));
        Ok(())
    }
}

/// Extends what was moved by one record.
fn note_moved(
    moved: &mut Vec<(Arc<Partition>, Piece)>,
    partition: Arc<Partition>,
    place: &RecordPlace,
    segment: u64,
    bytes: u64,
) {
    if let Some((last, piece)) = moved.last_mut()
        && Arc::ptr_eq(last, &partition)
        && piece.segment == segment
        && piece.last + 1 == place.offset
    {
        piece.last = place.offset;
        piece.bytes += bytes;
        piece.max_time = piece.max_time.max(place.time);
        return;
    }
    let piece = Piece { first: place.offset, last: place.offset, segment, bytes, max_time: place.time };
    moved.push((partition, piece));
}
