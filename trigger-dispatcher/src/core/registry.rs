//! Triggers that come, change and go: where they start, and what becomes of what they owed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pelton_event_log::{Bounds, Offset, Partition as PartitionNumber};
use pelton_resources::{Start, Trigger};

use super::action::{Action, LaneKey, ResolveId, Source, TriggerId, Turn};
use super::deliver::EventRef;
use super::lane::Reposition;
use super::open::End;
use super::partition::{Partition, Registered, row_name};
use super::progress::Behind;
use super::shared::Shared;
use crate::limits;
use crate::select::TriggerTable;

/// What happened to a trigger.
#[derive(Debug, Clone, Copy)]
pub(super) struct TriggerChange {
    id: TriggerId,
    kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangeKind {
    /// It is there, or is another value now; its filter may select other events than before.
    Present {
        other_filter: bool,
    },
    Removed,
}

impl Shared {
    /// Takes the table over; answers what is different.
    pub(super) fn set_table(&mut self, table: Arc<TriggerTable>) -> Vec<TriggerChange> {
        let mut changes = Vec::new();
        let mut present = vec![false; self.triggers.len()];
        self.ids.clear();
        for trigger in table.triggers() {
            let id = self.intern(&trigger.name);
            self.ids.push(id);
            if let Some(present) = present.get_mut(id.0 as usize) {
                *present = true;
            }
            if let Some(kind) = self.trigger_mut(id).set(trigger) {
                changes.push(TriggerChange { id, kind });
            }
        }
        for (id, present) in (0_u32..).map(TriggerId).zip(present) {
            let state = self.trigger_mut(id);
            if !present && std::mem::take(&mut state.exists) {
                state.counters.paused.store(false, Relaxed);
                changes.push(TriggerChange { id, kind: ChangeKind::Removed });
            }
        }
        self.table = table;
        changes
    }

    /// Every trigger, as if each had just come or gone: for a partition that was just gained.
    pub(super) fn all_triggers(&self) -> Vec<TriggerChange> {
        let kind =
            |exists| if exists { ChangeKind::Present { other_filter: false } } else { ChangeKind::Removed };
        self.known_triggers().map(|(id, state)| TriggerChange { id, kind: kind(state.exists) }).collect()
    }
}

impl super::shared::TriggerState {
    fn set(&mut self, trigger: &Arc<Trigger>) -> Option<ChangeKind> {
        let before = self.trigger.replace(trigger.clone());
        let existed = std::mem::replace(&mut self.exists, true);
        if existed && before.as_ref().is_some_and(|before| Arc::ptr_eq(before, trigger)) {
            return None;
        }
        self.gate.set(trigger.max_concurrency, trigger.max_rate);
        self.counters.paused.store(trigger.paused, Relaxed);
        let other_filter = before.is_none_or(|before| before.filter != trigger.filter);
        Some(ChangeKind::Present { other_filter })
    }
}

impl Partition {
    /// Brings the partition in line with triggers that changed.
    pub(super) fn apply(
        &mut self,
        changes: &[TriggerChange],
        bounds: Bounds,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        for change in changes {
            match change.kind {
                ChangeKind::Removed => self.trigger_removed(change.id, shared, turn),
                ChangeKind::Present { other_filter } => {
                    self.trigger_present(change.id, other_filter, bounds, shared, turn);
                }
            }
        }
        if changes.is_empty() {
            return;
        }
        let keys = self.lane_keys();
        for key in keys {
            let order = shared.trigger(key.trigger).order();
            if let Some(lane) = self.lanes.get_mut(&key)
                && lane.order() != order
            {
                lane.rebuild(order);
            }
            self.queue_sweep(key);
            self.queue_pump(key);
        }
    }

    fn trigger_removed(&mut self, id: TriggerId, shared: &Shared, turn: &Turn<'_>) {
        let key = LaneKey { trigger: id, replay: None };
        let Some(registered) = self.registered.get_mut(&id) else {
            // It was still looking for its start.
            if self.lanes.get(&key).is_some_and(|lane| lane.reposition.is_some()) {
                self.remove_lane(key, shared);
                shared.trigger(id).counters.unregistered.fetch_sub(1, Relaxed);
            }
            return;
        };
        if registered.deleted_at().is_some() {
            return;
        }
        registered.delete(turn.now);
        self.disembark(key);
        let head = self.head;
        let lane = self.lane(key, shared);
        lane.reposition = None;
        if lane.next.is_none() {
            lane.detach(head, Some(Behind { count: 0, counted_to: head, oldest: turn.now }));
        }
        self.mark_dirty(key, turn.now);
        self.saver.hurry();
        self.touch(key);
    }

