//! Consumer groups in memory, over the topics of a log in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_core::future::BoxFuture;
use pelton_event_log::{
    BrokerTopics, ConsumerGroups, EventLog as _, HeldLanes, LogError, MirroredLane, Offset, Partition,
    TopicName,
};
use tokio::sync::watch;

use super::MemoryLog;

/// What groups have committed.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    commits: Mutex<BTreeMap<(String, Partition), Offset>>,
    progress_stays: AtomicBool,
}

impl Groups {
    /// What a group has committed in a partition.
    pub(crate) fn committed(&self, group: &str, partition: Partition) -> Option<Offset> {
        self.commits.lock().unwrap().get(&(group.to_owned(), partition)).copied()
    }

    /// From now on progress cannot be forgotten, or can.
    pub(crate) fn keep_progress(&self, stays: bool) {
        self.progress_stays.store(stays, Ordering::Relaxed);
    }
}

impl ConsumerGroups for MemoryLog {
    fn committed<'a>(
        &'a self,
        _: &'a TopicName,
        partition: Partition,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Offset>, LogError>> {
        Box::pin(async move { Ok(self.groups.committed(group, partition)) })
    }

    fn mirror(&self, _: &TopicName, _: Vec<MirroredLane>, _: bool) -> watch::Receiver<HeldLanes> {
        watch::channel(HeldLanes::default()).1
    }

    fn dispatchers<'a>(&'a self, _: &'a TopicName) -> BoxFuture<'a, Result<Vec<Box<str>>, LogError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn forget<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            self.delete_topic(&BrokerTopics::of(topic.as_str()).retry).await?;
            if self.groups.progress_stays.load(Ordering::Relaxed) {
                return Err(LogError::Unavailable("it takes too long".into()));
            }
            self.forget_progress(topic);
            Ok(())
        })
    }

    fn commit<'a>(
        &'a self,
        _: &'a TopicName,
        group: &'a str,
        offsets: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'a, Result<Vec<(Partition, Offset)>, LogError>> {
        Box::pin(async move {
            let commits = offsets.iter().map(|(partition, offset)| ((group.to_owned(), *partition), *offset));
            self.groups.commits.lock().unwrap().extend(commits);
            Ok(offsets)
        })
    }
}
