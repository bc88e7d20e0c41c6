//! Opening a log: what was left on the disk, after a clean stop or after a crash.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use pelton_event::Timestamp;

use super::carry::QUARANTINE;
use super::closing::{self, ClosingMark};
use super::core::{self, Core, Failure, Fatal, SealedSegment, Settings};
use super::disk::{Disk, DiskFile};
use super::format::{self, BLOCK, BatchBuffer, FORMAT, Kind, Seed, SegmentHeader, flags};
use super::index::{Home, Run, SegmentIndex};
use super::partition::{Partition, View};
use super::replay::State;
use super::runs::Piece;
use super::scan::{self, FoundBatch, Scan, Window};
use super::segment::{self, Footer, Segment};
use super::segment_file::{SegmentFile, Unreadable};
use super::shared::{Shared, io_error};
use super::stats::Counters;
use super::topics::{Account, Topic, Topics};
use crate::limits::APPEND_BYTES_MAX;
use crate::{Epoch, LogError, TopicName};

/// A segment as found.
struct Found {
    number: u64,
    seed: Seed,
    file: Arc<SegmentFile>,
    /// `None`: no valid footer; then `scan` says what is there.
    footer: Option<Footer>,
    scan: Scan,
    damage: Vec<(u64, &'static str)>,
    quarantined: bool,
    /// The disk cannot read all of it.
    unreadable: Option<io::Error>,
}

impl Found {
    /// Whether anything was ever written to it, or may have been.
    fn is_used(&self) -> bool {
        self.footer.is_some() || !self.scan.batches.is_empty() || self.unreadable.is_some()
    }

    fn last_sequence(&self) -> u64 {
        let scanned = self.scan.batches.last().map_or(0, |batch| batch.header.sequence);
        self.footer.as_ref().map_or(scanned, |footer| footer.header.sequence)
    }

    fn note(&mut self, at: u64, what: &'static str) {
        self.damage.push((at, what));
    }

    /// Notes what the reads since the last call could not read.
    fn note_unreadable(&mut self) {
        for Unreadable { at, error } in self.file.take_unreadable() {
            self.note(at, "the disk cannot read it");
            self.unreadable.get_or_insert(error);
        }
    }
}

/// Opens the log on `disk`: finds what is there, cuts a torn end, and starts a new segment.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    log_id: u64,
    settings: Settings,
    now: Timestamp,
) -> Result<Core, LogError> {
    let mut found = find(&**disk, log_id, &settings)?;
    let closed = closing::read(&**disk, log_id).map_err(io_error("read", "closed"))?;
    let unused: Vec<u64> = found.iter().filter(|found| !found.is_used()).map(|found| found.number).collect();
    let next_segment = found.last().map_or(1, |last| last.number + 1);
    found.retain(Found::is_used);
    judge_end(&**disk, &mut found, closed)?;
    // A torn first batch leaves nothing.
    let emptied = found.iter().filter(|found| !found.is_used()).map(|found| found.number);
    let unused: Vec<u64> = unused.into_iter().chain(emptied).collect();
    found.retain(Found::is_used);
    let (state, sound) = replay(&mut found)?;
    let recovered = state.records;
    let mut core = assemble(Arc::clone(disk), log_id, settings, found, state, next_segment, sound)?;
    Counters::add(&core.shared.counters.recovered_records, recovered);
    if closed.is_none() {
        seal_last(&mut core, now)?;
    }
    closing::remove(&**disk).map_err(io_error("remove", "closed"))?;
    start(&mut core, &unused, now)?;
    Ok(core)
}

fn find(disk: &dyn Disk, log_id: u64, settings: &Settings) -> Result<Vec<Found>, LogError> {
    let files = disk.list(segment::FOLDER).map_err(io_error("list", segment::FOLDER))?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|(name, _)| segment::number_of(name)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| examine(disk, log_id, settings, number)).collect()
}

#[cfg_attr(not(test), expect(unused_variables, reason = "only mutations need the settings"))]
fn seed_of(log_id: u64, number: u64, settings: &Settings) -> Seed {
    #[cfg(test)]
    if settings.mutation == Some(core::Mutation::ShareSeed) {
        return Seed::broken();
    }
    Seed::new(log_id, number)
}

