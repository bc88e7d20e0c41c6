//! How much a subscriber can take, learnt from how its attempts end.

use crate::judge::Signal;
use crate::limits;

/// What a lane knows about its subscriber.
///
/// The limit of deliveries at a time starts low and doubles with each round of successes (slow start). An overloaded
/// subscriber halves it, at most once per round; from then on it grows by one per round (AIMD). After
/// [`limits::FAILURES_UNTIL_PROBED`] failures in a row the subscriber counts as broken; one success ends that.
#[derive(Debug)]
pub(super) struct Health {
    limit: f64,
    max: f64,
    slow_start: bool,
    failures: u32,
    probing: bool,
    /// Attempts that started before this one tell nothing new about overload.
    reduced_at: u64,
}

impl Health {
    pub(super) fn new(max: u32) -> Self {
        let max = f64::from(max.max(1));
        Self {
            limit: f64::from(limits::LANE_CONCURRENCY_START).min(max),
            max,
            slow_start: true,
            failures: 0,
            probing: false,
            reduced_at: 0,
        }
    }

    /// Deliveries at a time.
    pub(super) fn limit(&self) -> u32 {
        if self.probing {
            return 1;
        }
        // Between 1 and `max`, which is a u32.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let limit = self.limit as u32;
        limit.max(1)
    }

    /// Whether the subscriber is broken and only probed.
    pub(super) fn is_probing(&self) -> bool {
        self.probing
    }

    /// Learns how the attempt with the number `sequence` ended; `now` is the number the next attempt gets. Answers whether
    /// the subscriber just came back.
    pub(super) fn learn(&mut self, signal: Signal, sequence: u64, now: u64) -> bool {
        match signal {
            Signal::Works => return self.works(),
            // It answers, so it is not broken, but this says nothing about what it can take.
            Signal::Refuses => self.failures = if self.probing { self.failures } else { 0 },
            Signal::Overloaded if self.limit > 1.0 => {
                if sequence >= self.reduced_at {
                    self.limit = (self.limit / 2.0).max(1.0);
                    self.reduced_at = now;
                    self.slow_start = false;
                }
            }
            Signal::Overloaded | Signal::Fails => {
                self.failures += 1;
                if self.failures >= limits::FAILURES_UNTIL_PROBED {
                    self.probing = true;
                }
            }
        }
        false
    }

    fn works(&mut self) -> bool {
        self.failures = 0;
        if self.probing {
            let overloaded = !self.slow_start;
            *self = Self::new(self.limit_max());
            if overloaded {
                self.limit = 1.0;
            }
            return true;
        }
        self.limit += if self.slow_start { 1.0 } else { 1.0 / self.limit };
        if self.limit >= self.max {
            self.limit = self.max;
            self.slow_start = false;
        }
        false
    }

    fn limit_max(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made from a u32")]
        let max = self.max as u32;
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_per_round_up_to_the_maximum() {
        let mut health = Health::new(128);
        for expected in [16, 32, 64, 128, 128] {
            assert_eq!(health.limit(), expected);
            for _ in 0..health.limit() {
                health.learn(Signal::Works, 0, 0);
            }
        }
    }

    #[test]
    fn overload_halves_once_per_round_and_then_grows_by_one_per_round() {
        let mut health = Health::new(128);
        health.learn(Signal::Overloaded, 5, 20);
        health.learn(Signal::Overloaded, 19, 20);
        assert_eq!(health.limit(), 8, "attempts of the same round halve once");
        health.learn(Signal::Overloaded, 20, 30);
        assert_eq!(health.limit(), 4);
        for _ in 0..5 {
            health.learn(Signal::Works, 30, 40);
        }
        assert_eq!(health.limit(), 5);
    }

    #[test]
    fn five_failures_in_a_row_break_and_one_success_mends() {
        let mut health = Health::new(128);
        for _ in 0..4 {
            health.learn(Signal::Fails, 0, 0);
        }
        health.learn(Signal::Works, 0, 0);
        for _ in 0..4 {
            health.learn(Signal::Fails, 0, 0);
        }
        assert!(!health.is_probing());
        health.learn(Signal::Fails, 0, 0);
        assert!(health.is_probing());
        assert_eq!(health.limit(), 1);
        assert!(!health.learn(Signal::Refuses, 0, 0), "a refusal is no success");
        assert!(health.is_probing());
        assert!(health.learn(Signal::Works, 0, 0));
        assert!(!health.is_probing());
        assert_eq!(health.limit(), 16);
    }

    #[test]
    fn overload_counts_as_failure_only_once_there_is_nothing_left_to_halve() {
        let mut health = Health::new(4);
        health.learn(Signal::Overloaded, 0, 1);
        health.learn(Signal::Overloaded, 1, 2);
        assert_eq!(health.limit(), 1);
        for _ in 0..4 {
            health.learn(Signal::Overloaded, 2, 3);
        }
        assert!(!health.is_probing());
        health.learn(Signal::Overloaded, 2, 3);
        assert!(health.is_probing());
    }
}
