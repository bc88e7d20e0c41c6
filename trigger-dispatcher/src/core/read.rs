//! The head reader: every event is read once and offered to the lanes of the triggers that want it.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use pelton_event::{Record, Timestamp};
use pelton_event_log::{Chunk, Content, Offset};

use super::action::{Action, Expired, LaneKey, Source, Turn};
use super::body::Body;
use super::open::State;
use super::partition::{Partition, lane_of};
use super::progress::Behind;
use super::shared::Shared;
use crate::limits;

impl Partition {
    /// Offers what the head reader brought.
    pub(super) fn head_read(&mut self, chunk: Chunk, shared: &mut Shared, turn: &mut Turn<'_>) {
        if self.stopping || !self.ready {
            return;
        }
        let before = self.head;
        if let Some(kept_from) = chunk.kept_from {
            self.expired(None, before..kept_from, shared, turn);
        }
        for entry in chunk.entries {
            if entry.offset < self.head {
                continue;
            }
            self.attach_at(entry.offset, turn.now);
            match entry.content {
                Content::Record(record) if record.event.is_some() => {
                    self.offer(entry.offset, &record, shared, turn);
                }
                Content::Record(_) => {
                    self.keep_undecodable(Source::Events, entry.offset, "it has no event", &[], shared, turn);
                }
                Content::Undecodable { reason, bytes } => {
                    self.keep_undecodable(Source::Events, entry.offset, &reason, &bytes, shared, turn);
                }
            }
            self.head = entry.offset + 1;
        }
        self.head = self.head.max(chunk.next);
        self.attach_at(self.head, turn.now);
        if self.head > before {
            self.saver.head_moved(turn.now);
        }
        turn.actions.push(Action::ReadHead { partition: self.number, from: self.head });
    }

    /// The log has let go of events before their end.
    pub(super) fn expired(
        &self,
        lane: Option<LaneKey>,
        offsets: Range<Offset>,
        shared: &Shared,
        turn: &mut Turn<'_>,
    ) {
        if !offsets.is_empty() {
            let trigger = lane.map(|lane| shared.trigger(lane.trigger).name.clone());
            turn.actions.push(Action::Expired(Expired { trigger, partition: self.number, offsets }));
        }
    }

    /// The head is about to pass `offset`: lanes that start there or before follow it from now on.
    pub(super) fn attach_at(&mut self, offset: Offset, now: Timestamp) {
        if self.ahead.is_empty() {
            return;
        }
        let lanes = &mut self.lanes;
        let mut reached = Vec::new();
        self.ahead.retain(|key| {
            let Some(lane) = lanes.get_mut(key) else { return false };
            let Some(next) = lane.next else { return false };
            if next > offset || (next == offset && lane.replay_end.is_some()) {
                return true;
            }
            if lane.replay_end.is_none() && lane.reposition.is_none() && lane.aboard.is_none() {
                lane.attach();
            }
            reached.push(*key);
            false
        });
        for key in reached {
            self.queue_sweep(key);
            self.mark_dirty(key, now);
            self.touch(key);
        }
    }

    fn offer(&mut self, offset: Offset, record: &Record, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(event) = &record.event else { return };
        let mut matches = std::mem::take(&mut shared.matches);
        let table = shared.table.clone();
        table.matches(event, &mut matches);
        if !matches.ids().is_empty() {
            self.relieve(record, offset, shared, turn);
        }
        let mut body = None;
        for &number in matches.ids() {
            let Some(id) = shared.ids.get(number as usize) else { continue };
            let key = LaneKey { trigger: *id, replay: None };
            self.offer_to(key, offset, record, &mut body, shared, turn);
        }
        shared.matches = matches;
    }

    fn offer_to(
        &mut self,
        key: LaneKey,
        offset: Offset,
        record: &Record,
        body: &mut Option<Body>,
        shared: &Shared,
        turn: &Turn<'_>,
    ) {
        let state = shared.trigger(key.trigger);
        let lane = lane_of(&mut self.lanes, &self.registered, key, shared);
        if offset < lane.considered || lane.next.is_some_and(|next| offset < next) {
            return;
        }
        state.counters.matched.fetch_add(1, Relaxed);
        if lane.next.is_none() && lane.has_room() && state.is_active() {
            if lane.is_in_retry(offset) {
                lane.fix(offset);
            } else {
                if body.is_none() {
                    *body = shared.config.budget.take(record);
                }
                lane.take(offset, record, body.clone());
            }
            self.queue_pump(key);
            self.mark_dirty(key, turn.now);
            return;
        }
        if lane.next.is_none() {
            let behind = Behind { count: 0, counted_to: offset, oldest: record.envelope.time };
            lane.detach(offset, Some(behind));
        }
        if let Some(behind) = &mut lane.behind
            && offset >= behind.counted_to
        {
            if behind.count == 0 {
                behind.oldest = record.envelope.time;
            }
            behind.count += 1;
            behind.counted_to = offset + 1;
        }
        self.queue_sweep(key);
        self.touch(key);
        self.mark_dirty(key, turn.now);
    }

    /// Makes room for the body of `record` by dropping those of events that wait, of the lanes that hold most of them first.
    /// Such a lane is detached at `offset`, and reads the events again when their turn comes.
    fn relieve(&mut self, record: &Record, offset: Offset, shared: &Shared, turn: &Turn<'_>) {
        let budget = &shared.config.budget;
        if budget.fits(record) || turn.now.since(self.relieved_at) < limits::RELIEF_EVERY {
            return;
        }
        self.relieved_at = turn.now;
        let waiting = |open: &super::open::Open| match (&open.state, &open.body) {
            (State::Idle, Some(body)) => body.bytes(),
            _ => 0,
        };
        let held = |lane: &super::lane::Lane| -> usize {
            lane.events.iter().map(waiting).sum::<usize>() + lane.retries.iter().map(waiting).sum::<usize>()
        };
        let mut lanes: Vec<_> = self.lanes.iter().map(|(key, lane)| (held(lane), *key)).collect();
        lanes.retain(|(bytes, _)| *bytes > 0);
        lanes.sort_unstable_by_key(|(bytes, key)| (std::cmp::Reverse(*bytes), *key));
        for (_, key) in lanes {
            if budget.used() <= budget.limit() / 4 * 3 && budget.fits(record) {
                break;
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let idle = |open: &&mut super::open::Open| open.state == State::Idle;
            lane.events.iter_mut().filter(idle).for_each(|open| open.body = None);
            lane.retries.iter_mut().filter(idle).for_each(|open| open.body = None);
            if lane.next.is_none() {
                let behind = Behind { count: 0, counted_to: offset, oldest: record.envelope.time };
                lane.detach(offset, Some(behind));
                lane.starved = true;
                self.mark_dirty(key, turn.now);
            }
        }
    }
}
