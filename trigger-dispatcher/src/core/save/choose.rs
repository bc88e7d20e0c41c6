//! Which records and rows go into a save.

use std::collections::VecDeque;
use std::sync::Arc;

use pelton_event::Timestamp;
use pelton_event_log::{LaneProgress, Offset};

use super::{ChangedRows, Content, PendingRecord, Role, Saver};
use crate::core::action::{LaneKey, Source};
use crate::core::partition::{Partition, row_name};
use crate::core::progress::{self, Behind, EventsRow};
use crate::core::shared::Shared;
use crate::limits;

impl Partition {
    /// Takes records in their order; the ends they belong to enter the save.
    pub(super) fn choose_records(&mut self, content: &mut Content, shared: &Shared) {
        let Saver { records, portion, .. } = &mut self.saver;
        if portion.progress_first {
            return;
        }
        for pending in records.iter_mut() {
            let size = pending.size();
            if portion.holds_back(size, content.now) {
                continue;
            }
            if portion.is_full(content, size) {
                break;
            }
            content.take(pending, shared);
            if let Some(lane) = pending.lane.and_then(|key| self.lanes.get_mut(&key)) {
                lane.queue_mut(pending.source).enter_save_with_record(pending.offset, content.id);
            }
        }
    }

    /// The lanes whose ends are in the save with a record (for either topic: the row of the events topic goes first), then the
    /// others.
    fn choose_lanes(&self, id: u64, source: Source, dirty: VecDeque<LaneKey>) -> Vec<LaneKey> {
        let is_dirty = |key: &LaneKey| self.lanes.get(key).is_some_and(|lane| lane.saving.dirty);
        let in_save = self.saver.records.iter().filter(|record| {
            let first = source == Source::Events && record.lane.as_ref().is_some_and(is_dirty);
            record.save == id && (record.source == source || first)
        });
        let mut chosen: Vec<_> = in_save.filter_map(|record| record.lane).collect();
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            return dirty.into();
        }
        let others = dirty.into_iter().filter(|key| chosen.binary_search(key).is_err());
        let others: Vec<_> = others.collect();
        chosen.extend(others);
        chosen
    }

    /// The rows to save, as far as there is room, and their lanes. What is left stays in line.
    pub(super) fn choose_rows(
        &mut self,
        content: &mut Content,
        shared: &Shared,
    ) -> (Vec<LaneKey>, ChangedRows) {
        let dirty = std::mem::take(&mut self.saver.dirty);
        let mut lanes = self.choose_lanes(content.id, Source::Events, dirty);
        let mut rows = ChangedRows::with_capacity(lanes.len());
        lanes.retain(|&key| {
            if self.is_full(content, rows.len(), key, Source::Events) {
                self.saver.dirty.push_back(key);
                return false;
            }
            let Some(row) = self.encode_row(key, content.id) else { return false };
            content.room = content.room.saturating_sub(row.state.len() + limits::BODY_OVERHEAD_BYTES);
            // Most rows of triggers without events say the same.
            let row = match rows.last() {
                Some((_, Some(last))) if **last == row => Arc::clone(last),
                _ => Arc::new(row),
            };
            rows.push((row_name(key, &shared.trigger(key.trigger).name), Some(row)));
            true
        });
        (lanes, rows)
    }

    /// Whether the row of a lane has to wait for a later save. One whose record is in this save has not.
    fn is_full(&self, content: &Content, rows: usize, key: LaneKey, source: Source) -> bool {
        let small = self.saver.portion.small && (rows > 0 || !content.records.is_empty());
        let full = content.room == 0 || small;
        let is_its = |record: &PendingRecord| {
            let counts = record.source == source || source == Source::Events;
            record.save == content.id && record.lane == Some(key) && counts
        };
        full && !self.saver.records.iter().any(is_its)
    }

    /// The lane's row as it is durable with the save `id`; the lane is clean then.
    fn encode_row(&mut self, key: LaneKey, id: u64) -> Option<LaneProgress> {
        let registered = self.registered.get_mut(&key.trigger).filter(|_| key.replay.is_none());
        if registered.is_none() && key.replay.is_none() {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.saving.dirty = false;
            }
            return None;
        }
        let mut row = EventsRow { position: self.head, ..EventsRow::default() };
        if let Some(registered) = registered {
            registered.dirty = false;
            row.start = registered.start().into();
            row.deleted_at = registered.deleted_at();
        }
        let Some(lane) = self.lanes.get_mut(&key) else {
            return key.replay.is_none().then(|| progress::encode_events(&row, std::iter::empty()));
        };
        let saving = &mut lane.saving;
        saving.dirty = false;
        saving.saving_from = saving.unsaved_from.take();
        if key.replay.is_some() {
            saving.retry_saving_from = saving.retry_unsaved_from.take();
        }
        row.position = lane.next.unwrap_or_else(|| self.head.max(lane.considered));
        row.detached = lane.next.is_some();
        row.replay_end = lane.replay_end;
        row.behind =
            lane.behind.map(|behind| Behind { counted_to: self.head.max(behind.counted_to), ..behind });
        lane.events.enter_save(id);
        Some(progress::encode_events(&row, lane.events.owed_after(id)))
    }

    /// How far the head may be saved: not past an event that a lane has taken and no durable row, or row of this save, tells
    /// of; not past what could not be decoded and is not kept with this save.
    pub(super) fn head_to_save(&mut self, content: &mut Content, shared: &Shared) -> Offset {
        // A head that is not 0 says that the triggers there were have their rows: one without starts at the end.
        let is_new = |key: &LaneKey| {
            let registered = self.registered.get(&key.trigger).filter(|_| key.replay.is_none());
            registered.is_some_and(|registered| !registered.durable)
        };
        if self.saver.dirty.iter().any(is_new) {
            return self.saver.saved_head;
        }
        let lanes = self.saver.dirty.iter().filter_map(|key| self.lanes.get(key));
        let limit = lanes.filter_map(|lane| lane.saving.unsaved_from).fold(self.head, Offset::min);
        self.choose_nobodys(Source::Events, limit, content, shared)
    }

    /// The same for the retry topic.
    pub(super) fn retry_head_to_save(&mut self, content: &mut Content, shared: &Shared) -> Offset {
        if !self.ready {
            return self.saver.saved_retry_head;
        }
        let replays = self.saver.dirty.iter().filter(|key| key.replay.is_some());
        let lanes = self.saver.retry_dirty.iter().chain(replays).filter_map(|key| self.lanes.get(key));
        let unsaved = lanes.filter_map(|lane| lane.saving.retry_unsaved_from);
        let limit = unsaved.fold(self.retry_head, Offset::min);
        self.choose_nobodys(Source::Retry, limit, content, shared)
    }

    /// Takes the dead letters of what could not be decoded before `limit`; answers how far the head may go with them.
    fn choose_nobodys(
        &mut self,
        source: Source,
        limit: Offset,
        content: &mut Content,
        shared: &Shared,
    ) -> Offset {
        let Saver { nobodys, portion, .. } = &mut self.saver;
        for pending in nobodys.iter_mut().filter(|pending| pending.source == source) {
            if pending.offset >= limit {
                break;
            }
            let size = pending.size();
            if portion.progress_first
                || portion.holds_back(size, content.now)
                || portion.is_full(content, size)
            {
                return pending.offset;
            }
            content.take(pending, shared);
        }
        limit
    }

    /// The lanes whose rows of the retry topic are saved: none before all its open entries are known.
    pub(super) fn choose_retry_lanes(&mut self, content: &mut Content) -> Vec<LaneKey> {
        if !self.ready {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.saver.retry_dirty);
        let mut saved = Vec::new();
        for key in self.choose_lanes(content.id, Source::Retry, dirty) {
            if self.is_full(content, saved.len(), key, Source::Retry) {
                self.saver.retry_dirty.push_back(key);
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            // An entry is only closed once it is durable that the lane has come past its event.
            if lane.saving.dirty {
                self.saver.retry_dirty.push_back(key);
                continue;
            }
            lane.saving.retry_dirty = false;
            lane.saving.retry_saving_from = lane.saving.retry_unsaved_from.take();
            lane.retries.enter_save(content.id);
            content.room = content.room.saturating_sub(lane.retries.len() * 8 + limits::BODY_OVERHEAD_BYTES);
            saved.push(key);
        }
        saved
    }

    /// The rows of these lanes in the retry topic, saved together with its head `head`.
    pub(super) fn retry_rows(
        &mut self,
        lanes: &[LaneKey],
        head: Offset,
        id: u64,
        shared: &Shared,
    ) -> ChangedRows {
        let mut rows = Vec::new();
        for key in lanes {
            let Some(lane) = self.lanes.get_mut(key) else { continue };
            let (open, row) = progress::encode_retry(self.retry_head, lane.retries.owed_after(id));
            // Without open entries the saved head tells as much as the row, once it is as far.
            let goes = open == 0 && head == self.retry_head;
            if goes && !lane.saving.has_retry_row {
                continue;
            }
            lane.saving.has_retry_row = !goes;
            let name = row_name(*key, &shared.trigger(key.trigger).name);
            rows.push((name, (!goes).then(|| Arc::new(row))));
        }
        rows
    }
}

impl Content {
    pub(super) fn new(id: u64, room: usize, now: Timestamp) -> Self {
        Self { id, now, room, records: Vec::new(), bytes: 0, largest: 0 }
    }

    fn take(&mut self, pending: &mut PendingRecord, shared: &Shared) {
        let size = pending.size();
        self.room = self.room.saturating_sub(size);
        self.bytes += size;
        self.largest = self.largest.max(size);
        (pending.save, pending.last_save) = (self.id, self.id);
        let topics = &shared.config.topics;
        let topic = match pending.role {
            Role::Reply => &topics.events,
            Role::Retry => &topics.retry,
            Role::DeadLetter => &topics.dead_letter,
        };
        self.records.push((topic.clone(), pending.partition, pending.record.clone()));
    }
}
