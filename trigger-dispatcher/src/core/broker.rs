//! The core of one broker: its partitions, and what they share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pelton_event::Timestamp;
use pelton_event_log::{
    AppendError, Bounds, BrokerTopics, Chunk, Entry, Epoch, HeldLanes, Offset, Partition as PartitionNumber,
    Progress,
};
use pelton_resources::NamespacedName;
use pelton_resources::contracts::Outcome;

use super::action::{Action, AttemptId, FetchId, ResolveId, SaveId, SweepId, Target, Turn};
use super::body::BodyBudget;
use super::counters::TriggerCounters;
use super::lane::Sizes;
use super::partition::Partition;
use super::registry::bounds_of;
use super::shared::{Shared, Timer};
use crate::limits;
use crate::select::TriggerTable;

/// What a core is made of.
#[derive(Debug)]
pub(crate) struct CoreConfig {
    /// The broker's topics.
    pub topics: BrokerTopics,
    /// Partitions of the events topic.
    pub partitions: u32,
    /// Whether triggers without progress go on where their consumer groups have stopped.
    pub take_over: bool,
    /// The budget for bodies, shared by all brokers.
    pub budget: BodyBudget,
    /// Deliveries of a lane at a time, at most.
    pub lane_concurrency_max: u32,
    /// A longer wait is spent in the retry topic.
    pub wait_in_place_max: std::time::Duration,
    /// Progress that nobody waits for is durable after this time.
    pub save_interval: std::time::Duration,
    /// How much lanes and saves may hold.
    pub sizes: Sizes,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What was saved about a partition, and what the log holds of it, at the moment it was gained.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Presented with each save.
    pub epoch: Epoch,
    /// Saved progress of the events topic.
    pub events: Progress,
    /// What the log holds of it.
    pub events_bounds: Bounds,
    /// Saved progress of the retry topic.
    pub retry: Progress,
    /// What the log holds of it.
    pub retry_bounds: Bounds,
}

/// The state of a partition, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionStatus {
    /// The partition.
    pub partition: PartitionNumber,
    /// The next offset the head reader takes.
    pub head: Offset,
    /// Whether the open retries are known, so that lanes deliver.
    pub ready: bool,
    /// Why progress cannot be saved at the moment.
    pub save_error: Option<Box<str>>,
}

/// A saved row that cannot be read; the partition cannot be served with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the saved progress `{row}` is damaged: {reason}")]
pub(crate) struct RowError {
    /// The row.
    pub row: Box<str>,
    /// What is wrong.
    pub reason: &'static str,
}

/// The core of one broker.
#[derive(Debug)]
pub(crate) struct BrokerCore {
    pub(super) shared: Shared,
    pub(super) partitions: BTreeMap<PartitionNumber, Partition>,
    /// Partitions that have something to do before the present input is done with.
    busy: VecDeque<PartitionNumber>,
    /// The wake-up that the shell was asked for last.
    wake_at: Option<Timestamp>,
    /// Whether a timer for it is set.
    keeps_house: bool,
    has_forgotten: bool,
}

impl BrokerCore {
    /// A core without partitions, for the triggers of `table`.
    pub(crate) fn new(config: CoreConfig, table: Arc<TriggerTable>) -> Self {
        let mut shared = Shared::new(config);
        shared.set_table(table);
        Self {
            shared,
            partitions: BTreeMap::new(),
            busy: VecDeque::new(),
            wake_at: None,
            keeps_house: false,
            has_forgotten: false,
        }
    }

    /// The partition is this process's now.
    pub(crate) fn gained(
        &mut self,
        number: PartitionNumber,
        opened: Opened,
        turn: &mut Turn<'_>,
    ) -> Result<(), RowError> {
        if !std::mem::replace(&mut self.keeps_house, true) {
            self.shared.timers.set(turn.now + limits::HOUSEKEEPING_EVERY, Timer::Housekeeping);
        }
        let mut bounds = opened.events_bounds;
        if opened.events.head == 0 {
            // Nobody has ever dispatched it (partitions were added): all it holds came after its triggers.
            bounds.end = bounds.start;
        }
        // Without triggers nobody was owed anything.
        let unread = (!opened.events.lanes.is_empty()).then_some(opened.events.head..bounds.start);
        let mut partition = Partition::open(number, opened, &mut self.shared)?;
        if let Some(unread) = unread {
            partition.expired(None, unread, &self.shared, turn);
        }
        let triggers = self.shared.all_triggers();
        partition.apply(&triggers, bounds, &mut self.shared, turn);
        partition.start(&mut self.shared, turn);
        if let Some(before) = self.partitions.insert(number, partition) {
            before.close(&mut self.shared, turn);
        }
        self.finish(Some(number), turn);
        Ok(())
    }

