//! The core of one broker: its partitions, and what they share.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_event::Timestamp;
use pelton_event_log::{AppendError, Bounds, BrokerTopics, Chunk, Entry, Epoch, Offset, Partition, Progress};
use pelton_resources::NamespacedName;
use pelton_resources::contracts::Outcome;

use super::action::{AttemptId, FetchId, ResolveId, SaveId, SweepId, Turn};
use super::body::BodyBudget;
use super::counters::TriggerCounters;
use crate::select::TriggerTable;

/// What a core is made of.
#[derive(Debug)]
pub(crate) struct CoreConfig {
    /// The broker's topics.
    pub topics: BrokerTopics,
    /// Partitions of the events topic.
    pub partitions: u32,
    /// The budget for bodies, shared by all brokers.
    pub budget: BodyBudget,
    /// Deliveries of a lane at a time, at most.
    pub lane_concurrency_max: u32,
    /// A longer wait is spent in the retry topic.
    pub wait_in_place_max: std::time::Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What was saved about a partition, and what the log holds of it, at the moment it was gained.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Presented with each save.
    pub epoch: Epoch,
    /// Saved progress of the events topic.
    pub events: Progress,
    /// What the log holds of it.
    pub events_bounds: Bounds,
    /// Saved progress of the retry topic.
    pub retry: Progress,
    /// What the log holds of it.
    pub retry_bounds: Bounds,
}

/// The state of a partition, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionStatus {
    /// The partition.
    pub partition: Partition,
    /// The next offset the head reader takes.
    pub head: Offset,
    /// Whether the open retries are known, so that lanes deliver.
    pub ready: bool,
    /// Why progress cannot be saved at the moment.
    pub save_error: Option<Box<str>>,
}

/// A saved row that cannot be read; the partition cannot be served with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the saved progress `{row}` is damaged: {reason}")]
pub(crate) struct RowError {
    /// The row.
    pub row: Box<str>,
    /// What is wrong.
    pub reason: &'static str,
}

/// The core of one broker.
#[derive(Debug)]
pub(crate) struct BrokerCore {}

#[expect(unused_variables, clippy::needless_pass_by_value, clippy::unused_self)]
impl BrokerCore {
    /// A core without partitions, for the triggers of `table`.
    pub(crate) fn new(config: CoreConfig, table: Arc<TriggerTable>) -> Self {
        Self {}
    }

    /// The partition is this process's now.
    pub(crate) fn gained(
        &mut self,
        partition: Partition,
        opened: Opened,
        turn: &mut Turn<'_>,
    ) -> Result<(), RowError> {
        Ok(())
    }

    /// The partition is to be given up (revoked, or the process stops): nothing new starts; [`Action::Stopped`](super::Action)
    /// follows once nothing is in flight and all is durable.
    pub(crate) fn stop(&mut self, partition: Partition, turn: &mut Turn<'_>) {}

    /// Gives back what is still in flight in a stopping partition; the shell has dropped it.
    pub(crate) fn abandon(&mut self, partition: Partition, turn: &mut Turn<'_>) {}

    /// The partition is lost: forgets it at once.
    pub(crate) fn lost(&mut self, partition: Partition, turn: &mut Turn<'_>) {}

    /// The triggers are others now. `bounds` tells for every partition owned what its events topic holds at this moment: new
    /// triggers start by it.
    pub(crate) fn triggers_changed(
        &mut self,
        table: Arc<TriggerTable>,
        bounds: &BTreeMap<Partition, Bounds>,
        turn: &mut Turn<'_>,
    ) {
    }

    /// What [`ReadHead`](super::Action::ReadHead) brought.
    pub(crate) fn head_read(&mut self, partition: Partition, chunk: Chunk, turn: &mut Turn<'_>) {}

    /// What [`ReadRetry`](super::Action::ReadRetry) brought.
    pub(crate) fn retry_read(&mut self, partition: Partition, chunk: Chunk, turn: &mut Turn<'_>) {}

    /// What [`Sweep`](super::Action::Sweep) brought.
    pub(crate) fn sweep_read(&mut self, sweep: SweepId, chunk: Chunk, turn: &mut Turn<'_>) {}

    /// What [`Fetch`](super::Action::Fetch) brought.
    pub(crate) fn fetched(&mut self, fetch: FetchId, entry: Option<Entry>, turn: &mut Turn<'_>) {}

    /// What [`Resolve`](super::Action::Resolve) brought.
    pub(crate) fn resolved(&mut self, resolve: ResolveId, offset: Offset, turn: &mut Turn<'_>) {}

    /// The attempt has its slot on a replica and goes out.
    pub(crate) fn attempt_started(&mut self, attempt: AttemptId, turn: &mut Turn<'_>) {}

    /// What came of an attempt.
    pub(crate) fn attempt_ended(&mut self, attempt: AttemptId, outcome: Outcome, turn: &mut Turn<'_>) {}

    /// The save is durable.
    pub(crate) fn saved(&mut self, save: SaveId, turn: &mut Turn<'_>) {}

    /// The save is not durable, or not known to be.
    pub(crate) fn save_failed(&mut self, save: SaveId, error: &AppendError, turn: &mut Turn<'_>) {}

    /// There is room in the process-wide share of deliveries after it refused one.
    pub(crate) fn admission_room(&mut self, turn: &mut Turn<'_>) {}

    /// The time asked for by [`WakeAt`](super::Action::WakeAt) has come.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {}

    /// The triggers the core knows, deleted ones that still own something included, with their counters.
    pub(crate) fn counters(&self) -> Vec<(NamespacedName, Arc<TriggerCounters>)> {
        Vec::new()
    }

    /// The state of each partition owned.
    pub(crate) fn partitions(&self) -> Vec<PartitionStatus> {
        Vec::new()
    }
}
