//! Starting attempts, and what their outcomes lead to.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pelton_event::{DeadLetterReason, Event, Failure, Record};
use pelton_event_log::{Content, Entry, Offset};
use pelton_resources::contracts::Outcome;
use pelton_resources::{Destination, Trigger};

use super::action::{Action, Attempt, AttemptId, FetchId, LaneKey, Source, Target, Turn};
use super::body::Body;
use super::lane::Choice;
use super::open::{End, State};
use super::partition::Partition;
use super::save::{PendingRecord, Role};
use super::shared::{Shared, Timer};
use crate::dead_letter::{self, Place};
use crate::judge::{self, Judgement, Verdict};
use crate::{limits, reply};

/// The destination of a trigger that has lost it since: only people read what it is called.
static GONE: Destination = Destination::Uri(String::new());

/// An open event, by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventRef {
    pub lane: LaneKey,
    pub source: Source,
    pub offset: Offset,
}

impl EventRef {
    fn entry(self) -> (Source, Offset) {
        (self.source, self.offset)
    }
}

/// An attempt that ended: what is needed to decide what becomes of its event.
struct Tried {
    handle: EventRef,
    /// Where the event is in the events topic.
    origin: Offset,
    target: Target,
    attempts: u32,
    body: Body,
    /// Why the subscriber's delivery failed, once it goes to the dead letter sink.
    failure: Option<Box<Failure>>,
    trigger: Arc<Trigger>,
}

impl Partition {
    /// Starts what a lane may send now.
    pub(super) fn pump(&mut self, key: LaneKey, shared: &mut Shared, turn: &mut Turn<'_>) {
        self.start_due(key, shared, turn);
        shared.pumped(self.number, key, turn.now);
    }

    fn start_due(&mut self, key: LaneKey, shared: &mut Shared, turn: &mut Turn<'_>) {
        if !self.ready || self.stopping {
            return;
        }
        loop {
            let Some(lane) = self.lanes.get_mut(&key) else { return };
            if !shared.trigger(key.trigger).is_active() || lane.reposition.is_some() {
                return;
            }
            match lane.choose(turn.now, self.head) {
                Choice::Nothing => return,
                Choice::Wait(when) => {
                    if lane.timer.is_none_or(|set| set <= turn.now || when < set) {
                        lane.timer = Some(when);
                        shared.timers.set(when, Timer::Lane(self.number, key));
                    }
                    return;
                }
                Choice::Start(source, offset) => {
                    let Some(open) = lane.queue(source).get(offset) else { return };
                    let (target, has_body) = (open.target, open.body.is_some());
                    if self.saver.holds_back(lane, has_body, shared) {
                        lane.held_back = true;
                        return;
                    }
                    if !shared.permit(self.number, lane, target, turn) {
                        return;
                    }
                    lane.used[target as usize] += 1;
                    if source == Source::Events {
                        lane.fix(offset);
                    }
                    self.begin(EventRef { lane: key, source, offset }, shared, turn);
                }
            }
        }
    }

    /// Sends an event whose permits are taken, or reads it again first.
    fn begin(&mut self, handle: EventRef, shared: &mut Shared, turn: &mut Turn<'_>) {
        let sequence = shared.next_sequence();
        let number = self.number;
        let Some(lane) = self.lanes.get_mut(&handle.lane) else { return };
        let Some(open) = lane.get_mut(handle.source, handle.offset) else { return };
        if open.body.is_some() {
            self.send(handle, shared, turn);
            return;
        }
        open.state = State::Fetching { sequence };
        lane.fetching += 1;
        let EventRef { lane, source, offset } = handle;
        turn.actions.push(Action::Fetch(FetchId { partition: number, source, offset, lane, sequence }));
    }

