//! The model: what a log must hold after any crash, whatever the disk did. One seed is one history.
//!
//! A failing seed is printed; run it alone with `PELTON_SEED=<seed>`. `PELTON_SEEDS=<number>` sets how many are run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrand::Rng;
use pelton_event::{Origin, Step, Timestamp};

use super::simulated::SimulatedDisk;
use super::support::{name, record_at};
use crate::embedded::core::{Core, Fatal, Mutation, Settings, prepare_segment};
use crate::embedded::disk::Disk;
use crate::embedded::partition::Partition;
use crate::embedded::prepare::{self, Work};
use crate::embedded::read::{self, Plan};
use crate::embedded::{Stats, manage, recover};
use crate::{
    Append, AppendError, Batch, Content, LaneProgress, LogError, OnFull, ProgressUpdate, ReadLimit,
    Retention, Stored, TopicSpec,
};

pub(super) const LOG_ID: u64 = 77;
const SEGMENT: u64 = 12 * 1024;
const EVENTS: &str = "e";
const RETRY: &str = "e_retry";
const DEAD: &str = "e_dead-letter";

pub(super) fn settings(mutation: Option<Mutation>) -> Settings {
    Settings {
        segment_bytes: SEGMENT,
        tail_cache_bytes: 1024,
        append_bytes: 3 * 1024,
        carry_bytes: 1024,
        mutation,
    }
}

type Place = (String, u32);

/// An append whose fate is not known for certain.
#[derive(Debug, Clone)]
struct Pending {
    /// Key and place of each record.
    records: Vec<(String, Place)>,
    /// Place and number of the progress that rides with it.
    progress: Option<(Place, u64)>,
}

#[derive(Debug, Default)]
struct PlaceModel {
    /// What is certainly stored.
    stored: BTreeMap<u64, String>,
    end: u64,
    /// Number of the last acknowledged progress, and of the last one tried.
    progress: u64,
    progress_tried: u64,
    head: u64,
}

struct Model {
    rng: Rng,
    places: HashMap<Place, PlaceModel>,
    pending: Vec<Pending>,
    /// The retry topic was being deleted: it may or may not be gone.
    doubtful: bool,
    next_key: u64,
    now: u64,
    /// What the lives came upon.
    seen: Stats,
    age: Duration,
    budget: u64,
    on_full: OnFull,
    /// All batches have one shape, whose first record ends with the first sector: a stale record of a retired segment then
    /// lies exactly where a new one would.
    aligned: bool,
    /// Long lives in which retirements and appends alternate.
    busy: bool,
}

/// Bytes of a key with which a record, its frame and the batch header before it fill a sector.
const ALIGNED_KEY: usize = 512 - 48 - 36 - 15;

/// A history: lives of a log on one disk, each ended by a crash or a clean stop. Answers what is wrong.
pub(super) fn run(seed: u64, mutation: Option<Mutation>) -> Result<Stats, String> {
    let disk = SimulatedDisk::new(seed);
    let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9);
    let lives = rng.u32(2..5);
    let mut model = Model {
        places: HashMap::new(),
        pending: Vec::new(),
        doubtful: false,
        next_key: 0,
        now: 1_000_000,
        seen: Stats::default(),
        age: Duration::from_millis(if rng.bool() { 3_000 } else { 3_600_000 }),
        budget: if rng.u8(0..3) == 0 { 8 * 1024 } else { 1 << 30 },
        on_full: if rng.u8(0..4) == 0 { OnFull::Expire } else { OnFull::Refuse },
        aligned: rng.u8(0..6) == 0,
        busy: rng.u8(0..4) == 0,
        rng,
    };
    for _ in 0..lives {
        disk.die_after(model.rng.u64(1..if model.aligned || model.busy { 300 } else { 90 }));
        if model.rng.u8(0..5) == 0 {
            disk.set_capacity(disk.used() + model.rng.u64(0..3 * SEGMENT));
        }
        model.live(&disk, mutation)?;
        disk.reboot();
        disk.set_capacity(u64::MAX);
    }
    // The last look, with nothing in its way.
    let core = open(&disk, mutation, &model).map_err(|error| format!("the last start failed: {error}"))?;
    model.check(&core)?;
    Ok(model.seen)
}

fn open(disk: &SimulatedDisk, mutation: Option<Mutation>, model: &Model) -> Result<Core, LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    recover::open(&disk, LOG_ID, settings(mutation), Timestamp::from_millis(model.now))
}

