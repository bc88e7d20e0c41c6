//! One partition of the broker's events topic, and of its sister topics.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use pelton_event::Timestamp;
use pelton_event_log::{Bounds, Content, Epoch, LaneProgress, Offset, Partition as PartitionNumber};
use pelton_resources::NamespacedName;

use super::action::{Action, LaneKey, Target, TriggerId, Turn};
use super::broker::{Opened, PartitionStatus, RowError};
use super::damaged::{self, Damaged};
use super::lane::{Gauges, Lane};
use super::open::{Open, State};
use super::progress::{self, RetryRow};
use super::save::Saver;
use super::shared::Shared;
use super::sweep::Sweep;

/// A partition that this process owns.
#[derive(Debug)]
pub(super) struct Partition {
    pub number: PartitionNumber,
    pub epoch: Epoch,
    /// The next offset of the events topic that the head reader takes.
    pub head: Offset,
    /// The next offset of the retry topic to read.
    pub retry_head: Offset,
    /// The end of the events topic when the partition was gained.
    pub end_when_gained: Offset,
    /// Lanes start once the retry topic is read up to here.
    retry_known_at: Offset,
    /// Whether the open retries are known.
    pub ready: bool,
    pub stopping: bool,
    pub registered: HashMap<TriggerId, Registered>,
    pub lanes: HashMap<LaneKey, Box<Lane>>,
    pub sweeps: Vec<Sweep>,
    /// Damaged entries behind the head. No lane passes one before its dead letter is durable.
    pub damaged: Damaged,
    /// Lanes that may want a sweep.
    pub eligible: VecDeque<LaneKey>,
    /// Lanes whose position the head has not reached.
    pub ahead: Vec<LaneKey>,
    /// Lanes that may have something to send.
    pub to_pump: VecDeque<LaneKey>,
    /// Lanes whose gauges may have changed.
    pub touched: Vec<LaneKey>,
    pub saver: Saver,
    /// When bodies were last dropped because the budget was spent.
    pub relieved_at: Timestamp,
    /// Saved rows of the retry topic, until it is read up to its end.
    pub loaded_retries: HashMap<TriggerId, LoadedRetries>,
}

/// What is durable about a trigger in a partition, beside its lane. There is one for every trigger in every partition.
#[derive(Debug)]
pub(super) struct Registered {
    /// Whether its row is in the list of rows to save.
    pub dirty: bool,
    /// Whether it has a durable row.
    pub durable: bool,
    rare: Option<Box<Rare>>,
}

/// What few triggers have.
#[derive(Debug, Default)]
struct Rare {
    start: Box<str>,
    deleted_at: Option<Timestamp>,
}

impl Registered {
    pub(super) fn new(start: Box<str>, deleted_at: Option<Timestamp>, durable: bool) -> Self {
        let has_any = !start.is_empty() || deleted_at.is_some();
        Self { dirty: false, durable, rare: has_any.then(|| Box::new(Rare { start, deleted_at })) }
    }

    /// `delivery.pelton.dev/start` as last applied.
    pub(super) fn start(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| &rare.start)
    }

    pub(super) fn set_start(&mut self, start: Box<str>) {
        if *self.start() != *start {
            self.rare.get_or_insert_default().start = start;
        }
    }

    /// When the trigger was deleted.
    pub(super) fn deleted_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.deleted_at
    }

    pub(super) fn delete(&mut self, now: Timestamp) {
        self.rare.get_or_insert_default().deleted_at = Some(now);
    }

    /// It is there again; answers whether it was deleted.
    pub(super) fn restore(&mut self) -> bool {
        self.rare.as_mut().is_some_and(|rare| rare.deleted_at.take().is_some())
    }
}

/// A saved row of the retry topic; what is found in the topic is taken out.
#[derive(Debug, Default)]
pub(super) struct LoadedRetries {
    /// Entries before it that the row does not name are closed.
    pub closed_before: Offset,
    pub opens: HashMap<Offset, (u32, Timestamp)>,
    /// Open entries that cannot be read any more, and what is left of them.
    pub damaged: Vec<(Offset, Content)>,
}

const REPLAY_PREFIX: &str = "replay/";

