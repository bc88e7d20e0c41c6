//! The contract between the roles and an engine.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use pelton_event::{Record, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::groups::ConsumerGroups;
use crate::lease::Lease;
use crate::topic::{TopicInfo, TopicName, TopicSpec};

/// Position of a record within its partition; grows by one per record on the embedded engine, may skip on Kafka.
pub type Offset = u64;
/// Number of a partition within its topic, from 0.
pub type Partition = u32;

/// A durable, partitioned log of records.
///
/// All methods may be called from any task; futures may be dropped at any time (a dropped [`Append`] may still be stored).
pub trait EventLog: Send + Sync + fmt::Debug + 'static {
    /// Stores a batch: its records and its progress. On the embedded engine all or nothing; on Kafka each record by itself.
    /// That an empty one succeeds proves that the log takes appends.
    fn append(&self, batch: Batch) -> Append;

    /// Waits until no save that was appended before can change the progress of the partition any more, so that it may be
    /// read. Where an epoch stays the same from one owner to the next, saves that are under way have to end first, as they do
    /// before an empty append; an engine that gives each owner an epoch of its own has nothing to wait for.
    fn settled<'a>(
        &'a self,
        _topic: &'a TopicName,
        _partition: Partition,
    ) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            match self.append(Batch::default()).await {
                // A full disk keeps nobody from reading.
                Ok(_) | Err(AppendError::DiskFull) => Ok(()),
                Err(AppendError::Closed) => Err(LogError::Closed),
                Err(error) => Err(LogError::Unavailable(error.to_string().into())),
            }
        })
    }

    /// Entries of one partition from `from` on, in order.
    ///
    /// Starts at the first entry still kept at or after `from`. At the end it answers an empty chunk, or, with
    /// [`ReadLimit::wait`], waits for the next entry.
    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Chunk, LogError>>;

    /// The partitions of the events topic `topic` (and of its sister topics) that this process owns, as a stream of changes.
    fn ownership(&self, topic: &TopicName) -> Ownership;

    /// The saved progress of one partition.
    fn progress<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Progress, LogError>>;

    /// First kept offset and end of one partition.
    fn bounds<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Bounds, LogError>>;

    /// The offset of the first record accepted at or after `time`; the end if there is none.
    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset, LogError>>;

    /// Makes the topic be as `spec` says: creates it, adds partitions, changes its retention. Answers what it then is
    /// (partitions are never taken away).
    fn ensure_topic<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo, LogError>>;

    /// Deletes a topic with all it holds, progress included. Deleting one that is not there succeeds.
    fn delete_topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>>;

    /// The topic, if it is there.
    fn topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Option<TopicInfo>, LogError>> {
        Box::pin(async move {
            let all = self.topics().await?;
            Ok(all.into_iter().find(|found| found.name == *topic))
        })
    }

    /// All topics.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, LogError>>;

    /// The consumer groups that stand for lanes; `None` for an engine that nobody else reads.
    fn groups(&self) -> Option<&dyn ConsumerGroups> {
        None
    }

    /// The state of the engine, for `/readyz` and `describe`.
    fn status(&self) -> LogStatus;

    /// Stops taking appends, finishes the ones under way and closes cleanly.
    fn close(&self) -> BoxFuture<'_, Result<(), LogError>>;
}

/// What goes into the log at once.
///
/// A budget that is spent refuses events from outside only: records with an origin (replies, retries, dead letters, commands)
/// and progress draw on a reserve, so that a full broker can always work its way out. Dead letters displace older ones when even
/// the reserve is spent.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records, each to its topic and partition.
    pub records: Vec<(TopicName, Partition, Record)>,
    /// Progress to save with them.
    pub progress: Vec<ProgressUpdate>,
    /// Whether somebody waits for it.
    pub urgency: Urgency,
}

/// How soon a batch must be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// With the next sync.
    #[default]
    Now,
    /// It rides along with the next urgent batch, and goes by itself after this time.
    Within(Duration),
}

/// The future of an append: ends when the batch is durable, or will not be.
#[must_use = "an append that nobody awaits is not known to be durable"]
#[derive(Debug)]
pub struct Append(oneshot::Receiver<Result<Stored, AppendError>>);

/// The engine's end of an [`Append`]. Dropping it answers [`AppendError::Unknown`].
pub type Appended = oneshot::Sender<Result<Stored, AppendError>>;

