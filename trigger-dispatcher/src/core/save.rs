//! Saving progress: which rows and records go into the log together.
//!
//! Nothing settled leaves memory before the save that tells so is durable. A row tells everything about its lane up to the
//! head at that moment, so rows may be saved in any number of saves; the saved head stays behind the first event that a lane
//! has taken and no row tells of.

mod choose;
mod refusal;
mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pelton_event::{Record, Step, Timestamp};
use pelton_event_log::{
    AppendError, Batch, LaneProgress, Offset, Partition as PartitionNumber, ProgressUpdate, TopicName,
    Urgency,
};

use super::action::{Action, LaneKey, SaveId, Source, TriggerId, Turn};
use super::body::BodyBudget;
use super::counters::TriggerCounters;
use super::lane::Lane;
use super::open::End;
use super::partition::Partition;
use super::shared::{Shared, Timer};
use refusal::Portion;
use waiting::Waiting;
pub(super) use waiting::{PendingRecord, Role};

/// Rows as a progress update has them.
type ChangedRows = Vec<(Arc<str>, Option<Arc<LaneProgress>>)>;

/// What of a partition is not durable, and the save under way.
#[derive(Debug)]
pub(super) struct Saver {
    records: Waiting,
    /// Dead letters of what could not be decoded. Each goes with the very save in which the head passes it, so that none
    /// comes twice.
    nobodys: Waiting,
    /// Lanes whose rows have changed, longest first.
    dirty: VecDeque<LaneKey>,
    retry_dirty: VecDeque<LaneKey>,
    /// Rows of the events topic to take away.
    removed: Vec<Arc<str>>,
    outstanding: Option<Outstanding>,
    saved_head: Offset,
    saved_retry_head: Offset,
    /// The retry head as it was when the partition was gained.
    pub loaded_retry_head: Offset,
    moved: bool,
    /// Since when something waits to be saved.
    since: Option<Timestamp>,
    hurry: bool,
    /// A save failed of which the log may have kept a part, and records of it still wait.
    may_be_stored: bool,
    failures: u32,
    not_before: Timestamp,
    timer: Option<Timestamp>,
    portion: Portion,
    /// Why the last save failed.
    pub error: Option<Box<str>>,
}

/// What goes into a save.
#[derive(Debug)]
struct Content {
    id: u64,
    now: Timestamp,
    /// Bytes that still fit.
    room: usize,
    records: Vec<(TopicName, PartitionNumber, Record)>,
    /// Bytes of the records, and of the largest.
    bytes: usize,
    largest: usize,
}

/// A save under way.
#[derive(Debug)]
struct Outstanding {
    id: u64,
    lanes: Vec<LaneKey>,
    retry_lanes: Vec<LaneKey>,
    removed: Vec<Arc<str>>,
    head: Option<Offset>,
    retry_head: Option<Offset>,
    /// Records in it, their bytes, and those of the largest.
    records: usize,
    bytes: usize,
    largest: usize,
}

impl Saver {
    pub(super) fn new(head: Offset, retry_head: Offset, budget: &BodyBudget) -> Self {
        Self {
            records: Waiting::new(budget),
            nobodys: Waiting::new(budget),
            dirty: VecDeque::new(),
            retry_dirty: VecDeque::new(),
            removed: Vec::new(),
            outstanding: None,
            saved_head: head,
            saved_retry_head: retry_head,
            loaded_retry_head: retry_head,
            moved: false,
            since: None,
            hurry: false,
            may_be_stored: false,
            failures: 0,
            not_before: Timestamp::EPOCH,
            timer: None,
            portion: Portion::new(),
            error: None,
        }
    }

