//! Averages over a sliding window of one-second buckets, as Knative computes them.
//!
//! Every record goes into the bucket of its second; records of the same second add up, since each is the share of one
//! source (a replica, a gateway). Seconds without a record at the end of the window do not count as zeros: they shorten the
//! window.

use std::time::Duration;

/// Digits after the point that a linear average keeps.
const PRECISION: f64 = 1e6;
/// What of the weight the buckets of a weighted window have together.
const WEIGHT_WITHIN: f64 = 0.9999;
/// The weight of the newest bucket of a weighted window, at least.
const WEIGHT_MIN: f64 = 0.2;

/// How the buckets of a window become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    /// The mean, rounded to six digits after the point.
    #[default]
    Linear,
    /// Each bucket counts less than the one after it, exponentially.
    Weighted,
}

/// A sliding window over one-second buckets. Times are since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Window {
    aggregation: Aggregation,
    /// The bucket of second `s` is at `s` modulo their number.
    buckets: Vec<f64>,
    total: f64,
    written: Option<Written>,
}

/// The seconds of the first and the last record that count.
#[derive(Debug, Clone, Copy)]
struct Written {
    first: u64,
    last: u64,
}

impl Window {
    /// An empty window of `length`, in whole seconds, at least one.
    #[must_use]
    pub fn new(length: Duration, aggregation: Aggregation) -> Self {
        let seconds = bucket_count(length);
        Self { aggregation, buckets: vec![0.0; seconds], total: 0.0, written: None }
    }

    /// Takes a measurement in. One that is older than the window is dropped.
    pub fn record(&mut self, now: Duration, value: f64) {
        let second = now.as_secs();
        match self.written {
            None => self.written = Some(Written { first: second, last: second }),
            Some(written) if written.last == second => {}
            Some(written) if second + self.length() <= written.last => return,
            Some(written) => self.move_to(second, written),
        }
        let bucket = self.index(second);
        self.buckets[bucket] += value;
        self.total += value;
    }

    fn move_to(&mut self, second: u64, Written { first, last }: Written) {
        if second <= last {
            self.written = Some(Written { first: first.min(second), last });
            return;
        }
        if second - last >= self.length() {
            self.buckets.fill(0.0);
            self.total = 0.0;
            self.written = Some(Written { first: second, last: second });
            return;
        }
        for passed in last + 1..=second {
            let bucket = self.index(passed);
            self.total -= std::mem::take(&mut self.buckets[bucket]);
        }
        self.written = Some(Written { first, last: second });
    }

    /// Whether nothing was recorded for longer than the window.
    #[must_use]
    pub fn is_empty(&self, now: Duration) -> bool {
        self.written.is_none_or(|written| now.as_secs() > written.last + self.length())
    }

    /// The average at `now`; 0 for an empty window.
    #[must_use]
    pub fn average(&self, now: Duration) -> f64 {
        let Some(written) = self.written else { return 0.0 };
        let silent = now.as_secs().saturating_sub(written.last);
        if silent >= self.length() {
            return 0.0;
        }
        match self.aggregation {
            Aggregation::Linear => self.mean(written, silent),
            Aggregation::Weighted => self.weighted(written.last, silent),
        }
    }

    /// The mean over the seconds since the first record, without those at the end that nothing was recorded in.
    fn mean(&self, Written { first, last }: Written, silent: u64) -> f64 {
        let passed: f64 = (last + 1..=last + silent).map(|second| self.buckets[self.index(second)]).sum();
        let count = (last - first + 1).min(self.length() - silent);
        round((self.total - passed) / as_number(count))
    }

    fn weighted(&self, last: u64, silent: u64) -> f64 {
        let newest = self.weight_of_newest();
        let mut weight = newest * (1.0 - newest).powi(i32::try_from(silent).unwrap_or(i32::MAX));
        let mut sum = 0.0;
        for age in 0..self.length() - silent {
            sum += self.buckets[self.index(last.wrapping_sub(age).wrapping_add(self.length()))] * weight;
            weight *= 1.0 - newest;
        }
        sum
    }

    fn weight_of_newest(&self) -> f64 {
        (1.0 - (1.0 - WEIGHT_WITHIN).powf(1.0 / as_number(self.length()))).max(WEIGHT_MIN)
    }

    /// Changes the length; the newest records that fit stay.
    pub fn resize(&mut self, now: Duration, length: Duration) {
        let seconds = bucket_count(length);
        if seconds == self.buckets.len() {
            return;
        }
        let mut resized = Self::new(length, self.aggregation);
        if let Some(Written { last, .. }) = self.written
            && now.as_secs().saturating_sub(last) < self.length()
        {
            let kept = self.length().min(resized.length());
            for age in 0..kept.min(last + 1) {
                let (from, to) = (self.index(last - age), resized.index(last - age));
                resized.buckets[to] = self.buckets[from];
                resized.total += self.buckets[from];
            }
            resized.written = Some(Written { first: (last + 1).saturating_sub(self.length()), last });
        }
        *self = resized;
    }

    fn length(&self) -> u64 {
        self.buckets.len() as u64
    }

