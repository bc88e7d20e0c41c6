//! What must be true at the end.

use std::sync::atomic::Ordering::Relaxed;

use pelton_event_log::Content;

use super::world::{Happening, World};
use crate::core::open::End;

impl World {
    /// Whether nothing is owed any more, by the core's own word.
    pub(super) fn is_done(&self) -> bool {
        self.owned.values().all(|owned| *owned)
            && self.core.partitions.values().all(|partition| {
                let log =
                    (&self.log.events[partition.number as usize], &self.log.retry[partition.number as usize]);
                log.0.is_read_by(partition.head)
                    && log.1.is_read_by(partition.retry_head)
                    && partition
                        .lanes
                        .values()
                        .all(|lane| lane.next.is_none() && lane.events.is_empty() && lane.retries.is_empty())
            })
    }

    pub(super) fn stuck(&self) -> String {
        let mut text = String::new();
        for partition in self.core.partitions.values() {
            let end = self.log.events[partition.number as usize].end();
            text += &format!(
                "partition {} head {} of {end}, sweeps {:?}; ",
                partition.number, partition.head, partition.sweeps
            );
            for lane in partition.lanes.values().filter(|lane| !lane.is_idle()) {
                text += &format!("{lane:?}; ");
            }
        }
        text
    }

    pub(super) fn stop(&mut self) {
        let total: Vec<_> = self.core.counters();
        let owned: Vec<_> = self.owned.keys().copied().collect();
        for partition in owned {
            self.turn(|core, turn| core.stop(partition, turn));
        }
        let deadline = self.now + 600_000;
        while !self.core.partitions.is_empty() {
            assert!(self.now < deadline, "it does not stop: {}", self.stuck());
            // Nothing is gained any more.
            self.queue.retain(|_, happening| !matches!(happening, Happening::Gain(_)));
            assert!(self.step(), "it never stops");
        }
        for (name, counters) in total {
            for (gauge, what) in [
                (&counters.owed, "owed"),
                (&counters.due, "due"),
                (&counters.in_flight, "in flight"),
                (&counters.probed, "probed"),
                (&counters.uncertain, "uncertain"),
                (&counters.unregistered, "unregistered"),
                (&counters.parallelism, "parallelism"),
            ] {
                assert_eq!(gauge.load(Relaxed), 0, "{what} of {name} after the stop");
            }
        }
        assert_eq!(self.budget.used(), 0, "bodies are left");
        assert_eq!(self.share.total, 0, "permits are left");
    }

    pub(super) fn check_ends(&mut self) {
        for partition in 0..u32::try_from(self.log.events.len()).unwrap() {
            let kept = &self.log.events[partition as usize];
            assert!(kept.is_read_by(kept.progress.head), "the head is not saved");
            for (name, row) in
                kept.progress.lanes.iter().chain(&self.log.retry[partition as usize].progress.lanes)
            {
                assert_eq!(row.low, None, "row {name} still owes something");
                assert!(!name.starts_with("replay/"), "replay {name} is not done");
            }
            for offset in 0..kept.end() {
                let undecodable =
                    matches!(kept.contents[usize::try_from(offset).unwrap()], Content::Undecodable { .. });
                let kept_letters =
                    self.book.undecodable.get(&(partition, offset)).copied().unwrap_or_default();
                if offset < kept.start || kept.damaged.contains(&offset) {
                    let once = kept_letters <= 1 || self.plan.partial;
                    assert!(once, "{kept_letters} dead letters of {partition}/{offset}, which was spoilt");
                    continue;
                }
                let most = if self.plan.partial { u32::MAX } else { 1 };
                let right = if undecodable { (1..=most).contains(&kept_letters) } else { kept_letters == 0 };
                assert!(right, "{kept_letters} dead letters of {partition}/{offset}");
            }
            for trigger in 0..self.book.known.len() {
                self.check_ends_of(trigger, partition);
            }
        }
        for (id, replay) in std::mem::take(&mut self.book.replays) {
            let known = &self.book.known[replay.trigger];
            if known.moved || self.plan.edits || self.plan.moves {
                continue;
            }
            for offset in replay.from.max(self.log.events[replay.partition as usize].start)..replay.to {
                let spoilt = self.log.events[replay.partition as usize].damaged.contains(&offset);
                let wanted =
                    !spoilt && self.book.wants(&self.log, (replay.trigger, replay.partition, offset));
                assert!(!wanted || replay.seen.contains(&offset), "replay {id} left {offset} out");
            }
        }
    }

    pub(super) fn check_ends_of(&mut self, trigger: usize, partition: u32) {
        let known = self.book.known[trigger].clone();
        if known.moved {
            return;
        }
        let Some(from) = known.registered.get(&partition).copied() else {
            panic!("trigger {trigger} is not registered in {partition}");
        };
        let kept = self.log.events[partition as usize].clone();
        if known.from_start.contains(&partition) {
            let start = self.log.events[partition as usize].start;
            assert!(from <= start, "trigger {trigger} has missed a part of partition {partition}");
        }
        for offset in 0..kept.end() {
            let of = (trigger, partition, offset);
            let account = self.book.accounts.get(&of).cloned().unwrap_or_default();
            if !self.book.wants(&self.log, of) || offset < from {
                // A crash before the registration is durable registers anew.
                let excused = account.again || self.crashed;
                assert!(account.sent == 0 || excused, "{of:?} is sent before the trigger's start");
                continue;
            }
            if account.again || offset < kept.start {
                continue;
            }
            assert!(account.settled, "{of:?} has no end: {account:?}");
            if account.has_expired(&self.log.retry[partition as usize]) {
                continue;
            }
            assert!(account.ends.len() <= 1, "{of:?} has more than one end: {account:?}");
            assert!(account.dead <= 1 || self.plan.partial, "{of:?} is kept twice: {account:?}");
            let spoilt = kept.damaged.contains(&offset);
            assert!(account.sent > 0 || spoilt, "{of:?} was never sent: {account:?}");
            if spoilt && account.ends.is_empty() {
                let letters = self.book.undecodable.get(&(partition, offset));
                assert!(
                    account.dead > 0 || letters.is_some() || self.crashed,
                    "{of:?} has no end: {account:?}"
                );
            }
            if self.crashed || spoilt {
                continue;
            }
            let [end] = account.ends[..] else { panic!("{of:?} has no end: {account:?}") };
            let taken = (account.successes, u32::from(account.sink.is_some()), account.dead.min(1));
            match end {
                End::Delivered => assert_eq!(taken, (1, 0, 0), "{of:?}"),
                End::DeadLettered => assert_eq!((taken.1, taken.2), (1, 0), "{of:?}"),
                End::Kept => assert_eq!((taken.1, taken.2), (0, 1), "{of:?}"),
                other => panic!("{of:?} ended as {other:?}"),
            }
        }
    }
}