    /// The partition is to be given up (revoked, or the process stops): nothing new starts; [`Action::Stopped`] follows once
    /// nothing is in flight and all is durable.
    pub(crate) fn stop(&mut self, number: PartitionNumber, turn: &mut Turn<'_>) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.stop();
            self.finish(Some(number), turn);
        }
    }

    /// Gives back what is still in flight in a stopping partition; the shell has dropped it. It counts as not sent.
    pub(crate) fn abandon(&mut self, number: PartitionNumber, turn: &mut Turn<'_>) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.give_back(&mut self.shared, turn);
            self.finish(Some(number), turn);
        }
    }

    /// The partition is lost: forgets it at once.
    pub(crate) fn lost(&mut self, number: PartitionNumber, turn: &mut Turn<'_>) {
        if let Some(partition) = self.partitions.remove(&number) {
            partition.close(&mut self.shared, turn);
            self.finish(None, turn);
        }
    }

    /// The triggers are others now. `bounds` tells for every partition owned what its events topic holds at this moment: new
    /// triggers start by it.
    pub(crate) fn triggers_changed(
        &mut self,
        table: Arc<TriggerTable>,
        bounds: &BTreeMap<PartitionNumber, Bounds>,
        turn: &mut Turn<'_>,
    ) {
        let changes = self.shared.set_table(table);
        for partition in self.partitions.values_mut().filter(|partition| !partition.stopping) {
            partition.apply(&changes, bounds_of(bounds, partition), &mut self.shared, turn);
            self.busy.push_back(partition.number);
        }
        self.finish(None, turn);
    }

    /// Whether a trigger of `table` is new or starts elsewhere, so that it has to be known what the log holds.
    pub(crate) fn needs_bounds(&self, table: &TriggerTable) -> bool {
        table.triggers().iter().any(|trigger| !self.shared.is_known(trigger))
    }

    /// Holds the triggers that `held` names back, and lets all others go.
    pub(crate) fn hold(&mut self, held: &HeldLanes, turn: &mut Turn<'_>) {
        let known = self.shared.known_triggers();
        let changed = known.filter(|(_, state)| {
            let is_held = held.contains_key(state.name.as_str());
            state.counters.held.swap(is_held, Relaxed) != is_held
        });
        let changed: Vec<_> = changed.map(|(id, _)| id).collect();
        for partition in self.partitions.values_mut() {
            for key in partition.lane_keys().into_iter().filter(|key| changed.contains(&key.trigger)) {
                partition.queue_sweep(key);
                partition.queue_pump(key);
            }
            self.busy.push_back(partition.number);
        }
        self.finish(None, turn);
    }

    /// Runs `input` on a partition, if it is owned, and what follows from it.
    fn input(
        &mut self,
        number: PartitionNumber,
        turn: &mut Turn<'_>,
        input: impl FnOnce(&mut Partition, &mut Shared, &mut Turn<'_>),
    ) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            input(partition, &mut self.shared, turn);
            self.finish(Some(number), turn);
        }
    }

    /// What [`ReadHead`](Action::ReadHead) brought. The answer to a read of an earlier ownership must not come here.
    pub(crate) fn head_read(&mut self, number: PartitionNumber, chunk: Chunk, turn: &mut Turn<'_>) {
        self.input(number, turn, |partition, shared, turn| partition.head_read(chunk, shared, turn));
    }

    /// What [`ReadRetry`](Action::ReadRetry) brought. The answer to a read of an earlier ownership must not come here.
    pub(crate) fn retry_read(&mut self, number: PartitionNumber, chunk: Chunk, turn: &mut Turn<'_>) {
        self.input(number, turn, |partition, shared, turn| partition.retry_read(chunk, shared, turn));
    }

    /// What [`Sweep`](Action::Sweep) brought.
    pub(crate) fn sweep_read(&mut self, sweep: SweepId, chunk: Chunk, turn: &mut Turn<'_>) {
        self.input(sweep.partition, turn, |partition, shared, turn| {
            partition.sweep_read(sweep, chunk, shared, turn);
        });
    }

    /// What [`Fetch`](Action::Fetch) brought; `None` if nothing is kept at that offset any more.
    pub(crate) fn fetched(&mut self, fetch: FetchId, entry: Option<Entry>, turn: &mut Turn<'_>) {
        self.input(fetch.partition, turn, |partition, shared, turn| {
            partition.fetched(fetch, entry, shared, turn);
        });
    }

    /// What [`Resolve`](Action::Resolve) brought.
    pub(crate) fn resolved(&mut self, resolve: ResolveId, offset: Offset, turn: &mut Turn<'_>) {
        self.input(resolve.partition, turn, |partition, shared, turn| {
            partition.resolved(resolve, offset, shared, turn);
        });
    }

    /// The attempt has its slot on a replica and goes out.
    pub(crate) fn attempt_started(&mut self, attempt: AttemptId, turn: &mut Turn<'_>) {
        self.input(attempt.partition, turn, |partition, _, _| partition.attempt_started(attempt));
    }

    /// What came of an attempt.
    pub(crate) fn attempt_ended(&mut self, attempt: AttemptId, outcome: Outcome, turn: &mut Turn<'_>) {
        self.input(attempt.partition, turn, |partition, shared, turn| {
            partition.attempt_ended(attempt, outcome, shared, turn);
        });
    }

    /// The save is durable.
    pub(crate) fn saved(&mut self, save: SaveId, turn: &mut Turn<'_>) {
        self.input(save.partition, turn, |partition, shared, turn| partition.saved(save, shared, turn));
    }

    /// The save is not durable, or not known to be. One that was fenced loses the partition.
    pub(crate) fn save_failed(&mut self, save: SaveId, error: &AppendError, turn: &mut Turn<'_>) {
        let waits = self.partitions.get(&save.partition).is_some_and(|known| known.saver.waits_for(save));
        if waits && matches!(error, AppendError::Fenced(..)) {
            self.lost(save.partition, turn);
            turn.actions.push(Action::Lost(save.partition));
            return;
        }
        self.input(save.partition, turn, |partition, shared, turn| {
            partition.save_failed(save, error, shared, turn);
        });
    }

    /// There is room in the process-wide share of deliveries after it refused one.
    pub(crate) fn admission_room(&mut self, turn: &mut Turn<'_>) {
        self.shared.admission_room(turn.now);
        self.finish(None, turn);
    }

    /// The time asked for by [`WakeAt`](Action::WakeAt) has come.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.wake_at = None;
        while let Some(timer) = self.shared.timers.pop_due(turn.now) {
            match timer {
                Timer::Lane(number, key) => {
                    let Some(partition) = self.partitions.get_mut(&number) else { continue };
                    if let Some(lane) = partition.lanes.get_mut(&key) {
                        lane.timer = None;
                    }
                    partition.queue_pump(key);
                    self.busy.push_back(number);
                }
                Timer::Save(number) => self.busy.push_back(number),
                Timer::Gate(trigger) => self.shared.gate_timer(trigger, turn.now),
                Timer::Housekeeping => self.housekeeping(turn),
            }
        }
        self.finish(None, turn);
    }

    fn housekeeping(&mut self, turn: &mut Turn<'_>) {
        if self.partitions.is_empty() {
            self.keeps_house = false;
            return;
        }
        let mut oldest = vec![u64::MAX; self.shared.triggers.len()];
        for partition in self.partitions.values_mut() {
            partition.housekeeping(&mut self.shared, turn);
            self.busy.push_back(partition.number);
            for lane in partition.lanes.values() {
                if let (Some(time), Some(known)) =
                    (lane.oldest(), oldest.get_mut(lane.key.trigger.0 as usize))
                {
                    *known = (*known).min(time.as_millis().max(1));
                }
            }
        }
        for (state, oldest) in self.shared.triggers.iter().zip(oldest) {
            state.counters.oldest.store(if oldest == u64::MAX { 0 } else { oldest }, Relaxed);
        }
        self.forget_triggers();
        self.shared.timers.set(turn.now + limits::HOUSEKEEPING_EVERY, Timer::Housekeeping);
    }

    /// Triggers that are gone and own nothing any more leave no trace.
    fn forget_triggers(&mut self) {
        let gone = self.shared.known_triggers().filter(|(_, state)| !state.exists && state.under_way == 0);
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        for id in gone {
            if !self.partitions.values().any(|partition| partition.mentions(id)) {
                self.shared.forget(id);
                self.has_forgotten = true;
            }
        }
    }

    /// Whether triggers were forgotten since this was asked last, so that [`counters`](Self::counters) are fewer.
    pub(crate) fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    /// Does what follows from an input: wakes lanes, starts attempts, sweeps and saves, and asks to be woken.
    fn finish(&mut self, number: Option<PartitionNumber>, turn: &mut Turn<'_>) {
        // Those who waited for what the input has freed come first.
        self.wake_lanes(turn.now);
        self.busy.extend(number);
        loop {
            self.wake_lanes(turn.now);
            let Some(number) = self.busy.pop_front() else { break };
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            partition.settle_down(&mut self.shared, turn);
            if partition.is_stopped()
                && let Some(partition) = self.partitions.remove(&number)
            {
                partition.close(&mut self.shared, turn);
                turn.actions.push(Action::Stopped(number));
            }
        }
        let next = self.shared.timers.next();
        if next.is_some() && next != self.wake_at {
            self.wake_at = next;
            turn.actions.extend(next.map(Action::WakeAt));
        }
    }

    fn wake_lanes(&mut self, now: Timestamp) {
        while let Some(((number, key), target)) = self.shared.wake.pop_front() {
            let partition = self.partitions.get_mut(&number);
            let Some(partition) = partition.filter(|partition| partition.lanes.contains_key(&key)) else {
                self.shared.pumped(number, key, now);
                continue;
            };
            if let Some(lane) = partition.lanes.get_mut(&key) {
                match target {
                    Target::Subscriber => lane.waits_for_place = false,
                    Target::DeadLetterSink => lane.waits_for_sink = false,
                }
            }
            partition.queue_pump(key);
            self.busy.push_back(number);
        }
    }

    /// The triggers the core knows, deleted ones that still own something included, with their counters.
    pub(crate) fn counters(&self) -> Vec<(NamespacedName, Arc<TriggerCounters>)> {
        self.shared.known_triggers().map(|(_, state)| (state.name.clone(), state.counters.clone())).collect()
    }

    /// The state of each partition owned.
    pub(crate) fn partitions(&self) -> Vec<PartitionStatus> {
        self.partitions.values().map(Partition::status).collect()
    }
}
