//! The open entries of the retry topic: deliveries that wait for a later attempt outside of their lane, dead letters that
//! are replayed, and commands.

use std::sync::atomic::Ordering::Relaxed;

use pelton_event::{Origin, Record, Step, Timestamp};
use pelton_event_log::{Chunk, Content, Offset};
use pelton_resources::{NamespacedName, Order};

use super::action::{Action, LaneKey, Source, Target, Turn};
use super::deliver::EventRef;
use super::lane::Lane;
use super::open::{End, Key, Open, State};
use super::partition::{Partition, Registered};
use super::shared::Shared;

/// What an entry of the retry topic says.
struct Waiting {
    offset: Offset,
    origin: Offset,
    time: Timestamp,
    attempts: u32,
    due: Timestamp,
    target: Target,
}

impl Waiting {
    /// Of two entries for the same event the one that got further stands for it.
    fn progress(&self) -> (bool, u32) {
        (self.target == Target::DeadLetterSink, self.attempts)
    }
}

impl Partition {
    /// Learns what the reader of the retry topic brought.
    pub(super) fn retry_read(&mut self, chunk: Chunk, shared: &mut Shared, turn: &mut Turn<'_>) {
        if self.stopping {
            return;
        }
        let before = self.retry_head;
        for entry in chunk.entries {
            if entry.offset < self.retry_head {
                continue;
            }
            match entry.content {
                Content::Record(record) => self.retry_entry(entry.offset, &record, shared, turn),
                Content::Undecodable { reason, bytes } if entry.offset >= self.saver.loaded_retry_head => {
                    self.keep_undecodable(Source::Retry, entry.offset, &reason, &bytes, shared, turn);
                }
                content @ Content::Undecodable { .. } => self.open_entry_is_damaged(entry.offset, content),
            }
            self.retry_head = entry.offset + 1;
        }
        self.retry_head = self.retry_head.max(chunk.next);
        if self.retry_head > before {
            self.saver.head_moved(turn.now);
        }
        if !self.ready && self.knows_retries() {
            self.become_ready(shared, turn);
        }
        turn.actions.push(Action::ReadRetry { partition: self.number, from: self.retry_head });
    }

    fn retry_entry(&mut self, offset: Offset, record: &Record, shared: &mut Shared, turn: &mut Turn<'_>) {
        let Some(Origin { trigger, offset: origin, step, .. }) = &record.envelope.origin else { return };
        let Some(name) = NamespacedName::parse(trigger) else {
            if offset >= self.saver.loaded_retry_head {
                self.keep_undecodable(Source::Retry, offset, "it names no trigger", &[], shared, turn);
            }
            return;
        };
        let key = LaneKey { trigger: shared.intern(&name), replay: None };
        match step {
            Step::Retry { attempts, due, failure } => {
                let waiting = Waiting {
                    offset,
                    origin: *origin,
                    time: record.envelope.time,
                    attempts: *attempts,
                    due: *due,
                    target: if failure.is_some() { Target::DeadLetterSink } else { Target::Subscriber },
                };
                self.waiting_entry(key, waiting, shared, turn);
            }
            Step::Replay { id, from, to } if offset >= self.saver.loaded_retry_head => {
                self.begin_replay(LaneKey { replay: Some(*id), ..key }, offset, *from..*to, shared, turn);
            }
            Step::Replay { .. } | Step::Reply | Step::DeadLetter { .. } | Step::Discarded { .. } => {}
        }
    }

    fn waiting_entry(&mut self, key: LaneKey, mut waiting: Waiting, shared: &Shared, turn: &Turn<'_>) {
        match self.loaded_retries.get_mut(&key.trigger) {
            Some(loaded) => match loaded.opens.remove(&waiting.offset) {
                Some((attempts, due)) => (waiting.attempts, waiting.due) = (attempts, due),
                None if waiting.offset < loaded.closed_before => return,
                None => {}
            },
            None if waiting.offset < self.saver.loaded_retry_head => return,
            None => {}
        }
        self.expect_trigger(key, shared, turn);
        self.stored_already(key, &waiting, turn);
        let lane = self.lane(key, shared);
        let has_event = lane.events.get(waiting.origin).is_some_and(|open| !open.is_ended());
        if lane.admit_waiting(&waiting) {
            if waiting.progress() > (false, 0) {
                lane.in_transit = (lane.in_transit - 1).max(0);
            }
            let unsaved = &mut lane.saving.retry_unsaved_from;
            *unsaved = Some(unsaved.map_or(waiting.offset, |first| first.min(waiting.offset)));
            lane.insert_waiting(&waiting);
            lane.idle_since = None;
        }
        if has_event {
            self.mark_dirty(key, turn.now);
        }
        self.mark_retry_dirty(key, turn.now);
        self.queue_pump(key);
    }

