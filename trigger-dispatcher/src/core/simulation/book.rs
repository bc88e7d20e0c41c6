//! The account book: what happened to every event for every trigger, and what must never happen.

use std::collections::{BTreeMap, HashMap, HashSet};

use pelton_event::Step;
use pelton_event_log::{Batch, Offset};
use pelton_resources::{Order, Trigger};

use super::log::Log;
use crate::core::action::Target;
use crate::core::open::{End, Key};
use crate::core::progress;

/// Trigger, partition, offset of the event.
pub(super) type EventOf = (usize, u32, Offset);

/// What happened to one event for one trigger.
#[derive(Debug, Default, Clone)]
pub(super) struct Account {
    pub sent: u32,
    /// The life in which the subscriber last took it.
    pub success: Option<u32>,
    pub successes: u32,
    /// It replied, so that its end waits for the reply.
    pub needs_reply: bool,
    pub replies: u32,
    /// The life in which the dead letter sink last took it.
    pub sink: Option<u32>,
    pub dead: u32,
    /// Its entries in the retry topic.
    pub retries: Vec<Offset>,
    pub lane_settled: bool,
    /// Nothing durable owes it any more.
    pub settled: bool,
    /// A command delivers it once more.
    pub again: bool,
    pub ends: Vec<End>,
    pub durable_attempts: [u32; 2],
    /// Life and time of the last failed attempt, and the least wait after it.
    pub failed: Option<(u32, u64, u64)>,
}

impl Account {
    fn has_end_in(&self, life: u32) -> bool {
        let taken = self.success == Some(life) && (!self.needs_reply || self.replies > 0);
        taken || self.sink == Some(life) || self.dead > 0
    }
}

/// A trigger as the book knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub trigger: Trigger,
    /// Its start was changed: what it skips and repeats is not followed.
    pub moved: bool,
    pub order_changed: bool,
    pub policy_changed: bool,
    /// By partition: where it starts in the life in which it was registered.
    pub candidate: BTreeMap<u32, (u32, Offset)>,
    /// By partition: where it started, and from where nothing may be missed.
    pub registered: BTreeMap<u32, (Offset, Offset)>,
}

#[derive(Debug)]
pub(super) struct Replay {
    pub trigger: usize,
    pub partition: u32,
    pub from: Offset,
    pub to: Offset,
    pub seen: HashSet<Offset>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub known: Vec<Known>,
    pub accounts: HashMap<EventOf, Account>,
    pub replays: BTreeMap<u64, Replay>,
    /// Dead letters without a trigger, by partition and offset.
    pub undecodable: HashMap<(u32, Offset), u32>,
    pub wanted: HashMap<EventOf, bool>,
}

impl Book {
    pub(super) fn trigger_of(&self, name: &str) -> Option<usize> {
        self.known.iter().position(|known| known.trigger.name.as_str() == name)
    }

    pub(super) fn account(&mut self, of: EventOf) -> &mut Account {
        self.accounts.entry(of).or_default()
    }

    pub(super) fn wants(&mut self, log: &Log, (trigger, partition, offset): EventOf) -> bool {
        let filter = &self.known[trigger].trigger.filter;
        *self.wanted.entry((trigger, partition, offset)).or_insert_with(|| {
            let record = log.events[partition as usize].record(offset);
            record.and_then(|record| record.event.as_ref()).is_some_and(|event| filter.matches(event))
        })
    }

    /// A batch has become durable in `life`.
    pub(super) fn stored(&mut self, batch: &Batch, log: &Log, life: u32, before: &[Offset]) {
        let mut next: Vec<Offset> = before.to_vec();
        for (topic, partition, record) in &batch.records {
            let Some(origin) = &record.envelope.origin else { continue };
            let of = self.trigger_of(&origin.trigger).map(|trigger| (trigger, origin.partition, origin.offset));
            match (&origin.step, of) {
                (Step::Reply, Some(of)) => self.account(of).replies += 1,
                (Step::Retry { attempts, failure, .. }, Some(of)) => {
                    assert_eq!(*topic, log.topics.retry);
                    let account = self.account(of);
                    account.retries.push(next[*partition as usize]);
                    account.durable_attempts[usize::from(failure.is_some())] = *attempts;
                    next[*partition as usize] += 1;
                }
                (Step::DeadLetter { .. }, Some(of)) => self.account(of).dead += 1,
                (Step::DeadLetter { .. }, None) => {
                    *self.undecodable.entry((origin.partition, origin.offset)).or_default() += 1;
                }
                other => panic!("a record nobody expected: {other:?}"),
            }
        }
        let partitions: HashSet<u32> = batch.progress.iter().map(|update| update.partition).collect();
        for partition in partitions {
            self.settle(partition, log, life);
        }
    }