    /// A record that was read again.
    pub(super) fn fetched(
        &mut self,
        id: FetchId,
        entry: Option<Entry>,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let handle = EventRef { lane: id.lane, source: id.source, offset: id.offset };
        let Some(lane) = self.lanes.get_mut(&id.lane) else { return };
        let moving = lane.reposition.is_some();
        let Some(open) = lane.get_mut(id.source, id.offset) else { return };
        if open.state != (State::Fetching { sequence: id.sequence }) {
            return;
        }
        let target = open.target;
        lane.fetching = lane.fetching.saturating_sub(1);
        if self.stopping || moving || !shared.trigger(id.lane.trigger).is_active() {
            lane.put_back(id.source, id.offset);
            self.free(handle, target, shared, turn);
            return;
        }
        match entry.map(|entry| entry.content) {
            None => {
                self.free(handle, target, shared, turn);
                self.settle(handle, End::Expired, None, turn);
                if id.source == Source::Events {
                    self.expired(Some(id.lane), id.offset..id.offset + 1, shared, turn);
                }
            }
            Some(Content::Record(record)) if record.event.is_some() => {
                self.fetched_record(handle, &record, shared, turn);
            }
            Some(content) => {
                self.free(handle, target, shared, turn);
                self.keep_unreadable(handle, content, shared, turn);
            }
        }
    }

    /// An event that was read again is sent, unless there is no room for it: one of each lane goes in any case.
    fn fetched_record(
        &mut self,
        handle: EventRef,
        record: &Record,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let EventRef { source, offset, .. } = handle;
        let Some(lane) = self.lanes.get_mut(&handle.lane) else { return };
        // This one is counted as sent by now.
        let has_others = lane.used[0] + lane.used[1] > lane.fetching + 1;
        let Some(open) = lane.get_mut(source, offset) else { return };
        let target = open.target;
        let budget = &shared.config.budget;
        open.body = budget.take(record).or_else(|| (!has_others).then(|| budget.take_anyway(record)));
        if open.body.is_none() {
            lane.put_back(source, offset);
            lane.held_back = true;
            self.free(handle, target, shared, turn);
            return;
        }
        if source == Source::Events {
            lane.learn_key(offset, record);
        }
        self.send(handle, shared, turn);
    }

    /// An open event whose record cannot be decoded any more is kept as far as it is known.
    pub(super) fn keep_unreadable(
        &mut self,
        handle: EventRef,
        content: Content,
        shared: &Shared,
        turn: &mut Turn<'_>,
    ) {
        let (reason, bytes) = match content {
            Content::Record(_) => ("it has no event".into(), bytes::Bytes::new()),
            Content::Undecodable { reason, bytes } => (reason, bytes),
        };
        let Some(lane) = self.lanes.get(&handle.lane) else { return };
        let Some(open) = lane.queue(handle.source).get(handle.offset) else { return };
        let name = &shared.trigger(handle.lane.trigger).name;
        let place = Place { trigger: name.as_str(), partition: self.number, offset: open.origin };
        let topics = &shared.config.topics;
        let topic = if handle.source == Source::Events { &topics.events } else { &topics.retry };
        let record = dead_letter::undecodable(place, topic.as_str(), &reason, &bytes, turn.now);
        let pending =
            PendingRecord::new(Role::DeadLetter, Some(handle.lane), handle.entry(), self.number, record);
        self.settle(handle, End::Kept, Some(pending), turn);
    }