    /// An entry that the saved head has passed cannot be read any more. If a row names it, it is the only thing that stands
    /// for its event: it becomes a dead letter of its trigger once rows of the retry topic may be saved.
    fn open_entry_is_damaged(&mut self, offset: Offset, content: Content) {
        let of = self.loaded_retries.values_mut().find(|loaded| loaded.opens.contains_key(&offset));
        if let Some(loaded) = of {
            loaded.opens.remove(&offset);
            loaded.damaged.push((offset, content));
        }
    }

    /// An entry that is to be stored once more, because a save of which the log kept a part failed, need not be.
    fn stored_already(&mut self, key: LaneKey, waiting: &Waiting, turn: &Turn<'_>) {
        let Some((source, offset)) = self.saver.drop_unsaved_retry(key, waiting.origin, waiting.progress())
        else {
            return;
        };
        self.lane_end_without_record(key, source, offset);
        match source {
            Source::Events => self.mark_dirty(key, turn.now),
            Source::Retry => self.mark_retry_dirty(key, turn.now),
        }
    }

    fn lane_end_without_record(&mut self, key: LaneKey, source: Source, offset: Offset) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.queue_mut(source).end_without_record(offset);
        }
    }

    /// An entry for a trigger that is not known here waits as that of a deleted one does: it may be created again.
    fn expect_trigger(&mut self, key: LaneKey, shared: &Shared, turn: &Turn<'_>) {
        if shared.trigger(key.trigger).exists || self.registered.contains_key(&key.trigger) {
            return;
        }
        let registered = Registered::new("".into(), Some(turn.now), true);
        self.registered.insert(key.trigger, registered);
        let head = self.head;
        let lane = self.lane(key, shared);
        lane.detach(head, None);
        self.mark_dirty(key, turn.now);
    }

    /// The retry topic is known up to its end: lanes may start.
    pub(super) fn become_ready(&mut self, shared: &mut Shared, turn: &mut Turn<'_>) {
        self.ready = true;
        let mut damaged = Vec::new();
        let mut loaded: Vec<_> = std::mem::take(&mut self.loaded_retries).into_iter().collect();
        loaded.sort_unstable_by_key(|(trigger, _)| *trigger);
        for (trigger, mut loaded) in loaded {
            damaged.extend(loaded.damaged.drain(..).map(|(offset, content)| (trigger, offset, content)));
            let expired = loaded.opens.len() as u64;
            if expired > 0 {
                shared.trigger(trigger).counters.expired.fetch_add(expired, Relaxed);
            }
            self.mark_retry_dirty(LaneKey { trigger, replay: None }, turn.now);
        }
        for (trigger, offset, content) in damaged {
            let handle = EventRef { lane: LaneKey { trigger, replay: None }, source: Source::Retry, offset };
            // Which event it stood for and when that was accepted its record alone could tell.
            let unknown = Open::fresh(offset, turn.now, Key::None, None);
            self.lane(handle.lane, shared).retries.insert(unknown);
            self.keep_unreadable(handle, content, shared, turn);
        }
        for key in self.lane_keys() {
            self.queue_sweep(key);
            self.queue_pump(key);
        }
        turn.actions.push(Action::ReadHead { partition: self.number, from: self.head });
    }
}

impl Lane {
    /// Whether an entry of the retry topic becomes the one that stands for its event. One that stood for it until now is
    /// closed.
    fn admit_waiting(&mut self, waiting: &Waiting) -> bool {
        if self.retries.get(waiting.offset).is_some() {
            return false;
        }
        if let Some(open) = self.by_origin.get(&waiting.origin).and_then(|known| self.retries.get(*known)) {
            let known = open.offset;
            let further = waiting.progress() > (open.target == Target::DeadLetterSink, open.attempts);
            if !open.is_ended() {
                if !further || open.state != State::Idle {
                    return false;
                }
                self.end(Source::Retry, known, End::Superseded, false);
            }
        }
        if let Some(open) = self.events.get(waiting.origin).filter(|open| !open.is_ended()) {
            // In order, an event is only delivered in its place.
            if open.state != State::Idle || self.order() != Order::Unordered {
                if waiting.target == Target::Subscriber {
                    self.catch_up(waiting.origin, waiting.attempts, waiting.due);
                }
                return false;
            }
            self.end(Source::Events, waiting.origin, End::Superseded, false);
        }
        true
    }

    fn insert_waiting(&mut self, waiting: &Waiting) {
        self.by_origin.insert(waiting.origin, waiting.offset);
        self.retries.insert(Open {
            origin: waiting.origin,
            attempts: waiting.attempts,
            due: waiting.due,
            target: waiting.target,
            ..Open::fresh(waiting.offset, waiting.time, Key::None, None)
        });
        self.enqueue(Source::Retry, waiting.offset);
    }

    /// An entry that goes may have been stored after the row of its event: the attempts that it tells of were made.
    fn catch_up(&mut self, event: Offset, attempts: u32, due: Timestamp) {
        if let Some(open) = self.get_mut(Source::Events, event)
            && open.state == State::Idle
            && open.target == Target::Subscriber
            && open.attempts < attempts
        {
            open.attempts = attempts;
            self.wait(Source::Events, event, due);
        }
    }
}
