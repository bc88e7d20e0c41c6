//! The events that wait for a Service: what its triggers tell, as one signal.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pelton_resources::NamespacedName;
use pelton_resources::contracts::TriggerBacklog;

use crate::decision::combined::Events;
use crate::limits::{RATE_WINDOW, SERVICE_TIME_UNKNOWN};

/// How much of the service time is what was measured last.
const LAST_WEIGHT: f64 = 0.3;

/// How fast events are matched, by trigger. To be told once a second.
#[derive(Debug, Clone, Default)]
pub struct TriggerRates(HashMap<NamespacedName, VecDeque<u64>>);

impl TriggerRates {
    /// Takes a second in; triggers that are not told of any more are forgotten.
    pub fn record(&mut self, backlogs: &[TriggerBacklog]) {
        let known = RATE_WINDOW.as_secs() as usize + 1;
        let mut next = HashMap::with_capacity(backlogs.len());
        for backlog in backlogs {
            let mut totals = self.0.remove(&backlog.trigger).unwrap_or_default();
            // Counters begin anew with another owner of the trigger's partitions.
            if totals.back().is_some_and(|last| *last > backlog.matched_total) {
                totals.clear();
            }
            totals.push_back(backlog.matched_total);
            if totals.len() > known {
                totals.pop_front();
            }
            next.insert(backlog.trigger.clone(), totals);
        }
        self.0 = next;
    }

    /// Matched events a second. A young trigger is averaged over the whole window all the same: a burst at its beginning is
    /// work that waits, and counted as such; it is no rate yet.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    pub fn of(&self, trigger: &NamespacedName) -> f64 {
        let Some(totals) = self.0.get(trigger) else { return 0.0 };
        let (Some(first), Some(last)) = (totals.front(), totals.back()) else { return 0.0 };
        (last - first) as f64 / RATE_WINDOW.as_secs_f64()
    }

    /// The events of one Service's triggers; `None` if it has any of which that is not known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a need needs no more digits")]
    pub fn events<'a>(
        &self,
        backlogs: impl IntoIterator<Item = &'a TriggerBacklog>,
        service_time: Duration,
    ) -> Option<Events> {
        let mut events = Events { in_flight: 0.0, due: 0.0, rate: 0.0, allowed: Some(0.0), service_time };
        for backlog in backlogs {
            events.in_flight += f64::from(backlog.in_flight);
            if backlog.probed {
                // One at a time, until the subscriber answers again.
                continue;
            }
            events.due += backlog.due? as f64;
            events.rate += self.of(&backlog.trigger);
            events.allowed = events.allowed.zip(allowed(backlog, service_time)).map(|(all, one)| all + one);
        }
        Some(events)
    }
}

/// Deliveries at a time that order and limits of a trigger allow; `None`: any number.
fn allowed(backlog: &TriggerBacklog, service_time: Duration) -> Option<f64> {
    let by_rate = backlog.max_rate.map(|rate| rate * service_time.as_secs_f64());
    let limits = [backlog.parallelism.map(f64::from), backlog.max_concurrency.map(f64::from), by_rate];
    limits.into_iter().flatten().reduce(f64::min)
}

/// What a delivery takes once it has its place, as measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceTimes(Option<f64>);

impl ServiceTimes {
    /// Takes in `count` deliveries that took `total` altogether.
    pub fn record(&mut self, total: Duration, count: u64) {
        if count == 0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no more digits")]
        let mean = total.as_secs_f64() / count as f64;
        self.0 = Some(self.0.map_or(mean, |known| known + LAST_WEIGHT * (mean - known)));
    }

    /// The mean of late; a second as long as nothing was measured.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.0.map_or(SERVICE_TIME_UNKNOWN, Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(name: &str) -> TriggerBacklog {
        TriggerBacklog {
            trigger: NamespacedName::new("default", name),
            subscriber: None,
            due: Some(30),
            owed: Some(40),
            in_flight: 4,
            matched_total: 0,
            oldest: None,
            parallelism: None,
            max_concurrency: None,
            max_rate: None,
            probed: false,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_are_of_the_last_minute_and_survive_another_owner() {
        let mut rates = TriggerRates::default();
        let trigger = NamespacedName::new("default", "a");
        let mut tell = |total| {
            rates.record(&[TriggerBacklog { matched_total: total, ..backlog("a") }]);
            rates.of(&trigger)
        };
        assert!(tell(1000).abs() < 1e-9, "what was before is no rate");
        let window = RATE_WINDOW.as_secs();
        let steady = (1..=window).map(|second| tell(1000 + 10 * second)).last().unwrap();
        assert!((steady - 10.0).abs() < 1e-9, "{steady}");
        let silent = (0..=window).map(|_| tell(1000 + 10 * window)).last().unwrap();
        assert!(silent.abs() < 1e-9);
        assert!(tell(3).abs() < 1e-9, "counted anew");
        rates.record(&[]);
        assert!(rates.of(&trigger).abs() < 1e-9);
    }

    #[test]
    fn triggers_of_a_service_add_up() {
        let rates = TriggerRates::default();
        let ordered = TriggerBacklog { parallelism: Some(3), max_concurrency: Some(9), ..backlog("a") };
        let slow = TriggerBacklog { max_rate: Some(2.0), ..backlog("b") };
        let events = rates.events([&ordered, &slow], SECOND).unwrap();
        assert_eq!((events.in_flight, events.due, events.allowed), (8.0, 60.0, Some(5.0)));
        let events = rates.events([&ordered, &slow, &backlog("c")], SECOND).unwrap();
        assert_eq!(events.allowed, None, "one without a limit");
    }

    #[test]
    fn what_is_not_known_is_not_zero_and_a_probe_is_no_work() {
        let rates = TriggerRates::default();
        let unknown = TriggerBacklog { due: None, ..backlog("a") };
        assert_eq!(rates.events([&unknown, &backlog("b")], SECOND), None);
        let probed = TriggerBacklog { probed: true, in_flight: 1, ..unknown };
        let events = rates.events([&probed], SECOND).unwrap();
        assert_eq!((events.in_flight, events.due), (1.0, 0.0));
        assert_eq!(rates.events([], SECOND).unwrap().due, 0.0);
    }

    #[test]
    fn service_times_follow_what_is_measured() {
        let mut times = ServiceTimes::default();
        assert_eq!(times.mean(), SECOND);
        times.record(Duration::from_secs(4), 40);
        assert_eq!(times.mean(), Duration::from_millis(100));
        times.record(Duration::ZERO, 0);
        times.record(Duration::from_secs(20), 100);
        assert_eq!(times.mean(), Duration::from_millis(130));
    }
}