/// The name of a lane's row.
pub(super) fn row_name(key: LaneKey, trigger: &NamespacedName) -> Arc<str> {
    match key.replay {
        None => trigger.to_shared(),
        Some(id) => format!("{REPLAY_PREFIX}{id}/{trigger}").into(),
    }
}

fn parse_row_name(name: &str) -> Option<(Option<u64>, NamespacedName)> {
    let Some(rest) = name.strip_prefix(REPLAY_PREFIX).filter(|rest| rest.contains('/')) else {
        return NamespacedName::parse(name).map(|name| (None, name));
    };
    match rest.split_once('/') {
        Some((id, trigger)) if trigger.contains('/') => {
            Some((Some(id.parse().ok()?), NamespacedName::parse(trigger)?))
        }
        // A namespace may be called `replay`.
        _ => NamespacedName::parse(name).map(|name| (None, name)),
    }
}

impl Partition {
    /// The partition as it was saved.
    pub(super) fn open(
        number: PartitionNumber,
        opened: Opened,
        shared: &mut Shared,
    ) -> Result<Self, RowError> {
        let Opened { epoch, events, events_bounds, retry, retry_bounds } = opened;
        let lows = retry.lanes.values().filter_map(|row| row.low);
        // What the log has let go is not waited for: a reader there would wait for the next record.
        // Beyond the end of the log there is nothing that could have been dispatched, whatever was saved: what comes there is new.
        let saved_head = events.head.min(events_bounds.end);
        let saved_retry_head = retry.head.min(retry_bounds.end);
        let retry_head = lows.fold(saved_retry_head, Offset::min).max(retry_bounds.start);
        let head = saved_head.max(events_bounds.start);
        let mut partition = Self {
            number,
            epoch,
            head,
            retry_head,
            end_when_gained: events_bounds.end,
            retry_known_at: retry_bounds.end,
            ready: false,
            stopping: false,
            registered: HashMap::new(),
            lanes: HashMap::new(),
            sweeps: Vec::new(),
            damaged: Damaged::default(),
            eligible: VecDeque::new(),
            ahead: Vec::new(),
            to_pump: VecDeque::new(),
            touched: Vec::new(),
            saver: Saver::new(saved_head, saved_retry_head, &shared.config.budget),
            relieved_at: Timestamp::EPOCH,
            loaded_retries: HashMap::new(),
        };
        for (name, row) in &events.lanes {
            let damaged = |reason| RowError { row: (**name).into(), reason };
            if **name == *damaged::ROW {
                let Bounds { start, end } = events_bounds;
                partition.damaged = Damaged::load(row, start, end).map_err(damaged)?;
                continue;
            }
            let (replay, trigger) = parse_row_name(name).ok_or_else(|| damaged("its name is no trigger"))?;
            let key = LaneKey { trigger: shared.intern(&trigger), replay };
            partition.load_events_row(key, row, saved_head, shared).map_err(damaged)?;
        }
        for (name, row) in &retry.lanes {
            let damaged = |reason| RowError { row: (**name).into(), reason };
            let trigger = NamespacedName::parse(name).ok_or_else(|| damaged("its name is no trigger"))?;
            let id = shared.intern(&trigger);
            let row = progress::decode_retry(&row.state).map_err(damaged)?;
            partition.load_retry_row(id, row, saved_retry_head, shared);
        }
        Ok(partition)
    }

