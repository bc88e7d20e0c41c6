//! The core with one partition, step by step.

mod damage;
mod fairness;
mod memory;
mod refusals;
mod restarts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use pelton_event::{
    DeadLetterReason, Envelope, Event, EventBuilder, Kind, Record, SpecVersion, Step, Timestamp,
};
use pelton_event_log::{
    AppendError, Batch, Bounds, BrokerTopics, Chunk, Content, Entry, Epoch, Offset, Progress, ProgressUpdate,
    Urgency,
};
use pelton_filter::{Expression, Filter};
use pelton_resources::contracts::{Outcome, Response};
use pelton_resources::{DeliveryPolicy, Destination, NamespacedName, Order, Start, Trigger};

use super::action::{Action, Admission, Attempt, Expired, SaveId, Turn};
use super::body::BodyBudget;
use super::broker::{BrokerCore, CoreConfig, Opened};
use super::lane::Sizes;
use super::shared::Timer;
use crate::limits;
use crate::select::TriggerTable;
use crate::testing::trigger;

fn config(budget: usize, sizes: Sizes) -> CoreConfig {
    CoreConfig {
        take_over: false,
        topics: BrokerTopics::of("events"),
        partitions: 1,
        budget: BodyBudget::new(budget),
        lane_concurrency_max: limits::LANE_CONCURRENCY_MAX,
        wait_in_place_max: limits::WAIT_IN_PLACE_MAX,
        save_interval: limits::SAVE_INTERVAL,
        sizes,
        seed: 1,
    }
}

struct Everything;

impl Admission for Everything {
    fn try_start(&mut self, _: u32) -> bool {
        true
    }

    fn end(&mut self, _: u32) {}
}

type Refuse = dyn Fn(&Batch) -> Option<AppendError>;

/// A core with one partition whose log takes everything at once.
struct Bench {
    core: BrokerCore,
    sizes: Sizes,
    now: u64,
    log: Vec<Record>,
    /// What is before it is gone.
    kept_from: Offset,
    expired: Vec<Expired>,
    /// What cannot be read any more.
    damaged: BTreeSet<Offset>,
    events: Progress,
    retry: Progress,
    retry_bounds: Bounds,
    attempts: VecDeque<Attempt>,
    saves: VecDeque<(SaveId, Batch)>,
    triggers: Vec<Arc<Trigger>>,
    dead_letters: usize,
    /// The triggers of these.
    dead_letters_of: Vec<Box<str>>,
    /// Says which saves the log does not take.
    refuse: Box<Refuse>,
}

impl Bench {
    fn new(triggers: Vec<Trigger>) -> Self {
        Self::with_budget(triggers, 1 << 20)
    }

    fn with_budget(triggers: Vec<Trigger>, budget: usize) -> Self {
        Self::with(triggers, budget, Sizes::default())
    }

    fn with(triggers: Vec<Trigger>, budget: usize, sizes: Sizes) -> Self {
        let triggers: Vec<_> = triggers.into_iter().map(Arc::new).collect();
        let core = BrokerCore::new(config(budget, sizes), Arc::new(TriggerTable::new(triggers.clone())));
        let mut bench = Self {
            core,
            sizes,
            now: 1_000_000,
            log: Vec::new(),
            kept_from: 0,
            expired: Vec::new(),
            damaged: BTreeSet::new(),
            events: Progress::default(),
            retry: Progress::default(),
            retry_bounds: Bounds { start: 0, end: 0 },
            attempts: VecDeque::new(),
            saves: VecDeque::new(),
            triggers,
            dead_letters: 0,
            dead_letters_of: Vec::new(),
            refuse: Box::new(|_| None),
        };
        bench.gain();
        bench
    }

    fn gain(&mut self) {
        let opened = Opened {
            epoch: Epoch(1),
            events: self.events.clone(),
            events_bounds: self.bounds(),
            retry: self.retry.clone(),
            retry_bounds: self.retry_bounds,
        };
        self.turn(|core, turn| core.gained(0, opened, turn).unwrap());
    }

    /// All that is not saved is gone, and somebody takes over.
    fn restart(&mut self) {
        let table = Arc::new(TriggerTable::new(self.triggers.clone()));
        self.core = BrokerCore::new(config(1 << 20, self.sizes), table);
        self.attempts.clear();
        self.saves.clear();
        self.gain();
    }

    fn bounds(&self) -> Bounds {
        Bounds { start: self.kept_from, end: self.log.len() as Offset }
    }