impl Append {
    /// An append and the engine's end of it.
    pub fn pair() -> (Appended, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// An append that was refused at once.
    pub fn refused(error: AppendError) -> Self {
        let (sender, append) = Self::pair();
        // The receiver is in `append`, so this cannot fail.
        let _ = sender.send(Err(error));
        append
    }
}

impl Future for Append {
    type Output = Result<Stored, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(AppendError::Unknown("the log stopped".into()))))
    }
}

/// Where the records of a batch went, in the batch's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Partition and offset of each record.
    pub positions: Vec<(Partition, Offset)>,
}

/// Why a batch was not stored, or is not known to be. Unknown outcome is not success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The broker's budget is spent; nothing of the batch was stored.
    #[error(
        "the log budget of broker {account} is spent ({bytes} bytes): {holder} still needs its oldest events"
    )]
    Full {
        /// Whose budget.
        account: Arc<str>,
        /// The budget in bytes.
        bytes: u64,
        /// The topic, partition and lane that holds the oldest record back.
        holder: Box<str>,
    },
    /// The disk is full; nothing of the batch was stored.
    #[error("the disk that holds the log is full")]
    DiskFull,
    /// The epoch of a progress update is not the current one: somebody else owns the partition now. Nothing was stored.
    #[error("partition {1} of topic {0} has another owner now")]
    Fenced(TopicName, Partition),
    /// The topic or partition does not exist; nothing was stored.
    #[error("topic {0} has no partition {1}")]
    NoSuchPartition(TopicName, Partition),
    /// A record or the batch is larger than the log takes; nothing was stored.
    #[error("{}", too_large(*bytes, *max))]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The limit; `None` where the log does not say.
        max: Option<usize>,
    },
    /// The engine cannot take more at the moment; nothing was stored.
    #[error("the log cannot take more at the moment")]
    Busy,
    /// The log is closed or closing; nothing was stored.
    #[error("the log is closed")]
    Closed,
    /// The engine is away (Kafka unreachable, for instance); nothing was stored.
    #[error("the log is not available: {0}")]
    Unavailable(Box<str>),
    /// It may or may not have been stored.
    #[error("it is not known whether the batch was stored: {0}")]
    Unknown(Box<str>),
}

impl AppendError {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "PEL-1201",
            Self::DiskFull => "PEL-1202",
            Self::Fenced(..) => "PEL-1203",
            Self::NoSuchPartition(..) => "PEL-1204",
            Self::TooLarge { .. } => "PEL-1205",
            Self::Busy => "PEL-1206",
            Self::Closed => "PEL-1207",
            Self::Unknown(_) => "PEL-1208",
            Self::Unavailable(_) => "PEL-1215",
        }
    }
}

fn too_large(bytes: usize, max: Option<usize>) -> String {
    match max {
        Some(max) => format!("the batch has {bytes} bytes; the log takes {max} at once"),
        None => format!("the batch has {bytes} bytes, more than the log takes at once"),
    }
}

/// How much a read brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Bytes of records, about; the first entry always comes.
    pub bytes: usize,
    /// Entries.
    pub entries: usize,
    /// Whether to wait at the end for the next entry.
    pub wait: bool,
}

/// Entries of one partition.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Where to read on: past the last entry and past gaps behind it.
    pub next: Offset,
    /// The first offset that is kept, if the reader wanted ones before it.
    pub kept_from: Option<Offset>,
}

impl Chunk {
    /// Entries of which nothing before them is missing.
    #[must_use]
    pub const fn new(entries: Vec<Entry>, next: Offset) -> Self {
        Self { entries, next, kept_from: None }
    }
}

/// What the log holds at an offset.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where.
    pub offset: Offset,
    /// What.
    pub content: Content,
}

/// A record, or why there is none.
#[derive(Debug, Clone)]
pub enum Content {
    /// A record.
    Record(Record),
    /// Bytes that are not a record: damaged on disk, or written to the topic by somebody else.
    Undecodable {
        /// Why.
        reason: Box<str>,
        /// The bytes, where there are any.
        bytes: Bytes,
    },
}

/// The kept part of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset still kept.
    pub start: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
}

/// The saved progress of a partition: how far its reader is, and what each lane still owes.
///
/// Names and rows are shared: a lane has a row in every partition, and most rows say the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything before it has been read and offered to every lane.
    pub head: Offset,
    /// A row for each registered lane.
    pub lanes: BTreeMap<Arc<str>, Arc<LaneProgress>>,
}

