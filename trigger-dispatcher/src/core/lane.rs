//! A lane: what one trigger owes in one partition, and what of it may be sent next.

mod choose;
mod order;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use hashbrown::HashMap;
use pelton_event::{Failure, Record, Timestamp};
use pelton_event_log::Offset;
use pelton_resources::Order;

use super::action::{LaneKey, Source, Target};
use super::body::Body;
use super::health::Health;
use super::open::{Key, Open, Queue, State};
use super::progress::Behind;
use crate::limits;
pub(super) use choose::Choice;

/// How much a lane and a save may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Open events, unless the lane is ordered.
    pub window: usize,
    /// Open events of an ordered lane.
    pub window_ordered: usize,
    /// Open events of a lane whose subscriber is broken.
    pub window_probed: usize,
    /// Open entries of the retry topic.
    pub retries_open_max: usize,
    /// Events that wait for the dead letter sink.
    pub sink_pending_max: usize,
    /// Bytes of one save, about.
    pub save_bytes: usize,
    /// Bytes of records of a partition that wait to be stored; beyond, lanes that have such start nothing.
    pub records_waiting_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            window: limits::WINDOW,
            window_ordered: limits::WINDOW_ORDERED,
            window_probed: limits::WINDOW_PROBED,
            retries_open_max: limits::RETRIES_OPEN_MAX,
            sink_pending_max: limits::SINK_PENDING_MAX,
            save_bytes: limits::SAVE_BYTES,
            records_waiting_bytes: limits::RECORDS_WAITING_BYTES,
        }
    }
}

/// What one trigger, or one replay for it, owes in one partition.
#[derive(Debug)]
pub(super) struct Lane {
    pub key: LaneKey,
    sizes: Sizes,
    order: Order,
    /// Everything before it has been considered; `None`: it follows the head.
    pub next: Option<Offset>,
    /// Events before it were considered by an earlier process, which saved the lane later than the head.
    pub considered: Offset,
    /// It cannot go back before this one: events there were tried, have ended, or are in the retry topic.
    pub fixed_to: Offset,
    /// The sweep it is aboard.
    pub aboard: Option<u64>,
    /// Whether it is in the list of lanes that wait for a sweep.
    pub queued: bool,
    /// It found the budget for bodies spent.
    pub starved: bool,
    /// The matching events ahead of it; `None`: not known.
    pub behind: Option<Behind>,
    /// The first offset that a replay no longer delivers.
    pub replay_end: Option<Offset>,
    /// Where in the retry topic the replay's command is.
    pub command: Option<Offset>,
    /// A position it moves to once nothing is in flight.
    pub reposition: Option<Reposition>,
    /// Events taken.
    pub events: Queue,
    /// Open entries of the retry topic.
    pub retries: Queue,
    /// The entry of the retry topic that stands for an event.
    pub by_origin: HashMap<Offset, Offset>,
    /// Entries written to the retry topic and not read back yet.
    pub in_transit: i64,
    pub health: Health,
    /// Attempts under way and fetches before them: to the subscriber, and to the dead letter sink.
    pub used: [u32; 2],
    /// Fetches among these.
    pub fetching: u32,
    /// It starts nothing until there is room in memory for what it has to read or to store.
    pub held_back: bool,
    /// Attempts on their way.
    pub started: u32,
    probe: Option<(Source, Offset)>,
    ready: VecDeque<Offset>,
    later: BinaryHeap<Reverse<Due>>,
    to_sink: BinaryHeap<Reverse<Due>>,
    /// Entries of the retry topic whose events the lane has not come to yet, by the offsets of these. They wait until then:
    /// once one has its end, nothing tells any more that its event needs no other.
    early: BTreeMap<Offset, Due>,
    /// Events that wait for the dead letter sink here.
    pub sink_pending: usize,
    chains: HashMap<u64, Offset>,
    unknown_keys: usize,
    rotation: u8,
    pub saving: Saving,
    /// Whether it stands in its trigger's line for a delivery to the subscriber.
    pub waits_for_place: bool,
    /// The same for the dead letter sink.
    pub waits_for_sink: bool,
    pub pump_queued: bool,
    pub touched: bool,
    /// When a timer is set for it.
    pub timer: Option<Timestamp>,
    pub idle_since: Option<Timestamp>,
    pub published: Gauges,
}

