//! The highest number of replicas that was wanted lately: with a scale-down delay the number falls no sooner.

use std::collections::VecDeque;
use std::time::Duration;

use super::kpa::TICK;

/// A sliding maximum, in steps of a decision.
#[derive(Debug, Clone)]
pub(super) struct DelayWindow {
    steps: u64,
    /// Falling values with the steps that they are of: each may become the highest.
    highest: VecDeque<(u64, i32)>,
}

impl DelayWindow {
    /// A window over `delay`.
    pub(super) fn new(delay: Duration) -> Self {
        let steps = delay.as_millis().div_ceil(TICK.as_millis());
        Self { steps: u64::try_from(steps).unwrap_or(u64::MAX).max(1), highest: VecDeque::new() }
    }

    /// Takes a number in and answers the highest of the window.
    pub(super) fn highest_with(&mut self, now: Duration, value: i32) -> i32 {
        let step = now.as_secs() / TICK.as_secs();
        while self.highest.front().is_some_and(|(old, _)| old + self.steps <= step) {
            self.highest.pop_front();
        }
        while self.highest.back().is_some_and(|(_, lower)| *lower <= value) {
            self.highest.pop_back();
        }
        self.highest.push_back((step, value));
        self.highest.front().map_or(value, |(_, highest)| *highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_the_maximum_of_the_last_steps(values in proptest::collection::vec(0..50, 1..80), delay in 1_u64..40) {
            let mut window = DelayWindow::new(Duration::from_secs(delay));
            let steps = usize::try_from(delay.div_ceil(2)).unwrap();
            for (step, value) in values.iter().enumerate() {
                let now = Duration::from_secs(1_000 + 2 * step as u64);
                let first = (step + 1).saturating_sub(steps);
                let expected = values[first..=step].iter().max().copied();
                proptest::prop_assert_eq!(Some(window.highest_with(now, *value)), expected);
            }
        }
    }
}
