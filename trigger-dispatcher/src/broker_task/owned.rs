//! Partitions that come and go.

use futures_util::FutureExt as _;
use pelton_event_log::{Epoch, Lease, LogError, OwnershipChange, Partition, Release};
use tokio::task::JoinSet;

use super::BrokerTask;
use crate::core::Opened;

/// A partition that this process owns, and what runs for it. Dropping it ends all of that.
#[derive(Debug)]
pub(super) struct Owned {
    /// Which time this process has a partition; what comes back from an earlier one is too late.
    pub(super) generation: u64,
    /// While it does not hold, no delivery starts.
    pub(super) lease: Lease,
    stage: Stage,
    /// Deliveries on their way.
    pub(super) attempts: JoinSet<()>,
    /// Reads, saves and timers.
    pub(super) io: JoinSet<()>,
    /// Dropped when the partition is given up.
    release: Option<Release>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its saved progress is being read.
    Opening,
    /// The core has it.
    Open,
    /// Deliveries in flight may finish.
    Stopping,
    /// Deliveries in flight were given up; the last progress is being saved.
    Abandoned,
    /// Its saved progress cannot be read.
    Unserved,
}

impl Owned {
    fn new(generation: u64, lease: Lease) -> Self {
        let (attempts, io) = (JoinSet::new(), JoinSet::new());
        Self { generation, lease, stage: Stage::Opening, attempts, io, release: None }
    }

    /// Whether the core has it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Stopping | Stage::Abandoned)
    }

    /// Lets go of what has ended.
    pub(super) fn reap(&mut self) {
        for tasks in [&mut self.attempts, &mut self.io] {
            while tasks.try_join_next().is_some() {}
        }
    }
}

impl BrokerTask {
    /// Takes over the change, and those that came with it. Answers false at the end of the stream: the log is closed.
    pub(super) fn ownership_changes(&mut self, first: Option<OwnershipChange>) -> bool {
        let mut next = Some(first);
        while let Some(change) = next {
            let Some(change) = change else { return false };
            self.ownership_changed(change);
            next = self.ownership.next().now_or_never();
        }
        true
    }

    fn ownership_changed(&mut self, change: OwnershipChange) {
        match change {
            OwnershipChange::Coming { partition } => {
                self.coming.insert(partition);
                self.publish_settled_in();
            }
            OwnershipChange::Gained { partition, epoch, lease } => self.gained(partition, epoch, lease),
            OwnershipChange::Revoked { partition, release } => self.stop_partition(partition, Some(release)),
            OwnershipChange::Lost { partition } => {
                self.coming.remove(&partition);
                self.turn(|core, turn| core.lost(partition, turn));
                self.forget(partition);
            }
        }
    }

    fn gained(&mut self, partition: Partition, epoch: Epoch, lease: Lease) {
        self.coming.remove(&partition);
        if self.is_stopping {
            return;
        }
        if self.owned.contains_key(&partition) {
            // A new epoch without a loss in between: what runs under the old one ends here.
            self.turn(|core, turn| core.lost(partition, turn));
        }
        self.generation += 1;
        self.owned.insert(partition, Owned::new(self.generation, lease));
        self.publish_settled_in();
        self.read(partition, |line| line.open(epoch));
    }

    pub(super) fn opened(&mut self, partition: Partition, opened: Opened) {
        let gained = self.turn(|core, turn| core.gained(partition, opened, turn));
        let Some(owned) = self.owned.get_mut(&partition) else { return };
        match gained {
            Ok(()) => {
                owned.stage = Stage::Open;
                self.io.status.set_unserved(partition, None);
                self.publish_triggers();
                self.publish_partitions();
            }
            Err(error) => {
                owned.stage = Stage::Unserved;
                let error = crate::Error::DamagedProgress {
                    broker: self.broker.clone(),
                    partition,
                    reason: error.to_string().into(),
                };
                tracing::error!(code = error.code(), "{error}");
                self.io.status.set_unserved(partition, Some(error.to_string().into()));
            }
        }
        self.publish_settled_in();
    }

    /// The log cannot answer about a partition, and waiting will not help.
    pub(super) fn broken(&mut self, partition: Partition, error: &LogError) {
        tracing::error!(broker = %self.broker, partition, code = error.code(), "the partition is not served: {error}");
        self.io.status.set_unserved(partition, Some(error.to_string().into()));
        self.turn(|core, turn| core.lost(partition, turn));
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.stage = Stage::Unserved;
            owned.attempts.abort_all();
        }
    }

    pub(super) fn stop_all(&mut self) {
        self.is_stopping = true;
        self.bounds.abort_all();
        let partitions: Vec<Partition> = self.owned.keys().copied().collect();
        for partition in partitions {
            self.stop_partition(partition, None);
        }
    }

    fn stop_partition(&mut self, partition: Partition, release: Option<Release>) {
        let Some(owned) = self.owned.get_mut(&partition) else { return };
        if release.is_some() {
            owned.release = release;
        }
        match owned.stage {
            Stage::Opening | Stage::Unserved => self.forget(partition),
            Stage::Stopping | Stage::Abandoned => {}
            Stage::Open => {
                owned.stage = Stage::Stopping;
                self.turn(|core, turn| core.stop(partition, turn));
                let grace = self.stop_grace;
                self.read(partition, |line| line.overdue(grace));
            }
        }
    }

    /// The grace is over: first the deliveries in flight are given up, then, if the log does not take the last progress
    /// either, the partition. What was not saved is delivered again by its next owner.
    pub(super) fn stop_overdue(&mut self, partition: Partition) {
        let Some(owned) = self.owned.get_mut(&partition) else { return };
        if owned.stage == Stage::Stopping {
            owned.stage = Stage::Abandoned;
            tracing::info!(broker = %self.broker, partition, in_flight = owned.attempts.len(), "deliveries in flight are given up");
            owned.attempts.abort_all();
            self.turn(|core, turn| core.abandon(partition, turn));
            self.read(partition, |line| line.overdue(crate::limits::LAST_SAVE_GRACE));
        } else {
            tracing::warn!(broker = %self.broker, partition, "the log did not take the last progress in time");
            self.turn(|core, turn| core.lost(partition, turn));
            self.forget(partition);
        }
    }

    /// Ends everything that runs for the partition and gives it up.
    pub(super) fn forget(&mut self, partition: Partition) {
        if let Some(owned) = self.owned.remove(&partition) {
            let Owned { attempts, io, release, .. } = owned;
            drop((attempts, io));
            drop(release);
        }
        self.io.status.set_unserved(partition, None);
        self.publish_partitions();
        self.publish_settled_in();
    }

    fn publish_settled_in(&self) {
        let is_opening = self.owned.values().any(|owned| owned.stage == Stage::Opening);
        let is_settled_in = self.coming.is_empty() && !is_opening && !self.owned.is_empty();
        self.io.status.set_settled_in(is_settled_in);
    }
}