    fn trigger_present(
        &mut self,
        id: TriggerId,
        other_filter: bool,
        bounds: Bounds,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let key = LaneKey { trigger: id, replay: None };
        let Some(trigger) = shared.trigger(id).trigger.clone() else { return };
        let head = self.head;
        let Some(registered) = self.registered.get_mut(&id) else {
            if self.lanes.get(&key).is_none_or(|lane| lane.reposition.is_none()) {
                shared.trigger(id).counters.unregistered.fetch_add(1, Relaxed);
            }
            self.place(key, &trigger, bounds, shared, turn);
            return;
        };
        let created_again = registered.restore();
        let moves = !trigger.start_text.is_empty() && *registered.start() != *trigger.start_text;
        if let Some(lane) = self.lanes.get_mut(&key)
            && (created_again || other_filter)
            && lane.next.is_some_and(|next| next < head)
        {
            lane.behind = None;
        }
        if created_again {
            self.mark_dirty(key, turn.now);
            self.saver.hurry();
            if self.lanes.get(&key).is_some_and(|lane| lane.next.is_some_and(|next| next >= head)) {
                self.ahead.push(key);
                self.attach_at(head, turn.now);
            }
        }
        let moving = self.lanes.get(&key).and_then(|lane| lane.reposition.as_ref());
        if moves && moving.is_none_or(|moving| *moving.start != *trigger.start_text) {
            self.place(key, &trigger, bounds, shared, turn);
        }
    }

    /// Moves a trigger to where its start says, once nothing of it is in flight; for one that is new, at once.
    fn place(
        &mut self,
        key: LaneKey,
        trigger: &Trigger,
        bounds: Bounds,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let takes_over = shared.config.take_over && !self.registered.contains_key(&key.trigger);
        let group = takes_over.then(|| trigger.group.as_str().into());
        let target = match trigger.start {
            _ if takes_over => None,
            Start::Latest => Some(bounds.end),
            Start::Earliest => Some(bounds.start),
            Start::At(_) => None,
        };
        let sequence = shared.next_sequence();
        let start: Box<str> = trigger.start_text.as_str().into();
        if let (Some(target), None) = (target, self.registered.get(&key.trigger)) {
            self.register(key, start, shared, turn);
            self.position(key, target, shared, turn);
            return;
        }
        self.disembark(key);
        let head = self.head;
        let lane = self.lane(key, shared);
        if lane.next.is_none() {
            lane.detach(head, Some(Behind { count: 0, counted_to: head, oldest: turn.now }));
        }
        lane.reposition = Some(Reposition { start, target, sequence });
        if target.is_none() {
            let resolve = ResolveId { partition: self.number, trigger: trigger.name.clone(), sequence };
            turn.actions.push(Action::Resolve { resolve, group, start: trigger.start });
        }
        self.queue_pump(key);
    }

    fn register(&mut self, key: LaneKey, start: Box<str>, shared: &Shared, turn: &Turn<'_>) {
        match self.registered.get_mut(&key.trigger) {
            Some(registered) => registered.set_start(start),
            None => {
                self.registered.insert(key.trigger, Registered::new(start, None, false));
                debug_assert!(shared.trigger(key.trigger).exists);
            }
        }
        self.mark_dirty(key, turn.now);
        self.saver.hurry();
    }

    fn position(&mut self, key: LaneKey, target: Offset, shared: &Shared, turn: &Turn<'_>) {
        let head = self.head;
        if target == head && !self.lanes.contains_key(&key) {
            return;
        }
        let lane = self.lane(key, shared);
        (lane.considered, lane.fixed_to) = (0, 0);
        if target == head {
            lane.attach();
        } else if target > head {
            lane.detach(target, Some(Behind { count: 0, counted_to: target, oldest: turn.now }));
            if !self.ahead.contains(&key) {
                self.ahead.push(key);
            }
        } else {
            lane.detach(target, None);
        }
        self.queue_sweep(key);
        self.queue_pump(key);
    }

    /// The offset that a start by time asked for.
    pub(super) fn resolved(
        &mut self,
        id: ResolveId,
        offset: Offset,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let ResolveId { trigger, sequence, .. } = id;
        let key = LaneKey { trigger: shared.intern(&trigger), replay: None };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(reposition) = &mut lane.reposition else { return };
        if reposition.sequence == sequence {
            reposition.target = Some(offset);
            self.settle_position(key, shared, turn);
        }
    }

