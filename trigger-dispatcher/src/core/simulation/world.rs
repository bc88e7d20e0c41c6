//! The world around the core: time, log, answers, faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use pelton_event::{Envelope, Origin, Record, Step, Timestamp};
use pelton_event_log::{AppendError, Batch, Bounds, Content, Epoch, Offset};
use pelton_resources::contracts::Outcome;
use pelton_resources::{Order, Start, Trigger};

use super::book::{Book, Known, Replay};
use super::log::Log;
use super::people::{self, Script};
use crate::core::action::{
    Action, Admission, Attempt, AttemptId, FetchId, ResolveId, SaveId, Source, SweepId, Target, Turn,
};
use crate::core::lane::Sizes;
use crate::core::open::End;
use crate::core::progress;
use crate::core::{BodyBudget, BrokerCore, CoreConfig, Opened};
use crate::schedule;
use crate::select::TriggerTable;

/// A batch with a record as large as this is refused.
pub(super) const RECORD_BYTES_MAX: usize = 20_000;
const START: u64 = 1_700_000_000_000;

/// What happens in a world, by its seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub crashes: bool,
    pub save_faults: bool,
    pub edits: bool,
    pub moves: bool,
    pub expiry: bool,
    pub commands: bool,
    pub tiny: bool,
    /// The log stores each record by itself, as Kafka does: of a batch that fails, some may be stored.
    pub partial: bool,
    pub tell: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        Self {
            crashes: rng.u8(..3) > 0,
            save_faults: rng.bool(),
            edits: rng.bool(),
            moves: rng.u8(..6) == 0,
            expiry: rng.u8(..6) == 0,
            commands: rng.bool(),
            tiny: rng.bool(),
            partial: rng.u8(..3) == 0,
            tell: false,
        }
    }
}

#[derive(Debug)]
enum Happening {
    Publish,
    Edit,
    Crash,
    Handover,
    Expire,
    Command,
    Gain(u32),
    Answer(u32, Answer),
}

#[derive(Debug)]
enum Answer {
    Head(u32, Offset),
    Retry(u32, Offset),
    Sweep(SweepId, Offset, usize),
    Fetch(FetchId),
    Resolve(ResolveId, Timestamp),
    Started(AttemptId),
    Ended(AttemptId, Outcome),
    Saved(SaveId, Box<Batch>),
    Room,
    Tick,
}

#[derive(Debug, Default)]
struct Share {
    cap: u32,
    total: u32,
    refused: bool,
}

impl Admission for Share {
    fn try_start(&mut self, of_trigger: u32) -> bool {
        let admitted = self.total < self.cap || (of_trigger == 0 && self.total < 2 * self.cap);
        self.total += u32::from(admitted);
        self.refused |= !admitted;
        admitted
    }

    fn end(&mut self, ended: u32) {
        assert!(self.total >= ended, "more deliveries ended than began");
        self.total -= ended;
    }
}

pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    log: Log,
    core: BrokerCore,
    /// Counts crashes: what an earlier life asked for is not answered any more.
    life: u32,
    /// By partition: how often it was gained. What was taken in an earlier tenure and not saved may come again.
    tenures: BTreeMap<u32, u32>,
    crashed: bool,
    share: Share,
    budget: BodyBudget,
    sizes: Sizes,
    book: Book,
    exists: Vec<bool>,
    scripts: Vec<Script>,
    sinks: Vec<Script>,
    /// Reads that wait for something to come.
    waiting_head: BTreeMap<u32, Offset>,
    waiting_retry: BTreeMap<u32, Offset>,
    /// Reads of the head that are under way.
    reading: BTreeMap<u32, u32>,
    owned: BTreeMap<u32, bool>,
    tick_at: Option<u64>,
    published: u64,
    to_publish: u64,
    replay_ids: u64,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng::with_seed(seed);
        let partitions = rng.u32(1..=2);
        let triggers = rng.usize(1..=4);
        let until = rng.u64(2_000..40_000);
        let sizes = if plan.tiny {
            Sizes {
                window: rng.usize(1..12),
                window_ordered: rng.usize(1..6),
                retries_open_max: rng.usize(1..20),
                sink_pending_max: rng.usize(1..6),
                save_bytes: rng.usize(1..3_000),
            }
        } else {
            Sizes::default()
        };
        let budget = BodyBudget::new(if plan.tiny { rng.usize(300..8_000) } else { 1 << 20 });
        let replies = rng.u8(..3) == 0;
        let known = (0..triggers).map(|number| Known {
            trigger: people::trigger(number, &mut rng),
            moved: false,
            order_changed: false,
            policy_changed: false,
            candidate: BTreeMap::new(),
            registered: BTreeMap::new(),
        });
        let book = Book { known: known.collect(), ..Book::default() };
        let script = |rng: &mut Rng| Script::random(rng, until, replies);
        let mut world = Self {
            plan,
            now: START,
            queue: BTreeMap::new(),
            sequence: 0,
            log: Log::new(partitions as usize),
            core: BrokerCore::new(config(partitions, &budget, seed), Arc::default()),
            life: 0,
            tenures: BTreeMap::new(),
            crashed: false,
            share: Share { cap: rng.u32(2..40), ..Share::default() },
            budget,
            sizes,
            exists: vec![true; triggers],
            scripts: (0..triggers).map(|_| script(&mut rng)).collect(),
            sinks: (0..triggers).map(|_| Script::random(&mut rng, until, replies)).collect(),
            book,
            waiting_head: BTreeMap::new(),
            waiting_retry: BTreeMap::new(),
            reading: BTreeMap::new(),
            owned: (0..partitions).map(|partition| (partition, false)).collect(),
            tick_at: None,
            published: 0,
            // Replies multiply.
            to_publish: rng.u64(1..if replies { 20 } else { 70 }),
            replay_ids: 0,
            rng,
        };
        world.arrange(until);
        world
    }

    fn arrange(&mut self, until: u64) {
        for _ in 0..self.to_publish {
            let at = self.rng.u64(..until);
            self.schedule(at, Happening::Publish);
        }
        let some = |world: &mut Self, wanted: bool, most: u64, make: fn() -> Happening| {
            for _ in 0..if wanted { world.rng.u64(..=most) } else { 0 } {
                let at = world.rng.u64(..until);
                world.schedule(at, make());
            }
        };
        some(self, self.plan.crashes, 4, || Happening::Crash);
        some(self, self.plan.crashes, 2, || Happening::Handover);
        some(self, self.plan.edits || self.plan.moves, 8, || Happening::Edit);
        some(self, self.plan.expiry, 2, || Happening::Expire);
        some(self, self.plan.commands, 3, || Happening::Command);
        self.begin_life();
    }

    fn schedule(&mut self, after: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), happening);
    }

    fn answer(&mut self, after: u64, answer: Answer) {
        self.schedule(after, Happening::Answer(self.life, answer));
    }

    fn soon(&mut self) -> u64 {
        self.rng.u64(..10)
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.plan.tell {
            #[expect(clippy::print_stdout, reason = "asked for")]
            {
                println!("{:>8} {}", self.now - START, text());
            }
        }
    }

    fn table(&self) -> Arc<TriggerTable> {
        let triggers = self.book.known.iter().zip(&self.exists).filter(|(_, exists)| **exists);
        Arc::new(TriggerTable::new(triggers.map(|(known, _)| Arc::new(known.trigger.clone())).collect()))
    }

    fn begin_life(&mut self) {
        self.life += 1;
        self.share.total = 0;
        self.tick_at = None;
        self.waiting_head.clear();
        self.waiting_retry.clear();
        self.reading.clear();
        let partitions = u32::try_from(self.owned.len()).unwrap();
        let config = config(partitions, &self.budget, self.rng.u64(..));
        self.core = BrokerCore::with_sizes(config, self.sizes, self.table());
        assert_eq!(self.budget.used(), 0, "a dropped core still holds bodies");
        for partition in 0..partitions {
            self.owned.insert(partition, false);
            let after = self.soon();
            self.answer_gain(after, partition);
        }
    }

    fn answer_gain(&mut self, after: u64, partition: u32) {
        self.schedule(after, Happening::Gain(partition));
    }

    fn bounds(&self, partition: u32) -> Bounds {
        let kept = &self.log.events[partition as usize];
        Bounds { start: kept.start, end: kept.end() }
    }

    /// Where new triggers start is told to the core now.
    fn note_candidates(&mut self, partition: u32, gained: bool) {
        let bounds = self.bounds(partition);
        let life = self.tenures[&partition];
        for (known, _) in self.book.known.iter_mut().zip(&self.exists).filter(|(_, exists)| **exists) {
            let in_life = known.candidate.get(&partition).is_some_and(|(of, _)| *of == life);
            if !known.registered.contains_key(&partition) && (gained || !in_life) {
                let from = if known.trigger.start == Start::Earliest { bounds.start } else { bounds.end };
                known.candidate.insert(partition, (life, from));
            }
        }
    }

    fn gain(&mut self, partition: u32) {
        if self.owned[&partition] {
            return;
        }
        self.owned.insert(partition, true);
        *self.tenures.entry(partition).or_default() += 1;
        self.note_candidates(partition, true);
        let (events, retry) = (&self.log.events[partition as usize], &self.log.retry[partition as usize]);
        let opened = Opened {
            epoch: Epoch(1),
            events: events.progress.clone(),
            events_bounds: self.bounds(partition),
            retry: retry.progress.clone(),
            retry_bounds: Bounds { start: retry.start, end: retry.end() },
        };
        self.tell(|| {
            let rows =
                opened.events.lanes.iter().map(|(name, row)| (name, progress::decode_events(&row.state)));
            let retries =
                opened.retry.lanes.iter().map(|(name, row)| (name, progress::decode_retry(&row.state)));
            let (rows, retries): (Vec<_>, Vec<_>) = (rows.collect(), retries.collect());
            let heads = (opened.events.head, opened.retry.head);
            format!("gains {partition} at {:?}, heads {heads:?}, {rows:?}, {retries:?}", opened.events_bounds)
        });
        self.turn(|core, turn| core.gained(partition, opened, turn).unwrap());
    }

    /// Gives the core an input and does what it asks for.
    fn turn(&mut self, input: impl FnOnce(&mut BrokerCore, &mut Turn<'_>)) {
        let mut actions = Vec::new();
        let now = Timestamp::from_millis(self.now);
        input(&mut self.core, &mut Turn { now, admission: &mut self.share, actions: &mut actions });
        self.check_core();
        self.read_ledger();
        for action in actions {
            self.act(action);
        }
        if self.share.refused && self.share.total < self.share.cap {
            self.share.refused = false;
            self.answer(1, Answer::Room);
        }
    }

    fn check_core(&self) {
        let mut sent = 0;
        for partition in self.core.partitions.values() {
            for lane in partition.lanes.values() {
                let same = !self.plan.edits && !self.plan.moves;
                assert!(!same || lane.events.len() <= lane.window(), "a lane holds more than its window");
                assert!(lane.sink_pending <= lane.events.len());
                sent += lane.used[0] + lane.used[1];
            }
            assert!(partition.sweeps.len() <= crate::limits::SWEEPS_MAX);
        }
        assert_eq!(sent, self.share.total, "permits leak");
    }

    fn read_ledger(&mut self) {
        for (partition, key, origin, end) in std::mem::take(&mut self.core.shared.ledger) {
            if matches!(end, End::Moved | End::Superseded) || key.replay.is_some() {
                continue;
            }
            let name = &self.core.shared.trigger(key.trigger).name;
            let trigger = self.book.trigger_of(name.as_str()).unwrap();
            self.book.account((trigger, partition, origin)).ends.push(end);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ReadHead { partition, from } => {
                *self.reading.entry(partition).or_default() += 1;
                assert_eq!(self.reading[&partition], 1, "two readers at the head");
                if from < self.log.events[partition as usize].end() {
                    let after = self.soon();
                    self.answer(after, Answer::Head(partition, from));
                } else {
                    self.waiting_head.insert(partition, from);
                }
            }
            Action::ReadRetry { partition, from } => {
                if from < self.log.retry[partition as usize].end() {
                    let after = self.soon();
                    self.answer(after, Answer::Retry(partition, from));
                } else {
                    self.waiting_retry.insert(partition, from);
                }
            }
            Action::Sweep { sweep, from, to, entries } => {
                assert!(from < to, "a sweep of nothing");
                let after = self.soon();
                self.answer(after, Answer::Sweep(sweep, from, entries));
            }
            Action::Fetch(fetch) => {
                let after = self.soon();
                self.answer(after, Answer::Fetch(fetch));
            }
            Action::Resolve { resolve, time } => {
                let after = self.rng.u64(..300);
                self.answer(after, Answer::Resolve(resolve, time));
            }
            Action::Attempt(attempt) => self.attempt(&attempt),
            Action::Save { save, batch } => {
                let after = self.rng.u64(1..40);
                self.answer(after, Answer::Saved(save, Box::new(batch)));
            }
            Action::WakeAt(at) => {
                self.tick_at = Some(at.as_millis());
                let after = at.as_millis().saturating_sub(self.now);
                self.answer(after, Answer::Tick);
            }
            Action::Stopped(partition) | Action::Lost(partition) => {
                self.tell(|| format!("gives {partition} up"));
                self.owned.insert(partition, false);
                self.reading.remove(&partition);
                self.waiting_head.remove(&partition);
                self.waiting_retry.remove(&partition);
                let after = self.rng.u64(1..500);
                self.answer_gain(after, partition);
            }
        }
    }

    fn attempt(&mut self, attempt: &Attempt) {
        let id = attempt.id;
        let origin = match id.source {
            Source::Events => id.offset,
            Source::Retry => self.origin_of_retry(id.partition, id.offset),
        };
        let trigger = self.book.trigger_of(attempt.trigger.name.as_str()).unwrap();
        let of = (trigger, id.partition, origin);
        self.tell(|| {
            format!("sends {of:?} {:?} to {:?} after {}", id, attempt.destination, attempt.attempts)
        });
        assert!(self.book.wants(&self.log, of), "{of:?} is sent to a trigger that does not want it");
        match id.lane.replay {
            Some(replay) => {
                self.book.replays.get_mut(&replay).unwrap().seen.insert(origin);
            }
            None => {
                if attempt.destination == Target::Subscriber && id.source == Source::Events {
                    self.check_order(of, id);
                }
                self.book.sends(
                    of,
                    attempt.destination,
                    attempt.attempts,
                    self.tenures[&id.partition],
                    self.now,
                );
            }
        }
        let script = match attempt.destination {
            Target::Subscriber => &self.scripts[trigger],
            Target::DeadLetterSink => &self.sinks[trigger],
        };
        let dead = attempt.event.attribute("knativeerrordest").is_some();
        assert_eq!(dead, attempt.destination == Target::DeadLetterSink, "only dead letters say what failed");
        let timeout = attempt.trigger.delivery.timeout;
        let (latency, outcome) = script.answer(self.now - START, &attempt.event, timeout, &mut self.rng);
        let mut wait = 1;
        if matches!(attempt.destination(), pelton_resources::Destination::Service { .. }) {
            wait += self.rng.u64(..300);
            self.answer(wait, Answer::Started(id));
        }
        self.answer(wait + latency, Answer::Ended(id, outcome));
    }

    fn origin_of_retry(&self, partition: u32, offset: Offset) -> Offset {
        let record = self.log.retry[partition as usize].record(offset).unwrap();
        record.envelope.origin.as_ref().unwrap().offset
    }

    /// In order means: first sent only after the predecessor's end.
    fn check_order(&mut self, of: super::book::EventOf, id: AttemptId) {
        for before in self.book.predecessors(of, &self.log) {
            let lane =
                self.core.partitions.get(&id.partition).and_then(|partition| partition.lanes.get(&id.lane));
            let open = lane.and_then(|lane| lane.events.get(before.2));
            let ended = open.is_some_and(|open| !open.is_in_chain())
                || self.book.has_end(before, self.tenures[&id.partition]);
            assert!(ended, "{of:?} is sent before {before:?} has its end");
        }
    }

    fn ended(&mut self, id: AttemptId, outcome: Outcome) {
        let origin = match id.source {
            Source::Events => id.offset,
            Source::Retry => self.origin_of_retry(id.partition, id.offset),
        };
        let known =
            self.core.partitions.get(&id.partition).and_then(|partition| partition.lanes.get(&id.lane));
        let open = known.and_then(|lane| lane.queue(id.source).get(id.offset));
        let current = open.filter(|open| {
            matches!(open.state, super::super::open::State::Sent { sequence, .. } if sequence == id.sequence)
        });
        if let Some(open) = current
            && id.lane.replay.is_none()
        {
            let (target, attempts) = (open.target, open.attempts);
            let name = self.core.shared.trigger(id.lane.trigger).name.clone();
            let trigger = self.book.trigger_of(name.as_str()).unwrap();
            let record = self.log.events[id.partition as usize].record(origin);
            let hops = record.map_or(0, |record| record.envelope.hops);
            let policy = self.book.known[trigger].trigger.delivery.clone();
            let (life, now) = (self.tenures[&id.partition], self.now);
            let account = self.book.account((trigger, id.partition, origin));
            let success = match &outcome {
                Outcome::Response(response) if (200..300).contains(&response.status) => {
                    response.reply.as_ref().ok()
                }
                _ => None,
            };
            match (success, target) {
                (Some(Some(_)), Target::Subscriber) if hops <= 1 => {}
                (Some(reply), Target::Subscriber) => {
                    account.success = Some(life);
                    account.successes += 1;
                    account.needs_reply = reply.is_some();
                }
                (Some(_), Target::DeadLetterSink) => account.sink = Some(life),
                (None, _) => {
                    let least = schedule::backoff(&policy, attempts + 1, 0.0);
                    account.failed = Some((life, now, u64::try_from(least.as_millis()).unwrap()));
                }
            }
        }
        self.tell(|| format!("answers {id:?}: {outcome:?}"));
        self.turn(|core, turn| core.attempt_ended(id, outcome, turn));
    }

    fn saved(&mut self, save: SaveId, batch: &Batch) {
        let size = |record: &Record| record.event.as_ref().map_or(0, pelton_event::Event::size);
        let bytes = batch.records.iter().map(|(_, _, record)| size(record)).max().unwrap_or_default();
        let error = if bytes >= RECORD_BYTES_MAX {
            Some(AppendError::TooLarge { bytes, max: RECORD_BYTES_MAX })
        } else if self.plan.save_faults && self.rng.u8(..12) == 0 {
            Some(AppendError::Busy)
        } else if self.plan.crashes && self.rng.u8(..200) == 0 {
            Some(AppendError::Fenced(self.log.topics.events.clone(), save.partition))
        } else {
            None
        };
        match error {
            Some(error) => {
                self.tell(|| format!("save failed: {error}"));
                if matches!(error, AppendError::Fenced(..)) {
                    self.crashed = true;
                }
                if !matches!(error, AppendError::TooLarge { .. }) {
                    self.store_part(save.partition, batch);
                }
                self.turn(|core, turn| core.save_failed(save, &error, turn));
            }
            None => {
                self.store(save.partition, batch);
                self.turn(|core, turn| core.saved(save, turn));
            }
        }
    }

    fn store(&mut self, partition: u32, batch: &Batch) {
        self.tell(|| {
            let heads: Vec<_> = batch
                .progress
                .iter()
                .map(|update| (update.topic.clone(), update.partition, update.head, update.lanes.len()))
                .collect();
            format!("stores {} records, progress {heads:?}", batch.records.len())
        });
        let before: Vec<_> = self.log.retry.iter().map(super::log::Kept::end).collect();
        self.log.apply(batch);
        self.book.stored(batch, &self.log, self.tenures[&partition], &before);
        self.wake_readers();
    }

    /// Some records of a batch that failed are in the log all the same.
    fn store_part(&mut self, partition: u32, batch: &Batch) {
        if !self.plan.partial || batch.records.is_empty() {
            return;
        }
        let most = self.rng.usize(..=batch.records.len());
        let records = batch.records.iter().take(most).cloned().collect();
        self.store(partition, &Batch { records, ..Batch::default() });
    }

    fn wake_readers(&mut self) {
        for (partition, from) in std::mem::take(&mut self.waiting_head) {
            if from < self.log.events[partition as usize].end() {
                let after = self.soon();
                self.answer(after, Answer::Head(partition, from));
            } else {
                self.waiting_head.insert(partition, from);
            }
        }
        for (partition, from) in std::mem::take(&mut self.waiting_retry) {
            if from < self.log.retry[partition as usize].end() {
                let after = self.soon();
                self.answer(after, Answer::Retry(partition, from));
            } else {
                self.waiting_retry.insert(partition, from);
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Head(partition, from) => {
                let most = self.rng.usize(1..30);
                let chunk = self.log.events[partition as usize].read(from, most);
                self.reading.remove(&partition);
                self.turn(|core, turn| core.head_read(partition, chunk, turn));
                let owned = self.core.partitions.get(&partition).is_some_and(|known| !known.stopping);
                assert!(!owned || self.reading.contains_key(&partition), "the head reader stalls");
            }
            Answer::Retry(partition, from) => {
                let most = self.rng.usize(1..30);
                let chunk = self.log.retry[partition as usize].read(from, most);
                self.turn(|core, turn| core.retry_read(partition, chunk, turn));
            }
            Answer::Sweep(sweep, from, entries) => {
                let most = entries.min(self.rng.usize(1..40));
                let chunk = self.log.events[sweep.partition as usize].read(from, most);
                self.turn(|core, turn| core.sweep_read(sweep, chunk, turn));
            }
            Answer::Fetch(fetch) => {
                let topic = if fetch.source == Source::Events { &self.log.events } else { &self.log.retry };
                let entry = topic[fetch.partition as usize].get(fetch.offset);
                self.turn(|core, turn| core.fetched(fetch, entry, turn));
            }
            Answer::Resolve(resolve, time) => {
                let kept = &self.log.events[resolve.partition as usize];
                let later =
                    |offset: &Offset| kept.record(*offset).is_some_and(|record| record.envelope.time >= time);
                let offset = (kept.start..kept.end()).find(later).unwrap_or(kept.end());
                self.turn(|core, turn| core.resolved(resolve, offset, turn));
            }
            Answer::Started(id) => self.turn(|core, turn| core.attempt_started(id, turn)),
            Answer::Ended(id, outcome) => self.ended(id, outcome),
            Answer::Saved(save, batch) => self.saved(save, &batch),
            Answer::Room => self.turn(|core, turn| core.admission_room(turn)),
            Answer::Tick => {
                if self.tick_at == Some(self.now) {
                    self.turn(|core, turn| core.tick(turn));
                }
            }
        }
    }

    fn publish(&mut self) {
        let partition = self.rng.usize(..self.log.events.len());
        let content = people::content(self.published, Timestamp::from_millis(self.now), &mut self.rng);
        self.published += 1;
        self.log.events[partition].contents.push(content);
        self.wake_readers();
    }

    /// Everything that is not saved and everything in flight is gone; what was on its way to the disk may be there or not.
    fn crash(&mut self) {
        self.tell(|| "crashes".to_owned());
        self.crashed = true;
        let life = self.life;
        for (_, happening) in std::mem::take(&mut self.queue) {
            match happening {
                Happening::Answer(of, Answer::Saved(save, batch)) if of == life => {
                    let size = |record: &Record| record.event.as_ref().map_or(0, pelton_event::Event::size);
                    let fits = batch.records.iter().all(|(_, _, record)| size(record) < RECORD_BYTES_MAX);
                    if fits && self.rng.bool() {
                        self.store(save.partition, &batch);
                    } else if fits {
                        self.store_part(save.partition, &batch);
                    }
                }
                Happening::Answer(..) | Happening::Gain(_) => {}
                other => {
                    self.sequence += 1;
                    let at = self.now + self.rng.u64(..5_000);
                    self.queue.insert((at, self.sequence), other);
                }
            }
        }
        self.core = BrokerCore::new(config(1, &self.budget, 0), Arc::default());
        self.begin_life();
    }

    /// A partition is given up and gained again.
    fn handover(&mut self) {
        let partition = self.rng.u32(..u32::try_from(self.owned.len()).unwrap());
        if !self.owned[&partition] {
            return;
        }
        self.tell(|| format!("stops {partition}"));
        self.turn(|core, turn| core.stop(partition, turn));
        if self.rng.bool() {
            // What was given back may have been taken outside.
            self.crashed = true;
            self.turn(|core, turn| core.abandon(partition, turn));
        }
    }

    fn edit(&mut self) {
        let number = self.rng.usize(..self.book.known.len());
        let known = &mut self.book.known[number];
        let trigger: &mut Trigger = &mut known.trigger;
        match self.rng.u8(..7) {
            0 => trigger.paused = !trigger.paused,
            1 => {
                trigger.delivery = people::policy(&mut self.rng);
                known.policy_changed = true;
            }
            2 => {
                trigger.order = [Order::Unordered, Order::Ordered, Order::Keyed][self.rng.usize(..3)];
                known.order_changed = true;
            }
            3 => trigger.max_concurrency = [None, Some(1), Some(4)][self.rng.usize(..3)],
            4 => self.exists[number] = !self.exists[number],
            5 if self.plan.moves => {
                known.moved = true;
                trigger.start_text = format!("s{}", self.rng.u8(..3));
                let then = Timestamp::from_millis(START + self.rng.u64(..10_000));
                trigger.start = [Start::Latest, Start::Earliest, Start::At(then)][self.rng.usize(..3)];
            }
            _ => trigger.max_rate = [None, Some(5.0), Some(100.0)][self.rng.usize(..3)],
        }
        self.tell(|| format!("edits trigger {number}, exists {}", self.exists[number]));
        self.change_triggers();
    }

    fn change_triggers(&mut self) {
        let table = self.table();
        let owned: Vec<_> =
            self.owned.iter().filter(|(_, owned)| **owned).map(|(partition, _)| *partition).collect();
        owned.iter().for_each(|partition| self.note_candidates(*partition, false));
        let bounds = owned.iter().map(|partition| (*partition, self.bounds(*partition))).collect();
        self.turn(|core, turn| core.triggers_changed(table, &bounds, turn));
    }

    /// Somebody replays events or a dead letter.
    fn command(&mut self) {
        let partition = self.rng.u32(..u32::try_from(self.owned.len()).unwrap());
        let dead = &self.log.dead[partition as usize];
        let pick = self.rng.u64(..dead.end().max(1));
        let letter = dead.record(pick).filter(|record| record.event.is_some()).cloned();
        let record = match letter {
            Some(letter) if self.rng.bool() => {
                let origin = letter.envelope.origin.clone().unwrap();
                let trigger = self.book.trigger_of(&origin.trigger).unwrap();
                let offset = self.log.retry[partition as usize].end();
                let account = self.book.account((trigger, partition, origin.offset));
                account.again = true;
                account.durable_attempts = [0; 2];
                self.book.enters_retry((trigger, partition, origin.offset), offset);
                let step = Step::Retry { attempts: 0, due: Timestamp::from_millis(self.now), failure: None };
                Record {
                    envelope: Envelope { origin: Some(Origin { step, ..origin }), ..letter.envelope },
                    ..letter
                }
            }
            _ => {
                let trigger = self.rng.usize(..self.book.known.len());
                if !self.exists[trigger] {
                    return;
                }
                let end = self.log.events[partition as usize].end();
                let from = self.rng.u64(..=end);
                let to = self.rng.u64(from..=end);
                self.replay_ids += 1;
                let id = self.replay_ids;
                let replay = Replay { trigger, partition, from, to, seen: std::collections::HashSet::new() };
                self.book.replays.insert(id, replay);
                for offset in from..to {
                    self.book.account((trigger, partition, offset)).again = true;
                }
                let name = self.book.known[trigger].trigger.name.as_str().into();
                let origin =
                    Origin { trigger: name, partition, offset: 0, step: Step::Replay { id, from, to } };
                Record::command(Envelope::new(Timestamp::from_millis(self.now)).with_origin(origin))
            }
        };
        self.tell(|| format!("commands {record:?}"));
        self.log.retry[partition as usize].contents.push(Content::Record(record));
        self.wake_readers();
    }

    fn expire(&mut self) {
        let partition = self.rng.usize(..self.log.events.len());
        let kept = &mut self.log.events[partition];
        kept.start = self.rng.u64(kept.start..=kept.end());
        self.tell(|| format!("expires {partition} up to {}", self.log.events[partition].start));
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return false };
        self.now = at;
        match happening {
            Happening::Publish => self.publish(),
            Happening::Edit => self.edit(),
            Happening::Crash => self.crash(),
            Happening::Handover => self.handover(),
            Happening::Expire => self.expire(),
            Happening::Command => self.command(),
            Happening::Gain(partition) => self.gain(partition),
            Happening::Answer(life, answer) if life == self.life => self.answered(answer),
            Happening::Answer(..) => {}
        }
        true
    }

    fn has_plans(&self) -> bool {
        self.queue.values().any(|happening| !matches!(happening, Happening::Answer(..)))
    }

    /// Whether nothing is owed any more, by the core's own word.
    fn is_done(&self) -> bool {
        self.owned.values().all(|owned| *owned)
            && self.core.partitions.values().all(|partition| {
                let log =
                    (&self.log.events[partition.number as usize], &self.log.retry[partition.number as usize]);
                partition.head >= log.0.end()
                    && partition.retry_head >= log.1.end()
                    && partition
                        .lanes
                        .values()
                        .all(|lane| lane.next.is_none() && lane.events.is_empty() && lane.retries.is_empty())
            })
    }

    fn stuck(&self) -> String {
        let mut text = String::new();
        for partition in self.core.partitions.values() {
            let end = self.log.events[partition.number as usize].end();
            text += &format!(
                "partition {} head {} of {end}, sweeps {:?}; ",
                partition.number, partition.head, partition.sweeps
            );
            for lane in partition.lanes.values().filter(|lane| !lane.is_idle()) {
                text += &format!("{lane:?}; ");
            }
        }
        text
    }

    pub(super) fn run(mut self) {
        while self.has_plans() && self.step() {}
        // All triggers are there again, and everybody recovers: everything must come to its end.
        self.exists.fill(true);
        for known in &mut self.book.known {
            known.trigger.paused = false;
        }
        self.tell(|| "settles down".to_owned());
        self.change_triggers();
        let deadline = self.now + 3_600_000;
        while !self.is_done() {
            assert!(self.now < deadline, "not done after an hour: {}", self.stuck());
            assert!(self.step(), "nothing happens any more");
        }
        self.stop();
        self.check_ends();
    }

    fn stop(&mut self) {
        let total: Vec<_> = self.core.counters();
        let owned: Vec<_> = self.owned.keys().copied().collect();
        for partition in owned {
            self.turn(|core, turn| core.stop(partition, turn));
        }
        let deadline = self.now + 600_000;
        while !self.core.partitions.is_empty() {
            assert!(self.now < deadline, "it does not stop: {}", self.stuck());
            // Nothing is gained any more.
            self.queue.retain(|_, happening| !matches!(happening, Happening::Gain(_)));
            assert!(self.step(), "it never stops");
        }
        for (name, counters) in total {
            for (gauge, what) in [
                (&counters.owed, "owed"),
                (&counters.due, "due"),
                (&counters.in_flight, "in flight"),
                (&counters.probed, "probed"),
                (&counters.uncertain, "uncertain"),
                (&counters.unregistered, "unregistered"),
                (&counters.parallelism, "parallelism"),
            ] {
                assert_eq!(gauge.load(Relaxed), 0, "{what} of {name} after the stop");
            }
        }
        assert_eq!(self.budget.used(), 0, "bodies are left");
        assert_eq!(self.share.total, 0, "permits are left");
    }

    fn check_ends(&mut self) {
        for partition in 0..u32::try_from(self.log.events.len()).unwrap() {
            let kept = &self.log.events[partition as usize];
            assert_eq!(kept.progress.head, kept.end(), "the head is not saved");
            for (name, row) in
                kept.progress.lanes.iter().chain(&self.log.retry[partition as usize].progress.lanes)
            {
                assert_eq!(row.low, None, "row {name} still owes something");
                assert!(!name.starts_with("replay/"), "replay {name} is not done");
            }
            for offset in 0..kept.end() {
                let undecodable =
                    matches!(kept.contents[usize::try_from(offset).unwrap()], Content::Undecodable { .. });
                let kept_letters =
                    self.book.undecodable.get(&(partition, offset)).copied().unwrap_or_default();
                if offset >= kept.start {
                    let kept_letters = if self.plan.partial { kept_letters.min(1) } else { kept_letters };
                    assert_eq!(kept_letters, u32::from(undecodable), "dead letters of {partition}/{offset}");
                }
            }
            for trigger in 0..self.book.known.len() {
                self.check_ends_of(trigger, partition);
            }
        }
        for (id, replay) in std::mem::take(&mut self.book.replays) {
            let known = &self.book.known[replay.trigger];
            if known.moved || self.plan.edits || self.plan.moves {
                continue;
            }
            for offset in replay.from.max(self.log.events[replay.partition as usize].start)..replay.to {
                let wanted = self.book.wants(&self.log, (replay.trigger, replay.partition, offset));
                assert!(!wanted || replay.seen.contains(&offset), "replay {id} left {offset} out");
            }
        }
    }

    fn check_ends_of(&mut self, trigger: usize, partition: u32) {
        let known = self.book.known[trigger].clone();
        if known.moved {
            return;
        }
        let Some(from) = known.registered.get(&partition).copied() else {
            panic!("trigger {trigger} is not registered in {partition}");
        };
        let kept = self.log.events[partition as usize].clone();
        for offset in 0..kept.end() {
            let of = (trigger, partition, offset);
            let account = self.book.accounts.get(&of).cloned().unwrap_or_default();
            if !self.book.wants(&self.log, of) || offset < from {
                // A crash before the registration is durable registers anew.
                let excused = account.again || self.crashed;
                assert!(account.sent == 0 || excused, "{of:?} is sent before the trigger's start");
                continue;
            }
            if account.again || offset < kept.start {
                continue;
            }
            assert!(account.settled, "{of:?} has no end: {account:?}");
            assert!(account.ends.len() <= 1, "{of:?} has more than one end: {account:?}");
            assert!(account.dead <= 1 || self.plan.partial, "{of:?} is kept twice: {account:?}");
            assert!(account.sent > 0, "{of:?} was never sent: {account:?}");
            if self.crashed {
                continue;
            }
            let [end] = account.ends[..] else { panic!("{of:?} has no end: {account:?}") };
            let taken = (account.successes, u32::from(account.sink.is_some()), account.dead.min(1));
            match end {
                End::Delivered => assert_eq!(taken, (1, 0, 0), "{of:?}"),
                End::DeadLettered => assert_eq!((taken.1, taken.2), (1, 0), "{of:?}"),
                End::Kept => assert_eq!((taken.1, taken.2), (0, 1), "{of:?}"),
                other => panic!("{of:?} ended as {other:?}"),
            }
        }
    }
}

fn config(partitions: u32, budget: &BodyBudget, seed: u64) -> CoreConfig {
    CoreConfig {
        topics: Log::new(0).topics,
        partitions,
        budget: budget.clone(),
        lane_concurrency_max: 8,
        wait_in_place_max: Duration::from_millis(1_500),
        seed,
    }
}
