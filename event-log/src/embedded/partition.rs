//! A partition in memory: what readers look at, and what the writer changes once it is durable.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::index::Home;
use super::runs::Runs;
use crate::{Offset, Progress, TopicName};

/// Takes a lock. A panic elsewhere while it was held changes nothing: all updates under our locks are complete when they
/// could panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One partition of a topic.
pub(super) struct Partition {
    pub(super) topic: TopicName,
    pub(super) home: Home,
    view: Mutex<View>,
    /// Wakes readers that wait at the end.
    pub(super) arrived: Notify,
}

/// The durable state of a partition.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The first offset kept.
    pub(super) start: Offset,
    /// The offset that the next record gets.
    pub(super) end: Offset,
    /// Its topic is gone.
    pub(super) deleted: bool,
    /// The payloads of the last records; the last of them is the one before `end`.
    pub(super) tail: VecDeque<Bytes>,
    /// Where all records are on the disk.
    pub(super) runs: Runs,
    pub(super) progress: Progress,
    /// A reader waits for the next record.
    pub(super) waiting: bool,
}

impl View {
    /// The first offset in the tail; `end` when it is empty.
    pub(super) fn tail_start(&self) -> Offset {
        self.end - self.tail.len() as u64
    }
}

impl Partition {
    pub(super) fn new(topic: TopicName, home: Home, view: View) -> Self {
        Self { topic, home, view: Mutex::new(view), arrived: Notify::new() }
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.home.1)
    }
}
