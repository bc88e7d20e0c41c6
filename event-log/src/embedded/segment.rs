//! A segment: its file, its seed, its index.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use super::disk::DiskFile;
use super::format::{self, BATCH_HEADER, BLOCK, BatchHeader, Kind, Seed, flags};
use super::index::{Extent, Home, RunTable, SegmentIndex};
use super::partition::lock;
use super::scan::{self, Window};
use super::segment_file::SegmentFile;
use crate::limits::INDEX_CACHE_SEGMENTS;

/// The folder of the segments.
pub(super) const FOLDER: &str = "segments";
const SUFFIX: &str = ".segment";

/// The file name of a segment.
pub(super) fn file_name(number: u64) -> String {
    format!("{FOLDER}/{number:016}{SUFFIX}")
}

/// The number of a segment file in the folder; `None` for any other file.
pub(super) fn number_of(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(SUFFIX)?;
    if digits.len() == 16 { digits.parse().ok() } else { None }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) seed: Seed,
    pub(super) file: Arc<SegmentFile>,
    index: Mutex<Index>,
    /// Positions that were found damaged, so that each is reported once.
    damage: Mutex<BTreeSet<u64>>,
}

#[derive(Debug)]
enum Index {
    /// The active segment's, or one that has no footer.
    Kept(SegmentIndex),
    /// In the footer.
    OnDisk,
    /// Read from the footer.
    Loaded(Arc<SegmentIndex>),
}

impl Segment {
    /// A segment whose index is in memory.
    pub(super) fn indexed(number: u64, seed: Seed, file: Arc<SegmentFile>, index: SegmentIndex) -> Self {
        Self { number, seed, file, index: Mutex::new(Index::Kept(index)), damage: Mutex::default() }
    }

    /// A segment with a footer.
    pub(super) fn sealed(number: u64, seed: Seed, file: Arc<SegmentFile>) -> Self {
        Self { number, seed, file, index: Mutex::new(Index::OnDisk), damage: Mutex::default() }
    }

    /// Changes the index of the active segment.
    pub(super) fn with_index<T>(&self, change: impl FnOnce(&mut SegmentIndex) -> T) -> Option<T> {
        match &mut *lock(&self.index) {
            Index::Kept(index) => Some(change(index)),
            Index::OnDisk | Index::Loaded(_) => None,
        }
    }

    /// The footer is written: the index can be read from there.
    pub(super) fn footer_written(&self) {
        *lock(&self.index) = Index::OnDisk;
    }

    /// Notes a damaged position; whether it is news.
    pub(super) fn note_damage(&self, at: u64) -> bool {
        lock(&self.damage).insert(at)
    }

    pub(super) fn is_damaged(&self) -> bool {
        !lock(&self.damage).is_empty()
    }

    /// The extents that hold the offsets from `from` on of one partition, in order, until they have `bytes`; and the offset
    /// up to which (exclusive) they hold all there is. No extents if the segment does not hold `from`.
    pub(super) fn extents(
        self: &Arc<Self>,
        cache: &IndexCache,
        home: Home,
        from: u64,
        bytes: usize,
    ) -> io::Result<(Vec<Extent>, u64)> {
        let mut state = lock(&self.index);
        let index = match &*state {
            Index::Kept(index) => return Ok(cut(index, home, from, bytes)),
            Index::Loaded(index) => Arc::clone(index),
            Index::OnDisk => {
                let index = Arc::new(self.load_index()?);
                *state = Index::Loaded(Arc::clone(&index));
                cache.loaded(self);
                index
            }
        };
        drop(state);
        Ok(cut(&index, home, from, bytes))
    }

    fn load_index(&self) -> io::Result<SegmentIndex> {
        match read_footer(&*self.file, self.seed, self.number)? {
            Some(footer) => Ok(footer.index),
            // Damaged since the log was opened.
            None => rebuild_index(&*self.file, self.seed, self.number),
        }
    }
}

fn cut(index: &SegmentIndex, home: Home, from: u64, bytes: usize) -> (Vec<Extent>, u64) {
    let Some(run) = index.run(home, from) else {
        return (Vec::new(), index.next_run(home, from));
    };
    let skipped = run.extents.partition_point(|extent| extent.first <= from).saturating_sub(1);
    let mut taken = 0;
    let extents: Vec<Extent> = run.extents[skipped..]
        .iter()
        .take_while(|extent| {
            let wanted = taken < bytes.max(1);
            taken += extent.length as usize;
            wanted
        })
        .copied()
        .collect();
    let reach = run.extents.get(skipped + extents.len()).map_or(run.last + 1, |extent| extent.first);
    (extents, reach)
}

/// Keeps a few fine indexes in memory: the most recently loaded.
#[derive(Debug, Default)]
pub(super) struct IndexCache(Mutex<VecDeque<Arc<Segment>>>);

impl IndexCache {
    fn loaded(&self, segment: &Arc<Segment>) {
        let evicted = {
            let mut loaded = lock(&self.0);
            loaded.push_back(Arc::clone(segment));
            if loaded.len() > INDEX_CACHE_SEGMENTS { loaded.pop_front() } else { None }
        };
        // `try_lock`: a reader may hold the other segment while it loads; then it stays loaded a little longer.
        if let Some(segment) = evicted.filter(|evicted| !Arc::ptr_eq(evicted, segment))
            && let Ok(mut index) = segment.index.try_lock()
            && matches!(*index, Index::Loaded(_))
        {
            *index = Index::OnDisk;
        }
    }