fn examine(disk: &dyn Disk, log_id: u64, settings: &Settings, number: u64) -> Result<Found, LogError> {
    let name = segment::file_name(number);
    let seed = seed_of(log_id, number, settings);
    let file = disk.open(&name).map_err(io_error("open", &name))?;
    let file = Arc::new(SegmentFile::new(file));
    let mut block = [0; BLOCK as usize];
    let read = file.read_at(&mut block, 0).map_err(io_error("read", &name))?;
    let header = SegmentHeader::decode(&block[..read]);
    if let Some(later) = header.filter(|header| header.format > FORMAT) {
        return Err(LogError::Format { path: name.into(), found: later.format, known: FORMAT });
    }
    let footer = segment::read_footer(&*file, seed, number).map_err(io_error("read", &name))?;
    let mut found = Found {
        number,
        seed,
        file,
        footer,
        scan: Scan::default(),
        damage: Vec::new(),
        quarantined: false,
        unreadable: None,
    };
    if found.footer.is_none() {
        let mut window = Window::new(&*found.file).map_err(io_error("read", &name))?;
        found.scan = scan::scan(&mut window, seed, number, BLOCK).map_err(io_error("read", &name))?;
        uncover_footer(&mut found).map_err(io_error("cut", &name))?;
    }
    found.note_unreadable();
    let genuine = header.is_some_and(|header| header.log_id == log_id && header.number == number);
    if !genuine && found.is_used() {
        found.note(0, "its header is damaged");
    }
    Ok(found)
}

/// A crash between footer and cut leaves the footer somewhere before the end of the file: the cut is made up for.
fn uncover_footer(found: &mut Found) -> io::Result<()> {
    if found.scan.batches.last().is_some_and(|batch| batch.is(flags::FOOTER)) && found.scan.lost.is_empty() {
        let end = found.scan.end() + BLOCK;
        if found.file.size()? > end {
            found.file.truncate(end)?;
            found.footer = segment::read_footer(&*found.file, found.seed, found.number)?;
        }
    }
    Ok(())
}

/// Tells the torn tail from corruption. A batch is written only after its predecessor's sync, so whatever is bad before the
/// last header was whole once.
fn judge_end(disk: &dyn Disk, found: &mut [Found], closed: Option<ClosingMark>) -> Result<(), LogError> {
    let Some(last) = found.len().checked_sub(1) else {
        return Ok(());
    };
    let clean = closed.is_some();
    for (index, segment) in found.iter_mut().enumerate() {
        if segment.footer.is_some() {
            continue;
        }
        if index == last && !clean {
            // What was acknowledged last could not be told from what was torn, and would be cut off.
            if let Some(error) = segment.unreadable.take() {
                return Err(io_error("read the end of the log in", segment::file_name(segment.number))(
                    error,
                ));
            }
            cut_torn_end(disk, segment)?;
        }
        note_bad(segment);
        if index == last && !clean {
            continue;
        }
        let end = segment.scan.end();
        if segment.scan.batches.last().is_some_and(|batch| batch.is(flags::FOOTER)) {
            segment.note(end, "its trailer is damaged");
        } else if has_junk(segment)? {
            segment.note(end, "its end is unreadable");
        }
    }
    let end = &mut found[last];
    let size = end.file.size().map_err(io_error("read", segment::file_name(end.number)))?;
    if closed.is_some_and(|mark| mark.segment > end.number || mark.segment == end.number && mark.size > size)
    {
        end.note(size, "its end is missing although the log was stopped cleanly");
    }
    Ok(())
}

/// Takes away the last batch if it is not whole, and keeps its bytes for people.
fn cut_torn_end(disk: &dyn Disk, found: &mut Found) -> Result<(), LogError> {
    // A footer without its trailer is torn too.
    let torn = found.scan.batches.pop_if(|batch| !batch.whole || batch.is(flags::FOOTER));
    // Blocks lost right before a torn batch belong to it or to its predecessor; the header proves the predecessor's sync.
    let from = found.scan.end();
    let junk = junk(found, from).map_err(io_error("read", segment::file_name(found.number)))?;
    if torn.is_some() || !junk.is_empty() {
        found.quarantined = keep_torn_end(disk, found.number, from, &junk)?;
    }
    // Durably, before anything is written further on: else the next start would find it before a valid batch.
    found
        .file
        .truncate(from)
        .and_then(|()| found.file.sync())
        .map_err(io_error("cut", segment::file_name(found.number)))
}

