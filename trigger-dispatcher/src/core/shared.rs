//! What all partitions of a broker share: the triggers, their gates, and what is to be done later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use pelton_event::Timestamp;
use pelton_event_log::Partition;
use pelton_filter::Matches;
use pelton_resources::{NamespacedName, Order, Trigger};

use super::action::{LaneKey, Target, TriggerId, Turn};
use super::broker::CoreConfig;
use super::counters::TriggerCounters;
use super::gate::{Closed, Gate};
use super::lane::Sizes;
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
    pub triggers: Vec<TriggerState>,
    /// Kept between events, so that matching needs no memory of its own.
    pub matches: Matches,
    pub timers: Timers,
    /// Lanes to look at because something they wait for has become free.
    pub wake: VecDeque<(Partition, LaneKey)>,
    /// Lanes that were refused by the process-wide share of deliveries.
    pub admission_waiting: VecDeque<(Partition, LaneKey)>,
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
    /// Deliveries under way, those that wait for a slot or for their record included.
    pub under_way: u32,
    pub gate: Gate,
    pub counters: Arc<TriggerCounters>,
}

impl TriggerState {
    /// Whether it may be sent events.
    pub(super) fn is_active(&self) -> bool {
        self.exists
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
            triggers: Vec::new(),
            matches: Matches::default(),
            timers: Timers::default(),
            wake: VecDeque::new(),
            admission_waiting: VecDeque::new(),
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

    /// The id of the trigger `name`.
    pub(super) fn intern(&mut self, name: &NamespacedName) -> TriggerId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = TriggerId(u32::try_from(self.triggers.len()).unwrap_or(u32::MAX));
        self.names.insert(name.clone(), id);
        self.triggers.push(TriggerState {
            name: name.clone(),
            trigger: None,
            exists: false,
            under_way: 0,
            gate: Gate::new(),
            counters: Arc::default(),
        });
        id
    }

    pub(super) fn trigger(&self, id: TriggerId) -> &TriggerState {
        &self.triggers[id.0 as usize]
    }

    pub(super) fn trigger_mut(&mut self, id: TriggerId) -> &mut TriggerState {
        &mut self.triggers[id.0 as usize]
    }

    /// Lets a delivery start if admission and, for the subscriber, the trigger's gate allow it. Where they do not, the lane is
    /// woken when they may.
    pub(super) fn permit(
        &mut self,
        partition: Partition,
        lane: &mut super::lane::Lane,
        target: Target,
        turn: &mut Turn<'_>,
    ) -> bool {
        let state = &mut self.triggers[lane.key.trigger.0 as usize];
        if !turn.admission.try_start(state.under_way) {
            if !lane.waits_for_admission {
                lane.waits_for_admission = true;
                self.admission_waiting.push_back((partition, lane.key));
            }
            return false;
        }
        if target == Target::Subscriber
            && let Err(closed) = state.gate.try_start(turn.now)
        {
            turn.admission.end(1);
            if !lane.waits_for_gate {
                lane.waits_for_gate = true;
                state.gate.waiting.push_back((partition, lane.key));
            }
            if let Closed::Until(when) = closed
                && state.gate.timer.is_none_or(|set| when < set)
            {
                state.gate.timer = Some(when);
                self.timers.set(when, Timer::Gate(lane.key.trigger));
            }
            return false;
        }
        state.under_way += 1;
        true
    }

    /// A delivery ended, or was not made after all.
    pub(super) fn release(&mut self, key: LaneKey, target: Target, turn: &mut Turn<'_>) {
        turn.admission.end(1);
        let state = &mut self.triggers[key.trigger.0 as usize];
        state.under_way = state.under_way.saturating_sub(1);
        if target == Target::Subscriber {
            state.gate.end();
            self.wake.append(&mut state.gate.waiting);
        }
    }

    /// Looks at all lanes that wait for the trigger's gate, longest first. All, because the first may have nothing to send
    /// any more.
    pub(super) fn wake_gate(&mut self, trigger: TriggerId) {
        let state = &mut self.triggers[trigger.0 as usize];
        self.wake.append(&mut state.gate.waiting);
    }

    /// The rate of the trigger allows another delivery.
    pub(super) fn gate_timer(&mut self, trigger: TriggerId) {
        self.triggers[trigger.0 as usize].gate.timer = None;
        self.wake_gate(trigger);
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
