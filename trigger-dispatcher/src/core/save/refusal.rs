//! What follows when the log does not take a save, so that nothing waits for what cannot be stored.
//!
//! A full log still takes progress, and progress is what makes room. So after a refusal the next save is progress alone; the
//! records follow in smaller parts. A record that is refused by itself waits, and with it those that are as large, while
//! smaller ones and all progress go on.

use pelton_event::{Step, Timestamp};
use pelton_event_log::{AppendError, Offset};

use super::{Content, Outstanding, PendingRecord, Role, Saver};
use crate::core::action::{LaneKey, Source, Target, Turn};
use crate::core::deliver::EventRef;
use crate::core::open::{End, Open, State};
use crate::core::partition::Partition;
use crate::core::shared::Shared;
use crate::limits;

/// A record that the log refused by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    /// Its size; none as large goes before the time.
    size: usize,
    not_before: Timestamp,
    /// How often in a row.
    times: u32,
}

impl Refused {
    fn is_recent(&self, now: Timestamp) -> bool {
        now < self.not_before + limits::SAVE_RETRY_MAX
    }

    /// Room that replies made by giving way is soon spent: the next refusal goes on where the last one stood.
    fn gives_way_still(&self, now: Timestamp) -> bool {
        self.times >= limits::REPLY_REFUSALS_MAX && self.is_recent(now)
    }
}

/// What of the records may go into a save.
#[derive(Debug)]
pub(super) struct Portion {
    /// Bytes of records in a save; one goes in any case.
    pub(super) room: usize,
    /// A record was refused by itself.
    pub(super) refused: Option<Refused>,
    /// The next save is progress alone.
    pub(super) progress_first: bool,
    /// The log refused a save as too large: one record with the rows it needs, or one row.
    pub(super) small: bool,
}

impl Portion {
    pub(super) fn new() -> Self {
        Self { room: usize::MAX, refused: None, progress_first: false, small: false }
    }

    /// Whether a record of that size has to wait.
    pub(super) fn holds_back(&self, size: usize, now: Timestamp) -> bool {
        self.refused.is_some_and(|refused| size >= refused.size && now < refused.not_before)
    }

    /// Whether a record of that size goes alone, because the like of it was refused.
    fn isolates(&self, size: usize) -> bool {
        self.refused.is_some_and(|refused| size >= refused.size)
    }

    /// Whether a record of that size does not fit into what is chosen already.
    pub(super) fn is_full(&self, content: &Content, size: usize) -> bool {
        let full = size > content.room || size > self.room.saturating_sub(content.bytes);
        let alone = self.small || self.isolates(size.max(content.largest));
        !content.records.is_empty() && (full || alone)
    }

    /// The log took a save.
    pub(super) fn taken(&mut self, save: &Outstanding, now: Timestamp) {
        self.small = false;
        self.progress_first = false;
        if save.records == 0 {
            return;
        }
        self.room = self.room.saturating_mul(2);
        self.refused =
            self.refused.filter(|refused| save.largest < refused.size || refused.gives_way_still(now));
    }

    /// No record waits any more.
    pub(super) fn emptied(&mut self, now: Timestamp) {
        self.refused = self.refused.filter(|refused| refused.gives_way_still(now));
    }

    fn refuse(&mut self, size: usize, now: Timestamp) -> u32 {
        let in_a_row = self.refused.filter(|refused| refused.is_recent(now));
        let times = in_a_row.map_or(0, |refused| refused.times).saturating_add(1);
        let wait = backoff(times);
        self.refused = Some(Refused { size, not_before: now + wait, times });
        times
    }
}

/// The wait after so many failures in a row.
pub(super) fn backoff(failures: u32) -> std::time::Duration {
    let wait = limits::SAVE_RETRY_MIN * 2_u32.saturating_pow(failures.clamp(1, 10) - 1);
    wait.min(limits::SAVE_RETRY_MAX)
}

impl Saver {
    /// When the next record may go, if all that wait are held back.
    pub(super) fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        let refused = self.portion.refused.filter(|refused| now < refused.not_before)?;
        let mut waiting = self.records.iter().chain(self.nobodys.iter()).peekable();
        waiting.peek()?;
        waiting.all(|record| record.size() >= refused.size).then_some(refused.not_before)
    }
}

impl Partition {
    /// The save failed with `error`; what it held is to be saved again. Decides what goes next, and when.
    pub(super) fn after_failure(
        &mut self,
        save: &Outstanding,
        error: &AppendError,
        shared: &Shared,
        turn: &Turn<'_>,
    ) {
        let saver = &mut self.saver;
        let portion = &mut saver.portion;
        match error {
            AppendError::Full { .. } | AppendError::DiskFull if save.records > 0 => {
                portion.progress_first = true;
                if save.records > 1 {
                    portion.room = save.bytes / 2;
                    return;
                }
                let times = portion.refuse(save.largest, turn.now);
                self.retry_in_place(save, turn);
                if matches!(error, AppendError::Full { .. }) {
                    self.give_way(save, times, &error.to_string(), shared, turn);
                }
            }
            AppendError::TooLarge { .. } if !portion.small => portion.small = true,
            AppendError::TooLarge { .. } if save.records > 0 => {
                portion.refuse(save.largest, turn.now);
                self.refuse_too_large(save, &error.to_string(), shared, turn);
            }
            _ => {
                saver.failures = saver.failures.saturating_add(1);
                saver.not_before = turn.now + backoff(saver.failures);
            }
        }
    }

