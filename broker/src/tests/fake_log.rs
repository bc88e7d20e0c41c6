//! A log that answers what a test tells it.

use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use pelton_event::Timestamp;
use pelton_event_log::{
    Append, AppendError, Appended, Batch, Bounds, Chunk, EventLog, LogError, LogStatus, Offset, Ownership,
    Partition, Progress, ReadLimit, Stored, TopicInfo, TopicName, TopicSpec,
};

/// What the next appends come to.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Store,
    Refuse(AppendError),
    /// The answer is left to the test, in [`FakeLog::waiting`].
    Wait,
}

/// What there is of every topic.
#[derive(Debug, Clone, Copy)]
pub(super) enum Topics {
    /// So many partitions.
    There(u32),
    Missing,
    /// The log does not answer.
    Unknown,
}

#[derive(Debug)]
pub(super) struct FakeLog {
    pub(super) plan: Mutex<Plan>,
    pub(super) batches: Mutex<Vec<Batch>>,
    pub(super) waiting: Mutex<Vec<Appended>>,
    pub(super) topics: Mutex<Topics>,
    pub(super) status: Mutex<LogStatus>,
}

impl FakeLog {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(Plan::Store),
            batches: Mutex::default(),
            waiting: Mutex::default(),
            topics: Mutex::new(Topics::There(10)),
            status: Mutex::default(),
        })
    }
}

impl EventLog for FakeLog {
    fn append(&self, batch: Batch) -> Append {
        let stored =
            Stored { positions: batch.records.iter().map(|(_, partition, _)| (*partition, 0)).collect() };
        self.batches.lock().unwrap().push(batch);
        let (appended, append) = Append::pair();
        match self.plan.lock().unwrap().clone() {
            Plan::Store => drop(appended.send(Ok(stored))),
            Plan::Refuse(error) => return Append::refused(error),
            Plan::Wait => self.waiting.lock().unwrap().push(appended),
        }
        append
    }

    fn topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Option<TopicInfo>, LogError>> {
        Box::pin(async move {
            match *self.topics.lock().unwrap() {
                Topics::Unknown => Err(LogError::Unavailable("no broker answers".into())),
                Topics::Missing => Ok(None),
                Topics::There(partitions) => {
                    Ok(Some(TopicInfo { name: topic.clone(), partitions, bytes: 0, lifetime: None }))
                }
            }
        })
    }

    fn status(&self) -> LogStatus {
        self.status.lock().unwrap().clone()
    }

    fn read<'a>(
        &'a self,
        _: &'a TopicName,
        _: Partition,
        _: Offset,
        _: ReadLimit,
    ) -> BoxFuture<'a, Result<Chunk, LogError>> {
        unreachable!("the ingress does not read")
    }

    fn ownership(&self, _: &TopicName) -> Ownership {
        unreachable!("the ingress owns nothing")
    }

    fn progress<'a>(&'a self, _: &'a TopicName, _: Partition) -> BoxFuture<'a, Result<Progress, LogError>> {
        unreachable!("the ingress has no progress")
    }

    fn bounds<'a>(&'a self, _: &'a TopicName, _: Partition) -> BoxFuture<'a, Result<Bounds, LogError>> {
        unreachable!("the ingress does not read")
    }

    fn offset_at<'a>(
        &'a self,
        _: &'a TopicName,
        _: Partition,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<Offset, LogError>> {
        unreachable!("the ingress does not read")
    }

    fn ensure_topic<'a>(&'a self, _: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo, LogError>> {
        unreachable!("the ingress makes nothing")
    }

    fn delete_topic<'a>(&'a self, _: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        unreachable!("the ingress deletes nothing")
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, LogError>> {
        unreachable!("the ingress lists nothing")
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        unreachable!("the ingress does not close the log")
    }
}
