//! Catch-up readers: a few per partition, shared by the lanes that no longer follow the head.
//!
//! A sweep begins at the position of a waiting lane and reads towards the head. Other waiting lanes board as it passes their
//! position; a lane that is full leaves. At the head, those aboard follow it again: both readers are in one state machine,
//! so nothing is between them.

use std::sync::atomic::Ordering::Relaxed;

use pelton_event::Record;
use pelton_event_log::{Chunk, Content, Entry, Offset};

use super::action::{Action, LaneKey, SweepId, Turn};
use super::body::Body;
use super::partition::Partition;
use super::shared::Shared;
use crate::limits;

/// One catch-up reader.
#[derive(Debug)]
pub(super) struct Sweep {
    sequence: u64,
    /// The next offset it reads.
    position: Offset,
    aboard: Vec<LaneKey>,
    /// Events taken for each entry read, lately: how much a read is worth.
    worth: f64,
}

/// With fewer lanes aboard their filters are asked one by one, not through the index of all triggers.
const ABOARD_FOR_INDEX: usize = 8;

impl Partition {
    /// Starts sweeps for the lanes that wait, as far as there may be more.
    pub(super) fn start_sweeps(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        if !self.ready || self.stopping {
            return;
        }
        while let Some(key) = self.eligible.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.queued = false;
            let Some(next) = lane.next else { continue };
            if !lane.wants_sweep() || !shared.trigger(key.trigger).is_active() {
                continue;
            }
            if lane.replay_end.is_some_and(|end| next >= end) {
                self.finish_replay(key, shared, turn);
                continue;
            }
            if next >= self.head {
                self.arrive_at_head(key, shared, turn);
                continue;
            }
            if self.sweeps.len() >= limits::SWEEPS_MAX {
                lane.queued = true;
                self.eligible.push_front(key);
                break;
            }
            let sequence = shared.next_sequence();
            lane.aboard = Some(sequence);
            lane.starved = false;
            let sweep = Sweep { sequence, position: next, aboard: vec![key], worth: 1.0 };
            turn.actions.push(self.read_on(&sweep));
            self.sweeps.push(sweep);
        }
    }

    /// A lane has considered everything before the head: it follows it again, or waits for it.
    fn arrive_at_head(&mut self, key: LaneKey, shared: &Shared, turn: &Turn<'_>) {
        let head = self.head;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.aboard = None;
        if lane.next.is_some_and(|next| next > head) || lane.replay_end.is_some() {
            if !self.ahead.contains(&key) {
                self.ahead.push(key);
            }
            return;
        }
        // What the head counted and no sweep found is gone from the log.
        if let Some(behind) = lane.behind.filter(|behind| behind.count > 0) {
            shared.trigger(key.trigger).counters.expired.fetch_add(behind.count, Relaxed);
        }
        lane.attach();
        self.mark_dirty(key, turn.now);
        self.queue_pump(key);
    }

    fn read_on(&self, sweep: &Sweep) -> Action {
        let room = |key: &LaneKey| {
            self.lanes.get(key).map_or(0, |lane| lane.window() - lane.events.len().min(lane.window()))
        };
        let most = sweep.aboard.iter().map(room).max().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let wanted = (most as f64 / sweep.worth.max(1e-6)).ceil() as usize;
        Action::Sweep {
            sweep: SweepId { partition: self.number, sequence: sweep.sequence },
            from: sweep.position,
            entries: wanted.clamp(limits::SWEEP_ENTRIES_MIN, limits::READ_ENTRIES),
        }
    }

    /// Offers what a sweep brought to the lanes aboard.
    pub(super) fn sweep_read(&mut self, id: SweepId, chunk: Chunk, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(index) = self.sweeps.iter().position(|sweep| sweep.sequence == id.sequence) else { return };
        let mut sweep = self.sweeps.swap_remove(index);
        if self.stopping {
            for key in sweep.aboard {
                self.leave(key, None);
            }
            return;
        }
        let Chunk { entries, next, kept_from } = chunk;
        let mut end = next.clamp(sweep.position, self.head.max(sweep.position));
        self.board(&mut sweep, end, shared);
        if let Some(kept_from) = kept_from {
            for key in &sweep.aboard {
                let next = self.lanes.get(key).and_then(|lane| lane.next).unwrap_or(kept_from);
                self.expired(Some(*key), next.max(sweep.position)..kept_from, shared, turn);
            }
        }
        let (mut taken, mut read) = (0_u32, 0_u32);
        for (index, entry) in entries.iter().enumerate() {
            if entry.offset < sweep.position || entry.offset >= end || sweep.aboard.is_empty() {
                continue;
            }
            read += 1;
            match &entry.content {
                Content::Record(record) if record.event.is_some() => {
                    taken += self.offer_to_aboard(&mut sweep, entry.offset, record, shared, turn);
                }
                content => {
                    if self.is_wanted(&sweep, entry.offset)
                        && !self.passes_damaged(entry.offset, content, shared, turn)
                    {
                        self.note_damaged_ahead(&sweep, &entries[index + 1..], end, shared, turn);
                        end = entry.offset;
                        self.hold(&mut sweep, end);
                    }
                }
            }
        }
        if read > 0 {
            sweep.worth = f64::midpoint(sweep.worth, f64::from(taken) / f64::from(read));
        }
        let stuck = end == sweep.position && end < self.head;
        sweep.position = end;
        self.end_chunk(sweep, stuck, shared, turn);
    }

    /// Lanes have to wait before a damaged entry: those that follow are looked at now, so that a lost stretch of the log is
    /// passed in large steps.
    fn note_damaged_ahead(
        &mut self,
        sweep: &Sweep,
        ahead: &[Entry],
        end: Offset,
        shared: &Shared,
        turn: &Turn<'_>,
    ) {
        for entry in ahead.iter().filter(|entry| entry.offset < end) {
            let is_event = matches!(&entry.content, Content::Record(record) if record.event.is_some());
            if !is_event && self.is_wanted(sweep, entry.offset) {
                self.passes_damaged(entry.offset, &entry.content, shared, turn);
            }
        }
    }

    /// Lanes whose position the chunk passes come aboard.
    fn board(&mut self, sweep: &mut Sweep, end: Offset, shared: &Shared) {
        let lanes = &mut self.lanes;
        self.eligible.retain(|key| {
            let Some(lane) = lanes.get_mut(key) else { return false };
            let passed = lane.next.is_some_and(|next| next >= sweep.position && next < end);
            if !passed || !lane.wants_sweep() || !shared.trigger(key.trigger).is_active() {
                return true;
            }
            lane.queued = false;
            lane.starved = false;
            lane.aboard = Some(sweep.sequence);
            sweep.aboard.push(*key);
            false
        });
    }

    fn offer_to_aboard(
        &mut self,
        sweep: &mut Sweep,
        offset: Offset,
        record: &Record,
        shared: &mut Shared,
        turn: &Turn<'_>,
    ) -> u32 {
        let Some(event) = &record.event else { return 0 };
        let by_index = sweep.aboard.len() > ABOARD_FOR_INDEX;
        let mut matches = std::mem::take(&mut shared.matches);
        let mut wanting = Vec::new();
        if by_index {
            shared.table.matches(event, &mut matches);
            let live = |number: &u32| {
                shared.ids.get(*number as usize).map(|id| LaneKey { trigger: *id, replay: None })
            };
            let is_aboard =
                |key: &LaneKey| self.lanes.get(key).is_some_and(|lane| lane.aboard == Some(sweep.sequence));
            wanting.extend(matches.ids().iter().filter_map(live).filter(is_aboard));
        }
        let asked = sweep.aboard.iter().filter(|key| !by_index || key.replay.is_some()).filter(|key| {
            let trigger = shared.trigger(key.trigger).trigger.as_ref();
            trigger.is_some_and(|trigger| trigger.filter.matches(event))
        });
        wanting.extend(asked);
        shared.matches = matches;
        let mut body = None;
        let mut taken = 0;
        for key in wanting {
            match self.offer_swept(key, offset, record, &mut body, shared, turn) {
                Some(took) => taken += u32::from(took),
                None => {
                    sweep.aboard.retain(|known| *known != key);
                    self.leave(key, Some(offset));
                }
            }
        }
        taken
    }

    /// Offers an event to a lane aboard. `None`: the lane cannot take it and leaves.
    fn offer_swept(
        &mut self,
        key: LaneKey,
        offset: Offset,
        record: &Record,
        body: &mut Option<Body>,
        shared: &Shared,
        turn: &Turn<'_>,
    ) -> Option<bool> {
        let lane = self.lanes.get_mut(&key)?;
        if lane.next.is_none_or(|next| offset < next) {
            return Some(false);
        }
        if lane.replay_end.is_some_and(|end| offset >= end) {
            return None;
        }
        let state = shared.trigger(key.trigger);
        if !lane.has_room() || !state.is_active() {
            return None;
        }
        if lane.is_in_retry(offset) {
            lane.considered_one();
            lane.fix(offset);
            self.mark_dirty(key, turn.now);
            return Some(false);
        }
        if body.is_none() {
            *body = shared.config.budget.take(record);
        }
        // Without anything else to do it takes the event all the same, and reads it again when it is sent.
        if body.is_none() && !lane.events.is_empty() {
            lane.starved = true;
            return None;
        }
        lane.considered_one();
        lane.take(offset, record, body.clone());
        if key.replay.is_some() {
            state.counters.matched.fetch_add(1, Relaxed);
        }
        self.queue_pump(key);
        self.mark_dirty(key, turn.now);
        Some(true)
    }

    /// A lane is no longer aboard; its position is `at`, or what it was.
    pub(super) fn leave(&mut self, key: LaneKey, at: Option<Offset>) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.aboard = None;
        if let (Some(next), Some(at)) = (&mut lane.next, at) {
            *next = lane.replay_end.map_or(at, |end| at.min(end)).max(*next);
        }
        // A replay that has come to its end is seen to when its turn for a sweep comes.
        if lane.replay_end.is_some() {
            self.queue_sweep(key);
        }
        self.touch(key);
    }

    /// Takes a lane off the sweep it is aboard.
    pub(super) fn disembark(&mut self, key: LaneKey) {
        for sweep in &mut self.sweeps {
            sweep.aboard.retain(|known| *known != key);
        }
        self.leave(key, None);
    }

    /// Whether a lane aboard has not considered `offset` yet.
    fn is_wanted(&self, sweep: &Sweep, offset: Offset) -> bool {
        sweep.aboard.iter().filter_map(|key| self.lanes.get(key)).any(|lane| {
            lane.next.is_some_and(|next| next <= offset) && lane.replay_end.is_none_or(|end| offset < end)
        })
    }

    /// Lanes that may not pass `offset` yet wait there, off the sweep. The others go on with another one.
    fn hold(&mut self, sweep: &mut Sweep, offset: Offset) {
        for key in std::mem::take(&mut sweep.aboard) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.aboard = None;
            let next = lane.next.map_or(offset, |next| next.max(offset));
            lane.next = Some(lane.replay_end.map_or(next, |end| next.min(end)));
            let goes_on = next > offset || lane.replay_end.is_some_and(|end| next >= end);
            if goes_on {
                self.queue_sweep(key);
            }
            self.touch(key);
        }
    }

    fn end_chunk(&mut self, mut sweep: Sweep, stuck: bool, shared: &mut Shared, turn: &mut Turn<'_>) {
        let position = sweep.position;
        for key in std::mem::take(&mut sweep.aboard) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let next = lane.next.map_or(position, |next| next.max(position));
            lane.next = Some(lane.replay_end.map_or(next, |end| next.min(end)));
            let done = lane.replay_end.is_some_and(|end| next >= end);
            if done || stuck || position >= self.head {
                lane.aboard = None;
            }
            if done {
                self.mark_dirty(key, turn.now);
                self.finish_replay(key, shared, turn);
            } else if position >= self.head {
                self.arrive_at_head(key, shared, turn);
            } else if !stuck {
                sweep.aboard.push(key);
            }
        }
        if !sweep.aboard.is_empty() {
            turn.actions.push(self.read_on(&sweep));
            self.sweeps.push(sweep);
        }
    }
}