/// Keeps the bytes of a torn batch for people; whether there was space for them.
fn keep_torn_end(disk: &dyn Disk, number: u64, from: u64, junk: &[u8]) -> Result<bool, LogError> {
    let name = format!("{QUARANTINE}/{number:016}-{from}.tail");
    let kept = (|| {
        disk.remove(&name)?;
        let file = disk.create(&name)?;
        file.write_at(junk, 0)?;
        file.sync()?;
        disk.sync_folder(QUARANTINE)
    })();
    match kept {
        Ok(()) => Ok(true),
        // It was never acknowledged.
        Err(error) if super::disk::is_full(&error) => {
            disk.remove(&name).map_err(io_error("remove", name))?;
            Ok(false)
        }
        Err(error) => Err(io_error("write", name)(error)),
    }
}

/// What lies behind `from`, up to the last byte that is not zero.
fn junk(found: &Found, from: u64) -> io::Result<Vec<u8>> {
    let size = found.file.size()?.saturating_sub(from);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(2 * APPEND_BYTES_MAX)];
    let read = found.file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    Ok(bytes)
}

fn has_junk(found: &Found) -> Result<bool, LogError> {
    let junk = junk(found, found.scan.end());
    Ok(!junk.map_err(io_error("read", segment::file_name(found.number)))?.is_empty())
}

/// Reads the state beside records: from the last checkpoint that is whole, through everything behind it. Also answers
/// whether nothing behind that checkpoint is damaged.
fn replay(found: &mut [Found]) -> Result<(State, bool), LogError> {
    let mut start = (0, BLOCK);
    for (index, segment) in found.iter_mut().enumerate().rev() {
        if let Some(at) = checkpoint(segment).map_err(io_error("read", segment::file_name(segment.number)))? {
            start = (index, at);
            break;
        }
    }
    let mut state = State::default();
    let mut sound = true;
    for (index, segment) in found.iter_mut().enumerate().skip(start.0) {
        let from = if index == start.0 { start.1 } else { BLOCK };
        replay_segment(segment, from, &mut state)
            .map(|whole| sound &= whole)
            .map_err(io_error("read", segment::file_name(segment.number)))?;
    }
    Ok((state, sound))
}

/// The position of a segment's last whole checkpoint.
fn checkpoint(found: &mut Found) -> io::Result<Option<u64>> {
    let Some(footer) = &found.footer else {
        let last = found.scan.batches.iter().rev().find(|batch| batch.is(flags::CHECKPOINT));
        return Ok(last.map(|batch| batch.at));
    };
    let at = footer.table.checkpoint;
    let file = Arc::clone(&found.file);
    let mut window = Window::new(&*file)?;
    let header = window.bytes(at, format::BATCH_HEADER)?;
    if let Some(header) = format::BatchHeader::decode(header, found.seed, found.number) {
        let mut batch = FoundBatch { at, header, whole: false };
        batch.whole = scan::frames(&mut window, found.seed, &batch, |_, _, _| ())?;
        if batch.is(flags::CHECKPOINT) {
            return Ok(Some(at));
        }
    }
    found.note_unreadable();
    found.note(at, "its checkpoint is damaged");
    Ok(None)
}

fn replay_segment(found: &mut Found, from: u64, state: &mut State) -> io::Result<bool> {
    let file = Arc::clone(&found.file);
    let mut window = Window::new(&*file)?;
    if found.footer.is_some() {
        found.scan = scan::scan(&mut window, found.seed, found.number, from)?;
        note_bad(found);
    }
    for batch in found.scan.batches.iter().filter(|batch| batch.at >= from) {
        state.enter(batch);
        scan::frames(&mut window, found.seed, batch, |_, kind, body| state.apply(kind, body))?;
    }
    found.note_unreadable();
    Ok(found.damage.is_empty())
}

/// Notes every batch of the scan that is not whole.
fn note_bad(found: &mut Found) {
    let lost = found.scan.lost.iter().map(|lost| (lost.start, "a batch is unreadable"));
    let bad = found.scan.batches.iter().filter(|batch| !batch.whole);
    let bad = bad.map(|batch| (batch.at, "a batch has wrong checksums"));
    found.damage.extend(lost.chain(bad));
}

