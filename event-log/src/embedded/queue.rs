//! What waits for the writer: bounded by bytes, in order, with as few wake-ups as can be.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::partition::lock;
use super::prepare::Work;
use super::segment::Segment;
use super::stats::Counters;
use crate::limits::{
    COMMIT_APPENDS, COMMIT_BYTES, REST_APPENDS_MIN, REST_COMMITS_MAX, REST_MAX, REST_QUORUM,
};
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

/// A pause of the writer, so that more appends share the next commit.
///
/// A commit costs the processor about the same for one append and for thousands, and whoever waits for a commit can as well
/// wait for others to join it. Those that were just answered and those that wait already are nearly all there are, as long as
/// each of them appends again: when [`REST_QUORUM`] of that number waits, the rest are few enough to arrive during the commit.
/// Callers that take turns never rest, and no rest is longer than a few commits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    until: Instant,
    /// Appends that shared the last commit; once the queue has it, how many must wait to end it.
    appends: usize,
}

impl Rest {
    /// The rest after a commit of `appends` that took `took` until `now`.
    pub(super) fn after(appends: usize, took: Duration, now: Instant) -> Option<Self> {
        let longest = (took * REST_COMMITS_MAX).min(REST_MAX);
        (appends >= REST_APPENDS_MIN).then(|| Self { until: now + longest, appends })
    }

    /// This rest when `waiting` appends came during the commit.
    fn with_waiting(self, waiting: usize) -> Self {
        let (some, of) = REST_QUORUM;
        Self { appends: (self.appends + waiting) * some / of, ..self }
    }
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
    /// The jobs among them.
    jobs: usize,
    /// The earliest deadline of an append that nobody waits for.
    deadline: Option<Instant>,
    /// The writer sleeps until then (`None`: for ever), unless woken.
    asleep: Option<Option<Instant>>,
    /// The writer takes no appends until it is over.
    rest: Option<Rest>,
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
        inner.jobs += 1;
        inner.items.push_back(Item::Job(job));
        self.wake_for(inner, None);
        Ok(())
    }

    /// Wakes the writer if it sleeps beyond `wanted` (`None`: now).
    fn wake_for(&self, mut inner: MutexGuard<'_, Inner>, wanted: Option<Instant>) {
        if inner.rests_until().is_some() {
            return;
        }
        let rest_ends = inner.rest.is_some();
        let wakes = match (inner.asleep, wanted) {
            (Some(_), _) if rest_ends => true,
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

    /// Rests, then waits for something to do, until `until` at the latest, and takes it: the next job, or appends into `works`.
    pub(super) fn take(&self, works: &mut Vec<Work>, rest: Option<Rest>, until: Option<Instant>) -> Taken {
        let mut inner = lock(&self.inner);
        inner.rest = rest.map(|rest| rest.with_waiting(inner.urgent));
        loop {
            let now = Instant::now();
            if let Some(rested) = inner.rests_until()
                && now < rested
            {
                inner = self.sleep(inner, Some(rested), now);
                continue;
            }
            inner.rest = None;
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
            inner = self.sleep(inner, wake_at, now);
        }
    }

    /// Sleeps until woken, until `wake_at` at the latest.
    fn sleep<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        wake_at: Option<Instant>,
        now: Instant,
    ) -> MutexGuard<'a, Inner> {
        inner.asleep = Some(wake_at);
        let mut inner = match wake_at {
            None => self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(wake_at) => {
                let wait = wake_at.saturating_duration_since(now);
                self.wake.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inner.asleep = None;
        inner
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
    /// When the rest is over, unless there is enough to do already.
    fn rests_until(&self) -> Option<Instant> {
        let rest = self.rest?;
        let enough =
            self.urgent >= rest.appends.min(COMMIT_APPENDS) || self.bytes >= COMMIT_BYTES || self.jobs > 0;
        (!enough).then_some(rest.until)
    }

    fn take_front(&mut self, works: &mut Vec<Work>) -> Taken {
        let mut bytes = 0;
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Job(job) if works.is_empty() => {
                    self.urgent -= 1;
                    self.jobs -= 1;
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

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn push(queue: &Queue, bytes: usize) {
        let work = Work {
            records: SmallVec::new(),
            payload: bytes::Bytes::new(),
            progress: Vec::new(),
            bytes,
            deadline: None,
            answer: oneshot::channel().0,
            positions: Vec::new(),
        };
        queue.push(work, &Counters::default());
    }

    /// How many appends a writer takes that rests for a minute after a commit of four, when `adds` come meanwhile.
    fn taken_after_four(adds: impl FnOnce(&Queue)) -> usize {
        let queue = Queue::new(usize::MAX);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut works = Vec::new();
                let rest = Rest { until: Instant::now() + LONG, appends: 4 };
                assert!(matches!(queue.take(&mut works, Some(rest), None), Taken::Works));
                works.len()
            });
            // Only a writer that sleeps can miss being woken.
            while lock(&queue.inner).asleep.is_none() {
                std::thread::yield_now();
            }
            adds(&queue);
            writer.join().unwrap()
        })
    }

    #[test]
    fn a_rest_ends_when_most_of_those_that_were_answered_wait_again() {
        let taken = taken_after_four(|queue| {
            push(queue, 10);
            push(queue, 10);
            assert!(lock(&queue.inner).asleep.is_some(), "two of four are not enough");
            push(queue, 10);
        });
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_rest_ends_when_a_whole_commit_waits() {
        assert_eq!(taken_after_four(|queue| push(queue, COMMIT_BYTES)), 1);
    }

    #[test]
    fn a_job_ends_a_rest() {
        let taken = taken_after_four(|queue| {
            push(queue, 10);
            queue.push_job(Job::Stop).unwrap();
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn a_rest_ends_in_time_and_at_once_when_enough_wait_already() {
        let queue = Queue::new(usize::MAX);
        let rest = |long| Some(Rest { until: Instant::now() + long, appends: 4 });
        push(&queue, 10);
        let began = Instant::now();
        assert!(matches!(queue.take(&mut Vec::new(), rest(Duration::from_millis(5)), None), Taken::Works));
        assert!(began.elapsed() >= Duration::from_millis(5));
        (0..12).for_each(|_| push(&queue, 10));
        let mut works = Vec::new();
        assert!(matches!(queue.take(&mut works, rest(LONG), None), Taken::Works), "12 of 16");
        assert_eq!(works.len(), 12);
    }

    #[test]
    fn only_a_commit_that_many_shared_is_followed_by_a_rest() {
        let now = Instant::now();
        let rest = |appends, took| Rest::after(appends, took, now).map(|rest| rest.until - now);
        let took = Duration::from_micros(100);
        assert_eq!(rest(REST_APPENDS_MIN - 1, took), None);
        assert_eq!(rest(REST_APPENDS_MIN, took), Some(took * REST_COMMITS_MAX));
        assert_eq!(rest(REST_APPENDS_MIN, LONG), Some(REST_MAX));
    }
}