/// The saved state of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneProgress {
    /// The lowest offset that this lane still needs; `None`: nothing before the head. Retention spares it.
    pub low: Option<Offset>,
    /// What the lane needs to go on, in the dispatcher's own form.
    pub state: Bytes,
}

/// A change of progress in one partition: the head, and the rows that changed (`None` removes a row).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: Partition,
    /// The epoch in which the writer owns the partition.
    pub epoch: Epoch,
    /// The new head, if it moved.
    pub head: Option<Offset>,
    /// Changed rows.
    pub lanes: Vec<(Arc<str>, Option<Arc<LaneProgress>>)>,
}

/// A period of ownership of a partition; later ones are greater. A save with an old one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// The stream of ownership changes of one topic.
#[derive(Debug)]
pub struct Ownership(mpsc::UnboundedReceiver<OwnershipChange>);

impl Ownership {
    /// A stream fed by `changes`. The engine does not wait for who listens: what nobody takes out stays, a few changes for each
    /// time that a partition moves.
    #[must_use]
    pub fn new(changes: mpsc::UnboundedReceiver<OwnershipChange>) -> Self {
        Self(changes)
    }

    /// The next change; `None` when the log is closed.
    pub async fn next(&mut self) -> Option<OwnershipChange> {
        self.0.recv().await
    }
}

/// A change of ownership.
#[derive(Debug)]
pub enum OwnershipChange {
    /// This process will own the partition once its progress is read; [`Gained`](Self::Gained) or [`Lost`](Self::Lost) follows.
    Coming {
        /// The partition.
        partition: Partition,
    },
    /// This process owns the partition now.
    Gained {
        /// The partition.
        partition: Partition,
        /// To be presented with each save.
        epoch: Epoch,
        /// No delivery starts while it does not hold.
        lease: Lease,
    },
    /// Somebody else will own it: stop, finish or give back, save, then drop `release`.
    Revoked {
        /// The partition.
        partition: Partition,
        /// Dropping it gives the partition up.
        release: Release,
    },
    /// It is lost already: send nothing more, save nothing.
    Lost {
        /// The partition.
        partition: Partition,
    },
}

/// Gives a partition up when dropped.
#[derive(Debug)]
pub struct Release(#[expect(dead_code, reason = "its drop is the message")] oneshot::Sender<()>);

impl Release {
    /// A release, and a future for the engine that ends when it is dropped.
    #[must_use]
    pub fn pair() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }
}

/// The state of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStatus {
    /// Why appends cannot succeed at the moment; `None` when they can.
    pub unavailable: Option<String>,
    /// Things an operator should know (corruption found and skipped, quarantined tails), for people.
    pub notices: Vec<String>,
    /// Accounts that are full, with what holds them.
    pub full: BTreeMap<String, String>,
}

/// Why the log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The directory belongs to another process.
    #[error("the data directory {0} is in use by another Pelton; stop it, or choose another with --data")]
    Locked(Box<str>),
    /// The directory holds something that is not a Pelton log.
    #[error("{path} is not a Pelton data directory: {reason}")]
    Foreign {
        /// The directory or file.
        path: Box<str>,
        /// What was found.
        reason: Box<str>,
    },
    /// A later version wrote it.
    #[error("{path} has format {found}; this Pelton reads up to {known}")]
    Format {
        /// The file.
        path: Box<str>,
        /// Its format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: Box<str>,
        /// What it said.
        source: std::io::Error,
    },
    /// No such topic or partition.
    #[error("topic {0} has no partition {1}")]
    NoSuchPartition(TopicName, Partition),
    /// A topic cannot be made as asked.
    #[error("topic {0}: {1}")]
    Topic(TopicName, Box<str>),
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
    /// The engine is away (Kafka unreachable, for instance); it comes back by itself.
    #[error("the log is not available: {0}")]
    Unavailable(Box<str>),
    /// A consumer group is left to the members it has.
    #[error("the consumer group {group} has members ({members}); it is left to them until they are gone")]
    GroupInUse {
        /// The group.
        group: Box<str>,
        /// Their hosts.
        members: Box<str>,
    },
}

impl LogError {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked(_) => "PEL-1210",
            Self::Foreign { .. } => "PEL-1211",
            Self::Format { .. } => "PEL-1212",
            Self::Io { .. } => "PEL-1213",
            Self::NoSuchPartition(..) => "PEL-1204",
            Self::Topic(..) => "PEL-1214",
            Self::Closed => "PEL-1207",
            Self::Unavailable(_) => "PEL-1215",
            Self::GroupInUse { .. } => "PEL-1216",
        }
    }
}
