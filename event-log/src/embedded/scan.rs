//! Finding the batches of a segment without trusting anything but checksums.

use std::io;
use std::ops::Range;

use super::disk::DiskFile;
use super::format::{self, BATCH_HEADER, BLOCK, BatchHeader, Kind, Seed};

const WINDOW_BYTES: usize = 1024 * 1024;

/// Reads a file front to back through one buffer.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    size: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        Ok(Self { file, size: file.size()?, buffer: Vec::new(), start: 0 })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The `length` bytes at `position`; fewer at the end of the file.
    pub(super) fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(available);
        let end = position + length as u64;
        if position < self.start || end > self.start + self.buffer.len() as u64 {
            self.buffer.resize(length.max(WINDOW_BYTES).min(available), 0);
            let read = self.file.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(read);
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX).min(self.buffer.len());
        let to = (from + length).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }
}

/// A batch whose header is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundBatch {
    pub(super) at: u64,
    pub(super) header: BatchHeader,
    /// Whether all of it is valid.
    pub(super) whole: bool,
}

impl FoundBatch {
    pub(super) fn end(&self) -> u64 {
        self.at + self.header.disk_bytes()
    }

    pub(super) fn is(&self, flag: u32) -> bool {
        self.whole && self.header.flags & flag != 0
    }
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// In order, with growing sequence numbers.
    pub(super) batches: Vec<FoundBatch>,
    /// Where a header should have been before a later one was found.
    pub(super) lost: Vec<Range<u64>>,
}

impl Scan {
    /// The end of the last batch, or of the segment header.
    pub(super) fn end(&self) -> u64 {
        self.batches.last().map_or(BLOCK, FoundBatch::end)
    }
}

/// Finds all batches of a segment from `from` on. Behind a damaged header or length it tries every block.
pub(super) fn scan(window: &mut Window<'_>, seed: Seed, segment: u64, from: u64) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut at = from;
    let mut footing = from;
    let mut last_sequence = 0;
    while at + BATCH_HEADER as u64 <= window.size() {
        let header = BatchHeader::decode(window.bytes(at, BATCH_HEADER)?, seed, segment)
            .filter(|header| header.sequence > last_sequence);
        let Some(header) = header else {
            at += BLOCK;
            continue;
        };
        if at > footing {
            scan.lost.push(footing..at);
        }
        let bytes = window.bytes(at, usize::try_from(header.disk_bytes()).unwrap_or(usize::MAX))?;
        let whole = format::walk(&header, bytes, seed, |_, _, _| ());
        let batch = FoundBatch { at, header, whole };
        scan.batches.push(batch);
        last_sequence = header.sequence;
        // A torn batch may reach over the end of the file.
        at = batch.end();
        footing = at;
    }
    Ok(scan)
}

/// Calls `visit` with the position within the segment of every valid frame of a batch.
pub(super) fn frames(
    window: &mut Window<'_>,
    seed: Seed,
    batch: &FoundBatch,
    mut visit: impl FnMut(u64, Kind, &[u8]),
) -> io::Result<bool> {
    let length = usize::try_from(batch.header.disk_bytes()).unwrap_or(usize::MAX);
    let bytes = window.bytes(batch.at, length)?;
    Ok(format::walk(&batch.header, bytes, seed, |at, kind, body| visit(batch.at + at as u64, kind, body)))
}