    fn index(&self, second: u64) -> usize {
        usize::try_from(second % self.length()).expect("less than the number of buckets")
    }
}

fn bucket_count(length: Duration) -> usize {
    usize::try_from(length.as_secs_f64().ceil() as u64).unwrap_or(usize::MAX).max(1)
}

/// Rounds half away from zero.
fn round(value: f64) -> f64 {
    (value * PRECISION).round() / PRECISION
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a window are few")]
const fn as_number(seconds: u64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn at(second: i64) -> Duration {
        Duration::from_secs(START.checked_add_signed(second).unwrap())
    }

    fn window(seconds: u64, aggregation: Aggregation) -> Window {
        Window::new(Duration::from_secs(seconds), aggregation)
    }

    #[test]
    fn seconds_without_a_record_at_the_end_do_not_count() {
        let mut window = window(5, Aggregation::Linear);
        assert_eq!((window.average(at(0)), window.is_empty(at(0))), (0.0, true));
        window.record(at(0), 1.0);
        assert_eq!(window.average(at(0)), 1.0);
        for second in 1..5 {
            window.record(at(second), f64::from(i32::try_from(second + 1).unwrap()));
        }
        assert_eq!(window.average(at(4)), 3.0);
        assert_eq!(window.average(at(6)), (15.0 - 1.0 - 2.0) / 3.0);
        assert_eq!(
            (window.average(at(10)), window.is_empty(at(9)), window.is_empty(at(10))),
            (0.0, false, true)
        );
        window.record(at(6), 91.0);
        assert_eq!(window.average(at(6)), 20.6);
        window.record(at(66), 1984.0);
        assert_eq!(window.average(at(66)), 1984.0);
        window.record(at(63), 4.0);
        assert_eq!(window.average(at(66)), f64::midpoint(4.0, 1984.0) / 2.0);
        window.record(at(61), 1e9);
        assert_eq!(window.average(at(66)), 497.0, "too old");
    }

    #[test]
    fn records_of_one_second_add_up() {
        let mut window = window(60, Aggregation::Linear);
        window.record(at(0), 1.0);
        window.record(at(0) + Duration::from_millis(900), 2.0);
        assert_eq!(window.average(at(0)), 3.0);
        window.record(at(1), 1.0);
        assert_eq!(window.average(at(1)), 2.0);
        window.record(at(2), 0.0);
        assert_eq!(window.average(at(2)), 1.333_333, "six digits");
    }

    #[test]
    fn newer_buckets_weigh_more() {
        let mut weighted = window(5, Aggregation::Weighted);
        for second in 0..5 {
            weighted.record(at(second), f64::from(i32::try_from(second + 2).unwrap()));
        }
        assert!((weighted.average(at(4)) - 5.811_58).abs() < 1e-5, "{}", weighted.average(at(4)));
        // One fresh sample alone has its own weight.
        let mut fresh = window(60, Aggregation::Weighted);
        fresh.record(at(0), 10.0);
        assert_eq!(fresh.average(at(0)), 2.0);
        assert!((fresh.average(at(1)) - 1.6).abs() < 1e-12);
        assert_eq!(fresh.average(at(60)), 0.0);
        let weight = |seconds| window(seconds, Aggregation::Weighted).weight_of_newest();
        assert!((weight(6) - 0.784_557).abs() < 1e-6 && (weight(5) - 0.841_511).abs() < 1e-6);
        assert_eq!(weight(42), 0.2);
    }

    #[test]
    fn a_window_that_changes_its_length_keeps_what_fits() {
        let filled = || {
            let mut window = window(5, Aggregation::Linear);
            (0..5).for_each(|second| window.record(at(second), 2.0));
            window
        };
        let mut shorter = filled();
        shorter.resize(at(4), Duration::from_secs(2));
        assert_eq!((shorter.average(at(4)), shorter.total), (2.0, 4.0));
        let mut longer = filled();
        longer.resize(at(4), Duration::from_secs(10));
        assert_eq!(longer.average(at(4)), 2.0, "what was not recorded does not count");
        longer.record(at(5), 8.0);
        assert_eq!(longer.average(at(5)), 3.0);
        let mut stale = filled();
        stale.resize(at(9), Duration::from_secs(10));
        assert!(stale.is_empty(at(9)));
    }

    proptest::proptest! {
        /// The running total is what the buckets hold, and the average is within what was recorded.
        #[test]
        fn the_total_is_that_of_the_buckets(
            records in proptest::collection::vec((0_i64..40, 0_u32..100), 1..60), seconds in 1_u64..12, reads in 0_i64..60,
        ) {
            let mut window = window(seconds, Aggregation::Linear);
            let mut sums = std::collections::HashMap::<i64, f64>::new();
            for (second, value) in records {
                window.record(at(second), f64::from(value));
                *sums.entry(second).or_default() += f64::from(value);
                let total: f64 = window.buckets.iter().sum();
                proptest::prop_assert!((total - window.total).abs() < 1e-6);
            }
            let most = sums.values().copied().fold(0.0, f64::max);
            let average = window.average(at(reads));
            proptest::prop_assert!((0.0..=most + 1e-6).contains(&average), "{} of {}", average, most);
        }
    }
}