    fn turn(&mut self, input: impl FnOnce(&mut BrokerCore, &mut Turn<'_>)) {
        let mut actions = Vec::new();
        let now = Timestamp::from_millis(self.now);
        input(&mut self.core, &mut Turn { now, admission: &mut Everything, actions: &mut actions });
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Attempt(attempt) => self.attempts.push_back(attempt),
                Action::Expired(expired) => self.expired.push(expired),
                Action::Save { save, batch } => self.saves.push_back((save, batch)),
                Action::Sweep { sweep, from, entries, .. } => {
                    let chunk = self.read(from, entries);
                    self.turn(|core, turn| core.sweep_read(sweep, chunk, turn));
                }
                Action::Fetch(fetch) => {
                    let mut entries = self.read(fetch.offset, 1).entries;
                    let entry = entries.pop().filter(|entry| entry.offset == fetch.offset);
                    self.turn(|core, turn| core.fetched(fetch, entry, turn));
                }
                _ => {}
            }
        }
    }

    fn read(&self, from: Offset, most: usize) -> Chunk {
        let start = from.max(self.kept_from);
        let entries = self.log.iter().zip(0..).skip(usize::try_from(start).unwrap()).take(most);
        let entry = |(record, offset): (&Record, Offset)| {
            let spoilt = || Content::Undecodable { reason: "spoilt".into(), bytes: Bytes::new() };
            let content =
                if self.damaged.contains(&offset) { spoilt() } else { Content::Record(record.clone()) };
            Entry { offset, content }
        };
        let entries: Vec<_> = entries.map(entry).collect();
        let next = entries.last().map_or(start, |last| last.offset + 1);
        Chunk { entries, next, kept_from: (start > from).then_some(start) }
    }

    /// Events come into the log.
    fn publish(&mut self, events: impl IntoIterator<Item = Event>) {
        let time = Timestamp::from_millis(self.now);
        self.log.extend(
            events.into_iter().map(|event| Record::new(Envelope::of_event(&event, time, None), event)),
        );
    }

    /// Events arrive and the head reader brings them.
    fn arrive(&mut self, events: impl IntoIterator<Item = Event>) {
        let from = self.core.partitions[&0].head;
        self.publish(events);
        let chunk = self.read(from, usize::MAX);
        self.turn(|core, turn| core.head_read(0, chunk, turn));
    }

    fn end(&mut self, attempt: &Attempt, outcome: Outcome) {
        self.turn(|core, turn| core.attempt_ended(attempt.id, outcome, turn));
    }

    /// Lets time pass, in steps of 50 ms; every save succeeds at once.
    fn pass(&mut self, time: Duration) {
        let end = self.now + u64::try_from(time.as_millis()).unwrap();
        while self.now < end {
            self.now = (self.now + 50).min(end);
            self.turn(BrokerCore::tick);
            self.store();
        }
    }

    fn store(&mut self) {
        while self.store_one() {}
    }

    /// The save under way succeeds; answers whether there was one.
    fn store_one(&mut self) -> bool {
        let Some((save, batch)) = self.saves.pop_front() else { return false };
        if let Some(error) = (self.refuse)(&batch) {
            self.turn(|core, turn| core.save_failed(save, &error, turn));
            return true;
        }
        for (topic, _, record) in &batch.records {
            if topic.as_str() == "events_dead-letter" {
                self.dead_letters += 1;
                self.dead_letters_of.push(record.envelope.origin.as_ref().unwrap().trigger.clone());
            }
        }
        for ProgressUpdate { topic, head, lanes, .. } in batch.progress {
            let progress = if topic.as_str() == "events" { &mut self.events } else { &mut self.retry };
            progress.head = head.unwrap_or(progress.head);
            for (name, row) in lanes {
                match row {
                    Some(row) => progress.lanes.insert(name, row),
                    None => progress.lanes.remove(&name),
                };
            }
        }
        self.turn(|core, turn| core.saved(save, turn));
        true
    }

    fn set_triggers(&mut self, triggers: Vec<Trigger>) {
        self.triggers = triggers.into_iter().map(Arc::new).collect();
        let table = Arc::new(TriggerTable::new(self.triggers.clone()));
        let bounds = BTreeMap::from([(0, self.bounds())]);
        self.turn(|core, turn| core.triggers_changed(table, &bounds, turn));
        self.store();
    }

    fn count(&self, name: &str, counter: fn(&super::TriggerCounters) -> i64) -> i64 {
        let counters = self.core.counters();
        let (_, counters) = counters.iter().find(|(known, _)| known.name() == name).unwrap();
        counter(counters)
    }

    fn lanes(&self) -> usize {
        self.core.partitions[&0].lanes.len()
    }
}

