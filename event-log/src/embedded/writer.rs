//! The writer thread: takes what waits, commits it, and looks after the log when nothing else is to do.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_runtime::clock::Clock;
use tokio::time::Instant;

use super::core::{self, Core, Fatal};
use super::manage::TopicFailure;
use super::prepare::Work;
use super::queue::{Job, Queue, Rest, Taken};
use super::shared::Shared;
use crate::limits::{DISK_FULL_RETRY, HOUSEKEEPING_INTERVAL};
use crate::{AppendError, LogError};

/// Told when the process must stop.
pub(super) type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// The thread's own things.
pub(super) struct Writer {
    pub(super) core: Core,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Clock,
    pub(super) on_fatal: OnFatal,
    /// Held until the thread ends.
    pub(super) lock: Option<File>,
}

/// What a turn of the loop came to.
enum Turn {
    GoOn,
    Stop,
}

impl Writer {
    /// Runs until told to stop, or until the disk fails.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.core.shared);
        let mut works = Vec::new();
        let mut helper = None;
        // After a panic nobody knows what of a commit was done: as after a failed sync, nothing more is answered.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve(&mut works, &mut helper)))
            .unwrap_or_else(|_| Err(Fatal("the log writer failed by a defect".into())));
        // A helper that still allocates would collide with the next process.
        if let Some(helper) = helper {
            let _ = JoinHandle::join(helper);
        }
        if let Err(fatal) = outcome {
            self.die(&shared, &fatal, works);
        }
        shared.close();
        drop(self.lock.take());
    }

    fn serve(&mut self, works: &mut Vec<Work>, helper: &mut Option<JoinHandle<()>>) -> Result<(), Fatal> {
        let mut due = Instant::now();
        let mut sealed = self.core.sealed.len();
        let mut rest = None;
        loop {
            let taken = self.queue.take(works, rest.take(), Some(due));
            let now = self.now();
            match taken {
                Taken::Works => {
                    // Those that somebody waits for: only they come again.
                    let appends = works.iter().filter(|work| work.deadline.is_none()).count();
                    let began = Instant::now();
                    self.core.commit(works, now)?;
                    let ended = Instant::now();
                    rest = Rest::after(appends, ended - began, ended);
                }
                Taken::Job(job) => {
                    if matches!(self.job(job, now, helper)?, Turn::Stop) {
                        return Ok(());
                    }
                }
                Taken::Nothing => {}
            }
            self.prepare_ahead(now, helper);
            if Instant::now() >= due || self.core.sealed.len() != sealed {
                let more = self.core.housekeep(now)?;
                sealed = self.core.sealed.len();
                due = Instant::now() + if more { Duration::ZERO } else { self.interval() };
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.unix_ms())
    }

    fn interval(&self) -> Duration {
        if self.core.full_until.is_some() { DISK_FULL_RETRY } else { HOUSEKEEPING_INTERVAL }
    }

    fn job(&mut self, job: Job, now: Timestamp, helper: &mut Option<JoinHandle<()>>) -> Result<Turn, Fatal> {
        match job {
            Job::EnsureTopic(spec, answer) => {
                let _ = answer.send(refusal(self.core.ensure_topic(&spec, now))?);
            }
            Job::DeleteTopic(name, answer) => {
                let _ = answer.send(refusal(self.core.delete_topic(&name, now))?);
            }
            Job::Prepared(segment) => {
                *helper = None;
                self.core.offer_segment(segment, now)?;
            }
            Job::Close(answer) => {
                if let Some(helper) = helper.take() {
                    let _ = JoinHandle::join(helper);
                }
                let closed = self.core.close(now);
                let result = closed.clone().map_err(|Fatal(why)| LogError::Unavailable(why));
                self.core.shared.close();
                // Whoever waits for the end may open the directory at once.
                drop(self.lock.take());
                let _ = answer.send(result);
                return closed.map(|()| Turn::Stop);
            }
            Job::Stop => return Ok(Turn::Stop),
        }
        Ok(Turn::GoOn)
    }

    /// Has the next segment allocated by another thread while this one goes on.
    fn prepare_ahead(&mut self, now: Timestamp, helper: &mut Option<JoinHandle<()>>) {
        let Some((number, seed)) = self.core.wants_segment(now) else { return };
        let disk = Arc::clone(&self.core.disk);
        let queue = Arc::clone(&self.queue);
        let (log_id, bytes) = (self.core.log_id, self.core.settings.segment_bytes);
        let allocate = move || {
            let prepared = core::prepare_segment(&*disk, log_id, seed, number, bytes);
            // A closed queue: the empty segment goes when the log is next opened.
            let _ = queue.push_job(Job::Prepared(prepared));
        };
        match std::thread::Builder::new().name("log-allocate".into()).spawn(allocate) {
            Ok(thread) => *helper = Some(thread),
            // No thread to be had: the segment is allocated when it is needed.
            Err(_) => self.core.preparing = false,
        }
    }

    /// The state of the disk is unknown: nothing more is answered with success, and the process is told to stop.
    fn die(&self, shared: &Shared, Fatal(why): &Fatal, works: Vec<Work>) {
        shared.unavailable(Some(why.to_string()));
        let (waiting, _jobs) = self.queue.fail();
        for work in works.into_iter().chain(waiting) {
            let _ = work.answer.send(Err(AppendError::Unknown(why.clone())));
        }
        shared.close();
        (self.on_fatal)(why);
    }
}

/// Separates what the caller is told from what stops the process.
fn refusal<T>(result: Result<T, TopicFailure>) -> Result<Result<T, LogError>, Fatal> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(TopicFailure::Refused(error)) => Ok(Err(error)),
        Err(TopicFailure::Fatal(fatal)) => Err(fatal),
    }
}
