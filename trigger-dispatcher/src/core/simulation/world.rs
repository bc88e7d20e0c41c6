//! The world around the core: time, log, answers, faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use pelton_event::Timestamp;
use pelton_event_log::{Batch, Bounds, Epoch, Offset};
use pelton_resources::Start;
use pelton_resources::contracts::Outcome;

use super::book::{Book, Known};
use super::log::Log;
use super::people::{self, Script};
use crate::core::action::{Admission, AttemptId, FetchId, ResolveId, SaveId, SweepId, Turn};
use crate::core::lane::Sizes;
use crate::core::open::End;
use crate::core::progress;
use crate::core::{BodyBudget, BrokerCore, CoreConfig, Opened};
use crate::select::TriggerTable;

/// A batch with a record as large as this is refused.
pub(super) const RECORD_BYTES_MAX: usize = 20_000;
pub(super) const START: u64 = 1_700_000_000_000;

/// What happens in a world, by its seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub crashes: bool,
    pub save_faults: bool,
    /// Space for records is short now and then.
    pub full: bool,
    pub edits: bool,
    pub moves: bool,
    pub expiry: bool,
    pub commands: bool,
    pub tiny: bool,
    /// The log stores each record by itself, as Kafka does: of a batch that fails, some may be stored.
    pub partial: bool,
    /// The disk spoils events.
    pub damage: bool,
    /// Partitions are added.
    pub grows: bool,
    pub tell: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let partial = rng.u8(..3) == 0;
        Self {
            crashes: rng.u8(..3) > 0,
            save_faults: partial || rng.bool(),
            edits: rng.bool(),
            moves: rng.u8(..6) == 0,
            expiry: rng.u8(..6) == 0,
            commands: rng.bool(),
            tiny: rng.bool(),
            partial,
            full: rng.u8(..3) == 0,
            damage: rng.u8(..4) == 0,
            grows: rng.u8(..4) == 0,
            tell: false,
        }
    }
}

#[derive(Debug)]
pub(super) enum Happening {
    Publish,
    Edit,
    Crash,
    Handover,
    Expire,
    Command,
    Damage,
    Grow,
    Gain(u32),
    Answer(u32, Answer),
}

#[derive(Debug)]
pub(super) enum Answer {
    /// Partition, its tenure, the first offset.
    Head(u32, u32, Offset),
    Retry(u32, u32, Offset),
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
pub(super) struct Share {
    pub cap: u32,
    pub total: u32,
    pub refused: bool,
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
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) queue: BTreeMap<(u64, u64), Happening>,
    pub(super) sequence: u64,
    pub(super) log: Log,
    pub(super) core: BrokerCore,
    /// Counts crashes: what an earlier life asked for is not answered any more.
    pub(super) life: u32,
    /// By partition: how often it was gained. What was taken in an earlier tenure and not saved may come again.
    pub(super) tenures: BTreeMap<u32, u32>,
    pub(super) crashed: bool,
    /// Nothing bad happens any more.
    pub(super) calm: bool,
    pub(super) share: Share,
    pub(super) budget: BodyBudget,
    pub(super) sizes: Sizes,
    pub(super) book: Book,
    pub(super) exists: Vec<bool>,
    pub(super) scripts: Vec<Script>,
    pub(super) sinks: Vec<Script>,
    /// Reads that wait for something to come.
    pub(super) waiting_head: BTreeMap<u32, Offset>,
    pub(super) waiting_retry: BTreeMap<u32, Offset>,
    /// Reads of the head that are under way.
    pub(super) reading: BTreeMap<u32, u32>,
    pub(super) owned: BTreeMap<u32, bool>,
    pub(super) tick_at: Option<u64>,
    pub(super) published: u64,
    pub(super) to_publish: u64,
    pub(super) replay_ids: u64,
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
                window_probed: rng.usize(1..4),
                retries_open_max: rng.usize(1..20),
                sink_pending_max: rng.usize(1..6),
                save_bytes: rng.usize(1..3_000),
                records_waiting_bytes: rng.usize(1..10_000),
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
            from_start: BTreeSet::new(),
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
            core: BrokerCore::new(config(partitions, &budget, sizes, seed), Arc::default()),
            life: 0,
            tenures: BTreeMap::new(),
            crashed: false,
            calm: false,
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

    pub(super) fn arrange(&mut self, until: u64) {
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
        some(self, self.plan.damage, 8, || Happening::Damage);
        some(self, self.plan.grows, 3, || Happening::Grow);
        self.begin_life();
    }