fn event(id: u64, of_type: &str, size: usize) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", id.to_string().as_str()), ("source", "/s"), ("type", of_type)] {
        builder.attribute(name, value.to_owned(), Kind::String).unwrap();
    }
    builder.build(Some(Bytes::from(vec![0; size]))).unwrap()
}

fn status(status: u16) -> Outcome {
    Outcome::Response(Response { status, retry_after: None, reply: Ok(None), body: Bytes::new() })
}

fn only(of_type: &str, name: &str) -> Trigger {
    let exact = Expression::Exact([("type".to_owned(), of_type.to_owned())].into_iter().collect());
    Trigger { filter: Arc::new(Filter::compile(&exact).unwrap()), ..trigger(name) }
}

fn delivered(counters: &super::TriggerCounters) -> i64 {
    counters.delivered.load(Relaxed).cast_signed()
}

fn owed(counters: &super::TriggerCounters) -> i64 {
    counters.owed.load(Relaxed)
}

#[test]
fn an_end_counts_once_it_is_durable() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    bench.arrive([event(1, "a", 10)]);
    let attempt = bench.attempts.pop_front().unwrap();
    assert_eq!(bench.count("t", owed), 1);
    bench.end(&attempt, status(200));
    assert_eq!((bench.count("t", owed), bench.count("t", delivered)), (0, 0));
    bench.pass(limits::SAVE_INTERVAL * 3 / 4);
    assert_eq!(bench.count("t", delivered), 1);
    assert_eq!((bench.events.head, bench.events.lanes["default/t"].low), (1, None));
}

#[test]
fn progress_that_nobody_waits_for_does_and_a_registration_does_not() {
    let mut bench = Bench::new(vec![trigger("t")]);
    assert_eq!(bench.saves[0].1.urgency, Urgency::Now);
    assert_eq!(bench.count("t", |counters| counters.unregistered.load(Relaxed)), 1);
    bench.store();
    assert_eq!(bench.count("t", |counters| counters.unregistered.load(Relaxed)), 0);
    bench.arrive([event(1, "a", 10)]);
    assert!(bench.saves.is_empty());
    bench.now += 149;
    bench.turn(BrokerCore::tick);
    assert!(bench.saves.is_empty());
    bench.now += 1;
    bench.turn(BrokerCore::tick);
    assert_eq!(bench.saves[0].1.urgency, Urgency::Within(limits::SAVE_INTERVAL / 4));
}

#[test]
fn idle_triggers_hold_no_lane() {
    let triggers = (0..1_000).map(|number| only("never", &format!("t{number}"))).chain([trigger("all")]);
    let mut bench = Bench::new(triggers.collect());
    bench.store();
    bench.arrive((0..10).map(|id| event(id, "a", 10)));
    assert_eq!(bench.lanes(), 1);
    while let Some(attempt) = bench.attempts.pop_front() {
        bench.end(&attempt, status(200));
    }
    bench.pass(limits::IDLE_LANE_KEPT + 3 * limits::HOUSEKEEPING_EVERY);
    assert_eq!(bench.lanes(), 0);
    assert_eq!(bench.events.lanes.len(), 1_001);
}

#[test]
fn a_slow_lane_detaches_and_catches_up_while_others_go_on() {
    let mut bench = Bench::new(vec![trigger("slow"), trigger("fast")]);
    let events = limits::WINDOW as u64 + 500;
    let mut slow = VecDeque::new();
    for id in 0..events {
        bench.arrive([event(id, "a", 10)]);
        bench.store();
        while let Some(attempt) = bench.attempts.pop_front() {
            match attempt.trigger.name.name() {
                "fast" => bench.end(&attempt, status(200)),
                _ => slow.push_back(attempt),
            }
        }
    }
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.count("fast", delivered), events.cast_signed());
    assert_eq!(bench.count("slow", owed), events.cast_signed());
    let row = &bench.events.lanes["default/slow"];
    assert_eq!((bench.events.head, row.low), (events, Some(0)));
    while !slow.is_empty() {
        while let Some(attempt) = slow.pop_front() {
            bench.end(&attempt, status(200));
            slow.append(&mut bench.attempts);
        }
        bench.pass(Duration::from_millis(200));
        slow.append(&mut bench.attempts);
    }
    assert_eq!((bench.count("slow", delivered), bench.count("slow", owed)), (events.cast_signed(), 0));
    assert_eq!(bench.events.lanes["default/slow"].low, None);
}