    /// The next save does not wait.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn push(&mut self, record: PendingRecord) {
        let line = if record.lane.is_some() { &mut self.records } else { &mut self.nobodys };
        line.push(record);
    }

    /// A dead letter of nobody that goes by itself: what it stands for is passed once it is durable.
    pub(super) fn push_by_itself(&mut self, record: PendingRecord) {
        self.records.push(record);
    }

    /// Damaged entries of the events topic whose dead letters are not in the save `id`, and whether some are.
    pub(super) fn damaged_not_in(&self, id: u64) -> (BTreeSet<Offset>, bool) {
        let letters = self.records.iter().chain(self.nobodys.iter());
        let (mut waiting, mut some_are) = (BTreeSet::new(), false);
        for letter in letters.filter(|record| record.lane.is_none() && record.source == Source::Events) {
            if letter.save == id {
                some_are = true;
            } else {
                waiting.insert(letter.offset);
            }
        }
        (waiting, some_are)
    }

    /// What was learnt from a part of the retry topic is not saved: the next owner learns it again.
    pub(super) fn forget_retries(&mut self) {
        self.retry_dirty.clear();
        self.nobodys.retain(|record| record.source != Source::Retry);
    }

    /// What of the retry topic is not read again.
    pub(super) fn saved_retry_head(&self) -> Offset {
        self.saved_retry_head
    }

    /// A reader has moved on.
    pub(super) fn head_moved(&mut self, now: Timestamp) {
        self.moved = true;
        self.since.get_or_insert(now);
    }

    pub(super) fn remove_row(&mut self, name: Arc<str>, now: Timestamp) {
        self.removed.push(name);
        self.since.get_or_insert(now);
    }

    /// Takes an entry for the retry topic back that is not in a save; answers whose it was.
    pub(super) fn drop_unsaved_retry(
        &mut self,
        lane: LaneKey,
        origin: Offset,
        progress: (bool, u32),
    ) -> Option<(Source, Offset)> {
        let is_it = |pending: &PendingRecord| {
            let Some(of) = pending.record.envelope.origin.as_ref() else { return false };
            let Step::Retry { attempts, failure, .. } = &of.step else { return false };
            pending.save == 0
                && pending.lane == Some(lane)
                && of.offset == origin
                && (failure.is_some(), *attempts) == progress
        };
        if !self.may_be_stored {
            return None;
        }
        let index = self.records.position(is_it)?;
        self.records.remove(index).map(|pending| (pending.source, pending.offset))
    }

    /// Bytes of records that wait to be stored.
    pub(super) fn bytes_waiting(&self) -> usize {
        self.records.bytes() + self.nobodys.bytes()
    }

    /// Whether a lane has to wait before it starts another delivery: for the log, which takes none of its records, or for
    /// room for the body that it would have to read.
    pub(super) fn holds_back(&self, lane: &Lane, has_body: bool, shared: &Shared) -> bool {
        let is_spent = shared.config.budget.is_spent();
        let waits_for_records = lane.events.waits_for_records() || lane.retries.waits_for_records();
        let is_heavy = is_spent || self.bytes_waiting() > shared.sizes.records_waiting_bytes;
        (waits_for_records && is_heavy) || (!has_body && lane.has_sent() && (lane.held_back || is_spent))
    }

    /// Whether anything that is to be saved goes by the id of the trigger.
    pub(super) fn mentions(&self, id: TriggerId) -> bool {
        let is_of = |key: &LaneKey| key.trigger == id;
        let records = self.records.iter().filter_map(|record| record.lane.as_ref());
        let saving = self.outstanding.iter().flat_map(|save| save.lanes.iter().chain(&save.retry_lanes));
        records.chain(saving).chain(&self.dirty).chain(&self.retry_dirty).any(is_of)
    }

    fn has_work(&self) -> bool {
        self.has_progress() || !self.records.is_empty() || !self.nobodys.is_empty()
    }

    fn has_progress(&self) -> bool {
        self.moved || !self.dirty.is_empty() || !self.retry_dirty.is_empty() || !self.removed.is_empty()
    }

    /// Whether the answer to this save is waited for. One of an earlier ownership is not.
    pub(super) fn waits_for(&self, save: SaveId) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.id == save.sequence)
    }

    /// Whether everything is durable.
    pub(super) fn is_clean(&self) -> bool {
        self.outstanding.is_none() && !self.has_work()
    }
}

impl Partition {
    /// The lane's row of the events topic is to be saved.
    pub(super) fn mark_dirty(&mut self, key: LaneKey, now: Timestamp) {
        let registered = self.registered.get_mut(&key.trigger).filter(|_| key.replay.is_none());
        match self.lanes.get_mut(&key) {
            Some(lane) if lane.saving.dirty => return,
            Some(lane) => lane.saving.dirty = true,
            None if registered.as_ref().is_none_or(|registered| registered.dirty) => return,
            None => {}
        }
        if let Some(registered) = registered {
            registered.dirty = true;
        }
        self.saver.dirty.push_back(key);
        self.saver.since.get_or_insert(now);
    }