/// When an open event is due.
type Due = (Timestamp, Source, Offset);

/// A move to another position by a changed start.
#[derive(Debug, Clone)]
pub(super) struct Reposition {
    /// The text of the start that asks for it.
    pub start: Box<str>,
    /// Where to; `None` while it is being found.
    pub target: Option<Offset>,
    /// Number of the request that finds it.
    pub sequence: u64,
}

/// What of a lane is not durable.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// Whether its row of the events topic is in the list of rows to save.
    pub dirty: bool,
    /// Whether its row of the retry topic is.
    pub retry_dirty: bool,
    /// The first event taken since its row was last encoded.
    pub unsaved_from: Option<Offset>,
    /// The same for the save under way.
    pub saving_from: Option<Offset>,
    /// The first entry of the retry topic read since its row was last encoded.
    pub retry_unsaved_from: Option<Offset>,
    /// The same for the save under way.
    pub retry_saving_from: Option<Offset>,
    /// Whether it has a row in the retry topic's progress.
    pub has_retry_row: bool,
}

/// What a lane adds to the gauges of its trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Gauges {
    pub in_flight: i64,
    pub due: i64,
    pub owed: i64,
    pub uncertain: i64,
    pub probed: i64,
    pub parallelism: i64,
}

impl Lane {
    /// A lane that follows the head.
    pub(super) fn new(key: LaneKey, order: Order, sizes: Sizes, concurrency_max: u32) -> Self {
        Self {
            key,
            sizes,
            order,
            next: None,
            considered: 0,
            fixed_to: 0,
            aboard: None,
            queued: false,
            starved: false,
            behind: None,
            replay_end: None,
            command: None,
            reposition: None,
            events: Queue::default(),
            retries: Queue::default(),
            by_origin: HashMap::new(),
            in_transit: 0,
            health: Health::new(concurrency_max),
            used: [0; 2],
            fetching: 0,
            held_back: false,
            started: 0,
            probe: None,
            ready: VecDeque::new(),
            later: BinaryHeap::new(),
            to_sink: BinaryHeap::new(),
            early: BTreeMap::new(),
            sink_pending: 0,
            chains: HashMap::new(),
            unknown_keys: 0,
            rotation: 0,
            saving: Saving::default(),
            waits_for_place: false,
            waits_for_sink: false,
            pump_queued: false,
            touched: false,
            timer: None,
            idle_since: None,
            published: Gauges::default(),
        }
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Events it may hold.
    pub(super) fn window(&self) -> usize {
        let window = self.window_working();
        if self.health.is_probing() { window.min(self.sizes.window_probed) } else { window }
    }

    /// Events it may hold while its subscriber is not broken.
    pub(super) fn window_working(&self) -> usize {
        match self.order {
            Order::Ordered => self.sizes.window_ordered,
            Order::Unordered | Order::Keyed => self.sizes.window,
        }
    }

    /// Whether it has deliveries on their way, and so bodies.
    pub(super) fn has_sent(&self) -> bool {
        self.used[0] + self.used[1] > self.fetching
    }

    /// Events before `offset`, and that one, are not given back any more.
    pub(super) fn fix(&mut self, offset: Offset) {
        self.fixed_to = self.fixed_to.max(offset + 1);
    }

    /// Gives events back that nobody has tried, beyond the window: it comes to them again. Answers whether there were any.
    pub(super) fn give_untried_back(&mut self, head: Offset) -> bool {
        let is_untried = |open: &&Open| {
            open.offset >= self.fixed_to
                && open.state == State::Idle
                && open.target == Target::Subscriber
                && (open.attempts, open.due) == (0, Timestamp::EPOCH)
        };
        let most = self.events.len().saturating_sub(self.window());
        let count = self.events.iter().rev().take(most).take_while(is_untried).count();
        let given = self.events.split_off(self.events.len() - count);
        let Some(first) = given.front() else { return false };
        let (at, oldest, more) = (first.offset, first.time, count as u64);
        let behind = match (self.next, self.behind) {
            (None, _) => Some(Behind { count: more, counted_to: head, oldest }),
            (Some(_), behind) => behind.map(|behind| Behind { count: behind.count + more, oldest, ..behind }),
        };
        self.detach(at, behind);
        self.rebuild(self.order);
        true
    }

    /// Whether one more delivery may move to the retry topic.
    pub(super) fn has_room_in_retry(&self) -> bool {
        // Those that wait for the lane to come to their events must not keep it from doing so.
        self.retries.len().saturating_sub(self.early.len()) < self.sizes.retries_open_max
    }

    /// Whether it may take one more event.
    pub(super) fn has_room(&self) -> bool {
        self.reposition.is_none() && self.events.len() < self.window() && self.has_room_in_retry()
    }

    /// Whether it is behind the head and too full to catch up.
    pub(super) fn is_stuck(&self) -> bool {
        self.next.is_some() && self.aboard.is_none() && !self.wants_sweep()
    }

    /// Whether a sweep is worth while for it.
    pub(super) fn wants_sweep(&self) -> bool {
        let most = if self.starved { 0 } else { self.window() / 2 };
        self.next.is_some() && self.aboard.is_none() && self.has_room() && self.events.len() <= most
    }

    /// It no longer follows the head: everything before `at` has been considered. Until its row says so, the saved head must
    /// not pass `at`: the row stands for all before the head.
    pub(super) fn detach(&mut self, at: Offset, known: Option<Behind>) {
        let at = at.max(self.considered);
        self.next = Some(at);
        self.unsaved(at);
        self.behind = known.map(|known| Behind { counted_to: known.counted_to.max(at), ..known });
    }

    /// Its row has to tell of the event at `offset` before the saved head passes it.
    fn unsaved(&mut self, offset: Offset) {
        let first = &mut self.saving.unsaved_from;
        *first = Some(first.map_or(offset, |known| known.min(offset)));
    }

    /// It follows the head again.
    pub(super) fn attach(&mut self) {
        self.next = None;
        self.behind = None;
        self.starved = false;
    }

    /// One of the events that the head counted ahead of it has been considered.
    pub(super) fn considered_one(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.count = behind.count.saturating_sub(1);
        }
    }