    pub(super) fn schedule(&mut self, after: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), happening);
    }

    pub(super) fn answer(&mut self, after: u64, answer: Answer) {
        self.schedule(after, Happening::Answer(self.life, answer));
    }

    pub(super) fn soon(&mut self) -> u64 {
        self.rng.u64(..10)
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        if self.plan.tell {
            #[expect(clippy::print_stdout, reason = "asked for")]
            {
                println!("{:>8} {}", self.now - START, text());
            }
        }
    }

    pub(super) fn table(&self) -> Arc<TriggerTable> {
        let triggers = self.book.known.iter().zip(&self.exists).filter(|(_, exists)| **exists);
        Arc::new(TriggerTable::new(triggers.map(|(known, _)| Arc::new(known.trigger.clone())).collect()))
    }

    pub(super) fn begin_life(&mut self) {
        self.life += 1;
        self.share.total = 0;
        self.tick_at = None;
        self.waiting_head.clear();
        self.waiting_retry.clear();
        self.reading.clear();
        let partitions = u32::try_from(self.owned.len()).unwrap();
        let mut config = config(partitions, &self.budget, self.sizes, self.rng.u64(..));
        if self.plan.partial {
            // More goes through the retry topic.
            config.wait_in_place_max = Duration::from_millis(100);
        }
        self.core = BrokerCore::new(config, self.table());
        assert_eq!(self.budget.used(), 0, "a dropped core still holds bodies");
        for partition in 0..partitions {
            self.owned.insert(partition, false);
            let after = self.soon();
            self.answer_gain(after, partition);
        }
    }

    pub(super) fn answer_gain(&mut self, after: u64, partition: u32) {
        self.schedule(after, Happening::Gain(partition));
    }

    pub(super) fn bounds(&self, partition: u32) -> Bounds {
        let kept = &self.log.events[partition as usize];
        Bounds { start: kept.start, end: kept.end() }
    }

    /// Where new triggers start is told to the core now.
    pub(super) fn note_candidates(&mut self, partition: u32, gained: bool) {
        let mut bounds = self.bounds(partition);
        let life = self.tenures[&partition];
        if gained && self.log.events[partition as usize].progress.head == 0 {
            // Nobody has dispatched it before: nothing of it is from before its triggers.
            bounds.end = bounds.start;
        }
        for (known, _) in self.book.known.iter_mut().zip(&self.exists).filter(|(_, exists)| **exists) {
            let in_life = known.candidate.get(&partition).is_some_and(|(of, _)| *of == life);
            if !known.registered.contains_key(&partition) && (gained || !in_life) {
                let from = if known.trigger.start == Start::Earliest { bounds.start } else { bounds.end };
                known.candidate.insert(partition, (life, from));
            }
        }
    }

    pub(super) fn gain(&mut self, partition: u32) {
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
    pub(super) fn turn(&mut self, input: impl FnOnce(&mut BrokerCore, &mut Turn<'_>)) {
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

    pub(super) fn check_core(&self) {
        let mut sent = 0;
        for partition in self.core.partitions.values() {
            for lane in partition.lanes.values() {
                let same = !self.plan.edits && !self.plan.moves;
                assert!(
                    !same || lane.events.len() <= lane.window_working(),
                    "a lane holds more than its window"
                );
                assert!(lane.sink_pending <= lane.events.len());
                sent += lane.used[0] + lane.used[1];
            }
            assert!(partition.sweeps.len() <= crate::limits::SWEEPS_MAX);
        }
        assert_eq!(sent, self.share.total, "permits leak");
        self.check_bodies();
    }

    /// Beyond the budget are at most what waits for the log, and one body of each lane.
    fn check_bodies(&self) {
        let mut most = self.budget.limit();
        for partition in self.core.partitions.values() {
            most += partition.saver.bytes_waiting();
            for lane in partition.lanes.values() {
                let opens = lane.events.iter().chain(lane.retries.iter());
                let bodies = opens.filter_map(|open| open.body.as_ref().map(crate::core::body::Body::bytes));
                most += bodies.max().unwrap_or_default();
            }
        }
        assert!(self.budget.used() <= most, "{} bytes of bodies, not {most}", self.budget.used());
    }

    pub(super) fn read_ledger(&mut self) {
        for (partition, key, origin, end) in std::mem::take(&mut self.core.shared.ledger) {
            if matches!(end, End::Moved | End::Superseded) || key.replay.is_some() {
                continue;
            }
            let name = &self.core.shared.trigger(key.trigger).name;
            let trigger = self.book.trigger_of(name.as_str()).unwrap();
            self.book.account((trigger, partition, origin)).ends.push(end);
        }
    }

    pub(super) fn step(&mut self) -> bool {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return false };
        self.now = at;
        match happening {
            Happening::Publish => self.publish(),
            Happening::Edit => self.edit(),
            Happening::Crash => self.crash(),
            Happening::Handover => self.handover(),
            Happening::Expire => self.expire(),
            Happening::Command => self.command(),
            Happening::Damage => self.damage(),
            Happening::Grow => self.grow(),
            Happening::Gain(partition) => self.gain(partition),
            Happening::Answer(life, answer) if life == self.life => self.answered(answer),
            Happening::Answer(..) => {}
        }
        true
    }

    pub(super) fn has_plans(&self) -> bool {
        self.queue.values().any(|happening| !matches!(happening, Happening::Answer(..)))
    }

    pub(super) fn run(mut self) {
        while self.has_plans() && self.step() {}
        // All triggers are there again, and everybody recovers: everything must come to its end.
        self.exists.fill(true);
        for known in &mut self.book.known {
            known.trigger.paused = false;
        }
        self.tell(|| "settles down".to_owned());
        self.calm = true;
        self.change_triggers();
        let deadline = self.now + 3_600_000;
        while !self.is_done() {
            assert!(self.now < deadline, "not done after an hour: {}", self.stuck());
            assert!(self.step(), "nothing happens any more");
        }
        self.stop();
        self.check_ends();
    }
}

pub(super) fn config(partitions: u32, budget: &BodyBudget, sizes: Sizes, seed: u64) -> CoreConfig {
    CoreConfig {
        take_over: false,
        topics: Log::new(0).topics,
        partitions,
        budget: budget.clone(),
        lane_concurrency_max: 8,
        wait_in_place_max: Duration::from_millis(1_500),
        save_interval: crate::limits::SAVE_INTERVAL,
        sizes,
        seed,
    }
}