#[test]
fn a_broken_subscriber_gets_one_event_at_a_time_and_its_backlog_stays_in_the_log() {
    let delivery = DeliveryPolicy { backoff_delay: Duration::from_secs(60), ..DeliveryPolicy::default() };
    let mut bench = Bench::new(vec![Trigger { delivery, ..trigger("t") }]);
    bench.arrive((0..100).map(|id| event(id, "a", 10)));
    let first: Vec<_> = bench.attempts.drain(..).collect();
    assert_eq!(first.len(), limits::LANE_CONCURRENCY_START as usize);
    for attempt in &first {
        bench.end(attempt, status(500));
    }
    // Until it counted as broken, some moved to the retry topic and others took their places.
    let more: Vec<_> = bench.attempts.drain(..).collect();
    for attempt in &more {
        bench.end(attempt, status(500));
    }
    assert_eq!(bench.count("t", |counters| counters.probed.load(Relaxed)), 1);
    bench.pass(Duration::from_secs(180));
    assert_eq!(bench.attempts.len(), 1, "one probe");
    assert_eq!(bench.count("t", |counters| counters.due.load(Relaxed)), 0);
    let probe = bench.attempts.pop_front().unwrap();
    bench.end(&probe, status(200));
    assert_eq!(bench.count("t", |counters| counters.probed.load(Relaxed)), 0);
    assert!(bench.attempts.len() > 1, "one success reopens the window");
}

#[test]
fn what_a_deleted_trigger_owes_waits_seven_days_and_is_withdrawn() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.arrive((0..40).map(|id| event(id, "a", 10)));
    bench.set_triggers(vec![]);
    let in_flight = std::mem::take(&mut bench.attempts);
    for attempt in &in_flight {
        bench.end(attempt, status(200));
    }
    bench.arrive((40..50).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(2));
    let left = 40 - in_flight.len() as i64;
    assert_eq!((bench.count("t", owed), bench.attempts.len()), (left, 0));
    assert_eq!(bench.events.lanes["default/t"].low, Some(in_flight.len() as Offset));
    let counters = bench.core.counters()[0].1.clone();
    bench.now += u64::try_from(limits::DELETED_TRIGGER_KEPT.as_millis()).unwrap();
    bench.pass(Duration::from_secs(5));
    assert_eq!((counters.withdrawn.load(Relaxed).cast_signed(), owed(&counters)), (left, 0));
    assert!(bench.events.lanes.is_empty(), "{:?}", bench.events.lanes);
    // Nothing tells of it any more, and its place is another one's.
    bench.pass(Duration::from_secs(2));
    assert!(bench.core.counters().is_empty());
    bench.set_triggers(vec![trigger("other")]);
    bench.arrive([event(60, "a", 10)]);
    assert_eq!((bench.attempts.len(), bench.core.shared.triggers.len()), (1, 1));
    assert_eq!(bench.count("other", owed), 1);
    assert_eq!(bench.core.counters().len(), 1);
}

#[test]
fn who_loses_and_regains_all_partitions_keeps_house_once_a_second() {
    let mut bench = Bench::new(vec![trigger("t")]);
    for _ in 0..5 {
        bench.turn(|core, turn| core.lost(0, turn));
        bench.gain();
    }
    bench.store();
    let ticks = |bench: &mut Bench| {
        std::iter::from_fn(|| bench.core.shared.timers.pop_due(Timestamp::from_millis(bench.now)))
            .filter(|timer| matches!(timer, Timer::Housekeeping))
            .count()
    };
    bench.now += 10_000;
    assert_eq!(ticks(&mut bench), 1);
}

#[test]
fn an_event_without_hops_does_not_go_to_another_broker() {
    let to = Destination::Broker(NamespacedName::new("default", "other"));
    let mut bench = Bench::new(vec![Trigger { subscriber: Some(to), ..trigger("t") }]);
    bench.store();
    let (from, time) = (bench.core.partitions[&0].head, Timestamp::from_millis(bench.now));
    for (id, hops) in [(0, 0), (1, 1)] {
        let event = event(id, "a", 10);
        bench.log.push(Record::new(Envelope::of_event(&event, time, None).with_hops(hops), event));
    }
    let chunk = bench.read(from, 2);
    bench.turn(|core, turn| core.head_read(0, chunk, turn));
    assert_eq!(bench.attempts.iter().map(|attempt| attempt.event.id()).collect::<Vec<_>>(), ["1"]);
    let (_, batch) = bench.saves.front().unwrap();
    let step = batch.records[0].2.envelope.step().unwrap();
    assert!(matches!(step, Step::DeadLetter { failure, .. } if failure.reason == DeadLetterReason::Loop));
}

