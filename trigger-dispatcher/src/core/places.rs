//! Who may start a delivery next, where the limits of a trigger or of the process leave fewer places than its lanes want.
//!
//! The lanes of a trigger that were refused stand in line. Whenever a place may be free the first of them gets the turn: it
//! may start one delivery; asking for a second one it stands at the end of the line again. A lane without the turn does not
//! overtake those that wait. So each partition gets its share of a place however few there are.

use std::collections::VecDeque;

use pelton_event::Timestamp;
use pelton_event_log::Partition;

use super::action::{LaneKey, Target, TriggerId, Turn};
use super::gate::Closed;
use super::lane::Lane;
use super::shared::{Shared, Timer};

/// A lane, with its partition.
pub(super) type LaneOf = (Partition, LaneKey);

/// The lanes of one trigger that wait for a place.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// For a delivery to the subscriber, longest first.
    waiting: VecDeque<LaneOf>,
    /// The lane whose turn it is.
    turn: Option<LaneOf>,
    /// For a delivery to the dead letter sink, which only the process-wide share limits.
    sinks: VecDeque<LaneOf>,
    /// The process-wide share refused the last one, and nothing has become free since.
    refused: bool,
    /// Whether the trigger is told of room in the process-wide share.
    listens: bool,
}

impl Line {
    fn is_contended(&self) -> bool {
        self.turn.is_some() || !self.waiting.is_empty()
    }

    /// A lane that was refused waits: in front if it was its turn.
    fn wait(&mut self, at: LaneOf, lane: &mut Lane) {
        let had_turn = self.turn.take_if(|turn| *turn == at).is_some();
        if std::mem::replace(&mut lane.waits_for_place, true) {
            return;
        }
        if had_turn {
            self.waiting.push_front(at);
        } else {
            self.waiting.push_back(at);
        }
    }
}

impl Shared {
    /// Lets a delivery start if its turn has come and the limits allow it. Where not, the lane is woken when they may.
    pub(super) fn permit(
        &mut self,
        partition: Partition,
        lane: &mut Lane,
        target: Target,
        turn: &mut Turn<'_>,
    ) -> bool {
        let at = (partition, lane.key);
        let trigger = lane.key.trigger;
        let state = &mut self.triggers[trigger.0 as usize];
        if target == Target::DeadLetterSink {
            let admitted = turn.admission.try_start(state.under_way);
            state.under_way += u32::from(admitted);
            if !admitted && !std::mem::replace(&mut lane.waits_for_sink, true) {
                state.line.sinks.push_back(at);
            }
            if !admitted {
                self.listen(trigger);
            }
            return admitted;
        }
        if state.line.turn != Some(at) && state.line.is_contended() {
            state.line.wait(at, lane);
            return false;
        }
        if let Err(closed) = state.gate.check(turn.now) {
            state.line.wait(at, lane);
            self.wait_for_gate(trigger, closed);
            return false;
        }
        if !turn.admission.try_start(state.under_way) {
            state.line.wait(at, lane);
            state.line.refused = true;
            self.listen(trigger);
            return false;
        }
        state.gate.start();
        state.line.turn = None;
        state.under_way += 1;
        true
    }

    fn listen(&mut self, trigger: TriggerId) {
        let line = &mut self.triggers[trigger.0 as usize].line;
        if !std::mem::replace(&mut line.listens, true) {
            self.short_of_admission.push_back(trigger);
        }
    }

    fn wait_for_gate(&mut self, trigger: TriggerId, closed: Closed) {
        let gate = &mut self.triggers[trigger.0 as usize].gate;
        if let Closed::Until(when) = closed
            && gate.timer.is_none_or(|set| when < set)
        {
            gate.timer = Some(when);
            self.timers.set(when, Timer::Gate(trigger));
        }
    }

    /// A delivery ended, or was not made after all.
    pub(super) fn release(&mut self, key: LaneKey, target: Target, turn: &mut Turn<'_>) {
        turn.admission.end(1);
        let state = &mut self.triggers[key.trigger.0 as usize];
        state.under_way = state.under_way.saturating_sub(1);
        if target == Target::Subscriber {
            state.gate.end();
        }
        self.has_room(key.trigger, turn.now);
    }

    /// There may be room for another delivery of the trigger.
    fn has_room(&mut self, trigger: TriggerId, now: Timestamp) {
        let line = &mut self.triggers[trigger.0 as usize].line;
        line.refused = false;
        // All of them: their share is not counted in places.
        self.wake.extend(line.sinks.drain(..).map(|at| (at, Target::DeadLetterSink)));
        self.next_turn(trigger, now);
    }

    /// The process-wide share has room again.
    pub(super) fn admission_room(&mut self, now: Timestamp) {
        for trigger in std::mem::take(&mut self.short_of_admission) {
            self.triggers[trigger.0 as usize].line.listens = false;
            self.has_room(trigger, now);
        }
    }

    /// The first in line gets the turn if it is nobody's and the trigger's limits allow a delivery.
    fn next_turn(&mut self, trigger: TriggerId, now: Timestamp) {
        let state = &mut self.triggers[trigger.0 as usize];
        if state.line.turn.is_some() || state.line.waiting.is_empty() {
            return;
        }
        if let Err(closed) = state.gate.check(now) {
            self.wait_for_gate(trigger, closed);
            return;
        }
        state.line.turn = state.line.waiting.pop_front();
        self.wake.extend(state.line.turn.map(|at| (at, Target::Subscriber)));
    }

    /// A lane has started what it may: if it was its turn and there is nothing that it wants to send any more, it is the
    /// next one's.
    pub(super) fn pumped(&mut self, partition: Partition, key: LaneKey, now: Timestamp) {
        let line = &mut self.triggers[key.trigger.0 as usize].line;
        line.turn.take_if(|turn| *turn == (partition, key));
        if !line.refused {
            self.next_turn(key.trigger, now);
        }
    }

    /// The rate of the trigger allows another delivery.
    pub(super) fn gate_timer(&mut self, trigger: TriggerId, now: Timestamp) {
        let state = &mut self.triggers[trigger.0 as usize];
        state.gate.timer = None;
        if !state.line.refused {
            self.next_turn(trigger, now);
        }
    }
}
