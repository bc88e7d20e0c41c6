//! Lanes as consumer groups, for an engine whose topics others read, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use tokio::sync::watch;

use crate::{LogError, Offset, Partition, TopicName};

/// Lanes that must not go on, and why: the groups that stand for them are in use by somebody else.
pub type HeldLanes = Arc<BTreeMap<Arc<str>, Arc<str>>>;

/// A lane that is a consumer group to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredLane {
    /// The name of the lane's row.
    pub lane: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
}

/// The consumer groups of an engine.
pub trait ConsumerGroups: Send + Sync {
    /// Where `group` has stopped in a partition; `None` if it never was there. A group that has commits for other partitions
    /// of the topic only has missed this one from its start.
    ///
    /// # Errors
    /// [`LogError::GroupInUse`] while it has members: it goes on by itself.
    fn committed<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Offset>, LogError>>;

    /// Keeps the commits of the groups where their lanes are, for what this process owns of the topic; replaces what was
    /// asked for the topic before. With `take_over` commits of others are continued, else left alone. Tells of lanes that
    /// must not go on.
    fn mirror(
        &self,
        topic: &TopicName,
        lanes: Vec<MirroredLane>,
        take_over: bool,
    ) -> watch::Receiver<HeldLanes>;

    /// The hosts of the processes that dispatch the topic.
    fn dispatchers<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Box<str>>, LogError>>;

    /// Forgets the progress of a topic's lanes and their open retries, for nobody goes on with them here.
    fn forget<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>>;

    /// Sets the commits of a group that has no members. Answers them as other clients see them: a topic that was made anew
    /// counts from 0 for these.
    ///
    /// # Errors
    /// [`LogError::GroupInUse`] if it has.
    fn commit<'a>(
        &'a self,
        topic: &'a TopicName,
        group: &'a str,
        offsets: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'a, Result<Vec<(Partition, Offset)>, LogError>>;
}
