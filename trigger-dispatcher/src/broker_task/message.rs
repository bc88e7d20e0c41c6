//! What comes back to a broker task from what it has started.

use pelton_event_log::{AppendError, Chunk, Entry, LogError, Offset, Partition};
use pelton_resources::contracts::Outcome;

use crate::core::{AttemptId, FetchId, Opened, ResolveId, SaveId, SweepId};

/// A message to the broker task about a partition.
#[derive(Debug)]
pub(super) struct Message {
    /// The partition.
    pub(super) partition: Partition,
    /// Which time this process has it; what comes from an earlier one is too late.
    pub(super) generation: u64,
    /// What.
    pub(super) input: Input,
}

/// What came of something.
#[derive(Debug)]
pub(super) enum Input {
    /// What was saved about the partition.
    Opened(Box<Opened>),
    /// The head reader's next entries.
    HeadRead(Chunk),
    /// The next entries of the retry topic.
    RetryRead(Chunk),
    /// What a sweep read.
    SweepRead(SweepId, Chunk),
    /// One entry.
    Fetched(FetchId, Option<Entry>),
    /// The offset of a point in time.
    Resolved(ResolveId, Offset),
    /// The attempt has its place on a replica.
    Started(AttemptId),
    /// What came of an attempt.
    Ended(AttemptId, Outcome),
    /// What came of a save.
    Saved(SaveId, Result<(), AppendError>),
    /// The partition should have stopped by now.
    StopOverdue,
    /// The log cannot answer about the partition, now or ever.
    Broken(LogError),
}
