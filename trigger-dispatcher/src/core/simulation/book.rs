//! The account book: what happened to every event for every trigger, and what must never happen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pelton_event::Step;
use pelton_event_log::{Batch, Offset, ProgressUpdate};
use pelton_resources::{Order, Trigger};

use super::log::{Kept, Log};
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
    pub open_retries: usize,
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
    /// Whether the log has let an entry go that may have been all that stood for it.
    pub(super) fn has_expired(&self, retry: &Kept) -> bool {
        self.retries.iter().any(|entry| *entry < retry.start)
    }

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
    /// Partitions that were added while it was there.
    pub from_start: BTreeSet<u32>,
    /// By partition: where it started.
    pub registered: BTreeMap<u32, Offset>,
}

/// What is durable about a lane: everything before the position but these is settled.
#[derive(Debug, Default)]
pub(super) struct Durable {
    position: Offset,
    open: BTreeSet<Offset>,
}

#[derive(Debug)]
pub(super) struct Replay {
    pub trigger: usize,
    pub partition: u32,
    pub from: Offset,
    pub to: Offset,
    pub seen: HashSet<Offset>,
    /// Its row has gone.
    pub done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub known: Vec<Known>,
    pub accounts: HashMap<EventOf, Account>,
    pub replays: BTreeMap<u64, Replay>,
    /// Dead letters without a trigger, by partition and offset.
    pub undecodable: HashMap<(u32, Offset), u32>,
    pub wanted: HashMap<EventOf, bool>,
    /// By trigger and partition: what is durable about the lane.
    pub durable: HashMap<(usize, u32), Durable>,
    /// By trigger and partition: events that have entries in the retry topic.
    pub in_retry: HashMap<(usize, u32), BTreeSet<Offset>>,
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

    /// An entry for the event is in the retry topic.
    pub(super) fn enters_retry(&mut self, of: EventOf, entry: Offset) {
        let account = self.account(of);
        account.retries.push(entry);
        account.open_retries += 1;
        self.in_retry.entry((of.0, of.1)).or_default().insert(of.2);
    }

