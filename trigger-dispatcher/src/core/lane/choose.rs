//! What of a lane may be sent next.

use std::cmp::Reverse;

use pelton_event::Timestamp;
use pelton_event_log::Offset;

use super::{Due, Lane};
use crate::core::action::{Source, Target};
use crate::core::open::Queue;
use crate::limits;

/// What a lane may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Choice {
    /// Send this one.
    Start(Source, Offset),
    /// Nothing before this time.
    Wait(Timestamp),
    /// Nothing until something changes.
    Nothing,
}

impl Lane {
    /// What may be sent next. Sending it changes its state, so that the next call chooses another.
    pub(in crate::core) fn choose(&mut self, now: Timestamp, head: Offset) -> Choice {
        self.sort_early(head);
        let mut wait: Option<Timestamp> = None;
        let mut earliest = |due: Timestamp| wait = Some(wait.map_or(due, |known| known.min(due)));
        // Three kinds of work take turns, so that none starves the others.
        for step in 0..3 {
            let kind = (self.rotation + step) % 3;
            let candidate = match kind {
                0 => self.next_to_sink(),
                1 => self.next_later(),
                _ => self.next_ready(),
            };
            let Some((due, source, offset)) = candidate else { continue };
            if due <= now {
                self.rotation = (kind + 1) % 3;
                return Choice::Start(source, offset);
            }
            earliest(due);
        }
        wait.map_or(Choice::Nothing, Choice::Wait)
    }

    fn next_to_sink(&self) -> Option<Due> {
        (self.used[1] < limits::SINK_CONCURRENCY_MAX).then(|| self.to_sink.peek().map(|top| top.0))?
    }

    /// The next that waited for a later attempt; while probing, the one event that is driven through its policy.
    fn next_later(&mut self) -> Option<Due> {
        if self.used[0] >= self.health.limit() {
            return None;
        }
        if !self.health.is_probing() {
            return self.later.peek().map(|top| top.0);
        }
        if self.probe.is_none() {
            let top = self.later.peek().map(|top| (top.0.1, top.0.2));
            self.probe = top.or_else(|| self.ready.front().map(|offset| (Source::Events, *offset)));
        }
        let (source, offset) = self.probe?;
        let open = self.queue(source).get(offset)?;
        (open.is_startable() && open.target == Target::Subscriber).then_some((open.due, source, offset))
    }

    fn next_ready(&self) -> Option<Due> {
        let closed = self.health.is_probing()
            || self.used[0] >= self.health.limit()
            || self.sink_pending >= self.sizes.sink_pending_max;
        let offset = self.ready.front().filter(|_| !closed)?;
        Some((Timestamp::EPOCH, Source::Events, *offset))
    }

    /// Lets entries go whose events the lane has come to, and holds those back that come to the front before.
    fn sort_early(&mut self, head: Offset) {
        let position = self.next.unwrap_or_else(|| head.max(self.considered));
        while let Some(first) = self.early.first_entry().filter(|first| *first.key() < position) {
            let due = first.remove();
            self.enqueue(due.1, due.2);
        }
        loop {
            self.drop_stale();
            let retries = &self.retries;
            let origin = |due: &Reverse<Due>| {
                let open = retries.get(due.0.2).filter(|_| due.0.1 == Source::Retry)?;
                Some(open.origin).filter(|origin| *origin >= position)
            };
            let early = [&mut self.later, &mut self.to_sink].into_iter().find_map(|heap| {
                let origin = heap.peek().and_then(origin)?;
                Some((origin, heap.pop()?.0))
            });
            let Some((origin, due)) = early else { return };
            self.early.insert(origin, due);
        }
    }

    /// Whether entries wait for the lane to come to their events.
    pub(in crate::core) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Entries of the queues are not taken out when they are started or end, but when they come to the front.
    fn drop_stale(&mut self) {
        let is_due = |queues: (&Queue, &Queue), target: Target, (due, source, offset): Due| {
            let queue = if source == Source::Events { queues.0 } else { queues.1 };
            queue
                .get(offset)
                .is_some_and(|open| open.is_startable() && open.due == due && open.target == target)
        };
        let queues = (&self.events, &self.retries);
        while self.later.peek().is_some_and(|top| !is_due(queues, Target::Subscriber, top.0)) {
            self.later.pop();
        }
        while self.to_sink.peek().is_some_and(|top| !is_due(queues, Target::DeadLetterSink, top.0)) {
            self.to_sink.pop();
        }
        let fresh =
            |offset: Offset| is_due(queues, Target::Subscriber, (Timestamp::EPOCH, Source::Events, offset));
        while self.ready.front().is_some_and(|offset| !fresh(*offset)) {
            self.ready.pop_front();
        }
        if self.probe.is_some_and(|(source, offset)| self.queue(source).get(offset).is_none()) {
            self.probe = None;
        }
    }
}