    /// Makes the attempt; where there is no dead letter sink (any more) to attempt, the event is kept.
    fn send(&mut self, handle: EventRef, shared: &mut Shared, turn: &mut Turn<'_>) {
        let sequence = shared.next_sequence();
        let state = shared.trigger(handle.lane.trigger);
        let Some(trigger) = state.trigger.clone() else { return };
        let counters = state.counters.clone();
        let Some(lane) = self.lanes.get_mut(&handle.lane) else { return };
        let Some(open) = lane.get_mut(handle.source, handle.offset) else { return };
        let Some(body) = open.body.clone() else { return };
        let Some(event) = &body.record().event else { return };
        let Some(destination) = open.target.of(&trigger) else {
            open.state = State::Sent { sequence, started: false };
            let tried = tried(handle, open, body.clone(), trigger);
            self.free(handle, tried.target, shared, turn);
            self.keep(&tried, shared, turn);
            return;
        };
        if matches!(destination, Destination::Broker(_)) && body.record().envelope.hops == 0 {
            let failure = reply::forward_loop_failure(destination);
            open.state = State::Sent { sequence, started: false };
            let tried = tried(handle, open, body.clone(), trigger);
            self.free(handle, tried.target, shared, turn);
            self.failed(tried, failure, shared, turn);
            return;
        }
        let event = match (open.target, open.known_failure()) {
            (Target::DeadLetterSink, Some(failure)) => dead_letter::for_sink(event, failure),
            _ => event.clone(),
        };
        if open.attempts > 0 {
            counters.retried.fetch_add(1, Relaxed);
        }
        let started = !matches!(destination, Destination::Service { .. });
        open.state = State::Sent { sequence, started };
        let (attempts, target) = (open.attempts, open.target);
        lane.started += u32::from(started);
        let EventRef { lane, source, offset } = handle;
        let id = AttemptId { partition: self.number, lane, source, offset, sequence };
        turn.actions.push(Action::Attempt(Attempt {
            id,
            trigger,
            destination: target,
            event,
            body,
            attempts,
        }));
        self.touch(lane);
    }

    /// An attempt got its slot.
    pub(super) fn attempt_started(&mut self, id: AttemptId) {
        let Some(lane) = self.lanes.get_mut(&id.lane) else { return };
        if let Some(open) = lane.get_mut(id.source, id.offset)
            && open.state == (State::Sent { sequence: id.sequence, started: false })
        {
            open.state = State::Sent { sequence: id.sequence, started: true };
            lane.started += 1;
            self.touch(id.lane);
        }
    }

    /// Gives the permits of an attempt back.
    fn free(&mut self, handle: EventRef, target: Target, shared: &mut Shared, turn: &mut Turn<'_>) {
        if let Some(lane) = self.lanes.get_mut(&handle.lane) {
            let used = &mut lane.used[target as usize];
            *used = used.saturating_sub(1);
        }
        shared.release(handle.lane, target, turn);
        self.queue_pump(handle.lane);
    }

    /// Decides what becomes of an event after an attempt.
    pub(super) fn attempt_ended(
        &mut self,
        id: AttemptId,
        outcome: Outcome,
        shared: &mut Shared,
        turn: &mut Turn<'_>,
    ) {
        let handle = EventRef { lane: id.lane, source: id.source, offset: id.offset };
        let Some(lane) = self.lanes.get_mut(&id.lane) else { return };
        let Some(open) = lane.get_mut(id.source, id.offset) else { return };
        let State::Sent { sequence, started } = open.state else { return };
        let state = shared.trigger(id.lane.trigger);
        let (Some(trigger), Some(body)) = (state.trigger.clone(), open.body.clone()) else { return };
        if sequence != id.sequence {
            return;
        }
        open.attempts += 1;
        let counters = state.counters.clone();
        let tried = tried(handle, open, body.clone(), trigger);
        lane.started -= u32::from(started);
        lane.held_back = false;
        self.free(handle, tried.target, shared, turn);
        let destination = tried.target.of(&tried.trigger).unwrap_or(&GONE);
        let jitter = shared.random.f64();
        let Judgement { verdict, signal, error } =
            judge::judge(outcome, &tried.trigger.delivery, destination, tried.attempts, jitter);
        if !error.is_empty() {
            counters.failed_attempts.fetch_add(1, Relaxed);
            counters.set_last_error(turn.now, error);
        }
        if tried.target == Target::Subscriber {
            let next = shared.next_sequence();
            self.learn(handle.lane, signal, (sequence, next), turn);
        }
        match verdict {
            Verdict::Delivered(None) => self.taken(&tried, turn),
            Verdict::Delivered(Some(event)) => self.replied(tried, &event, shared, turn),
            Verdict::Retry(wait) => self.retry(&tried, wait, shared, turn),
            Verdict::Failed(failure) => self.failed(tried, failure, shared, turn),
        }
    }

