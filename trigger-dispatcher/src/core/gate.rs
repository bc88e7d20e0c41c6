//! `max-concurrency` and `max-rate` of a trigger, over all its lanes here.

use std::time::Duration;

use pelton_event::Timestamp;

/// Lets the lanes of one trigger start no more deliveries at a time, and per second, than it wants.
#[derive(Debug)]
pub(super) struct Gate {
    max_concurrency: Option<u32>,
    max_rate: Option<f64>,
    running: u32,
    tokens: f64,
    refilled: Timestamp,
    /// When a timer is set for it.
    pub(super) timer: Option<Timestamp>,
}

/// Why a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Until a delivery ends.
    UntilEnd,
    /// Until this time.
    Until(Timestamp),
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            max_concurrency: None,
            max_rate: None,
            running: 0,
            tokens: 1.0,
            refilled: Timestamp::EPOCH,
            timer: None,
        }
    }

    /// Sets the limits.
    pub(super) fn set(&mut self, max_concurrency: Option<u32>, max_rate: Option<f64>) {
        self.max_concurrency = max_concurrency;
        self.max_rate = max_rate.filter(|rate| *rate > 0.0);
    }

    /// Whether the limits allow another delivery.
    pub(super) fn check(&mut self, now: Timestamp) -> Result<(), Closed> {
        if self.max_concurrency.is_some_and(|max| self.running >= max.max(1)) {
            return Err(Closed::UntilEnd);
        }
        if let Some(rate) = self.max_rate {
            self.refill(rate, now);
            if self.tokens < 1.0 {
                let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / rate).unwrap_or(Duration::MAX);
                return Err(Closed::Until(now + wait.max(Duration::from_millis(1))));
            }
        }
        Ok(())
    }

    /// Starts a delivery that the limits allow.
    pub(super) fn start(&mut self) {
        self.running += 1;
        if self.max_rate.is_some() {
            self.tokens -= 1.0;
        }
    }

    /// At most a tenth of a second's worth is saved up, so that a pause is not followed by a burst.
    fn refill(&mut self, rate: f64, now: Timestamp) {
        let most = (rate / 10.0).max(1.0);
        let grown = now.since(self.refilled).as_secs_f64() * rate;
        self.tokens = (self.tokens + grown).min(most);
        self.refilled = self.refilled.max(now);
    }

    /// Ends a delivery.
    pub(super) fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Gate {
        fn try_start(&mut self, now: Timestamp) -> Result<(), Closed> {
            self.check(now).map(|()| self.start())
        }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn concurrency_is_bounded() {
        let mut gate = Gate::new();
        gate.set(Some(2), None);
        assert!(gate.try_start(at(0)).is_ok());
        assert!(gate.try_start(at(0)).is_ok());
        assert_eq!(gate.try_start(at(0)), Err(Closed::UntilEnd));
        gate.end();
        assert!(gate.try_start(at(0)).is_ok());
    }

    #[test]
    fn the_rate_holds_over_time_and_a_pause_gives_no_burst() {
        for rate in [0.5, 3.0, 50.0, 1_000.0] {
            let mut gate = Gate::new();
            gate.set(None, Some(rate));
            let mut started = 0_u32;
            for ms in 0..20_000 {
                while gate.try_start(at(ms)).is_ok() {
                    started += 1;
                }
            }
            let (most, least) = (20.0 * rate + (rate / 10.0).max(1.0) + 1.0, 20.0 * rate - 1.0);
            assert!(f64::from(started) <= most && f64::from(started) >= least, "{started} at {rate}/s");
            let mut burst = 0;
            while gate.try_start(at(3_600_000)).is_ok() {
                burst += 1;
            }
            assert!(f64::from(burst) <= (rate / 10.0).max(1.0), "burst of {burst} at {rate}/s");
        }
    }

    #[test]
    fn a_closed_gate_says_when_it_opens() {
        let mut gate = Gate::new();
        gate.set(None, Some(2.0));
        assert!(gate.try_start(at(0)).is_ok());
        let Err(Closed::Until(when)) = gate.try_start(at(0)) else { panic!("open") };
        assert_eq!(when, at(500));
        assert!(gate.try_start(when).is_ok());
    }
}
