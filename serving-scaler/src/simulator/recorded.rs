//! Recorded metrics, replayed through the windows and the decision of policy `kpa`.

use std::time::Duration;

use crate::decision::kpa::{Decider, Decision, Observed, Spec, TICK};
use crate::scaling::panic_window;
use crate::signals::{Aggregation, Window};

/// The second that a recording counts from: 1 700 000 000 s after the Unix epoch.
const START: Duration = Duration::from_secs(1_700_000_000);

/// What recorded metrics are decided by.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedSpec {
    /// Of the decision.
    pub decision: Spec,
    /// The panic window in percent of the stable window.
    pub panic_window_percentage: f64,
    /// How the windows are averaged.
    pub aggregation: Aggregation,
}

/// A recording under way.
#[derive(Debug)]
pub struct Recorded {
    decider: Decider,
    stable: Window,
    panic: Window,
    last: Decision,
}

/// What is decided at a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Seconds since the start.
    pub second: u64,
    /// The averages it goes by, stable and panic; `None` if nothing is known: the last decision stays.
    pub averages: Option<(f64, f64)>,
    /// The decision in force.
    pub decision: Decision,
}

impl Recorded {
    /// Begins at `second` with `ready` replicas.
    #[must_use]
    pub fn new(spec: RecordedSpec, second: u64, ready: u32) -> Self {
        let RecordedSpec { decision, panic_window_percentage, aggregation } = spec;
        let stable_window = decision.stable_window;
        let panic_window = panic_window(stable_window, panic_window_percentage);
        let last = Decision {
            desired: -1,
            excess_burst_capacity: decision.initial_burst_capacity(1),
            is_panicking: ready > 1,
        };
        Self {
            decider: Decider::new(decision, ready, START + Duration::from_secs(second)),
            stable: Window::new(stable_window, aggregation),
            panic: Window::new(panic_window, aggregation),
            last,
        }
    }

    /// Takes a second in: what was measured in it, if anything, and the replicas that are ready. Answers what is decided; in
    /// every second one nothing is.
    pub fn second(&mut self, second: u64, value: Option<f64>, ready: u32) -> Option<Row> {
        let now = START + Duration::from_secs(second);
        if let Some(value) = value {
            self.stable.record(now, value);
            self.panic.record(now, value);
        }
        if !second.is_multiple_of(TICK.as_secs()) {
            return None;
        }
        // The gateway is always asked, so that its silence says something.
        let gateway_tells = self.decider.spec().target_burst_capacity < 0.0;
        let is_known = gateway_tells || !self.stable.is_empty(now);
        let averages = is_known.then(|| (self.stable.average(now), self.panic.average(now)));
        if let Some((stable, panic)) = averages {
            self.last = self.decider.decide(Observed { stable, panic, ready }, now);
        }
        Some(Row { second, averages, decision: self.last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(target_burst_capacity: f64) -> RecordedSpec {
        let decision = Spec {
            target: 10.0,
            total: 10.0,
            target_burst_capacity,
            stable_window: Duration::from_secs(6),
            ..Spec::default()
        };
        RecordedSpec { decision, panic_window_percentage: 10.0, aggregation: Aggregation::Linear }
    }

    #[test]
    fn what_is_not_known_changes_nothing() {
        let mut recorded = Recorded::new(spec(5.0), 0, 1);
        let row = recorded.second(0, None, 1).unwrap();
        assert_eq!((row.averages, row.decision.desired, row.decision.excess_burst_capacity), (None, -1, 5));
        assert_eq!(recorded.second(1, Some(20.0), 1), None, "decisions are made every two seconds");
        let row = recorded.second(2, None, 1).unwrap();
        assert_eq!((row.averages, row.decision.desired), (Some((20.0, 0.0)), 2));
        for second in 3..=7 {
            recorded.second(second, None, 2);
        }
        let row = recorded.second(8, None, 2).unwrap();
        assert_eq!((row.averages, row.decision.desired), (None, 2), "no sample for longer than the window");
    }

    #[test]
    fn silence_of_a_gateway_that_is_always_in_the_way_is_zero() {
        let mut recorded = Recorded::new(spec(-1.0), 0, 1);
        let row = recorded.second(0, None, 1).unwrap();
        assert_eq!((row.averages, row.decision.desired), (Some((0.0, 0.0)), 0));
    }
}