    pub(super) fn queue(&self, source: Source) -> &Queue {
        match source {
            Source::Events => &self.events,
            Source::Retry => &self.retries,
        }
    }

    pub(super) fn queue_mut(&mut self, source: Source) -> &mut Queue {
        match source {
            Source::Events => &mut self.events,
            Source::Retry => &mut self.retries,
        }
    }

    pub(super) fn get_mut(&mut self, source: Source, offset: Offset) -> Option<&mut Open> {
        self.queue_mut(source).get_mut(offset)
    }

    /// Whether an entry of the retry topic stands for the event at `offset`.
    pub(super) fn is_in_retry(&self, offset: Offset) -> bool {
        !self.by_origin.is_empty() && self.key.replay.is_none() && self.by_origin.contains_key(&offset)
    }

    /// Whether nothing is under way.
    pub(super) fn is_still(&self) -> bool {
        self.used == [0; 2]
    }

    /// Whether it holds nothing that its row does not tell as well.
    pub(super) fn is_idle(&self) -> bool {
        self.next.is_none()
            && self.events.is_empty()
            && self.retries.is_empty()
            && self.reposition.is_none()
            && self.replay_end.is_none()
            && self.is_still()
            && !self.saving.dirty
            && !self.saving.retry_dirty
            && !self.saving.has_retry_row
            && self.in_transit <= 0
    }

    /// Takes the event at `offset`.
    pub(super) fn take(&mut self, offset: Offset, record: &Record, body: Option<Body>) {
        let key = if self.order == Order::Keyed { Key::of(record) } else { Key::Unknown };
        let open = Open::fresh(offset, record.envelope.time, key, body);
        if !self.events.insert(open) {
            return;
        }
        self.unsaved(offset);
        self.idle_since = None;
        self.chain(offset, key);
        self.enqueue(Source::Events, offset);
    }

    /// Puts an open event where [`choose`](Self::choose) finds it.
    pub(super) fn enqueue(&mut self, source: Source, offset: Offset) {
        let Some(open) = self.queue(source).get(offset).filter(|open| open.is_startable()) else { return };
        let due = Reverse((open.due, source, offset));
        match open.target {
            Target::DeadLetterSink => self.to_sink.push(due),
            Target::Subscriber if source == Source::Events && open.due == Timestamp::EPOCH => {
                self.ready.push_back(offset);
            }
            Target::Subscriber => self.later.push(due),
        }
    }

