//! The order of a lane: chains of events, each of which may start once its predecessor has its end.

use pelton_event::Record;
use pelton_event_log::Offset;
use pelton_resources::Order;

use super::Lane;
use crate::core::action::{Source, Target};
use crate::core::open::{End, Key, Open, Queue};

/// The chain that all events of an ordered lane are in.
const ONE_CHAIN: u64 = 0;

/// Where an event is in its chain.
struct Link {
    offset: Offset,
    key: Key,
    follower: Option<Offset>,
    blocked: bool,
}

impl Lane {
    /// The chain an event with `key` belongs to.
    fn chain_of(&self, key: Key) -> Option<u64> {
        match (self.order, key) {
            (Order::Unordered, _) => None,
            (Order::Ordered, _) => Some(ONE_CHAIN),
            // Until every key is known, all are kept in order.
            (Order::Keyed, _) if self.unknown_keys > 0 => Some(ONE_CHAIN),
            (Order::Keyed, Key::Hash(hash)) => Some(hash),
            (Order::Keyed, Key::None | Key::Unknown) => None,
        }
    }

    pub(super) fn chain(&mut self, offset: Offset, key: Key) {
        let Some(chain) = self.chain_of(key) else { return };
        let Some(last) = self.chains.insert(chain, offset) else { return };
        if let Some(open) = self.events.get_mut(last) {
            open.follower = Some(offset);
        }
        if let Some(open) = self.events.get_mut(offset) {
            open.blocked = true;
        }
    }

    /// Builds order and queues anew from the open events: at a start, when the order changes, and when an event ends out of
    /// its order.
    pub(in crate::core) fn rebuild(&mut self, order: Order) {
        self.order = order;
        self.chains.clear();
        self.ready.clear();
        self.later.clear();
        self.to_sink.clear();
        self.early.clear();
        self.unknown_keys = 0;
        // The next probe may be another event: this one may have to wait for others now.
        self.probe = None;
        for open in self.events.iter_mut().filter(|open| open.is_in_chain()) {
            (open.blocked, open.follower) = (false, None);
            open.holds &= order != Order::Unordered;
            if order != Order::Keyed {
                continue;
            }
            if let (Key::Unknown, Some(body)) = (open.key, &open.body) {
                open.key = Key::of(body.record());
            }
            self.unknown_keys += usize::from(open.key == Key::Unknown);
        }
        let unended = |queue: &Queue| -> Vec<_> {
            queue.iter().filter(|open| open.is_in_chain()).map(|open| (open.offset, open.key)).collect()
        };
        for (offset, key) in unended(&self.events) {
            self.chain(offset, key);
            self.enqueue(Source::Events, offset);
        }
        for (offset, _) in unended(&self.retries) {
            self.enqueue(Source::Retry, offset);
        }
    }

    /// The record of an open event was read: its key is known now.
    pub(in crate::core) fn learn_key(&mut self, offset: Offset, record: &Record) {
        if self.order != Order::Keyed {
            return;
        }
        let Some(open) = self.events.get_mut(offset).filter(|open| open.key == Key::Unknown) else { return };
        open.key = Key::of(record);
        self.unknown_keys = self.unknown_keys.saturating_sub(1);
        if self.unknown_keys == 0 {
            self.rebuild(self.order);
        }
    }

    /// Gives an open event its end; its successor in the order may start.
    pub(in crate::core) fn end(&mut self, source: Source, offset: Offset, end: End, recorded: bool) -> bool {
        let queue = self.queue_mut(source);
        let Some(open) = queue.get(offset) else { return false };
        let (key, follower, blocked, target) = (open.key, open.follower, open.blocked, open.target);
        if !queue.end(offset, end, recorded) {
            return false;
        }
        if self.probe == Some((source, offset)) {
            self.probe = None;
        }
        if target == Target::DeadLetterSink && source == Source::Events {
            self.sink_pending = self.sink_pending.saturating_sub(1);
        }
        if source == Source::Events {
            self.fix(offset);
            // An end that comes with a record is one once the record is stored.
            if recorded && self.order != Order::Unordered {
                if let Some(open) = self.events.get_mut(offset) {
                    open.holds = true;
                }
            } else {
                self.unchain(&Link { offset, key, follower, blocked });
            }
        }
        true
    }

    /// The save `id` is durable: forgets what ended in it and tells `each`.
    pub(in crate::core) fn forget_saved(&mut self, id: u64, mut each: impl FnMut(&Open, End)) {
        let mut held = Vec::new();
        self.events.forget_saved(id, |open, end| {
            each(open, end);
            if open.holds {
                let (key, follower, blocked) = (open.key, open.follower, open.blocked);
                held.push(Link { offset: open.offset, key, follower, blocked });
            }
        });
        for link in &held {
            self.unchain(link);
        }
    }

    /// An event is out of its chain: its successor may start.
    fn unchain(&mut self, link: &Link) {
        let unknown = usize::from(self.order == Order::Keyed && link.key == Key::Unknown);
        if link.blocked || (unknown > 0 && self.unknown_keys == 1) {
            self.rebuild(self.order);
        } else {
            self.release(link.offset, link.key, link.follower);
            self.unknown_keys -= unknown;
        }
    }

    fn release(&mut self, offset: Offset, key: Key, follower: Option<Offset>) {
        let Some(chain) = self.chain_of(key) else { return };
        let Some(follower) = follower else {
            if self.chains.get(&chain) == Some(&offset) {
                self.chains.remove(&chain);
            }
            return;
        };
        let Some(open) = self.events.get_mut(follower) else { return };
        open.blocked = false;
        // One that was sent before it had a predecessor is in its queue already.
        if !open.has_begun() {
            self.enqueue(Source::Events, follower);
        }
    }
}