    fn learn(&mut self, key: LaneKey, signal: judge::Signal, (sequence, next): (u64, u64), turn: &Turn<'_>) {
        let head = self.head;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.health.learn(signal, sequence, next) {
            lane.end_probing();
            self.queue_sweep(key);
        } else if lane.health.is_probing() && lane.reposition.is_none() && lane.give_untried_back(head) {
            self.ahead.retain(|known| *known != key);
            self.disembark(key);
            self.queue_sweep(key);
            self.mark_dirty(key, turn.now);
        }
    }

    fn taken(&mut self, tried: &Tried, turn: &mut Turn<'_>) {
        let end = match tried.target {
            Target::Subscriber => End::Delivered,
            Target::DeadLetterSink => End::DeadLettered,
        };
        self.settle(tried.handle, end, None, turn);
    }

    /// The reply is stored together with the end of its origin.
    fn replied(&mut self, tried: Tried, event: &Event, shared: &mut Shared, turn: &mut Turn<'_>) {
        let place = self.origin_of(&tried);
        let (partitions, random) = (shared.config.partitions, shared.random.u32(..));
        let made = reply::record(event, &tried.body.record().envelope, place, turn.now, partitions, random);
        let end = match (tried.target, made.is_some()) {
            (Target::Subscriber, true) => End::Delivered,
            // The dead letter sink has the event; only its reply goes round in a loop.
            (Target::DeadLetterSink, _) => End::DeadLettered,
            (Target::Subscriber, false) => {
                let failure = reply::loop_failure(tried.trigger.subscriber.as_ref().unwrap_or(&GONE));
                self.failed(tried, failure, shared, turn);
                return;
            }
        };
        let EventRef { lane, .. } = tried.handle;
        let entry = tried.handle.entry();
        let pending = made
            .map(|(partition, record)| PendingRecord::new(Role::Reply, Some(lane), entry, partition, record));
        self.settle(tried.handle, end, pending, turn);
    }

    /// The event waits for its next attempt: in the lane, or in the retry topic so that the lane can go on.
    fn retry(&mut self, tried: &Tried, wait: std::time::Duration, shared: &mut Shared, turn: &mut Turn<'_>) {
        let due = turn.now + wait;
        let EventRef { lane: key, source, offset } = tried.handle;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let moves = source == Source::Events
            && wait > shared.config.wait_in_place_max
            && !lane.stays_in_place()
            && lane.has_room_in_retry();
        if moves {
            let place = self.origin_of(tried);
            let record =
                dead_letter::waiting(tried.body.record(), place, tried.attempts, due, tried.failure.clone());
            self.move_to_retry_topic(tried.handle, record, turn);
            return;
        }
        if (wait > limits::BODY_KEPT_FOR || shared.config.budget.is_exceeded())
            && let Some(open) = lane.get_mut(source, offset)
        {
            open.body = None;
        }
        lane.wait(source, offset, due);
        self.mark_row_dirty(tried.handle, turn);
    }