    fn load_events_row(
        &mut self,
        key: LaneKey,
        row: &LaneProgress,
        saved_head: Offset,
        shared: &Shared,
    ) -> Result<(), &'static str> {
        let (row, mut opens) = progress::decode_events(&row.state)?;
        // What comes after the end of the log is new, even if a log that lost its end gives the same offsets again.
        let end = self.end_when_gained;
        let position = row.position.min(end);
        let lost = opens.extract_if(.., |open| open.offset >= end).count() as u64;
        let is_shortened = lost > 0 || row.position > end;
        shared.trigger(key.trigger).counters.expired.fetch_add(lost, Relaxed);
        if key.replay.is_none() {
            self.registered.insert(key.trigger, Registered::new(row.start, row.deleted_at, true));
        }
        let is_idle = opens.is_empty() && !row.detached && position <= self.head && !is_shortened;
        if is_idle && key.replay.is_none() {
            return Ok(());
        }
        let lane = self.lane(key, shared);
        lane.replay_end = row.replay_end;
        lane.fixed_to = position;
        if row.detached {
            // Counted less far than the head was saved: how many are missing is not known.
            lane.detach(position, row.behind.filter(|behind| behind.counted_to >= saved_head));
            lane.saving.unsaved_from = None;
        } else {
            lane.considered = position;
        }
        for saved in opens {
            let target = if saved.failure.is_some() { Target::DeadLetterSink } else { Target::Subscriber };
            lane.sink_pending += usize::from(target == Target::DeadLetterSink);
            lane.events.insert(Open {
                attempts: saved.attempts,
                due: saved.due,
                target,
                failure: saved.failure,
                ..Open::fresh(saved.offset, saved.time, saved.key, None)
            });
        }
        lane.rebuild(lane.order());
        if is_shortened {
            self.mark_dirty(key, Timestamp::EPOCH);
        }
        Ok(())
    }

    fn load_retry_row(&mut self, trigger: TriggerId, row: RetryRow, head: Offset, shared: &Shared) {
        let opens = row.opens.into_iter().map(|(offset, attempts, due)| (offset, (attempts, due)));
        // Entries that come where the topic has lost its end are new.
        let (closed_before, opens) = (row.position.max(head).min(self.retry_known_at), opens.collect());
        let loaded = LoadedRetries { closed_before, opens, damaged: Vec::new() };
        self.loaded_retries.insert(trigger, loaded);
        self.lane(LaneKey { trigger, replay: None }, shared).saving.has_retry_row = true;
    }

    /// The lane `key`, made if it is not there. A lane that is made anew follows the head.
    pub(super) fn lane(&mut self, key: LaneKey, shared: &Shared) -> &mut Lane {
        lane_of(&mut self.lanes, &self.registered, key, shared)
    }

    /// All lanes, in an order that does not change from run to run.
    pub(super) fn lane_keys(&self) -> Vec<LaneKey> {
        let mut keys: Vec<_> = self.lanes.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Starts reading: the retry topic first, the events once that is known.
    pub(super) fn start(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        if self.retry_head >= self.retry_known_at {
            self.become_ready(shared, turn);
        }
        turn.actions.push(Action::ReadRetry { partition: self.number, from: self.retry_head });
    }

    /// Where the retry topic has to be read to before lanes start.
    pub(super) fn knows_retries(&self) -> bool {
        self.retry_head >= self.retry_known_at
    }

    pub(super) fn queue_pump(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if !std::mem::replace(&mut lane.pump_queued, true) {
            self.to_pump.push_back(key);
        }
        if !std::mem::replace(&mut lane.touched, true) {
            self.touched.push(key);
        }
    }

    pub(super) fn touch(&mut self, key: LaneKey) {
        if let Some(lane) = self.lanes.get_mut(&key)
            && !lane.touched
        {
            lane.touched = true;
            self.touched.push(key);
        }
    }

    /// Puts a lane that waits for a sweep in line.
    pub(super) fn queue_sweep(&mut self, key: LaneKey) {
        if let Some(lane) = self.lanes.get_mut(&key)
            && !lane.queued
            && lane.wants_sweep()
        {
            lane.queued = true;
            self.eligible.push_back(key);
        }
    }

    /// Brings the gauges of the lanes that were touched up to date.
    pub(super) fn publish(&mut self, shared: &Shared) {
        for key in self.touched.drain(..) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.touched = false;
            let gauges = lane.gauges();
            publish(shared, key, lane.published, gauges);
            lane.published = gauges;
        }
    }

    /// Takes a lane out, with what it added to the gauges.
    pub(super) fn remove_lane(&mut self, key: LaneKey, shared: &Shared) {
        if let Some(lane) = self.lanes.remove(&key) {
            publish(shared, key, lane.published, Gauges::default());
        }
        self.ahead.retain(|known| *known != key);
    }

    /// Does what follows from an input.
    pub(super) fn settle_down(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        while let Some(key) = self.to_pump.pop_front() {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.pump_queued = false;
            }
            self.settle_position(key, shared, turn);
            self.pump(key, shared, turn);
            if self.to_pump.is_empty() {
                self.start_sweeps(shared, turn);
            }
        }
        self.start_sweeps(shared, turn);
        self.save(shared, turn);
        self.publish(shared);
    }

    /// Nothing new starts any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.saver.hurry();
        if !self.ready {
            self.saver.forget_retries();
        }
    }

    /// Gives back what is under way: it counts as not sent.
    pub(super) fn give_back(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        let keys = self.lane_keys();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            for source in [super::Source::Events, super::Source::Retry] {
                let under_way: Vec<_> = lane
                    .queue(source)
                    .iter()
                    .filter(|open| matches!(open.state, State::Sent { .. } | State::Fetching { .. }))
                    .map(|open| (open.offset, open.target))
                    .collect();
                for (offset, target) in under_way {
                    lane.put_back(source, offset);
                    shared.release(key, target, turn);
                }
            }
            (lane.used, lane.started, lane.fetching) = ([0; 2], 0, 0);
            self.touch(key);
        }
    }

    /// Forgets the partition.
    pub(super) fn close(mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        self.give_back(shared, turn);
        let unsaved = self.registered.iter().filter(|(_, registered)| !registered.durable).map(|(id, _)| *id);
        // Those that still look for their start are not among them.
        let unplaced =
            self.lanes.values().filter(|lane| lane.reposition.is_some()).map(|lane| lane.key.trigger);
        let unplaced = unplaced.filter(|id| !self.registered.contains_key(id));
        for id in unsaved.chain(unplaced) {
            shared.trigger(id).counters.unregistered.fetch_sub(1, Relaxed);
        }
        let keys = self.lane_keys();
        for key in keys {
            self.remove_lane(key, shared);
        }
    }

    /// Whether a stopping partition has nothing left to do.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopping && self.saver.is_clean() && self.lanes.values().all(|lane| lane.is_still())
    }

    pub(super) fn status(&self) -> PartitionStatus {
        PartitionStatus {
            partition: self.number,
            head: self.head,
            ready: self.ready,
            save_error: self.saver.error.clone(),
        }
    }
}

