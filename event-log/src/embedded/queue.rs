//! What waits for the writer: bounded by bytes, in order, with as few wake-ups as can be.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::partition::lock;
use super::prepare::Work;
use super::segment::Segment;
use super::stats::Counters;
use crate::limits::{COMMIT_APPENDS, COMMIT_BYTES};
use crate::{AppendError, LogError, TopicInfo, TopicName, TopicSpec};

/// What is not an append.
#[derive(Debug)]
pub(super) enum Job {
    EnsureTopic(TopicSpec, oneshot::Sender<Result<TopicInfo, LogError>>),
    DeleteTopic(TopicName, oneshot::Sender<Result<(), LogError>>),
    /// The next segment is allocated, or could not be.
    Prepared(io::Result<Arc<Segment>>),
    /// Close cleanly. Nothing comes after it.
    Close(oneshot::Sender<Result<(), LogError>>),
    /// Stop without closing.
    Stop,
}

#[derive(Debug)]
enum Item {
    Work(Work),
    Job(Job),
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Taken {
    /// Store the appends that were taken.
    Works,
    Job(Job),
    /// Nothing came in time.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    /// Bytes of the appends in `items`.
    bytes: usize,
    /// Items that somebody waits for.
    urgent: usize,
    /// The earliest deadline of an append that nobody waits for.
    deadline: Option<Instant>,
    /// The writer sleeps until then (`None`: for ever), unless woken.
    asleep: Option<Option<Instant>>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), wake: Condvar::new(), max_bytes }
    }

    /// Adds an append, or answers it at once.
    pub(super) fn push(&self, work: Work, counters: &Counters) {
        let refused = {
            let mut inner = lock(&self.inner);
            if inner.closed {
                AppendError::Closed
            } else if inner.bytes > 0 && inner.bytes + work.bytes > self.max_bytes {
                Counters::add(&counters.refused_busy, 1);
                AppendError::Busy
            } else {
                inner.bytes += work.bytes;
                match work.deadline {
                    None => inner.urgent += 1,
                    Some(deadline) => {
                        inner.deadline = Some(inner.deadline.map_or(deadline, |other| other.min(deadline)));
                    }
                }
                let wanted = work.deadline;
                inner.items.push_back(Item::Work(work));
                self.wake_for(inner, wanted);
                return;
            }
        };
        let _ = work.answer.send(Err(refused));
    }

    /// Adds a job; gives it back when the queue is closed.
    pub(super) fn push_job(&self, job: Job) -> Result<(), Job> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(job);
        }
        inner.closed = matches!(job, Job::Close(_) | Job::Stop);
        inner.urgent += 1;
        inner.items.push_back(Item::Job(job));
        self.wake_for(inner, None);
        Ok(())
    }

    /// Wakes the writer if it sleeps beyond `wanted` (`None`: now).
    fn wake_for(&self, mut inner: std::sync::MutexGuard<'_, Inner>, wanted: Option<Instant>) {
        let wakes = match (inner.asleep, wanted) {
            (None, _) => false,
            (Some(None), _) | (Some(_), None) => true,
            (Some(Some(until)), Some(wanted)) => wanted < until,
        };
        if wakes {
            inner.asleep = None;
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Waits for something to do, until `until` at the latest, and takes it: the next job, or appends into `works`.
    pub(super) fn take(&self, works: &mut Vec<Work>, until: Option<Instant>) -> Taken {
        let mut inner = lock(&self.inner);
        loop {
            let now = Instant::now();
            if inner.urgent > 0 || inner.deadline.is_some_and(|deadline| deadline <= now) {
                return inner.take_front(works);
            }
            let wake_at = match (inner.deadline, until) {
                (Some(deadline), Some(until)) => Some(deadline.min(until)),
                (deadline, until) => deadline.or(until),
            };
            if until.is_some_and(|until| until <= now) {
                return Taken::Nothing;
            }
            inner.asleep = Some(wake_at);
            inner = match wake_at {
                None => self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(wake_at) => {
                    let wait = wake_at.saturating_duration_since(now);
                    self.wake.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            inner.asleep = None;
        }
    }

    /// Takes everything that is left, after the writer failed. Nothing can be added any more.
    pub(super) fn fail(&self) -> (Vec<Work>, Vec<Job>) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let (mut works, mut jobs) = (Vec::new(), Vec::new());
        for item in inner.items.drain(..) {
            match item {
                Item::Work(work) => works.push(work),
                Item::Job(job) => jobs.push(job),
            }
        }
        (works, jobs)
    }
}

impl Inner {
    fn take_front(&mut self, works: &mut Vec<Work>) -> Taken {
        let mut bytes = 0;
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Job(job) if works.is_empty() => {
                    self.urgent -= 1;
                    return Taken::Job(job);
                }
                Item::Work(work)
                    if works.is_empty()
                        || bytes + work.bytes <= COMMIT_BYTES && works.len() < COMMIT_APPENDS =>
                {
                    bytes += work.bytes;
                    self.bytes -= work.bytes;
                    self.urgent -= usize::from(work.deadline.is_none());
                    works.push(work);
                }
                later => {
                    self.items.push_front(later);
                    break;
                }
            }
        }
        // What was left over is the newer part; its deadlines are not before the one that is kept.
        if self.items.is_empty() {
            self.deadline = None;
        }
        Taken::Works
    }
}