/// Builds the log in memory.
fn assemble(
    disk: Arc<dyn Disk>,
    log_id: u64,
    settings: Settings,
    found: Vec<Found>,
    state: State,
    next_segment: u64,
    sound: bool,
) -> Result<Core, LogError> {
    let sequence = found.iter().map(Found::last_sequence).max().unwrap_or(0);
    let mut next_topic = state.next_topic;
    let (topics, homes) = build_topics(state);
    let mut segments = BTreeMap::new();
    let mut notes = Vec::new();
    for found in found {
        let (segment, size, runs) = build_segment(&found)?;
        let mut live = 0;
        let mut orphans = false;
        for (home, run) in runs {
            next_topic = next_topic.max(home.0 + 1);
            match homes.get(&home) {
                Some(partition) => live += place(partition, &run, found.number, &mut segments),
                None => orphans = true,
            }
        }
        if orphans && !sound {
            segment.note_damage(0);
        }
        notes.push((found.damage, found.quarantined, Arc::clone(&segment)));
        segments.insert(found.number, SealedSegment { segment, size, live });
    }
    for topic in topics.values() {
        for partition in &topic.partitions {
            let mut view = partition.view();
            let start = view.start;
            for (number, bytes) in view.runs.trim(start) {
                if let Some(sealed) = segments.get_mut(&number) {
                    sealed.live = sealed.live.saturating_sub(bytes);
                }
            }
        }
        topic.account.keep(topic.bytes());
    }
    let by_name: Topics = topics.values().map(|topic| (topic.spec.name.clone(), Arc::clone(topic))).collect();
    let known = segments.iter().map(|(number, sealed)| (*number, Arc::clone(&sealed.segment))).collect();
    // Every start begins a segment, and their numbers only grow: so do the epochs.
    let shared = Arc::new(Shared::new(by_name, known, Epoch(next_segment)));
    report(&shared, notes);
    Ok(Core {
        disk,
        shared,
        settings,
        log_id,
        sequence,
        next_segment,
        next_topic,
        active: None,
        prepared: None,
        preparing: false,
        sealed: segments,
        topics,
        deleted: BTreeMap::new(),
        carry: None,
        buffer: BatchBuffer::default(),
        own: BatchBuffer::default(),
        staged: Vec::new(),
        tail: super::commit::TailCache::default(),
        #[cfg(test)]
        held: Vec::new(),
        checkpoint_bytes: 0,
        full_until: None,
    })
}