    /// A batch has become durable in `life`.
    pub(super) fn stored(&mut self, batch: &Batch, log: &Log, life: u32, before: &[Offset]) {
        let mut next: Vec<Offset> = before.to_vec();
        for (topic, partition, record) in &batch.records {
            let Some(origin) = &record.envelope.origin else { continue };
            let of =
                self.trigger_of(&origin.trigger).map(|trigger| (trigger, origin.partition, origin.offset));
            match (&origin.step, of) {
                (Step::Reply, Some(of)) => self.account(of).replies += 1,
                (Step::Retry { attempts, failure, .. }, Some(of)) => {
                    assert_eq!(*topic, log.topics.retry);
                    self.enters_retry(of, next[*partition as usize]);
                    let account = self.account(of);
                    // Where a failed save was stored in part, an event may come again after its end.
                    account.again |= account.has_end_in(life);
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
        for update in &batch.progress {
            self.settle(update, log, life);
            let removed = update.lanes.iter().filter(|(_, row)| row.is_none());
            for id in
                removed.filter_map(|(name, _)| name.strip_prefix("replay/")?.split('/').next()?.parse().ok())
            {
                self.replays.get_mut(&id).unwrap().done = true;
            }
        }
    }

    /// Compares what is durably settled with what has an end: progress never passes an event without one, and never goes
    /// back.
    fn settle(&mut self, update: &ProgressUpdate, log: &Log, life: u32) {
        let partition = update.partition;
        let events = &log.events[partition as usize];
        for trigger in 0..self.known.len() {
            let name = self.known[trigger].trigger.name.clone();
            if update.head.is_none() && !update.lanes.iter().any(|(row, _)| **row == *name.as_str()) {
                continue;
            }
            if update.topic == log.topics.retry {
                self.settle_retries((trigger, partition), log, life);
            } else if let Some(row) = events.progress.lanes.get(name.as_str()) {
                self.settle_lane((trigger, partition), &row.state, log, life);
            }
        }
    }

    fn settle_lane(&mut self, (trigger, partition): (usize, u32), row: &[u8], log: &Log, life: u32) {
        let events = &log.events[partition as usize];
        let (row, opens) = progress::decode_events(row).unwrap();
        let open: BTreeSet<Offset> = opens.iter().map(|open| open.offset).collect();
        let position = if row.detached { row.position } else { row.position.max(events.progress.head) };
        let known = &mut self.known[trigger];
        let candidate = known.candidate.get(&partition).map_or(0, |(_, offset)| *offset);
        let from = *known.registered.entry(partition).or_insert(candidate);
        if known.moved {
            return;
        }
        for saved in opens {
            let target = usize::from(saved.failure.is_some());
            self.account((trigger, partition, saved.offset)).durable_attempts[target] = saved.attempts;
        }
        let before = self.durable.remove(&(trigger, partition)).unwrap_or_default();
        for offset in position.max(from)..before.position {
            // A lane may give back what it owes, and come to it again.
            let of = (trigger, partition, offset);
            let owed = before.open.contains(&offset) || events.damaged.contains(&offset);
            assert!(
                owed || !self.wants(log, of) || offset < events.start,
                "lane {trigger}/{partition} went back to {position} from {before:?}"
            );
        }
        let news = before.position.max(from)..position;
        for offset in before.open.iter().copied().chain(news) {
            let of = (trigger, partition, offset);
            if offset >= position || open.contains(&offset) || !self.wants(log, of) {
                continue;
            }
            let account = self.accounts.entry(of).or_default();
            let accounted = account.has_end_in(life) || account.open_retries > 0 || offset < events.start;
            // What is spoilt is a dead letter before it is passed, by the saved head or by a lane behind that.
            let spoilt = events.damaged.contains(&offset)
                && (offset >= events.progress.head || self.undecodable.contains_key(&(partition, offset)));
            let accounted = accounted || spoilt;
            assert!(accounted, "{of:?} is settled without an end: {account:?}");
            account.lane_settled = true;
            account.settled = account.open_retries == 0;
        }
        for offset in &open {
            let known = before.open.contains(offset) || *offset >= before.position;
            assert!(known, "{offset} of lane {trigger}/{partition} was settled and is owed again");
        }
        self.durable.insert((trigger, partition), Durable { position, open });
    }

    fn settle_retries(&mut self, lane: (usize, u32), log: &Log, life: u32) {
        let Some(offsets) = self.in_retry.get(&lane) else { return };
        let retry = &log.retry[lane.1 as usize];
        let progress = &retry.progress;
        let name = &self.known[lane.0].trigger.name;
        let row = progress.lanes.get(name.as_str()).map(|row| progress::decode_retry(&row.state).unwrap());
        let closed_before = row.as_ref().map_or(progress.head, |row| row.position.max(progress.head));
        let opens: HashSet<Offset> = row.iter().flat_map(|row| row.opens.iter().map(|open| open.0)).collect();
        for open in row.iter().flat_map(|row| &row.opens) {
            let origin = log.retry[lane.1 as usize].record(open.0).unwrap().envelope.origin.clone().unwrap();
            let target = matches!(origin.step, Step::Retry { failure: Some(_), .. });
            let account = self.accounts.get_mut(&(lane.0, lane.1, origin.offset)).unwrap();
            account.durable_attempts[usize::from(target)] = open.1;
        }
        let moved = self.known[lane.0].moved;
        for offset in offsets {
            let of = (lane.0, lane.1, *offset);
            let account = self.accounts.get_mut(&of).unwrap();
            let is_open = |offset: &&Offset| **offset >= closed_before || opens.contains(*offset);
            account.open_retries = account.retries.iter().filter(is_open).count();
            if account.open_retries == 0 && account.lane_settled && !account.settled && !moved {
                assert!(
                    account.has_end_in(life) || account.has_expired(retry),
                    "{of:?} is closed in the retry topic without an end: {account:?}"
                );
            }
            let again = account.settled && !account.again && !moved && account.open_retries > 0;
            assert!(!again, "{of:?} is owed by the retry topic again: {account:?}");
            account.settled = account.lane_settled && account.open_retries == 0;
        }
    }

    /// What an attempt that begins must respect.
    pub(super) fn sends(&mut self, of: EventOf, target: Target, attempts: u32, life: u32, now: u64) {
        let known = &self.known[of.0];
        let (moved, policy_changed, retry) =
            (known.moved, known.policy_changed, known.trigger.delivery.retry);
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
        if known.moved
            || known.order_changed
            || self.accounts.get(&of).is_some_and(|account| account.sent > 0)
        {
            return Vec::new();
        }
        let (order, life_start) =
            (known.trigger.order, known.candidate.get(&partition).map_or(0, |known| known.1));
        let from = known.registered.get(&partition).copied().unwrap_or(life_start);
        let events = &log.events[partition as usize];
        let key = |offset| events.record(offset).map_or(Key::None, Key::of);
        let own = key(offset);
        let before: Vec<_> = match order {
            Order::Unordered => return Vec::new(),
            Order::Keyed if own == Key::None => return Vec::new(),
            Order::Keyed => (from..offset).filter(|before| key(*before) == own).collect(),
            Order::Ordered => (from..offset).collect(),
        };
        let is_there = |offset: &Offset| *offset >= events.start && !events.damaged.contains(offset);
        let before = before.into_iter().filter(is_there);
        let before: Vec<_> = before.map(|offset| (trigger, partition, offset)).collect();
        before.into_iter().filter(|of| self.wants(log, *of)).collect()
    }

    /// Whether the book knows an end of the event.
    pub(super) fn has_end(&self, of: EventOf, life: u32) -> bool {
        self.accounts.get(&of).is_some_and(|account| account.settled || account.has_end_in(life))
    }
}