    /// An event waits for its next attempt.
    pub(super) fn wait(&mut self, source: Source, offset: Offset, due: Timestamp) {
        let Some(open) = self.get_mut(source, offset) else { return };
        open.state = State::Idle;
        open.due = due;
        self.enqueue(source, offset);
    }

    /// An event that was to move to the retry topic waits here after all.
    pub(super) fn come_back(&mut self, offset: Offset, due: Timestamp) {
        let Some(open) = self.events.reopen(offset) else { return };
        self.sink_pending += usize::from(open.target == Target::DeadLetterSink);
        self.in_transit -= 1;
        self.wait(Source::Events, offset, due);
    }

    /// An entry of the retry topic whose last attempt failed goes to the dead letter sink here, as there is no room for
    /// another entry that would say why. After a crash that attempt is made once more.
    pub(super) fn go_to_sink_in_place(
        &mut self,
        offset: Offset,
        failure: Option<Box<Failure>>,
        due: Timestamp,
    ) {
        let Some(open) = self.retries.reopen(offset) else { return };
        open.failure = failure;
        open.attempts_to_repeat = Some(open.attempts.saturating_sub(1));
        self.in_transit -= 1;
        self.turn_to_sink(Source::Retry, offset, due);
    }

    /// The first event that it still owes or is at.
    pub(super) fn lowest(&self) -> Option<Offset> {
        self.events.iter().next().map(|open| open.offset).into_iter().chain(self.next).min()
    }

    /// An event goes to the dead letter sink from now on.
    pub(super) fn turn_to_sink(&mut self, source: Source, offset: Offset, due: Timestamp) {
        let Some(open) = self.get_mut(source, offset) else { return };
        open.target = Target::DeadLetterSink;
        open.attempts = 0;
        self.sink_pending += usize::from(source == Source::Events);
        if self.probe == Some((source, offset)) {
            self.probe = None;
        }
        self.wait(source, offset, due);
    }

    /// An attempt or fetch that was not made: the event is where it was.
    pub(super) fn put_back(&mut self, source: Source, offset: Offset) {
        let Some(open) = self.get_mut(source, offset) else { return };
        open.state = State::Idle;
        let first = source == Source::Events
            && open.target == Target::Subscriber
            && open.due == Timestamp::EPOCH
            && open.is_startable();
        if first {
            self.ready.push_front(offset);
        } else {
            self.enqueue(source, offset);
        }
    }

    /// The subscriber came back: nothing is singled out any more.
    pub(super) fn end_probing(&mut self) {
        self.probe = None;
    }

    /// Whether an event is the probe of a broken subscriber, or none may leave the lane while it is broken.
    pub(super) fn stays_in_place(&self) -> bool {
        self.health.is_probing() || self.order != Order::Unordered || self.key.replay.is_some()
    }

    /// What it adds to the gauges of its trigger.
    pub(super) fn gauges(&self) -> Gauges {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let behind = self.behind.map_or(0, |behind| i64::try_from(behind.count).unwrap_or(i64::MAX));
        let open = count(self.events.unended()) + count(self.retries.unended());
        let owed = open + behind + self.in_transit.max(0);
        let under_way = i64::from(self.started);
        let later = count(self.later.len() + self.to_sink.len() + self.early.len());
        let probing = self.health.is_probing();
        Gauges {
            in_flight: under_way,
            due: if probing { 0 } else { (open - under_way - later).max(0) + behind },
            owed,
            uncertain: i64::from(self.next.is_some() && self.behind.is_none() && self.replay_end.is_none()),
            probed: i64::from(probing),
            parallelism: match self.order {
                Order::Unordered => 0,
                Order::Ordered => i64::from(owed > 0),
                Order::Keyed => count(self.chains.len()),
            },
        }
    }

    /// When the oldest event without an end was accepted, as far as known.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let first = |queue: &Queue| queue.iter().filter(|open| !open.is_ended()).map(|open| open.time).min();
        let behind = self.behind.filter(|behind| behind.count > 0).map(|behind| behind.oldest);
        [first(&self.events), first(&self.retries), behind].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
