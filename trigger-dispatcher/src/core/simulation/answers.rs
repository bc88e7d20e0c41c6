//! What the core asks for, and what it is answered.

use std::sync::Arc;

use pelton_event::Record;
use pelton_event_log::{AppendError, Batch, LaneProgress, Offset};
use pelton_resources::contracts::Outcome;
use pelton_resources::{Destination, Start};

use super::book::EventOf;
use super::world::{Answer, RECORD_BYTES_MAX, START, World};
use crate::core::BrokerCore;
use crate::core::action::{Action, Attempt, AttemptId, SaveId, Source, Target};
use crate::core::open::State;
use crate::core::progress;
use crate::schedule;

impl World {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::ReadHead { partition, from } => {
                *self.reading.entry(partition).or_default() += 1;
                assert_eq!(self.reading[&partition], 1, "two readers at the head");
                if self.log.events[partition as usize].has_any(from) {
                    let after = self.soon();
                    self.answer(after, Answer::Head(partition, self.tenures[&partition], from));
                } else {
                    self.waiting_head.insert(partition, from);
                }
            }
            Action::ReadRetry { partition, from } => {
                if self.log.retry[partition as usize].has_any(from) {
                    let after = self.soon();
                    self.answer(after, Answer::Retry(partition, self.tenures[&partition], from));
                } else {
                    self.waiting_retry.insert(partition, from);
                }
            }
            Action::Sweep { sweep, from, entries } => {
                let after = self.soon();
                self.answer(after, Answer::Sweep(sweep, from, entries));
            }
            Action::Fetch(fetch) => {
                let after = self.soon();
                self.answer(after, Answer::Fetch(fetch));
            }
            Action::Resolve { resolve, start, group: _ } => {
                let Start::At(time) = start else { unreachable!("nobody takes over here") };
                let after = self.rng.u64(..300);
                self.answer(after, Answer::Resolve(resolve, time));
            }
            Action::Attempt(attempt) => self.attempt(&attempt),
            Action::Save { save, batch } => {
                let after = self.rng.u64(1..40);
                self.answer(after, Answer::Saved(save, Box::new(batch)));
            }
            // The account book counts what the log let go.
            Action::Expired(_) => {}
            Action::WakeAt(at) => {
                self.tick_at = Some(at.as_millis());
                let after = at.as_millis().saturating_sub(self.now);
                self.answer(after, Answer::Tick);
            }
            Action::Stopped(partition) | Action::Lost(partition) => {
                self.tell(|| format!("gives {partition} up"));
                self.owned.insert(partition, false);
                self.reading.remove(&partition);
                self.waiting_head.remove(&partition);
                self.waiting_retry.remove(&partition);
                let after = self.rng.u64(1..500);
                self.answer_gain(after, partition);
            }
        }
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt) {
        let id = attempt.id;
        let origin = match id.source {
            Source::Events => id.offset,
            Source::Retry => self.origin_of_retry(id.partition, id.offset),
        };
        let trigger = self.book.trigger_of(attempt.trigger.name.as_str()).unwrap();
        let of = (trigger, id.partition, origin);
        self.tell(|| {
            format!("sends {of:?} {:?} to {:?} after {}", id, attempt.destination, attempt.attempts)
        });
        assert!(self.book.wants(&self.log, of), "{of:?} is sent to a trigger that does not want it");
        match id.lane.replay {
            Some(replay) => {
                let replay = self.book.replays.get_mut(&replay).unwrap();
                assert!(!replay.done, "a replay that was done begins again");
                replay.seen.insert(origin);
            }
            None => {
                if attempt.destination == Target::Subscriber && id.source == Source::Events {
                    self.check_order(of, id);
                }
                self.book.sends(
                    of,
                    attempt.destination,
                    attempt.attempts,
                    self.tenures[&id.partition],
                    self.now,
                );
            }
        }
        let script = match attempt.destination {
            Target::Subscriber => &self.scripts[trigger],
            Target::DeadLetterSink => &self.sinks[trigger],
        };
        let dead = attempt.event.attribute("knativeerrordest").is_some();
        assert_eq!(dead, attempt.destination == Target::DeadLetterSink, "only dead letters say what failed");
        let timeout = attempt.trigger.delivery.timeout;
        let (latency, outcome) = script.answer(self.now - START, &attempt.event, timeout, &mut self.rng);
        let mut wait = 1;
        if matches!(attempt.destination(), Destination::Service { .. }) {
            wait += self.rng.u64(..300);
            self.answer(wait, Answer::Started(id));
        }
        self.answer(wait + latency, Answer::Ended(id, outcome));
    }

    pub(super) fn origin_of_retry(&self, partition: u32, offset: Offset) -> Offset {
        let record = self.log.retry[partition as usize].record(offset).unwrap();
        record.envelope.origin.as_ref().unwrap().offset
    }

    /// In order means: first sent only after the predecessor's end.
    pub(super) fn check_order(&mut self, of: EventOf, id: AttemptId) {
        for before in self.book.predecessors(of, &self.log) {
            let lane =
                self.core.partitions.get(&id.partition).and_then(|partition| partition.lanes.get(&id.lane));
            let open = lane.and_then(|lane| lane.events.get(before.2));
            let ended = open.is_some_and(|open| !open.is_in_chain())
                || self.book.has_end(before, self.tenures[&id.partition]);
            assert!(ended, "{of:?} is sent before {before:?} has its end");
        }
    }

    pub(super) fn ended(&mut self, id: AttemptId, outcome: Outcome) {
        let origin = match id.source {
            Source::Events => id.offset,
            Source::Retry => self.origin_of_retry(id.partition, id.offset),
        };
        let known =
            self.core.partitions.get(&id.partition).and_then(|partition| partition.lanes.get(&id.lane));
        let open = known.and_then(|lane| lane.queue(id.source).get(id.offset));
        let current =
            open.filter(|open| matches!(open.state, State::Sent { sequence, .. } if sequence == id.sequence));
        if let Some(open) = current
            && id.lane.replay.is_none()
        {
            let (target, attempts) = (open.target, open.attempts);
            let name = self.core.shared.trigger(id.lane.trigger).name.clone();
            let trigger = self.book.trigger_of(name.as_str()).unwrap();
            let record = self.log.events[id.partition as usize].record(origin);
            let hops = record.map_or(0, |record| record.envelope.hops);
            let policy = self.book.known[trigger].trigger.delivery.clone();
            let (life, now) = (self.tenures[&id.partition], self.now);
            let account = self.book.account((trigger, id.partition, origin));
            let success = match &outcome {
                Outcome::Response(response) if (200..300).contains(&response.status) => {
                    response.reply.as_ref().ok()
                }
                _ => None,
            };
            match (success, target) {
                (Some(Some(_)), Target::Subscriber) if hops <= 1 => {}
                (Some(reply), Target::Subscriber) => {
                    account.success = Some(life);
                    account.successes += 1;
                    account.needs_reply = reply.is_some();
                }
                (Some(_), Target::DeadLetterSink) => account.sink = Some(life),
                (None, _) => {
                    let least = schedule::backoff(&policy, attempts + 1, 0.0);
                    account.failed = Some((life, now, u64::try_from(least.as_millis()).unwrap()));
                }
            }
        }
        self.tell(|| format!("answers {id:?}: {outcome:?}"));
        self.turn(|core, turn| core.attempt_ended(id, outcome, turn));
    }

    pub(super) fn saved(&mut self, save: SaveId, batch: &Batch) {
        let size = |record: &Record| record.event.as_ref().map_or(0, pelton_event::Event::size);
        let bytes = batch.records.iter().map(|(_, _, record)| size(record)).max().unwrap_or_default();
        let error = if let Some(error) = self.no_space(batch) {
            Some(error)
        } else if bytes >= RECORD_BYTES_MAX {
            Some(AppendError::TooLarge { bytes, max: Some(RECORD_BYTES_MAX) })
        } else if self.plan.save_faults && self.rng.u8(..if self.plan.partial { 3 } else { 12 }) == 0 {
            Some(AppendError::Busy)
        } else if self.plan.crashes && !self.calm && self.rng.u8(..200) == 0 {
            Some(AppendError::Fenced(self.log.topics.events.clone(), save.partition))
        } else {
            None
        };
        match error {
            Some(error) => {
                self.tell(|| format!("save failed: {error}"));
                if matches!(error, AppendError::Fenced(..)) {
                    self.crashed = true;
                }
                let maybe = matches!(error, AppendError::Busy | AppendError::Fenced(..));
                if maybe {
                    self.store_part(save.partition, batch);
                }
                self.turn(|core, turn| core.save_failed(save, &error, turn));
            }
            None => {
                self.store(save.partition, batch);
                self.turn(|core, turn| core.saved(save, turn));
            }
        }
    }

    /// Space is short for a while: for records, for large ones, or for everything.
    fn no_space(&mut self, batch: &Batch) -> Option<AppendError> {
        if !self.plan.full || self.calm || self.rng.u8(..4) == 0 {
            return None;
        }
        let (now, size) =
            (self.now - START, |record: &Record| record.event.as_ref().map_or(0, pelton_event::Event::size));
        let bytes: usize = batch.records.iter().map(|(_, _, record)| size(record)).sum();
        let full = || AppendError::Full { account: "b".into(), bytes: 1, holder: "somebody".into() };
        match now / 3_000 % 4 {
            0 => (!batch.records.is_empty()).then(full),
            1 => (bytes > 2_000).then(full),
            2 if batch.records.is_empty() => (self.rng.u8(..4) == 0).then_some(AppendError::DiskFull),
            2 => Some(AppendError::DiskFull),
            _ => (bytes > 2_000).then_some(AppendError::TooLarge { bytes, max: Some(2_000) }),
        }
    }

    pub(super) fn store(&mut self, partition: u32, batch: &Batch) {
        self.tell(|| {
            let told = |(name, row): &(Arc<str>, Option<Arc<LaneProgress>>)| {
                let events = row.as_ref().and_then(|row| progress::decode_events(&row.state).ok());
                format!("{name} {events:?}")
            };
            let rows =
                batch.progress.iter().flat_map(|update| update.lanes.iter().map(told)).collect::<Vec<_>>();
            let heads: Vec<_> = batch.progress.iter().map(|update| (update.partition, update.head)).collect();
            format!("stores {} records, heads {heads:?}, rows {rows:?}", batch.records.len())
        });
        let before: Vec<_> = self.log.retry.iter().map(super::log::Kept::end).collect();
        self.log.apply(batch);
        self.book.stored(batch, &self.log, self.tenures[&partition], &before);
        self.wake_readers();
    }

    /// Some records of a batch that failed are in the log all the same.
    pub(super) fn store_part(&mut self, partition: u32, batch: &Batch) {
        if !self.plan.partial || batch.records.is_empty() {
            return;
        }
        let most = self.rng.usize(..=batch.records.len());
        let records = batch.records.iter().take(most).cloned().collect();
        self.store(partition, &Batch { records, ..Batch::default() });
    }

    pub(super) fn wake_readers(&mut self) {
        for (partition, from) in std::mem::take(&mut self.waiting_head) {
            if self.log.events[partition as usize].has_any(from) {
                let after = self.soon();
                self.answer(after, Answer::Head(partition, self.tenures[&partition], from));
            } else {
                self.waiting_head.insert(partition, from);
            }
        }
        for (partition, from) in std::mem::take(&mut self.waiting_retry) {
            if self.log.retry[partition as usize].has_any(from) {
                let after = self.soon();
                self.answer(after, Answer::Retry(partition, self.tenures[&partition], from));
            } else {
                self.waiting_retry.insert(partition, from);
            }
        }
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        match answer {
            // What an earlier tenure asked for is not answered.
            Answer::Head(partition, tenure, _) | Answer::Retry(partition, tenure, _)
                if tenure != self.tenures[&partition] => {}
            Answer::Head(partition, _, from) => {
                let most = self.rng.usize(1..30);
                let chunk = self.log.events[partition as usize].read(from, most);
                self.reading.remove(&partition);
                self.turn(|core, turn| core.head_read(partition, chunk, turn));
                let owned = self.core.partitions.get(&partition).is_some_and(|known| !known.stopping);
                assert!(!owned || self.reading.contains_key(&partition), "the head reader stalls");
            }
            Answer::Retry(partition, _, from) => {
                let most = self.rng.usize(1..30);
                let chunk = self.log.retry[partition as usize].read(from, most);
                self.turn(|core, turn| core.retry_read(partition, chunk, turn));
            }
            Answer::Sweep(sweep, from, entries) => {
                let most = entries.min(self.rng.usize(1..40));
                let chunk = self.log.events[sweep.partition as usize].read(from, most);
                self.turn(|core, turn| core.sweep_read(sweep, chunk, turn));
            }
            Answer::Fetch(fetch) => {
                let topic = if fetch.source == Source::Events { &self.log.events } else { &self.log.retry };
                let entry = topic[fetch.partition as usize].get(fetch.offset);
                self.turn(|core, turn| core.fetched(fetch, entry, turn));
            }
            Answer::Resolve(resolve, time) => {
                let kept = &self.log.events[resolve.partition as usize];
                let later =
                    |offset: &Offset| kept.record(*offset).is_some_and(|record| record.envelope.time >= time);
                let offset = (kept.start..kept.end()).find(later).unwrap_or(kept.end());
                self.turn(|core, turn| core.resolved(resolve, offset, turn));
            }
            Answer::Started(id) => self.turn(|core, turn| core.attempt_started(id, turn)),
            Answer::Ended(id, outcome) => self.ended(id, outcome),
            Answer::Saved(save, batch) => self.saved(save, &batch),
            Answer::Room => self.turn(BrokerCore::admission_room),
            Answer::Tick => {
                if self.tick_at == Some(self.now) {
                    self.turn(BrokerCore::tick);
                }
            }
        }
    }
}