/// The lane `key`, made if it is not there.
pub(super) fn lane_of<'a>(
    lanes: &'a mut HashMap<LaneKey, Box<Lane>>,
    registered: &HashMap<TriggerId, Registered>,
    key: LaneKey,
    shared: &Shared,
) -> &'a mut Lane {
    lanes.entry(key).or_insert_with(|| {
        let order = shared.trigger(key.trigger).order();
        let mut lane = Box::new(Lane::new(key, order, shared.sizes, shared.config.lane_concurrency_max));
        let registered = registered.get(&key.trigger).filter(|_| key.replay.is_none());
        lane.saving.dirty = registered.is_some_and(|registered| registered.dirty);
        lane
    })
}

fn publish(shared: &Shared, key: LaneKey, before: Gauges, after: Gauges) {
    if before == after {
        return;
    }
    let counters = &shared.trigger(key.trigger).counters;
    let add = |gauge: &std::sync::atomic::AtomicI64, before: i64, after: i64| {
        if before != after {
            gauge.fetch_add(after - before, Relaxed);
        }
    };
    add(&counters.in_flight, before.in_flight, after.in_flight);
    add(&counters.due, before.due, after.due);
    add(&counters.owed, before.owed, after.owed);
    add(&counters.uncertain, before.uncertain, after.uncertain);
    add(&counters.probed, before.probed, after.probed);
    add(&counters.parallelism, before.parallelism, after.parallelism);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_names_are_read_back() {
        let name = NamespacedName::new("shop", "orders");
        let key = |replay| LaneKey { trigger: TriggerId(0), replay };
        assert_eq!(&*row_name(key(None), &name), "shop/orders");
        assert_eq!(parse_row_name("shop/orders"), Some((None, name.clone())));
        assert_eq!(parse_row_name(&row_name(key(Some(7)), &name)), Some((Some(7), name)));
        assert_eq!(parse_row_name("replay/t"), Some((None, NamespacedName::new("replay", "t"))));
        for wrong in ["", "x", "replay/7/", "replay/x/a/b", "a/b/c"] {
            assert_eq!(parse_row_name(wrong), None, "{wrong}");
        }
    }
}
