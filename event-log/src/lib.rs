//! Where events are kept.
//!
//! [`EventLog`] is what every engine promises, and no more. Roles hold an `Arc<dyn EventLog>` and never learn which engine
//! it is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod contract;
pub mod embedded;
mod groups;
pub mod kafka;
mod lease;
pub mod limits;
mod topic;

pub use contract::{
    Append, AppendError, Appended, Batch, Bounds, Chunk, Content, Entry, Epoch, EventLog, LaneProgress,
    LogError, LogStatus, Offset, Ownership, OwnershipChange, Partition, Progress, ProgressUpdate, ReadLimit,
    Release, Stored, Urgency,
};
pub use embedded::EmbeddedLog;
pub use groups::{ConsumerGroups, HeldLanes, MirroredLane};
pub use kafka::KafkaLog;
pub use lease::Lease;
pub use topic::{BrokerTopics, KafkaTopic, OnFull, Retention, TopicInfo, TopicName, TopicSpec, partition_of};