    /// The lane's row of the retry topic is to be saved.
    pub(super) fn mark_retry_dirty(&mut self, key: LaneKey, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| !lane.saving.retry_dirty) else { return };
        lane.saving.retry_dirty = true;
        self.saver.retry_dirty.push_back(key);
        self.saver.since.get_or_insert(now);
    }

    /// Starts a save if there is something to save and it is time.
    pub(super) fn save(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        let saver = &self.saver;
        if saver.outstanding.is_some() || !saver.has_work() {
            return;
        }
        let held_until = saver.held_until(turn.now);
        let has_records = !saver.records.is_empty() && held_until.is_none();
        let urgent = saver.hurry || self.stopping || has_records;
        let waits_until = saver.since.unwrap_or(turn.now) + shared.config.save_interval * 3 / 4;
        let due = if urgent { saver.not_before } else { saver.not_before.max(waits_until) };
        if saver.has_progress() || held_until.is_none() {
            if turn.now < due {
                self.save_at(
                    held_until.map_or(due, |held| due.min(held.max(saver.not_before))),
                    shared,
                    turn,
                );
                return;
            }
            let within = Urgency::Within(shared.config.save_interval / 4);
            self.begin_save(if urgent { Urgency::Now } else { within }, shared, turn);
        }
        if let Some(held_until) = self.saver.held_until(turn.now).filter(|_| self.saver.outstanding.is_none())
        {
            self.save_at(held_until, shared, turn);
        }
    }

    fn save_at(&mut self, due: Timestamp, shared: &mut Shared, turn: &Turn<'_>) {
        let timer = &mut self.saver.timer;
        if timer.is_none_or(|set| set <= turn.now || due < set) {
            *timer = Some(due);
            shared.timers.set(due, Timer::Save(self.number));
        }
    }

    fn begin_save(&mut self, urgency: Urgency, shared: &mut Shared, turn: &mut Turn<'_>) {
        let id = shared.next_sequence();
        let mut content = Content::new(id, shared.sizes.save_bytes, turn.now);
        self.choose_records(&mut content, shared);
        let (lanes, mut rows) = self.choose_rows(&mut content, shared);
        let retry_lanes = self.choose_retry_lanes(&mut content);
        let head = self.head_to_save(&mut content, shared);
        let retry_head = self.retry_head_to_save(&mut content, shared);
        let retry_rows = self.retry_rows(&retry_lanes, retry_head, id, shared);
        let removed = std::mem::take(&mut self.saver.removed);
        rows.extend(removed.iter().map(|name| (name.clone(), None)));
        rows.extend(self.damaged_row(id));
        let head = Some(head).filter(|head| *head > self.saver.saved_head);
        let retry_head = Some(retry_head).filter(|head| *head > self.saver.saved_retry_head);
        let (records, bytes, largest) = (content.records.len(), content.bytes, content.largest);
        let topics = &shared.config.topics;
        let mut batch = Batch { records: content.records, progress: Vec::new(), urgency };
        for (topic, head, lanes) in [(&topics.events, head, rows), (&topics.retry, retry_head, retry_rows)] {
            if head.is_some() || !lanes.is_empty() {
                let (topic, epoch) = (topic.clone(), self.epoch);
                batch.progress.push(ProgressUpdate { topic, partition: self.number, epoch, head, lanes });
            }
        }
        let saver = &mut self.saver;
        (saver.hurry, saver.moved) = (false, false);
        saver.since = saver.has_work().then_some(turn.now);
        if batch.progress.is_empty() && batch.records.is_empty() {
            if std::mem::take(&mut saver.portion.progress_first) {
                self.save(shared, turn);
            }
            return;
        }
        saver.outstanding =
            Some(Outstanding { id, lanes, retry_lanes, removed, head, retry_head, records, bytes, largest });
        let save = SaveId { partition: self.number, sequence: id };
        turn.actions.push(Action::Save { save, batch });
    }

    /// The save is durable: what ended in it is done with.
    pub(super) fn saved(&mut self, id: SaveId, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(save) = self.saver.outstanding.take_if(|save| save.id == id.sequence) else { return };
        self.head_saved(&save, shared, turn);
        for key in save.lanes {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.saving.saving_from = None;
            if key.replay.is_some() {
                lane.saving.retry_saving_from = None;
            }
            let counters = &shared.triggers[key.trigger.0 as usize].counters;
            #[cfg(test)]
            let ledger = &mut shared.ledger;
            lane.forget_saved(save.id, |_open, end| {
                #[cfg(test)]
                ledger.push((self.number, key, _open.origin, end));
                count_end(counters, end);
            });
            self.after_save(key, shared, turn);
        }
        for key in save.retry_lanes {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.saving.retry_saving_from = None;
            let counters = &shared.triggers[key.trigger.0 as usize].counters;
            let by_origin = &mut lane.by_origin;
            #[cfg(test)]
            let ledger = &mut shared.ledger;
            lane.retries.forget_saved(save.id, |open, end| {
                #[cfg(test)]
                ledger.push((self.number, key, open.origin, end));
                if by_origin.get(&open.origin) == Some(&open.offset) {
                    by_origin.remove(&open.origin);
                }
                count_end(counters, end);
            });
            self.after_save(key, shared, turn);
        }
    }

    /// What the save says about the partition, its records and its rows is durable.
    fn head_saved(&mut self, save: &Outstanding, shared: &Shared, turn: &Turn<'_>) {
        let saver = &mut self.saver;
        saver.failures = 0;
        let partial = saver.portion.progress_first;
        saver.portion.taken(save, turn.now);
        saver.saved_head = save.head.unwrap_or(saver.saved_head);
        saver.saved_retry_head = save.retry_head.unwrap_or(saver.saved_retry_head);
        saver.nobodys.retain(|record| record.save != save.id);
        let damaged = &mut self.damaged;
        let mut has_damaged = false;
        saver.records.retain(|record| {
            if record.save == save.id && record.lane.is_none() {
                damaged.kept(record.offset);
                has_damaged = true;
            }
            if record.save == save.id
                && record.role == Role::Reply
                && let Some(key) = record.lane
            {
                shared.trigger(key.trigger).counters.replies.fetch_add(1, Relaxed);
            }
            record.save != save.id
        });
        saver.may_be_stored &= !saver.records.is_empty();
        let none_waits = saver.records.is_empty() && saver.nobodys.is_empty();
        if none_waits {
            saver.portion.emptied(turn.now);
        }
        if none_waits || (!partial && saver.portion.refused.is_none()) {
            saver.error = None;
        }
        for key in &save.lanes {
            if let Some(registered) = self.registered.get_mut(&key.trigger).filter(|known| !known.durable) {
                registered.durable = key.replay.is_none();
                let unregistered = &shared.trigger(key.trigger).counters.unregistered;
                unregistered.fetch_sub(i64::from(key.replay.is_none()), Relaxed);
            }
        }
        if save.retry_head.is_some() {
            let mut replays: Vec<_> = self.lanes.keys().filter(|key| key.replay.is_some()).copied().collect();
            replays.sort_unstable();
            replays.into_iter().for_each(|key| self.finish_replay(key, shared, turn));
        }
        if has_damaged {
            self.lane_keys().into_iter().for_each(|key| self.queue_sweep(key));
        }
    }

    /// A lane has room again.
    fn after_save(&mut self, key: LaneKey, shared: &mut Shared, turn: &mut Turn<'_>) {
        self.queue_sweep(key);
        self.queue_pump(key);
        if key.replay.is_some() {
            self.finish_replay(key, shared, turn);
        } else {
            self.settle_position(key, shared, turn);
        }
    }

    /// The save is not durable, or not known to be: its content is saved again after a while.
    pub(super) fn save_failed(
        &mut self,
        id: SaveId,
        error: &AppendError,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let Some(save) = self.saver.outstanding.take_if(|save| save.id == id.sequence) else { return };
        let saver = &mut self.saver;
        saver.error = Some(error.to_string().into());
        saver.moved = true;
        saver.may_be_stored = true;
        saver.removed.extend_from_slice(&save.removed);
        let records = saver.nobodys.iter_mut().chain(saver.records.iter_mut());
        for record in records.filter(|record| record.save == save.id) {
            record.save = 0;
        }
        for &key in &save.lanes {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.events.leave_save(save.id);
                let saving = &mut lane.saving;
                saving.unsaved_from = first(saving.saving_from.take(), saving.unsaved_from);
                if key.replay.is_some() {
                    saving.retry_unsaved_from =
                        first(saving.retry_saving_from.take(), saving.retry_unsaved_from);
                }
            }
            self.mark_dirty(key, turn.now);
        }
        for &key in &save.retry_lanes {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.retries.leave_save(save.id);
                let saving = &mut lane.saving;
                saving.retry_unsaved_from = first(saving.retry_saving_from.take(), saving.retry_unsaved_from);
                // It may have gone or come with the save; a row too many does no harm.
                saving.has_retry_row = true;
            }
            self.mark_retry_dirty(key, turn.now);
        }
        self.after_failure(&save, error, shared, turn);
    }
}

fn first(one: Option<Offset>, other: Option<Offset>) -> Option<Offset> {
    one.into_iter().chain(other).min()
}

fn count_end(counters: &TriggerCounters, end: End) {
    let counter = match end {
        End::Delivered => &counters.delivered,
        End::DeadLettered => &counters.dead_lettered,
        End::Kept => &counters.kept,
        End::Expired => &counters.expired,
        End::Discarded => &counters.discarded,
        End::Withdrawn => &counters.withdrawn,
        End::Moved | End::Superseded => return,
    };
    counter.fetch_add(1, Relaxed);
}
