//! What is measured of the requests of one class: their average number and how many came.

use std::time::Duration;

/// Integrates the number of requests over time, as Knative's queue-proxy and activator do: every change adds the time since the
/// change before, times the number of requests that were there. Times are since any fixed moment.
#[derive(Debug, Clone, Default)]
pub struct Concurrency {
    /// Requests that wait or are in flight.
    present: u64,
    /// Requests that came since the last report.
    arrived: u64,
    /// Nanoseconds times requests since the last report. Whole numbers: nothing is lost however many changes there are.
    area: u128,
    changed: Duration,
    reported: Duration,
}

/// What was measured between two reports.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Requests that waited or were in flight, averaged over the time since the last report; 0 if no time has passed.
    pub concurrency: f64,
    /// Requests that came since the last report, refused ones too: they are demand.
    pub count: u64,
}

impl Concurrency {
    /// Nothing there, at `now`.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { changed: now, reported: now, ..Self::default() }
    }

    /// A request came.
    pub fn arrive(&mut self, now: Duration) {
        self.advance(now);
        self.present += 1;
        self.arrived += 1;
    }

    /// A request has ended: answered, given up or refused.
    pub fn end(&mut self, now: Duration) {
        self.advance(now);
        self.present = self.present.saturating_sub(1);
    }

    /// What was measured since the last report; begins anew.
    pub fn report(&mut self, now: Duration) -> Measured {
        self.advance(now);
        let passed = (self.changed - self.reported).as_nanos();
        self.reported = self.changed;
        let (area, count) = (std::mem::take(&mut self.area), std::mem::take(&mut self.arrived));
        Measured { concurrency: if passed == 0 { 0.0 } else { ratio(area, passed) }, count }
    }

    /// Requests that wait or are in flight now.
    #[must_use]
    pub const fn present(&self) -> u64 {
        self.present
    }

    /// A time before the last change is ignored, as a clock that was set back would make it.
    fn advance(&mut self, now: Duration) {
        let Some(passed) = now.checked_sub(self.changed) else { return };
        self.area += u128::from(self.present) * passed.as_nanos();
        self.changed = now;
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are more than an average needs")]
const fn ratio(area: u128, passed: u128) -> f64 {
    area as f64 / passed as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_average_counts_time() {
        let mut concurrency = Concurrency::new(at(500));
        assert_eq!(
            concurrency.report(at(500)),
            Measured { concurrency: 0.0, count: 0 },
            "no time has passed"
        );
        concurrency.arrive(at(500));
        concurrency.arrive(at(1_000));
        concurrency.end(at(1_250));
        // 1 for 500 ms, 2 for 250 ms, 1 for 250 ms.
        assert_eq!(concurrency.report(at(1_500)), Measured { concurrency: 1.25, count: 2 });
        assert_eq!(
            concurrency.report(at(3_500)),
            Measured { concurrency: 1.0, count: 0 },
            "what is there stays"
        );
        concurrency.end(at(4_000));
        assert_eq!(concurrency.report(at(4_500)), Measured { concurrency: 0.5, count: 0 });
        assert_eq!((concurrency.report(at(5_500)).concurrency, concurrency.present()), (0.0, 0));
    }

    #[test]
    fn time_does_not_run_backwards() {
        let mut concurrency = Concurrency::new(at(1_000));
        concurrency.arrive(at(2_000));
        concurrency.arrive(at(1_500));
        assert_eq!(concurrency.report(at(3_000)), Measured { concurrency: 1.0, count: 2 });
    }

    #[test]
    fn a_request_shorter_than_the_clock_counts() {
        let mut concurrency = Concurrency::new(at(0));
        concurrency.arrive(at(10));
        concurrency.end(at(10));
        assert_eq!(concurrency.report(at(1_000)), Measured { concurrency: 0.0, count: 1 });
    }

    proptest::proptest! {
        /// The average is that of the number at each millisecond.
        #[test]
        fn the_average_is_that_of_every_millisecond(changes in proptest::collection::vec(0_i64..=4, 1..200)) {
            let mut concurrency = Concurrency::new(at(0));
            let (mut present, mut sum, mut count) = (0_i64, 0, 0);
            for (millisecond, target) in (0..).zip(&changes) {
                for _ in present..*target {
                    concurrency.arrive(at(millisecond));
                    count += 1;
                }
                for _ in *target..present {
                    concurrency.end(at(millisecond));
                }
                present = *target;
                sum += present;
            }
            let length = u32::try_from(changes.len()).unwrap();
            let measured = concurrency.report(at(length.into()));
            let expected = f64::from(i32::try_from(sum).unwrap()) / f64::from(length);
            proptest::prop_assert!((measured.concurrency - expected).abs() < 1e-9);
            proptest::prop_assert_eq!(measured.count, count);
        }
    }
}
