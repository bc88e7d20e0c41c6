//! The one clock of a process.
//!
//! It reads the wall clock once, at start, and adds the time that passed since: it never jumps and never runs backwards
//! while the process lives, whatever is done to the system's clock. (It does not count the time a machine sleeps.)
//! Under a paused tokio clock it stands still and moves with `tokio::time::advance`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Tells the wall time in milliseconds since the Unix epoch. A clone shows the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Running { start_unix_ms: u64, started: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of a process, set to the system's wall time.
    #[must_use]
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the only place that reads the wall clock")]
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A system clock before 1970 reads as 1970: the time of an event is wrong then, its order is not.
        Self::starting_at(millis(since_epoch.unwrap_or_default()))
    }

    /// A clock that shows `unix_ms` now and runs with tokio's clock.
    #[must_use]
    pub fn starting_at(unix_ms: u64) -> Self {
        Self(Source::Running { start_unix_ms: unix_ms, started: Instant::now() })
    }

    /// A clock for tests: it shows `unix_ms` until [`Clock::advance`] moves it and all its clones.
    #[must_use]
    pub fn fixed(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::Running { start_unix_ms, started } => {
                start_unix_ms.saturating_add(millis(started.elapsed()))
            }
            Source::Manual(now) => now.load(Ordering::Acquire),
        }
    }

    /// Moves a clock made by [`Clock::fixed`].
    ///
    /// # Panics
    /// When the clock runs by itself: that is a mistake in a test.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::Manual(now) => now.fetch_add(millis(by), Ordering::AcqRel),
            Source::Running { .. } => panic!("only a clock made by Clock::fixed can be advanced"),
        };
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_with_the_tokio_clock_and_only_with_it() {
        let clock = Clock::starting_at(1_000);
        let copy = clock.clone();
        assert_eq!(clock.unix_ms(), 1_000);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!((clock.unix_ms(), copy.unix_ms()), (1_250, 1_250));
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told_and_its_clones_with_it() {
        let clock = Clock::fixed(7);
        let copy = clock.clone();
        clock.advance(Duration::from_secs(2));
        assert_eq!((clock.unix_ms(), copy.unix_ms()), (2_007, 2_007));
    }

    #[test]
    fn the_system_clock_is_past_the_day_this_was_written() {
        assert!(Clock::system().unix_ms() > 1_700_000_000_000);
    }
}