impl Model {
    /// One life: start, check, work until the disk dies or the life is over.
    fn live(&mut self, disk: &SimulatedDisk, mutation: Option<Mutation>) -> Result<(), String> {
        let mut core = match open(disk, mutation, self) {
            _ if disk.is_dead() => return Ok(()),
            Ok(core) => core,
            Err(error) => return Err(format!("the start failed: {error}")),
        };
        self.check(&core)?;
        let worked = self.work(&mut core, disk);
        add(&mut self.seen, &core.shared.counters.snapshot());
        worked?;
        if !disk.is_dead() && self.rng.bool() && core.close(self.time()).is_ok() && !disk.is_dead() {
            // A clean stop needs no luck: nothing may be lost now even if the power fails.
            disk.die_after(1);
            let _ = disk.create("last breath");
        }
        Ok(())
    }

    /// Works until the disk dies or the life is over.
    fn work(&mut self, core: &mut Core, disk: &SimulatedDisk) -> Result<(), String> {
        for _ in 0..self.rng.u32(1..if self.aligned || self.busy { 120 } else { 40 }) {
            if self.act(core, disk)?.is_err() {
                if disk.is_dead() {
                    return Ok(());
                }
                return Err("the log gave up although the disk works".into());
            }
            self.now += self.rng.u64(0..200);
        }
        Ok(())
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn act(&mut self, core: &mut Core, disk: &SimulatedDisk) -> Result<Result<(), Fatal>, String> {
        let outcome = match self.rng.u8(0..20) {
            10..=15 if self.busy => core.housekeep(self.time()).map(|_| ()),
            0..=1 => self.ensure_topics(core),
            2 if self.rng.u8(0..6) == 0 => self.delete_topic(core),
            3..=4 => {
                self.now += self.rng.u64(0..if self.aligned { 20_000 } else { 2_000 });
                core.housekeep(self.time()).map(|_| ())
            }
            5 => prepare_ahead(core, disk, self.time()),
            _ => return self.commit(core),
        };
        Ok(outcome)
    }

    fn ensure_topics(&mut self, core: &mut Core) -> Result<(), Fatal> {
        for (topic, partitions) in [(EVENTS, 2), (RETRY, 1), (DEAD, 1)] {
            let retention = Retention {
                age: self.age,
                bytes: self.budget,
                on_full: self.on_full,
                account: "ns/broker".into(),
            };
            let spec = TopicSpec::new(name(topic), partitions, retention);
            match core.ensure_topic(&spec, self.time()) {
                Ok(_) => {
                    for partition in 0..partitions {
                        self.places.entry((topic.to_owned(), partition)).or_default();
                    }
                }
                Err(manage::TopicFailure::Refused(_)) => {}
                Err(manage::TopicFailure::Fatal(fatal)) => return Err(fatal),
            }
        }
        Ok(())
    }

    fn delete_topic(&mut self, core: &mut Core) -> Result<(), Fatal> {
        match core.delete_topic(&name(RETRY), self.time()) {
            Ok(()) => {
                self.places.remove(&(RETRY.to_owned(), 0));
                Ok(())
            }
            Err(manage::TopicFailure::Refused(_)) => Ok(()),
            Err(manage::TopicFailure::Fatal(fatal)) => {
                self.doubtful = true;
                Err(fatal)
            }
        }
    }

    /// Some appends in one commit.
    fn commit(&mut self, core: &mut Core) -> Result<Result<(), Fatal>, String> {
        if self.places.is_empty() {
            return Ok(Ok(()));
        }
        let mut works = Vec::new();
        let mut appends = Vec::new();
        for _ in 0..if self.aligned { 1 } else { self.rng.u32(1..5) } {
            let (batch, pending) = if self.aligned { self.aligned_batch() } else { self.batch(core) };
            let (answer, append) = Append::pair();
            match prepare::prepare(batch, &core.shared.topics.load(), core.settings.append_bytes, answer) {
                Ok(work) => {
                    works.push(work);
                    appends.push((append, pending));
                }
                Err((AppendError::NoSuchPartition(..) | AppendError::TooLarge { .. }, _)) => {}
                Err((error, _)) => return Err(format!("refused: {error}")),
            }
        }
        let committed = core.commit(&mut works, self.time());
        for (append, pending) in appends {
            match answered(append) {
                Some(Ok(stored)) => self.acknowledged(&pending, &stored)?,
                Some(Err(AppendError::Unknown(_))) | None => self.pending.push(pending),
                Some(Err(AppendError::DiskFull | AppendError::Full { .. })) => {}
                Some(Err(AppendError::NoSuchPartition(..))) => {}
                Some(Err(error)) => return Err(format!("answered: {error}")),
            }
        }
        Ok(committed)
    }

    fn batch(&mut self, core: &Core) -> (Batch, Pending) {
        let mut places: Vec<Place> = self.places.keys().cloned().collect();
        places.sort();
        let mut batch = Batch::default();
        let mut pending = Pending { records: Vec::new(), progress: None };
        for _ in 0..self.rng.u32(0..5) {
            let place = places[self.rng.usize(0..places.len())].clone();
            let size = self.rng.usize(8..600);
            let key = self.key(size);
            let mut record = record_at(key.clone(), self.now);
            if self.rng.u8(0..4) == 0 {
                let step = Step::Reply;
                let origin = Origin { trigger: "t".into(), partition: 0, offset: 0, step };
                record.envelope.origin = Some(origin);
            }
            batch.records.push((name(&place.0), place.1, record));
            pending.records.push((key, place));
        }
        if batch.records.is_empty() || self.rng.bool() {
            let place = places[self.rng.usize(0..places.len())].clone();
            batch.progress.push(self.progress(core, &place));
            let number = self.places[&place].progress_tried;
            pending.progress = Some((place, number));
        }
        (batch, pending)
    }

    fn key(&mut self, size: usize) -> String {
        self.next_key += 1;
        format!("{:0size$}", self.next_key)
    }

    /// Three records of the one size.
    fn aligned_batch(&mut self) -> (Batch, Pending) {
        let mut batch = Batch::default();
        let mut pending = Pending { records: Vec::new(), progress: None };
        for _ in 0..3 {
            let key = self.key(ALIGNED_KEY);
            batch.records.push((name(DEAD), 0, record_at(key.clone(), self.now)));
            pending.records.push((key, (DEAD.to_owned(), 0)));
        }
        (batch, pending)
    }

    /// The next progress: a head somewhere up to the end, and a row with a number by which it is recognised.
    fn progress(&mut self, core: &Core, place: &Place) -> ProgressUpdate {
        let known = self.places.entry(place.clone()).or_default();
        known.progress_tried += 1;
        known.head = self.rng.u64(known.head..=known.end.max(known.head));
        let state = known.progress_tried.to_le_bytes().to_vec().into();
        ProgressUpdate {
            topic: name(&place.0),
            partition: place.1,
            epoch: core.shared.epoch,
            head: Some(known.head),
            lanes: vec![("number".into(), Some(LaneProgress { low: None, state }.into()))],
        }
    }

    fn acknowledged(&mut self, pending: &Pending, stored: &Stored) -> Result<(), String> {
        if stored.positions.len() != pending.records.len() {
            return Err("positions are missing".into());
        }
        for ((key, place), (partition, offset)) in pending.records.iter().zip(&stored.positions) {
            if place.1 != *partition {
                return Err("stored in another partition".into());
            }
            let known = self.places.entry(place.clone()).or_default();
            if let Some(other) = known.stored.insert(*offset, key.clone()) {
                return Err(format!("offset {offset} of {place:?} was given to {other} and {key}"));
            }
            known.end = known.end.max(offset + 1);
        }
        if let Some((place, number)) = &pending.progress {
            let known = self.places.entry(place.clone()).or_default();
            known.progress = known.progress.max(*number);
        }
        Ok(())
    }

    /// Compares the log with what must be there; then what is there is certain.
    fn check(&mut self, core: &Core) -> Result<(), String> {
        let stats = core.shared.counters.snapshot();
        if stats.corrupt > 0 {
            return Err(format!("corruption reported: {:?}", core.shared.status().notices));
        }
        if std::mem::take(&mut self.doubtful) && !core.shared.topics.load().contains_key(&name(RETRY)) {
            self.places.remove(&(RETRY.to_owned(), 0));
        }
        let mut found: HashMap<String, (Place, u64)> = HashMap::new();
        let mut numbers: HashMap<Place, u64> = HashMap::new();
        let mut places: Vec<Place> = self.places.keys().cloned().collect();
        places.sort();
        for place in places {
            let topics = core.shared.topics.load();
            let topic = topics.get(&name(&place.0)).ok_or_else(|| format!("topic {} is gone", place.0))?;
            let partition = &topic.partitions[place.1 as usize];
            numbers.insert(place.clone(), self.check_progress(partition, &place)?);
            for (offset, key) in self.check_partition(core, partition, &place)? {
                if let Some(other) = found.insert(key.clone(), (place.clone(), offset)) {
                    return Err(format!("{key} is at {other:?} and at {offset} of {place:?}"));
                }
            }
        }
        self.settle_pending(&found, &numbers)?;
        let certain = self.places.values().flat_map(|known| known.stored.values());
        let certain: std::collections::HashSet<&String> = certain.collect();
        if let Some((key, place)) = found.iter().find(|(key, _)| !certain.contains(key)) {
            return Err(format!("{key} at {place:?} was never sent, or refused"));
        }
        Ok(())
    }

    fn check_progress(&mut self, partition: &Partition, place: &Place) -> Result<u64, String> {
        let view = partition.view();
        let number = view
            .progress
            .lanes
            .get("number")
            .map_or(0, |row| u64::from_le_bytes(row.state.as_ref().try_into().unwrap_or_default()));
        let known = self.places.entry(place.clone()).or_default();
        if number < known.progress || number > known.progress_tried {
            let (least, most) = (known.progress, known.progress_tried);
            return Err(format!("progress {number} of {place:?}; {least} was acknowledged, {most} tried"));
        }
        known.progress = number;
        known.progress_tried = number;
        known.head = view.progress.head;
        Ok(number)
    }

    fn check_partition(
        &mut self,
        core: &Core,
        partition: &Partition,
        place: &Place,
    ) -> Result<Vec<(u64, String)>, String> {
        let (start, end) = {
            let view = partition.view();
            (view.start, view.end)
        };
        let known = self.places.entry(place.clone()).or_default();
        if end < known.end {
            return Err(format!("{place:?} ends at {end}, but {} was acknowledged", known.end - 1));
        }
        let owed = known.head;
        if start > owed && place.0 != DEAD && self.on_full == OnFull::Refuse {
            return Err(format!("{place:?} starts at {start}, but {owed} is still owed"));
        }
        let entries = read_all(core, partition)?;
        if !entries.iter().map(|(offset, _)| *offset).eq(start..end) {
            let offsets: Vec<u64> = entries.iter().map(|(offset, _)| *offset).collect();
            return Err(format!("{place:?} from {start} to {end} holds {offsets:?}"));
        }
        for (offset, key) in &entries {
            if let Some(expected) = known.stored.get(offset).filter(|expected| *expected != key) {
                return Err(format!("{place:?} at {offset}: {key} instead of {expected}"));
            }
        }
        // What was let go is no longer looked for.
        known.stored.retain(|offset, _| *offset >= start);
        known.end = end;
        Ok(entries)
    }

    /// What was unknown is whole or absent, and from now on certain.
    fn settle_pending(
        &mut self,
        found: &HashMap<String, (Place, u64)>,
        numbers: &HashMap<Place, u64>,
    ) -> Result<(), String> {
        for pending in std::mem::take(&mut self.pending) {
            // A place that was deleted, or may have been, says nothing.
            let records: Vec<_> =
                pending.records.iter().filter(|(_, place)| self.places.contains_key(place)).collect();
            let there = records.iter().filter(|(key, _)| found.contains_key(key)).count();
            if there != 0 && there != records.len() {
                return Err(format!("{there} of the {} records of one append are there", records.len()));
            }
            let progress = pending.progress.filter(|(place, _)| self.places.contains_key(place));
            if let (Some((place, number)), false) = (&progress, records.is_empty()) {
                let saved = numbers.get(place).is_some_and(|saved| saved >= number);
                if saved != (there > 0) {
                    return Err(format!("records there: {there}, their progress saved: {saved}"));
                }
            }
            for (key, _) in records {
                if let Some((place, offset)) = found.get(key) {
                    self.places.entry(place.clone()).or_default().stored.insert(*offset, key.clone());
                }
            }
        }
        Ok(())
    }
}

fn add(seen: &mut Stats, stats: &Stats) {
    seen.appended_records += stats.appended_records;
    seen.quarantined += stats.quarantined;
    seen.retired_segments += stats.retired_segments;
    seen.carried_records += stats.carried_records;
    seen.expired_records += stats.expired_records;
    seen.refused_full += stats.refused_full;
    seen.refused_disk_full += stats.refused_disk_full;
}

fn prepare_ahead(core: &mut Core, disk: &SimulatedDisk, now: Timestamp) -> Result<(), Fatal> {
    let Some((number, seed)) = core.wants_segment(now) else { return Ok(()) };
    let prepared = prepare_segment(disk, LOG_ID, seed, number, SEGMENT);
    core.offer_segment(prepared, now)
}

pub(super) fn answered(mut append: Append) -> Option<Result<Stored, AppendError>> {
    let polled = std::pin::Pin::new(&mut append);
    match std::future::Future::poll(polled, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// All entries of a partition: offset and key. Damage is an error.
pub(super) fn read_all(core: &Core, partition: &Partition) -> Result<Vec<(u64, String)>, String> {
    let mut all = Vec::new();
    let mut from = 0;
    let limit = ReadLimit { bytes: 2000, entries: 7, wait: false };
    loop {
        let chunk = match read::plan(&core.shared, partition, from, limit) {
            Plan::Gone | Plan::AtEnd { .. } => return Ok(all),
            Plan::Tail { first, payloads } => read::decode_tail(first, payloads),
            Plan::Lost { from, to } => return Err(format!("{from}..{to} of {partition:?} is lost")),
            Plan::Disk { segment, from, to } => {
                read::from_disk(&core.shared, &segment, partition.home, (from, to), limit)
                    .map_err(|error| error.to_string())?
            }
        };
        for entry in &chunk.entries {
            let Content::Record(record) = &entry.content else {
                return Err(format!("offset {} of {partition:?} is damaged", entry.offset));
            };
            let key = record.envelope.key.as_deref().unwrap_or_default();
            all.push((entry.offset, String::from_utf8_lossy(key).into_owned()));
        }
        if chunk.next <= from && chunk.entries.is_empty() {
            return Err(format!("reading {partition:?} stands still at {from}"));
        }
        from = chunk.next;
    }
}

/// Appends the works that a test made; for tests beside the model.
pub(super) fn commit(core: &mut Core, batch: Batch, now: u64) -> Result<Stored, AppendError> {
    let (answer, append) = Append::pair();
    let work = prepare::prepare(batch, &core.shared.topics.load(), core.settings.append_bytes, answer);
    let mut works: Vec<Work> = match work {
        Ok(work) => vec![work],
        Err((error, _)) => return Err(error),
    };
    let _ = core.commit(&mut works, Timestamp::from_millis(now));
    answered(append).unwrap_or(Err(AppendError::Closed))
}

/// Whether more is asked for than a developer waits for.
pub(super) fn long_form() -> bool {
    number("PELTON_SEEDS").is_some_and(|seeds| seeds >= 10_000)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_history_keeps_what_was_acknowledged() {
    let seeds = match number("PELTON_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PELTON_SEEDS").unwrap_or(1_000),
    };
    let alone = seeds.end - seeds.start == 1;
    let mut seen = Stats::default();
    for seed in seeds {
        match run(seed, None) {
            Ok(stats) => add(&mut seen, &stats),
            Err(what) => panic!("seed {seed}: {what} (PELTON_SEED={seed} runs it alone)"),
        }
    }
    let everything = [
        seen.quarantined,
        seen.retired_segments,
        seen.carried_records,
        seen.expired_records,
        seen.refused_full,
        seen.refused_disk_full,
    ];
    assert!(alone || everything.iter().all(|count| *count > 20), "not all was tried: {seen:?}");
}

/// The test of the test: a log with a deliberate mistake must be found out.
#[allow(clippy::print_stdout, reason = "shown with --nocapture, to see how it was found")]
fn finds(mutation: Mutation) {
    let found = (0..10_000).find_map(|seed| run(seed, Some(mutation)).err().map(|what| (seed, what)));
    let Some((seed, what)) = found else { panic!("no seed finds {mutation:?}") };
    println!("seed {seed} finds {mutation:?}: {what}");
    assert!(run(seed, None).is_ok(), "seed {seed} fails without {mutation:?} too");
}

#[test]
fn a_log_without_syncs_is_found_out() {
    finds(Mutation::SkipSync);
}

#[test]
fn a_log_whose_checksums_do_not_know_their_segment_is_found_out() {
    finds(Mutation::ShareSeed);
}

#[test]
fn a_log_that_does_not_wait_for_the_predecessor_is_found_out() {
    finds(Mutation::OvertakeSync);
}
