//! The writing side: one owner of everything that changes, synchronous, driven by the writer thread (and by the model test).
//!
//! This file writes batches and changes segments; `commit` turns appends into batches, `manage` keeps topics and
//! checkpoints, `carry` retires segments.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use pelton_event::Timestamp;
use tokio::time::Instant;

use super::carry::Carry;
use super::commit::{StagedRecord, TailCache};
use super::disk::{self, Disk, DiskFile};
use super::format::{self, BLOCK, BatchBuffer, FORMAT, Kind, Seed, SegmentHeader, flags};
use super::index::SegmentIndex;
use super::segment::{self, Segment};
use super::segment_file::SegmentFile;
use super::shared::Shared;
use super::stats::Counters;
use super::topics::Topic;
use crate::TopicName;
use crate::limits::DISK_FULL_RETRY;

/// What the writer needs to know of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) segment_bytes: u64,
    pub(super) tail_cache_bytes: usize,
    pub(super) append_bytes: usize,
    /// Bytes that one step of a retirement carries forward.
    pub(super) carry_bytes: usize,
    #[cfg(test)]
    pub(super) mutation: Option<Mutation>,
}

/// Deliberate mistakes that the model test must find.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Batches are acknowledged without a sync.
    SkipSync,
    /// All segments use the same seed.
    ShareSeed,
    /// A batch does not wait for its predecessor's sync.
    OvertakeSync,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// No space; nothing was written, and the log can go on.
    DiskFull,
    /// The state of the disk is unknown; the process must stop.
    Fatal(Fatal),
}

/// Why the process must stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fatal(pub(super) Box<str>);

impl Fatal {
    fn of(action: &str, segment: u64, error: &std::io::Error) -> Failure {
        Failure::Fatal(Self(format!("{action} of log segment {segment} failed: {error}").into()))
    }
}

/// How much of a segment a batch may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// What is left beside the reserve.
    Normal,
    /// The reserve too, where no next segment can be had: progress lets space go.
    Reserve,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) log_id: u64,
    /// Of the last batch.
    pub(super) sequence: u64,
    pub(super) next_segment: u64,
    pub(super) next_topic: u32,
    /// `None` while no segment could be allocated yet.
    pub(super) active: Option<Active>,
    /// The next segment, allocated ahead.
    pub(super) prepared: Option<Arc<Segment>>,
    /// The next segment is being allocated elsewhere.
    pub(super) preparing: bool,
    pub(super) sealed: BTreeMap<u64, SealedSegment>,
    pub(super) topics: BTreeMap<u32, Arc<Topic>>,
    /// Topics deleted since the log was opened: appends that were checked before may still come.
    pub(super) deleted: BTreeMap<u32, TopicName>,
    pub(super) carry: Option<Carry>,
    pub(super) buffer: BatchBuffer,
    pub(super) own: BatchBuffer,
    pub(super) staged: Vec<StagedRecord>,
    pub(super) tail: TailCache,
    #[cfg(test)]
    pub(super) held: Vec<(crate::Appended, crate::Stored)>,
    /// Bytes of the last checkpoint.
    pub(super) checkpoint_bytes: u64,
    /// Not before then is an allocation tried again.
    pub(super) full_until: Option<Timestamp>,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next batch goes.
    pub(super) end: u64,
    /// Bytes that are allocated.
    pub(super) size: u64,
    /// Position of the last checkpoint.
    pub(super) checkpoint: u64,
    /// Bytes of records that are still kept.
    pub(super) live: u64,
    /// When it was started.
    pub(super) since: Timestamp,
}

/// A segment that is complete.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) size: u64,
    /// Bytes of records that are still kept.
    pub(super) live: u64,
}

/// Allocates a segment and makes it durable. Runs ahead of need, on another thread.
pub(super) fn prepare_segment(
    disk: &dyn Disk,
    log_id: u64,
    seed: Seed,
    number: u64,
    bytes: u64,
) -> std::io::Result<Arc<Segment>> {
    let name = segment::file_name(number);
    let file = disk.create(&name)?;
    match initialise(&*file, log_id, number, bytes).and_then(|()| disk.sync_folder(segment::FOLDER)) {
        Ok(()) => {
            let file = Arc::new(SegmentFile::new(file));
            Ok(Arc::new(Segment::indexed(number, seed, file, SegmentIndex::default())))
        }
        Err(error) => {
            // Give the space back at once; if this fails too, the empty file goes when the log is next opened.
            let _ = disk.remove(&name);
            Err(error)
        }
    }
}