    /// Carries out a move by a changed start once nothing is in flight: what was open is discarded, and when that is durable
    /// the lane is at its new position.
    pub(super) fn settle_position(&mut self, key: LaneKey, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let Some(Reposition { start, target: Some(target), .. }) = lane.reposition.clone() else { return };
        if self.stopping || !lane.is_still() || self.settle_all(key, End::Discarded, turn) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.reposition = None;
        if let Some(behind) = lane.behind.filter(|_| target >= self.head) {
            shared.trigger(key.trigger).counters.discarded.fetch_add(behind.count, Relaxed);
        }
        self.ahead.retain(|known| *known != key);
        self.register(key, start, shared, turn);
        self.position(key, target, shared, turn);
    }

    /// Ends everything the lane holds. Answers whether there was, or is not durable yet, anything.
    fn settle_all(&mut self, key: LaneKey, end: End, turn: &mut Turn<'_>) -> bool {
        let Some(lane) = self.lanes.get(&key) else { return false };
        let mut open = Vec::new();
        for source in [Source::Events, Source::Retry] {
            let unended = lane.queue(source).iter().filter(|open| !open.is_ended());
            open.extend(unended.map(|open| EventRef { lane: key, source, offset: open.offset }));
        }
        let any = !lane.events.is_empty() || !lane.retries.is_empty();
        for handle in open {
            self.settle(handle, end, None, turn);
        }
        if any {
            self.saver.hurry();
        }
        any
    }

    /// What needs no hurry.
    pub(super) fn housekeeping(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        let keys = self.lane_keys();
        for key in keys {
            self.queue_sweep(key);
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if std::mem::take(&mut lane.held_back) || lane.has_early() {
                self.queue_pump(key);
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if !lane.is_idle() {
                lane.idle_since = None;
                continue;
            }
            let since = *lane.idle_since.get_or_insert(turn.now);
            if turn.now.since(since) >= limits::IDLE_LANE_KEPT {
                self.remove_lane(key, shared);
            }
        }
        let deleted = shared.known_triggers().filter(|(_, state)| !state.exists);
        let deleted: Vec<_> = deleted.map(|(id, _)| id).collect();
        for id in deleted {
            self.withdraw_if_old(id, shared, turn);
        }
    }

    /// Whether anything here goes by the id of the trigger.
    pub(super) fn mentions(&self, id: TriggerId) -> bool {
        let is_of = |key: &LaneKey| key.trigger == id;
        self.registered.contains_key(&id)
            || self.loaded_retries.contains_key(&id)
            || self.lanes.keys().any(is_of)
            || self.eligible.iter().chain(&self.ahead).chain(&self.to_pump).chain(&self.touched).any(is_of)
            || self.saver.mentions(id)
    }

    /// Lets go what a trigger owed that was deleted long ago.
    fn withdraw_if_old(&mut self, id: TriggerId, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(deleted_at) = self.registered.get(&id).and_then(Registered::deleted_at) else {
            return;
        };
        if self.stopping || turn.now.since(deleted_at) < limits::DELETED_TRIGGER_KEPT {
            return;
        }
        let mut keys = self.lane_keys();
        keys.retain(|key| key.trigger == id);
        let mut left = false;
        for key in &keys {
            let still = self.lanes.get(key).is_some_and(|lane| lane.is_still());
            left |= !still || self.settle_all(*key, End::Withdrawn, turn);
            // Its row of the retry topic goes once it is empty.
            if self.lanes.get(key).is_some_and(|lane| lane.saving.has_retry_row) {
                self.mark_retry_dirty(*key, turn.now);
                left = true;
            }
        }
        if left {
            return;
        }
        let state = shared.trigger(id);
        for key in keys {
            let behind = self.lanes.get(&key).and_then(|lane| lane.behind).map_or(0, |behind| behind.count);
            state.counters.withdrawn.fetch_add(behind, Relaxed);
            self.remove_lane(key, shared);
            if key.replay.is_some() {
                self.saver.remove_row(row_name(key, &state.name), turn.now);
            }
        }
        self.registered.remove(&id);
        self.saver.remove_row(state.name.to_shared(), turn.now);
    }
}

/// The bounds of a partition, or nothing kept where they are not known.
pub(super) fn bounds_of(bounds: &BTreeMap<PartitionNumber, Bounds>, partition: &Partition) -> Bounds {
    bounds.get(&partition.number).copied().unwrap_or(Bounds { start: 0, end: partition.head })
}