    /// Lets go of a retired segment.
    pub(super) fn forget(&self, number: u64) {
        lock(&self.0).retain(|segment| segment.number != number);
    }
}

/// What a footer says.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) header: BatchHeader,
    pub(super) table: RunTable,
    index: SegmentIndex,
}

/// Reads the footer of a sealed segment; `None` if there is none, or it is damaged.
pub(super) fn read_footer(file: &dyn DiskFile, seed: Seed, number: u64) -> io::Result<Option<Footer>> {
    let size = file.size()?;
    let Some(trailer_at) = size.checked_sub(BLOCK) else { return Ok(None) };
    let mut trailer = [0; BLOCK as usize];
    let read = file.read_at(&mut trailer, trailer_at)?;
    let Some(at) = format::decode_trailer(&trailer[..read], seed, number).filter(|at| *at < trailer_at)
    else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(size - at).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, at)?;
    Ok(decode_footer(&bytes[..read], seed, number))
}

fn decode_footer(bytes: &[u8], seed: Seed, number: u64) -> Option<Footer> {
    let header =
        BatchHeader::decode(bytes, seed, number).filter(|header| header.flags & flags::FOOTER != 0)?;
    let (mut runs, mut extents) = (None, None);
    let whole = format::walk(&header, bytes, seed, |_, kind, body| match kind {
        Kind::Runs => runs = Some(body),
        Kind::Extents => extents = Some(body),
        _ => {}
    });
    let (runs, extents) = (runs.filter(|_| whole)?, extents?);
    Some(Footer { header, table: RunTable::decode(runs)?, index: SegmentIndex::decode(runs, extents)? })
}

/// Builds the index of a segment from its records.
pub(super) fn rebuild_index(file: &dyn DiskFile, seed: Seed, number: u64) -> io::Result<SegmentIndex> {
    let mut window = Window::new(file)?;
    let found = scan::scan(&mut window, seed, number, BLOCK)?;
    let mut index = SegmentIndex::default();
    for batch in &found.batches {
        scan::frames(&mut window, seed, batch, |at, kind, body| {
            if kind == Kind::Record {
                index_record(&mut index, at, body);
            }
        })?;
    }
    Ok(index)
}

/// Adds a record frame at `at` to an index.
pub(super) fn index_record(index: &mut SegmentIndex, at: u64, body: &[u8]) {
    let size = body.len() + format::FRAME_PREFIX;
    if let (Some((place, _)), Ok(at), Ok(size)) =
        (format::record(body), u32::try_from(at), u32::try_from(size))
    {
        index.add(&place, at, size);
    }
}

/// Visits the records of one partition in a stretch of the segment, verifying each. `bytes` start with a frame at position
/// `at`. Answers the positions of frames that should have been records and are damaged.
pub(super) fn visit_records<'a>(
    bytes: &'a [u8],
    at: u64,
    seed: Seed,
    number: u64,
    home: Home,
    mut visit: impl FnMut(format::RecordPlace, &'a [u8]) -> bool,
) -> Vec<u64> {
    let mut damage = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let rest = &bytes[position..];
        if let Some(size) = foreign_record(rest, home) {
            position += size;
            continue;
        }
        match format::step(rest, seed) {
            format::Step::Frame { kind, body, size } => {
                position += size;
                if kind != Kind::Record {
                    continue;
                }
                if let Some((place, payload)) = format::record(body)
                    && !visit(place, payload)
                {
                    break;
                }
            }
            format::Step::End => position = next_batch(bytes, position, at, seed, number),
            format::Step::Damaged => {
                damage.push(at + position as u64);
                position = behind_damage(bytes, position, at, seed, number);
            }
        }
    }
    damage
}

/// The size of a record of another partition, which need not be verified to be passed.
fn foreign_record(bytes: &[u8], home: Home) -> Option<usize> {
    let size =
        format::claimed_size(bytes).filter(|size| *size > format::RECORD_OVERHEAD && *size <= bytes.len())?;
    let (place, _) = format::record(bytes.get(format::FRAME_PREFIX..format::RECORD_OVERHEAD)?)?;
    (bytes[8] == Kind::Record as u8 && (place.topic, place.partition) != home).then_some(size)
}

/// Where the frames behind a damaged one go on: right behind it if its length is plausible, else in the next batch.
fn behind_damage(bytes: &[u8], position: usize, at: u64, seed: Seed, number: u64) -> usize {
    if let Some(size) = format::claimed_size(&bytes[position..])
        && let Some(rest) = bytes.get(position + size..).filter(|_| size > 0)
        && (rest.is_empty() || format::step(rest, seed) != format::Step::Damaged)
    {
        return position + size;
    }
    next_batch(bytes, position, at, seed, number)
}

/// The first frame of the next batch whose header is valid.
fn next_batch(bytes: &[u8], position: usize, at: u64, seed: Seed, number: u64) -> usize {
    let block = usize::try_from(format::align(at + position as u64 + 1) - at).unwrap_or(usize::MAX);
    (block..bytes.len())
        .step_by(BLOCK as usize)
        .find(|block| BatchHeader::decode(&bytes[*block..], seed, number).is_some())
        .map_or(bytes.len(), |block| block + BATCH_HEADER)
}