fn initialise(file: &dyn DiskFile, log_id: u64, number: u64, bytes: u64) -> std::io::Result<()> {
    file.allocate(bytes)?;
    file.write_at(&SegmentHeader { format: FORMAT, log_id, number }.encode(), 0)?;
    file.sync()
}

impl Core {
    #[cfg(test)]
    pub(super) fn broken(&self, mutation: Mutation) -> bool {
        self.settings.mutation == Some(mutation)
    }

    pub(super) fn seed(&self, number: u64) -> Seed {
        #[cfg(test)]
        if self.broken(Mutation::ShareSeed) {
            return Seed::broken();
        }
        Seed::new(self.log_id, number)
    }

    /// Bytes at the end of a segment that records do not use, so that progress and checkpoints still fit on a full disk.
    pub(super) fn reserve(&self) -> u64 {
        self.settings.segment_bytes / 16
    }

    /// Writes a batch and makes it durable. Answers the segment and the position of the batch.
    pub(super) fn write(
        &mut self,
        batch: &mut BatchBuffer,
        marks: u32,
        room: Room,
        now: Timestamp,
    ) -> Result<(Arc<Segment>, u64), Failure> {
        self.ensure_room(batch.disk_bytes(), room, now)?;
        self.write_here(batch, marks, now)
    }

