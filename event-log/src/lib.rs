//! Where events are kept.
//!
//! [`EventLog`] is what every engine promises, and no more. Roles hold an `Arc<dyn EventLog>` and never learn which engine
//! it is.

mod contract;
mod topic;

pub use contract::{
    Append, AppendError, Appended, Batch, Bounds, Chunk, Content, Entry, Epoch, EventLog, LaneProgress,
    LogError, LogStatus, Offset, Ownership, OwnershipChange, Partition, Progress, ProgressUpdate, ReadLimit,
    Release, Stored, Urgency,
};
pub use topic::{BrokerTopics, OnFull, Retention, TopicInfo, TopicName, TopicSpec, partition_of};