    /// Compares what is durably settled with what has an end: progress never passes an event without one, and never goes
    /// back.
    fn settle(&mut self, partition: u32, log: &Log, life: u32) {
        let events = &log.events[partition as usize];
        for trigger in 0..self.known.len() {
            let name = self.known[trigger].trigger.name.clone();
            let Some(row) = events.progress.lanes.get(name.as_str()) else {
                self.settle_retries(trigger, partition, log, life);
                continue;
            };
            let (row, opens) = progress::decode_events(&row.state).unwrap();
            let open: HashSet<Offset> = opens.iter().map(|open| open.offset).collect();
            let position = if row.detached { row.position } else { row.position.max(events.progress.head) };
            let known = &mut self.known[trigger];
            let candidate = known.candidate.get(&partition).map_or(0, |(_, offset)| *offset);
            let (from, _) = *known.registered.entry(partition).or_insert((candidate, events.end()));
            if known.moved {
                continue;
            }
            for saved in opens {
                let target = usize::from(saved.failure.is_some());
                self.account((trigger, partition, saved.offset)).durable_attempts[target] = saved.attempts;
            }
            for offset in from..events.end() {
                let of = (trigger, partition, offset);
                if !self.wants(log, of) {
                    continue;
                }
                let expired = offset < events.start;
                let account = self.accounts.entry(of).or_default();
                let settled = offset < position && !open.contains(&offset);
                if settled && !account.lane_settled {
                    let accounted = account.has_end_in(life) || !account.retries.is_empty() || expired;
                    assert!(accounted, "{of:?} is settled without an end: {account:?}");
                }
                assert!(settled || !account.lane_settled, "{of:?} was settled and is owed again: {account:?}");
                account.lane_settled = settled;
            }
            self.settle_retries(trigger, partition, log, life);
        }
    }

    fn settle_retries(&mut self, trigger: usize, partition: u32, log: &Log, life: u32) {
        let progress = &log.retry[partition as usize].progress;
        let name = self.known[trigger].trigger.name.clone();
        let row = progress.lanes.get(name.as_str()).map(|row| progress::decode_retry(&row.state).unwrap());
        let closed_before = row.as_ref().map_or(progress.head, |row| row.position.max(progress.head));
        let opens: HashMap<Offset, u32> =
            row.iter().flat_map(|row| row.opens.iter().map(|(offset, attempts, _)| (*offset, *attempts))).collect();
        let moved = self.known[trigger].moved;
        for (of, account) in &mut self.accounts {
            if (of.0, of.1) != (trigger, partition) {
                continue;
            }
            let is_closed = |offset: &Offset| *offset < closed_before && !opens.contains_key(offset);
            let closed = account.retries.iter().filter(|offset| is_closed(offset)).count();
            if closed == account.retries.len() && closed > 0 && !account.settled && !moved {
                assert!(account.has_end_in(life), "{of:?} is closed in the retry topic without an end: {account:?}");
            }
            assert!(
                !account.settled || account.again || closed == account.retries.len(),
                "{of:?} is owed by the retry topic again: {account:?}"
            );
            account.settled = account.lane_settled && closed == account.retries.len();
        }
    }

    /// What an attempt that begins must respect.
    pub(super) fn sends(&mut self, of: EventOf, target: Target, attempts: u32, life: u32, now: u64) {
        let known = &self.known[of.0];
        let (moved, policy_changed, retry) = (known.moved, known.policy_changed, known.trigger.delivery.retry);
        let account = self.account(of);
        if target == Target::Subscriber {
            account.sent += 1;
        }
        if moved || account.again {
            return;
        }
        assert!(!account.settled, "{of:?} is sent though it is durably settled: {account:?}");
        if target == Target::Subscriber {
            assert!(account.success != Some(life), "{of:?} is sent again after a success: {account:?}");
        }
        assert!(account.sink != Some(life), "{of:?} is sent again after the sink took it: {account:?}");
        let durable = account.durable_attempts[target as usize];
        assert!(attempts >= durable, "{of:?} was tried {durable} times, not {attempts}: {account:?}");
        if policy_changed {
            return;
        }
        assert!(attempts <= retry, "{of:?} is tried {attempts} times with {retry} retries");
        if let Some((failed_in, at, wait)) = account.failed
            && failed_in == life
            && attempts > 0
        {
            assert!(now >= at + wait, "{of:?} is sent {} ms after it failed, before {wait}", now - at);
        }
    }

    /// The events that have to have an end before `of` may be sent for the first time.
    pub(super) fn predecessors(&mut self, of: EventOf, log: &Log) -> Vec<EventOf> {
        let (trigger, partition, offset) = of;
        let known = &self.known[trigger];
        if known.moved || known.order_changed || self.accounts.get(&of).is_some_and(|account| account.sent > 0) {
            return Vec::new();
        }
        let (order, life_start) = (known.trigger.order, known.candidate.get(&partition).map_or(0, |known| known.1));
        let from = known.registered.get(&partition).map_or(life_start, |known| known.0);
        let events = &log.events[partition as usize];
        let key = |offset| events.record(offset).map_or(Key::None, Key::of);
        let own = key(offset);
        let before: Vec<_> = match order {
            Order::Unordered => return Vec::new(),
            Order::Keyed if own == Key::None => return Vec::new(),
            Order::Keyed => (from..offset).filter(|before| key(*before) == own).collect(),
            Order::Ordered => (from..offset).collect(),
        };
        let before = before.into_iter().filter(|offset| *offset >= events.start);
        let before: Vec<_> = before.map(|offset| (trigger, partition, offset)).collect();
        before.into_iter().filter(|of| self.wants(log, *of)).collect()
    }

    /// Whether the book knows an end of the event.
    pub(super) fn has_end(&self, of: EventOf, life: u32) -> bool {
        self.accounts.get(&of).is_some_and(|account| account.settled || account.has_end_in(life))
    }
}