    fn ensure_room(&mut self, bytes: u64, room: Room, now: Timestamp) -> Result<(), Failure> {
        if self.fits(bytes, self.reserve()) {
            return Ok(());
        }
        match self.next_segment(bytes, now) {
            Ok(next) => self.change_segment(next, bytes, now),
            Err(Failure::DiskFull) if room == Room::Reserve && self.fits(bytes, 0) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn fits(&self, bytes: u64, reserve: u64) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let footer = active.segment.with_index(|index| index.footer_bytes()).unwrap_or(0);
            active.end + bytes + format::align(footer) + 2 * BLOCK + reserve <= active.size
        })
    }

    /// Writes a batch behind the last one. There is room.
    fn write_here(
        &mut self,
        batch: &mut BatchBuffer,
        marks: u32,
        now: Timestamp,
    ) -> Result<(Arc<Segment>, u64), Failure> {
        let sequence = self.sequence + 1;
        let Some(active) = &self.active else { return Err(Failure::DiskFull) };
        let (segment, at) = (Arc::clone(&active.segment), active.end);
        let bytes = batch.seal(segment.seed, segment.number, sequence, marks, now.as_millis());
        let written = bytes.len() as u64;
        if let Err(error) = segment.file.write_at(bytes, at) {
            return Err(self.failed_write(&segment, at, &error));
        }
        self.sync_batch(&segment)?;
        self.sequence = sequence;
        if let Some(active) = &mut self.active {
            active.end = at + written;
        }
        Counters::add(&self.shared.counters.batches, 1);
        Counters::add(&self.shared.counters.written_bytes, written);
        Ok((segment, at))
    }

    fn sync_batch(&self, segment: &Segment) -> Result<(), Failure> {
        #[cfg(test)]
        {
            let skipped = self.sequence.is_multiple_of(2) && self.broken(Mutation::OvertakeSync);
            if skipped || self.broken(Mutation::SkipSync) {
                return Ok(());
            }
        }
        let started = Instant::now();
        // A failed sync is never tried again: the kernel may have dropped the pages and would then report success.
        segment.file.sync().map_err(|error| Fatal::of("the sync", segment.number, &error))?;
        self.shared.counters.synced(started.elapsed());
        Ok(())
    }

    /// Allocation is ahead of writing, so a write runs out of space only where the file system does not honour it. What was
    /// written is taken back before anybody hears that nothing was stored.
    fn failed_write(&mut self, segment: &Segment, at: u64, error: &std::io::Error) -> Failure {
        if !disk::is_full(error) {
            return Fatal::of("a write", segment.number, error);
        }
        if let Err(error) = segment.file.truncate(at).and_then(|()| segment.file.sync()) {
            return Fatal::of("taking back a write", segment.number, &error);
        }
        if let Some(active) = &mut self.active {
            active.size = at;
        }
        Failure::DiskFull
    }

    /// The next segment: the prepared one, or one allocated now.
    fn next_segment(&mut self, bytes: u64, now: Timestamp) -> Result<Arc<Segment>, Failure> {
        if let Some(prepared) = self.prepared.take() {
            return Ok(prepared);
        }
        if self.full_until.is_some_and(|until| now < until) {
            return Err(Failure::DiskFull);
        }
        let number = self.take_number();
        let wanted = self.settings.segment_bytes.max(bytes + self.reserve() + 4 * BLOCK);
        let prepared = prepare_segment(&*self.disk, self.log_id, self.seed(number), number, wanted);
        self.allocated(prepared, now)
    }

    /// Takes note of an allocation's outcome.
    fn allocated(
        &mut self,
        prepared: std::io::Result<Arc<Segment>>,
        now: Timestamp,
    ) -> Result<Arc<Segment>, Failure> {
        match prepared {
            Ok(segment) => {
                self.full_until = None;
                self.shared.unavailable(None);
                Ok(segment)
            }
            Err(error) if disk::is_full(&error) => {
                self.full_until = Some(now + DISK_FULL_RETRY);
                Err(Failure::DiskFull)
            }
            Err(error) => Err(Fatal::of("the allocation", self.next_segment - 1, &error)),
        }
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_segment;
        self.next_segment += 1;
        number
    }

    /// The number of the segment to prepare now, if the active one is half full.
    pub(super) fn wants_segment(&mut self, now: Timestamp) -> Option<(u64, Seed)> {
        let half = self.active.as_ref().is_some_and(|active| active.end > active.size / 2);
        let there = self.preparing || self.prepared.is_some();
        if !half || there || self.full_until.is_some_and(|until| now < until) {
            return None;
        }
        self.preparing = true;
        let number = self.take_number();
        Some((number, self.seed(number)))
    }

    /// Takes the prepared segment.
    pub(super) fn offer_segment(
        &mut self,
        prepared: std::io::Result<Arc<Segment>>,
        now: Timestamp,
    ) -> Result<(), Fatal> {
        self.preparing = false;
        match self.allocated(prepared, now) {
            Ok(segment) => {
                // If the active segment ran full meanwhile, a higher number is active: this one would be out of order.
                let late = self.active.as_ref().is_some_and(|active| active.segment.number > segment.number);
                if late {
                    self.remove_segment_file(segment.number)?;
                } else {
                    self.prepared = Some(segment);
                }
                Ok(())
            }
            Err(Failure::DiskFull) => Ok(()),
            Err(Failure::Fatal(fatal)) => Err(fatal),
        }
    }

    pub(super) fn remove_segment_file(&self, number: u64) -> Result<(), Fatal> {
        self.disk
            .remove(&segment::file_name(number))
            .map_err(|error| Fatal(format!("removing log segment {number} failed: {error}").into()))
    }

    /// Completes the active segment and goes on in `next`, which gets a checkpoint first.
    fn change_segment(&mut self, next: Arc<Segment>, bytes: u64, now: Timestamp) -> Result<(), Failure> {
        self.seal_active(now)?;
        self.start_segment(next, bytes, now)
    }

    /// Goes on in a new segment although the active one is not full.
    pub(super) fn roll(&mut self, now: Timestamp) -> Result<(), Failure> {
        let next = self.next_segment(0, now)?;
        self.change_segment(next, 0, now)
    }

    /// Starts the first segment after the log was opened, or tries to.
    pub(super) fn open_segment(&mut self, now: Timestamp) -> Result<(), Failure> {
        let next = self.next_segment(0, now)?;
        self.start_segment(next, 0, now)
    }

    fn start_segment(&mut self, next: Arc<Segment>, bytes: u64, now: Timestamp) -> Result<(), Failure> {
        let mut own = mem::take(&mut self.own);
        self.state_all(&mut own);
        self.checkpoint_bytes = own.disk_bytes();
        // However large the checkpoint, records get half a segment, so that it is not written again with each commit.
        let records = bytes.max(self.settings.segment_bytes / 2);
        let wanted = BLOCK + self.checkpoint_bytes + records + self.reserve() + 4 * BLOCK;
        let mut size = next.file.size().map_err(|error| Fatal::of("a look", next.number, &error))?;
        if size < wanted {
            match next.file.allocate(wanted) {
                Ok(()) => size = wanted,
                Err(error) if disk::is_full(&error) => {
                    self.own = own;
                    self.remove_segment_file(next.number).map_err(Failure::Fatal)?;
                    self.full_until = Some(now + DISK_FULL_RETRY);
                    return Err(Failure::DiskFull);
                }
                Err(error) => return Err(Fatal::of("the allocation", next.number, &error)),
            }
        }
        super::partition::lock(&self.shared.segments).insert(next.number, Arc::clone(&next));
        self.active =
            Some(Active { segment: next, end: BLOCK, size, checkpoint: BLOCK, live: 0, since: now });
        let written = self.write_here(&mut own, flags::CHECKPOINT, now);
        self.own = own;
        self.count_space();
        written.map(|_| ())
    }

    /// Writes the footer of the active segment and cuts it to its length.
    pub(super) fn seal_active(&mut self, now: Timestamp) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Ok(()) };
        let (segment, checkpoint) = (Arc::clone(&active.segment), active.checkpoint);
        self.sequence += 1;
        let footer_at = active.end;
        let written = write_footer(&segment, checkpoint, footer_at, self.sequence, now);
        let Some(active) = self.active.take() else { return Ok(()) };
        let size = match written {
            Ok(size) => size,
            // Without a footer the segment is scanned when the log is opened; nothing is lost.
            Err(error) if disk::is_full(&error) => {
                let cut = segment.file.truncate(footer_at).and_then(|()| segment.file.sync());
                cut.map_err(|error| Fatal::of("the cut", segment.number, &error))?;
                footer_at
            }
            Err(error) => return Err(Fatal::of("sealing", segment.number, &error)),
        };
        self.sealed.insert(segment.number, SealedSegment { segment, size, live: active.live });
        self.count_space();
        Ok(())
    }

    pub(super) fn count_space(&self) {
        let active = self.active.as_ref().map_or(0, |active| active.size);
        let sealed: u64 = self.sealed.values().map(|sealed| sealed.size).sum();
        Counters::set(&self.shared.counters.disk_bytes, active + sealed);
        let segments = self.sealed.len() as u64 + u64::from(self.active.is_some());
        Counters::set(&self.shared.counters.segments, segments);
    }

    /// Notes that bytes of segments are kept no longer.
    pub(super) fn freed(&mut self, freed: &[(u64, u64)]) -> u64 {
        for (number, bytes) in freed {
            if let Some(sealed) = self.sealed.get_mut(number) {
                sealed.live = sealed.live.saturating_sub(*bytes);
            } else if let Some(active) =
                self.active.as_mut().filter(|active| active.segment.number == *number)
            {
                active.live = active.live.saturating_sub(*bytes);
            }
        }
        freed.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Notes that bytes of a segment are kept.
    pub(super) fn keep(&mut self, number: u64, bytes: u64) {
        if let Some(active) = self.active.as_mut().filter(|active| active.segment.number == number) {
            active.live += bytes;
        } else if let Some(sealed) = self.sealed.get_mut(&number) {
            sealed.live += bytes;
        }
    }
}

/// Writes a footer at `at` and cuts the file behind it. Answers the file's size.
pub(super) fn write_footer(
    segment: &Segment,
    checkpoint: u64,
    at: u64,
    sequence: u64,
    now: Timestamp,
) -> std::io::Result<u64> {
    let (mut table, mut extents) = (Vec::new(), Vec::new());
    segment.with_index(|index| index.encode(checkpoint, &mut table, &mut extents));
    let mut footer = BatchBuffer::default();
    footer.clear();
    footer.frame(Kind::Runs, |out| out.extend_from_slice(&table));
    footer.frame(Kind::Extents, |out| out.extend_from_slice(&extents));
    let sealed = footer.seal(segment.seed, segment.number, sequence, flags::FOOTER, now.as_millis());
    let mut bytes = sealed.to_vec();
    bytes.extend_from_slice(&format::encode_trailer(segment.seed, segment.number, at));
    segment.file.write_at(&bytes, at)?;
    segment.file.sync()?;
    let size = at + bytes.len() as u64;
    segment.file.truncate(size)?;
    segment.footer_written();
    Ok(size)
}
