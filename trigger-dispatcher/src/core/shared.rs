//! What all partitions of a broker share: the triggers, their gates, and what is to be done later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use pelton_event::Timestamp;
use pelton_event_log::Partition;
use pelton_filter::Matches;
use pelton_resources::{NamespacedName, Order, Trigger};

use super::action::{LaneKey, Target, TriggerId};
use super::broker::CoreConfig;
use super::counters::TriggerCounters;
use super::gate::Gate;
use super::lane::Sizes;
use super::places::{LaneOf, Line};
use crate::select::TriggerTable;

/// What all partitions of a broker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: CoreConfig,
    pub sizes: Sizes,
    pub table: Arc<TriggerTable>,
    /// The id of each trigger of the table, by its number there.
    pub ids: Vec<TriggerId>,
    names: HashMap<NamespacedName, TriggerId>,
    /// Ids of triggers that are forgotten.
    free: Vec<TriggerId>,
    pub triggers: Vec<TriggerState>,
    /// Kept between events, so that matching needs no memory of its own.
    pub matches: Matches,
    pub timers: Timers,
    /// Lanes to look at because something they wait for has become free.
    pub wake: VecDeque<(LaneOf, Target)>,
    /// Triggers with lanes that were refused by the process-wide share of deliveries.
    pub short_of_admission: VecDeque<TriggerId>,
    pub random: fastrand::Rng,
    sequence: u64,
    /// Every end that became durable, for the account book of the simulation.
    #[cfg(test)]
    pub ledger: Vec<(Partition, LaneKey, pelton_event_log::Offset, super::open::End)>,
}

/// What is known about one trigger.
#[derive(Debug)]
pub(super) struct TriggerState {
    pub name: NamespacedName,
    /// As it is, or was last; `None` if it was deleted before this process started.
    pub trigger: Option<Arc<Trigger>>,
    /// Whether it exists.
    pub exists: bool,
    /// Nothing is owed to it any more and no partition knows it: its id is free for another one.
    pub forgotten: bool,
    /// Deliveries under way, those that wait for a slot or for their record included.
    pub under_way: u32,
    pub gate: Gate,
    pub line: Line,
    pub counters: Arc<TriggerCounters>,
}

impl TriggerState {
    /// Whether it may be sent events.
    pub(super) fn is_active(&self) -> bool {
        self.exists
            && !self.counters.held.load(Relaxed)
            && self.trigger.as_ref().is_some_and(|trigger| {
                !trigger.paused && trigger.readiness.is_ready() && trigger.subscriber.is_some()
            })
    }

    pub(super) fn order(&self) -> Order {
        self.trigger.as_ref().map_or(Order::Unordered, |trigger| trigger.order)
    }
}

impl Shared {
    pub(super) fn new(config: CoreConfig) -> Self {
        let random = fastrand::Rng::with_seed(config.seed);
        let sizes = config.sizes;
        Self {
            config,
            sizes,
            table: Arc::default(),
            ids: Vec::new(),
            names: HashMap::new(),
            free: Vec::new(),
            triggers: Vec::new(),
            matches: Matches::default(),
            timers: Timers::default(),
            wake: VecDeque::new(),
            short_of_admission: VecDeque::new(),
            random,
            sequence: 0,
            #[cfg(test)]
            ledger: Vec::new(),
        }
    }

    /// A number that was not given before; never 0.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Whether the trigger exists already, with the same start.
    pub(super) fn is_known(&self, trigger: &Trigger) -> bool {
        let state = self.names.get(&trigger.name).map(|id| self.trigger(*id));
        state.is_some_and(|state| {
            let same_start = |known: &Arc<Trigger>| known.start_text == trigger.start_text;
            state.exists && state.trigger.as_ref().is_some_and(same_start)
        })
    }

    /// The id of the trigger `name`.
    pub(super) fn intern(&mut self, name: &NamespacedName) -> TriggerId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let state = TriggerState {
            name: name.clone(),
            trigger: None,
            exists: false,
            forgotten: false,
            under_way: 0,
            gate: Gate::new(),
            line: Line::default(),
            counters: Arc::default(),
        };
        let id = self.free.pop().unwrap_or(TriggerId(u32::try_from(self.triggers.len()).unwrap_or(u32::MAX)));
        match self.triggers.get_mut(id.0 as usize) {
            Some(free) => *free = state,
            None => self.triggers.push(state),
        }
        self.names.insert(name.clone(), id);
        id
    }

    /// Forgets a trigger that is gone and that no partition knows any more.
    pub(super) fn forget(&mut self, id: TriggerId) {
        let state = &mut self.triggers[id.0 as usize];
        state.forgotten = true;
        self.names.remove(&state.name);
        self.free.push(id);
    }

    /// The triggers that are there, and those that are gone and still own something.
    pub(super) fn known_triggers(&self) -> impl Iterator<Item = (TriggerId, &TriggerState)> {
        (0..).map(TriggerId).zip(&self.triggers).filter(|(_, state)| !state.forgotten)
    }

    pub(super) fn trigger(&self, id: TriggerId) -> &TriggerState {
        &self.triggers[id.0 as usize]
    }

    pub(super) fn trigger_mut(&mut self, id: TriggerId) -> &mut TriggerState {
        &mut self.triggers[id.0 as usize]
    }
}

/// What is to be done later.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Timer)>>,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An event of the lane is due.
    Lane(Partition, LaneKey),
    /// Progress is to be saved.
    Save(Partition),
    /// The rate of the trigger allows another delivery.
    Gate(TriggerId),
    /// Ages, idle lanes, deleted triggers.
    Housekeeping,
}

impl Timers {
    pub(super) fn set(&mut self, when: Timestamp, timer: Timer) {
        self.heap.push(Reverse((when, timer)));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|top| top.0.0)
    }

    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        self.next().filter(|when| *when <= now)?;
        self.heap.pop().map(|top| top.0.1)
    }
}
