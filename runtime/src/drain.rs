//! How a process stops: one signal to every part, then waiting until each is done, for a limited time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Makes the two ends: `main` keeps the trigger, every part gets a clone of the [`Drain`].
#[must_use]
pub fn drain() -> (DrainTrigger, Drain) {
    let stop = CancellationToken::new();
    let parts = TaskTracker::new();
    let drain = Drain { stop: stop.clone(), _held: parts.token() };
    (DrainTrigger { stop, parts }, drain)
}

/// Told to a part that it shall stop: no new work, finish or give back what is begun, save, return.
///
/// A part counts as running until it has dropped its clone.
#[derive(Debug, Clone)]
pub struct Drain {
    stop: CancellationToken,
    _held: TaskTrackerToken,
}

impl Drain {
    /// Ends when the process is to stop; at once if it already is.
    pub async fn signaled(&self) {
        self.stop.cancelled().await;
    }

    /// True once the process is to stop.
    #[must_use]
    pub fn is_signaled(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Starts the stop and waits for the parts.
#[derive(Debug)]
pub struct DrainTrigger {
    stop: CancellationToken,
    parts: TaskTracker,
}

impl DrainTrigger {
    /// Tells every part to stop. Further calls change nothing.
    pub fn start(&self) {
        self.stop.cancel();
    }

    /// Ends when every part has dropped its [`Drain`]. Does not itself start the stop.
    pub async fn finished(&self) {
        self.parts.close();
        self.parts.wait().await;
    }

    /// Starts the stop and waits for the parts, at most for `grace` and no longer than until `again` ends
    /// (the user's second signal).
    pub async fn stop(&self, grace: Duration, again: impl Future<Output = ()>) -> Stopped {
        self.start();
        tokio::select! {
            biased;
            () = self.finished() => Stopped::Clean,
            () = again => Stopped::Forced { unfinished: self.unfinished() },
            () = tokio::time::sleep(grace) => Stopped::GraceOver { unfinished: self.unfinished() },
        }
    }

    fn unfinished(&self) -> usize {
        self.parts.len()
    }
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every part finished.
    Clean,
    /// The grace period ended first.
    GraceOver {
        /// Clones of the [`Drain`] still held.
        unfinished: usize,
    },
    /// A second signal asked to stop at once.
    Forced {
        /// Clones of the [`Drain`] still held.
        unfinished: usize,
    },
}

/// SIGTERM and SIGINT of this process, one after the other.
#[derive(Debug)]
pub struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Takes over both signals. Call it before anything runs, so that none is missed.
    ///
    /// # Errors
    /// When the system refuses to install the handler.
    pub fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for the signal that means "at once": one that comes a while after the stop began. What comes right behind the first
    /// belongs to it: a terminal or `timeout` signals the whole process group, and a wrapper script does so once more.
    pub async fn again(&mut self) {
        let from = tokio::time::Instant::now() + SAME_STOP;
        loop {
            self.next().await;
            if tokio::time::Instant::now() >= from {
                return;
            }
        }
    }
}

/// Signals within this time are one wish to stop.
const SAME_STOP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn waits_until_every_clone_is_dropped() {
        let (trigger, drain) = drain();
        let part = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.signaled().await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        drop(drain);
        let start = tokio::time::Instant::now();
        assert_eq!(trigger.stop(LONG, pending()).await, Stopped::Clean);
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        part.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_ends_the_wait() {
        let (trigger, drain) = drain();
        assert!(!drain.is_signaled());
        let stopped = trigger.stop(Duration::from_secs(5), pending()).await;
        assert_eq!(stopped, Stopped::GraceOver { unfinished: 1 });
        assert!(drain.is_signaled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_wait() {
        let (trigger, _drain) = drain();
        let again = tokio::time::sleep(Duration::from_secs(1));
        assert_eq!(trigger.stop(LONG, again).await, Stopped::Forced { unfinished: 1 });
    }

    #[tokio::test]
    async fn a_late_listener_sees_a_past_signal() {
        let (trigger, drain) = drain();
        trigger.start();
        drain.clone().signaled().await;
    }
}