/// What was found in a segment: damage, and whether a torn tail was cut off.
type Finding = (Vec<(u64, &'static str)>, bool, Arc<Segment>);

fn report(shared: &Shared, findings: Vec<Finding>) {
    for (damage, quarantined, segment) in findings {
        for (at, what) in damage {
            shared.damaged(&segment, at, what);
        }
        if quarantined {
            Counters::add(&shared.counters.quarantined, 1);
            shared.notice(format!(
                "the last write of segment {} was torn by a crash; it was never acknowledged, and is kept in {QUARANTINE}/",
                segment.number
            ));
        }
    }
}

type Built = (BTreeMap<u32, Arc<Topic>>, HashMap<Home, Arc<Partition>>);

fn build_topics(state: State) -> Built {
    let mut accounts: HashMap<Arc<str>, Arc<Account>> = HashMap::new();
    let mut homes = HashMap::new();
    let mut topics = BTreeMap::new();
    let State { topics: specs, mut partitions, .. } = state;
    for (id, spec) in specs {
        let name = Arc::clone(&spec.retention.account);
        let account = accounts.entry(Arc::clone(&name)).or_insert_with(|| Arc::new(Account::new(name)));
        let build = |number| {
            let home = (id, number);
            let known = partitions.remove(&home).unwrap_or_default();
            let view = View {
                start: known.start,
                end: known.end.max(known.start),
                progress: known.progress,
                ..View::default()
            };
            Arc::new(Partition::new(TopicName::clone(&spec.name), home, view))
        };
        let partitions: Vec<Arc<Partition>> = (0..spec.partitions).map(build).collect();
        homes.extend(partitions.iter().map(|partition| (partition.home, Arc::clone(partition))));
        topics.insert(id, Arc::new(Topic { id, account: Arc::clone(account), spec, partitions }));
    }
    (topics, homes)
}

type BuiltSegment = (Arc<Segment>, u64, Vec<(Home, Run)>);

fn build_segment(found: &Found) -> Result<BuiltSegment, LogError> {
    let failed = || io_error("read", segment::file_name(found.number));
    let size = found.file.size().map_err(failed())?;
    if let Some(footer) = &found.footer {
        let segment = Segment::sealed(found.number, found.seed, Arc::clone(&found.file));
        return Ok((Arc::new(segment), size, footer.table.runs.clone()));
    }
    let mut index = SegmentIndex::default();
    let mut window = Window::new(&*found.file).map_err(failed())?;
    for batch in &found.scan.batches {
        scan::frames(&mut window, found.seed, batch, |at, kind, body| {
            if kind == Kind::Record {
                segment::index_record(&mut index, at, body);
            }
        })
        .map_err(failed())?;
    }
    let mut runs: Vec<(Home, Run)> =
        index.runs().map(|(home, run)| (home, Run { extents: Vec::new(), ..run.clone() })).collect();
    runs.sort_by_key(|(home, run)| (*home, run.first));
    let end = found.scan.end();
    let segment = Segment::indexed(found.number, found.seed, Arc::clone(&found.file), index);
    Ok((Arc::new(segment), end.min(size), runs))
}

/// Adds a run to its partition; answers the bytes that are kept, and takes them from the segments whose copies it replaces.
fn place(partition: &Partition, run: &Run, segment: u64, segments: &mut BTreeMap<u64, SealedSegment>) -> u64 {
    let mut view = partition.view();
    view.end = view.end.max(run.last + 1);
    let Run { first, last, bytes, max_time, .. } = *run;
    for (number, freed) in view.runs.insert(Piece { first, last, segment, bytes, max_time }) {
        if let Some(other) = segments.get_mut(&number) {
            other.live = other.live.saturating_sub(freed);
        }
    }
    bytes
}

/// Gives the last segment, if a crash left it open, its footer. What lay behind its end is gone already and durably, so that
/// it can never be mistaken for a part of what is written there now.
fn seal_last(core: &mut Core, now: Timestamp) -> Result<(), LogError> {
    let Some((number, sealed)) = core.sealed.iter_mut().next_back() else { return Ok(()) };
    let (segment, end) = (Arc::clone(&sealed.segment), sealed.size);
    if segment.with_index(|_| ()).is_none() {
        return Ok(());
    }
    let name = segment::file_name(*number);
    if segment.is_damaged() {
        // Without a footer it is scanned, and reported, every time.
        return Ok(());
    }
    let checkpoint = last_checkpoint(&segment).map_err(io_error("read", &name))?;
    core.sequence += 1;
    match core::write_footer(&segment, checkpoint, end, core.sequence, now) {
        Ok(size) => sealed.size = size,
        // It stays without a footer, and is scanned again next time.
        Err(error) if super::disk::is_full(&error) => {
            segment.file.truncate(end).and_then(|()| segment.file.sync()).map_err(io_error("cut", &name))?;
        }
        Err(error) => return Err(io_error("write", name)(error)),
    }
    Ok(())
}

fn last_checkpoint(segment: &Segment) -> io::Result<u64> {
    let mut window = Window::new(&*segment.file)?;
    let scan = scan::scan(&mut window, segment.seed, segment.number, BLOCK)?;
    let last = scan.batches.iter().rev().find(|batch| batch.is(flags::CHECKPOINT));
    Ok(last.map_or(0, |batch| batch.at))
}

/// Starts a new segment, and then removes those that were never used: in this order, so that no number is used twice.
fn start(core: &mut Core, unused: &[u64], now: Timestamp) -> Result<(), LogError> {
    let started = match core.open_segment(now) {
        Err(Failure::DiskFull) => {
            remove_unused(core, unused)?;
            core.full_until = None;
            core.open_segment(now)
        }
        started => started,
    };
    match started {
        Ok(()) => remove_unused(core, unused),
        Err(Failure::DiskFull) => {
            core.shared.unavailable(Some(crate::AppendError::DiskFull.to_string()));
            Ok(())
        }
        Err(Failure::Fatal(Fatal(why))) => Err(LogError::Unavailable(why)),
    }
}

fn remove_unused(core: &Core, unused: &[u64]) -> Result<(), LogError> {
    for number in unused {
        core.remove_segment_file(*number).map_err(|Fatal(why)| LogError::Unavailable(why))?;
    }
    Ok(())
}