#[test]
fn a_trigger_created_again_goes_on_where_it_stopped() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.set_triggers(vec![]);
    bench.arrive((0..5).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(3600));
    bench.set_triggers(vec![trigger("t")]);
    let ids: Vec<_> = bench.attempts.iter().map(|attempt| attempt.event.id().to_owned()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_start_is_applied_once() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.arrive((0..5).map(|id| event(id, "a", 10)));
    for attempt in std::mem::take(&mut bench.attempts) {
        bench.end(&attempt, status(200));
    }
    bench.pass(Duration::from_secs(1));
    let earliest = Trigger { start: Start::Earliest, start_text: "earliest".into(), ..trigger("t") };
    bench.set_triggers(vec![earliest.clone()]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.attempts.len(), 5, "all once more");
    for attempt in std::mem::take(&mut bench.attempts) {
        bench.end(&attempt, status(200));
    }
    bench.pass(Duration::from_secs(1));
    bench.set_triggers(vec![Trigger { max_concurrency: Some(9), ..earliest }]);
    bench.pass(Duration::from_secs(1));
    assert!(bench.attempts.is_empty());
}

#[test]
fn a_paused_trigger_keeps_its_events_waiting() {
    let mut bench = Bench::new(vec![Trigger { paused: true, ..trigger("t") }]);
    bench.arrive((0..3).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(5));
    assert_eq!((bench.attempts.len(), bench.count("t", owed)), (0, 3));
    bench.set_triggers(vec![trigger("t")]);
    assert_eq!(bench.attempts.len(), 3);
}

#[test]
fn ordered_lanes_send_one_at_a_time_and_keep_their_place_over_a_restart() {
    let ordered = Trigger { order: Order::Ordered, ..trigger("t") };
    let mut bench = Bench::new(vec![ordered]);
    bench.arrive((0..3).map(|id| event(id, "a", 10)));
    let attempt = bench.attempts.pop_front().unwrap();
    assert!(bench.attempts.is_empty());
    bench.end(&attempt, status(500));
    bench.pass(Duration::from_millis(180));
    // It crashes: the attempt that was made counts, its successors wait.
    bench.restart();
    bench.pass(Duration::from_secs(1));
    let [attempt] = &bench.attempts.make_contiguous() else { panic!("not one attempt") };
    assert_eq!((attempt.event.id(), attempt.attempts), ("0", 1));
}

#[test]
fn what_nobody_takes_is_kept() {
    let delivery = DeliveryPolicy { retry: 0, ..DeliveryPolicy::default() };
    let mut bench = Bench::new(vec![Trigger { delivery, ..trigger("t") }]);
    bench.arrive([event(1, "a", 10)]);
    let attempt = bench.attempts.pop_front().unwrap();
    bench.end(&attempt, status(500));
    bench.store();
    let kept = bench.count("t", |counters| counters.kept.load(Relaxed).cast_signed());
    assert_eq!((kept, bench.dead_letters), (1, 1));
}

#[test]
fn a_partition_that_was_never_dispatched_is_served_from_its_start() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.publish((0..3).map(|id| event(id, "a", 10)));
    bench.restart();
    bench.store();
    bench.arrive([event(3, "a", 10)]);
    assert_eq!(bench.attempts.len(), 4);
    for attempt in std::mem::take(&mut bench.attempts) {
        bench.end(&attempt, status(200));
    }
    bench.pass(Duration::from_secs(1));
    // From now on a new trigger starts at the end.
    bench.publish([event(4, "a", 10)]);
    bench.triggers.push(Arc::new(trigger("new")));
    bench.restart();
    bench.store();
    bench.arrive([event(5, "a", 10)]);
    let of_new = bench.attempts.iter().filter(|attempt| attempt.trigger.name.name() == "new");
    assert_eq!(of_new.map(|attempt| attempt.event.id()).collect::<Vec<_>>(), ["5"]);
}

#[test]
fn the_head_is_not_saved_before_all_triggers_have_their_rows() {
    let sizes = Sizes { save_bytes: 1, ..Sizes::default() };
    let mut bench = Bench::with((0..5).map(|n| only("never", &format!("t{n}"))).collect(), 1 << 20, sizes);
    bench.arrive([event(1, "a", 10)]);
    for _ in 0..40 {
        bench.store_one();
        let rows = bench.events.lanes.len();
        assert!(bench.events.head == 0 || rows == 5, "with {rows} rows");
        bench.now += 50;
        bench.turn(BrokerCore::tick);
    }
    assert_eq!((bench.events.head, bench.events.lanes.len()), (1, 5));
}