    /// A reply that the log does not take even by itself is refused. Whatever else is too large waits.
    fn refuse_too_large(&mut self, save: &Outstanding, message: &str, shared: &Shared, turn: &Turn<'_>) {
        let is_reply = |record: &PendingRecord| record.last_save == save.id && record.role == Role::Reply;
        let Some(index) = self.saver.records.iter().position(is_reply) else { return };
        self.saver.portion.refused = None;
        self.refuse_record(index, message, shared, turn);
    }

    fn refuse_record(&mut self, index: usize, message: &str, shared: &Shared, turn: &Turn<'_>) {
        if let Some(record) = self.saver.records.remove(index)
            && let Some(lane) = record.lane
        {
            let handle = EventRef { lane, source: record.source, offset: record.offset };
            self.refuse_reply(handle, message, shared, turn);
        }
    }

    /// There is no room for an entry of the retry topic: what it was to stand for waits in its lane.
    fn retry_in_place(&mut self, save: &Outstanding, turn: &Turn<'_>) {
        let is_it = |record: &PendingRecord| record.last_save == save.id && record.role == Role::Retry;
        let Some(index) = self.saver.records.position(is_it) else { return };
        let Some(PendingRecord { lane: Some(key), record, source, offset, .. }) =
            self.saver.records.remove(index)
        else {
            return;
        };
        self.saver.portion.refused = None;
        let (due, failure) = match record.envelope.origin.map(|origin| origin.step) {
            Some(Step::Retry { due, failure, .. }) => (due, failure),
            _ => (turn.now, None),
        };
        if let Some(lane) = self.lanes.get_mut(&key) {
            match source {
                Source::Events => lane.come_back(offset, due),
                Source::Retry => lane.go_to_sink_in_place(offset, failure, due),
            }
        }
        match source {
            Source::Events => self.mark_dirty(key, turn.now),
            Source::Retry => self.mark_retry_dirty(key, turn.now),
        }
        self.queue_pump(key);
    }

    /// A log that is full because of the very events whose replies it does not take gets no emptier by waiting, and a lane
    /// full of such events does not go on: these events become dead letters, few at first.
    fn give_way(&mut self, save: &Outstanding, times: u32, message: &str, shared: &Shared, turn: &Turn<'_>) {
        let Some(exponent) = times.checked_sub(limits::REPLY_REFUSALS_MAX) else { return };
        let count = 4_usize.saturating_pow(exponent);
        let oldest = self.lanes.values().filter_map(|lane| Some((lane.lowest()?, lane.key))).min();
        let oldest = oldest.map(|(_, key)| key);
        let refused = self.saver.records.iter().find(|record| record.last_save == save.id);
        let refused = refused.and_then(|record| record.lane);
        let stands_still = |key: &LaneKey| {
            let lane = self.lanes.get(key);
            lane.is_some_and(|lane| lane.is_stuck() || self.saver.holds_back(lane, true, shared))
        };
        let mut given = self.replies_in(oldest, count, true);
        if given.is_empty() {
            given = self.replies_in(refused.filter(stands_still), count, false);
        }
        if !given.is_empty()
            && let Some(refused) = &mut self.saver.portion.refused
        {
            refused.not_before = turn.now + limits::GIVE_WAY_EVERY;
        }
        for (key, offset) in given {
            let is_it = |record: &PendingRecord| {
                record.lane == Some(key)
                    && (record.role, record.source, record.offset) == (Role::Reply, Source::Events, offset)
            };
            if let Some(index) = self.saver.records.position(is_it) {
                self.refuse_record(index, message, shared, turn);
            }
        }
    }

    /// The first events of a lane that only wait for a record to be stored: those before any other, or those anywhere.
    fn replies_in(&self, key: Option<LaneKey>, count: usize, in_front: bool) -> Vec<(LaneKey, Offset)> {
        let Some(lane) = key.and_then(|key| self.lanes.get(&key)) else { return Vec::new() };
        let waits = |open: &&Open| {
            open.target == Target::Subscriber
                && matches!(open.state, State::Ended { end: End::Delivered, recorded: true, save: 0 })
        };
        let opens = lane.events.iter();
        let name = |open: &Open| (lane.key, open.offset);
        if in_front {
            opens.take_while(waits).take(count).map(name).collect()
        } else {
            opens.filter(waits).take(count).map(name).collect()
        }
    }
}