    fn move_to_retry_topic(&mut self, handle: EventRef, record: Record, turn: &mut Turn<'_>) {
        let key = handle.lane;
        let pending = PendingRecord::new(Role::Retry, Some(key), handle.entry(), self.number, record);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.in_transit += 1;
        }
        self.settle(handle, End::Moved, Some(pending), turn);
    }

    /// The destination will not take the event: the dead letter sink gets it, and if that does not take it either, or there
    /// is none, the dead-letter topic.
    fn failed(&mut self, mut tried: Tried, failure: Box<Failure>, shared: &mut Shared, turn: &mut Turn<'_>) {
        let EventRef { lane: key, source, offset } = tried.handle;
        if tried.target == Target::DeadLetterSink || tried.trigger.delivery.dead_letter_sink.is_none() {
            tried.failure.get_or_insert(failure);
            self.keep(&tried, shared, turn);
            return;
        }
        // Rows of the retry topic have no room for why; the next entry there has.
        if source == Source::Retry {
            let record =
                dead_letter::waiting(tried.body.record(), self.origin_of(&tried), 0, turn.now, Some(failure));
            self.move_to_retry_topic(tried.handle, record, turn);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if let Some(open) = lane.get_mut(source, offset) {
            open.failure = Some(failure);
            open.body.take_if(|_| shared.config.budget.is_exceeded());
        }
        lane.turn_to_sink(source, offset, turn.now);
        self.mark_row_dirty(tried.handle, turn);
        self.queue_pump(key);
    }

    /// Keeps the event in the dead-letter topic.
    fn keep(&mut self, tried: &Tried, shared: &Shared, turn: &mut Turn<'_>) {
        let failure = tried.failure.clone().unwrap_or_else(|| Box::new(dead_letter::unknown_failure()));
        let earlier = match (tried.target, failure.reason) {
            (Target::Subscriber, _) => 0,
            (Target::DeadLetterSink, DeadLetterReason::Exhausted | DeadLetterReason::BadReply) => {
                tried.trigger.delivery.retry.saturating_add(1)
            }
            (Target::DeadLetterSink, _) => 1,
        };
        let attempts = tried.attempts.saturating_add(earlier);
        let record =
            dead_letter::kept(tried.body.record(), self.origin_of(tried), attempts, failure, turn.now);
        let EventRef { lane, .. } = tried.handle;
        let pending =
            PendingRecord::new(Role::DeadLetter, Some(lane), tried.handle.entry(), self.number, record);
        debug_assert_eq!(shared.trigger(lane.trigger).name, tried.trigger.name);
        self.settle(tried.handle, End::Kept, Some(pending), turn);
    }

    fn origin_of<'a>(&self, tried: &'a Tried) -> Place<'a> {
        Place { trigger: tried.trigger.name.as_str(), partition: self.number, offset: tried.origin }
    }

    /// Gives an event its end, which becomes durable with the next save of its lane.
    pub(super) fn settle(
        &mut self,
        handle: EventRef,
        end: End,
        record: Option<PendingRecord>,
        turn: &mut Turn<'_>,
    ) {
        let EventRef { lane: key, source, offset } = handle;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if !lane.end(source, offset, end, record.is_some()) {
            return;
        }
        if lane.events.ended() >= lane.window() / 2 {
            self.saver.hurry();
        }
        if let Some(record) = record {
            self.saver.push(record);
        }
        self.mark_row_dirty(handle, turn);
        self.queue_pump(key);
    }

    fn mark_row_dirty(&mut self, handle: EventRef, turn: &Turn<'_>) {
        match handle.source {
            Source::Events => self.mark_dirty(handle.lane, turn.now),
            Source::Retry => self.mark_retry_dirty(handle.lane, turn.now),
        }
        self.touch(handle.lane);
    }

    /// A reply that the log does not take, because it is too large, is no reply: its origin is a dead letter.
    pub(super) fn refuse_reply(&mut self, handle: EventRef, message: &str, shared: &Shared, turn: &Turn<'_>) {
        let Some(subscriber) =
            shared.trigger(handle.lane.trigger).trigger.as_ref().map(|t| t.subscriber.clone())
        else {
            return;
        };
        let destination = subscriber.unwrap_or_else(|| GONE.clone());
        let failure = Failure {
            reason: DeadLetterReason::BadReply,
            destination: judge::address(&destination).into(),
            status: 200,
            message: message.into(),
            body: bytes::Bytes::new(),
        };
        let Some(lane) = self.lanes.get_mut(&handle.lane) else { return };
        // The dead letter sink has the event; its reply is dropped.
        if lane
            .queue(handle.source)
            .get(handle.offset)
            .is_some_and(|open| open.target == Target::DeadLetterSink)
        {
            lane.queue_mut(handle.source).end_without_record(handle.offset);
            return;
        }
        let Some(open) = lane.queue_mut(handle.source).reopen(handle.offset) else { return };
        open.failure = Some(Box::new(failure));
        lane.turn_to_sink(handle.source, handle.offset, turn.now);
        self.mark_row_dirty(handle, turn);
        self.queue_pump(handle.lane);
    }
}

fn tried(handle: EventRef, open: &super::open::Open, body: Body, trigger: Arc<Trigger>) -> Tried {
    Tried {
        handle,
        origin: open.origin,
        target: open.target,
        attempts: open.attempts,
        body,
        failure: open.known_failure().cloned().map(Box::new),
        trigger,
    }
}
