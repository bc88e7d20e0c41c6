//! Pelton's own decision: requests and events in one number.
//!
//! ```text
//! replicas = ceil( C / target + max(E, min(K, (rate + due / drain time) · service time)) / total )
//! ```
//!
//! `C` is the concurrency of requests without deliveries, `E` the deliveries in flight: what an event does to the replicas
//! is counted once, whether it is still in the log or already on its way. By Little's law `rate · service time` replicas keep
//! up with what comes in, and `due / drain time` more events a second empty the queue in that time. `K` is what may be
//! delivered at a time: more replicas than that would find nothing to do.
//!
//! It differs from policy `kpa` where that is known to hurt:
//! * Panic counts replicas that are starting: a slow start is no reason to start ever more.
//! * After a burst the number decays; it neither stays up for a whole window nor falls at once.
//! * A signal that is not known holds the number; it is never taken for zero.

use std::time::Duration;

use super::delay::DelayWindow;

/// Needs this many times what ready and starting replicas are to have is a panic.
const PANIC_FACTOR: f64 = 2.0;
/// What stays of the replicas from one decision to the next, at least.
const DECAY: f64 = 0.9;

/// What a decision goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The concurrency that one replica is to have: its capacity times the target utilisation.
    pub target: f64,
    /// The concurrency that one replica can have.
    pub total: f64,
    /// The time in which a queue is to be emptied.
    pub drain_time: Duration,
    /// How long the highest number stays in force.
    pub scale_down_delay: Duration,
    /// Replicas that are started at least if any is.
    pub activation_scale: u32,
}

/// Events that wait for a revision, and those on their way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Events {
    /// Deliveries in flight.
    pub in_flight: f64,
    /// Matched events that could be sent now, without those in flight.
    pub due: f64,
    /// Matched events a second.
    pub rate: f64,
    /// Deliveries at a time that order and limits allow; `None`: any number.
    pub allowed: Option<f64>,
    /// What a delivery takes, without waiting for a place.
    pub service_time: Duration,
}

/// What is measured at the time of a decision; `None` where it is not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// The concurrency of requests without deliveries, over the stable and the panic window.
    pub requests: Option<(f64, f64)>,
    /// The events of all triggers whose subscriber it is.
    pub events: Option<Events>,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that are starting.
    pub starting: u32,
}

/// What is decided, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Replicas, before bounds.
    pub desired: u32,
    /// What has led to it.
    pub reason: Reason,
}

/// Why there are to be so many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing to do.
    Idle,
    /// The requests need them.
    Requests,
    /// The events that are due or on their way need them.
    Events,
    /// Both together.
    RequestsAndEvents,
    /// Far more is needed than there is.
    Panic,
    /// Fewer would do: the number falls step by step.
    Decay,
    /// Fewer would do, but a signal is not known.
    Unknown,
    /// Fewer would do, but more were needed lately.
    Delay,
    /// If any is started, so many are.
    ActivationScale,
}

/// The state between the decisions for one revision. Times are since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Decider {
    spec: Spec,
    delay: Option<DelayWindow>,
    last: u32,
}

impl Decider {
    /// A decider that begins with `ready` replicas; they are taken away step by step.
    #[must_use]
    pub fn new(spec: Spec, ready: u32) -> Self {
        let delay = (!spec.scale_down_delay.is_zero()).then(|| DelayWindow::new(spec.scale_down_delay));
        Self { spec, delay, last: ready }
    }

    /// Changes what is gone by; what was seen stays, but for the delay, which begins anew if it is another.
    pub fn set_spec(&mut self, spec: Spec) {
        if spec.scale_down_delay != self.spec.scale_down_delay {
            self.delay = (!spec.scale_down_delay.is_zero()).then(|| DelayWindow::new(spec.scale_down_delay));
        }
        self.spec = spec;
    }

    /// Decides.
    pub fn decide(&mut self, observed: Observed, now: Duration) -> Decision {
        let (stable, panic) = observed.requests.unwrap_or_default();
        let events = observed.events.map_or(0.0, |events| self.concurrency_of(events));
        let Spec { target, total, .. } = self.spec;
        let need = |requests: f64| requests / target + events / total;
        let (stable_need, panic_need) = (need(stable), need(panic));
        let known = f64::from((observed.ready + observed.starting).max(1));
        let mut decision = if panic_need >= PANIC_FACTOR * known {
            Decision { desired: whole(panic_need.max(stable_need)), reason: Reason::Panic }
        } else {
            Decision { desired: whole(stable_need), reason: reason(stable, events) }
        };
        let activated = self.spec.activation_scale;
        if (1..activated).contains(&decision.desired) {
            decision = Decision { desired: activated, reason: Reason::ActivationScale };
        }
        decision = self.no_faster_than_allowed(decision, observed);
        if let Some(delay) = &mut self.delay {
            let highest = delay.highest_with(now, i32::try_from(decision.desired).unwrap_or(i32::MAX));
            let highest = u32::try_from(highest).unwrap_or(0);
            if highest > decision.desired {
                decision = Decision { desired: highest, reason: Reason::Delay };
            }
        }
        self.last = decision.desired;
        decision
    }

    /// The concurrency that events need, whether they wait or are on their way.
    fn concurrency_of(&self, events: Events) -> f64 {
        let drain_time = self.spec.drain_time.as_secs_f64().max(1.0);
        let waiting = (events.rate + events.due / drain_time) * events.service_time.as_secs_f64();
        // What waits needs a place, however short it takes.
        let waiting = if events.due > 0.0 { waiting.max(f64::MIN_POSITIVE) } else { waiting };
        events.in_flight.max(waiting.min(events.allowed.unwrap_or(f64::INFINITY)))
    }

    /// Down it goes step by step, and not at all while something is not known.
    fn no_faster_than_allowed(&self, decision: Decision, observed: Observed) -> Decision {
        if decision.desired >= self.last {
            return decision;
        }
        if observed.requests.is_none() || observed.events.is_none() {
            return Decision { desired: self.last, reason: Reason::Unknown };
        }
        let least = whole_below(f64::from(self.last) * DECAY);
        if decision.desired < least { Decision { desired: least, reason: Reason::Decay } } else { decision }
    }
}

fn reason(requests: f64, events: f64) -> Reason {
    match (requests > 0.0, events > 0.0) {
        (false, false) => Reason::Idle,
        (true, false) => Reason::Requests,
        (false, true) => Reason::Events,
        (true, true) => Reason::RequestsAndEvents,
    }
}

/// Replicas for a need: the next whole number, but for what is left of a computation.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "out of range it is the nearest there is"
)]
fn whole(need: f64) -> u32 {
    /// Below it a difference comes from binary fractions.
    const NOTHING: f64 = 1e-9;
    let rounded = need.round();
    if (need - rounded).abs() < NOTHING && (rounded > 0.0 || need == 0.0) {
        rounded as u32
    } else {
        need.ceil() as u32
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is smaller than a u32")]
const fn whole_below(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::kpa::TICK;

    fn spec() -> Spec {
        Spec {
            target: 7.0,
            total: 10.0,
            drain_time: Duration::from_secs(30),
            scale_down_delay: Duration::ZERO,
            activation_scale: 0,
        }
    }

    fn events(due: f64, rate: f64) -> Events {
        let service_time = Duration::from_secs(1);
        Events { in_flight: 0.0, due, rate, allowed: None, service_time }
    }

    fn observed(requests: f64, events: Events, ready: u32) -> Observed {
        Observed { requests: Some((requests, requests)), events: Some(events), ready, starting: 0 }
    }

    fn decided(spec: Spec, observed: Observed) -> (u32, Reason) {
        let Decision { desired, reason } =
            Decider::new(spec, observed.ready).decide(observed, Duration::ZERO);
        (desired, reason)
    }

    #[test]
    fn requests_and_events_are_one_need() {
        let none = events(0.0, 0.0);
        let rows = [
            (observed(0.0, none, 0), 0, Reason::Idle),
            (observed(7.0, none, 1), 1, Reason::Requests),
            (observed(7.1, none, 2), 2, Reason::Requests),
            // 600 events in 30 s, one second each: 20 at a time.
            (observed(0.0, events(600.0, 0.0), 2), 2, Reason::Events),
            (observed(0.0, events(600.0, 5.0), 3), 3, Reason::Events),
            (observed(7.0, events(600.0, 0.0), 3), 3, Reason::RequestsAndEvents),
            (observed(0.0, events(1.0, 0.0), 0), 1, Reason::Events),
            // What is in flight is counted once.
            (observed(0.0, Events { in_flight: 20.0, ..events(600.0, 0.0) }, 2), 2, Reason::Events),
            (observed(0.0, Events { in_flight: 31.0, ..events(600.0, 0.0) }, 4), 4, Reason::Events),
        ];
        for (observed, desired, reason) in rows {
            assert_eq!(decided(spec(), observed), (desired, reason), "{observed:?}");
        }
    }

    #[test]
    fn a_burst_at_zero_is_met_by_what_draining_takes() {
        let one_at_a_time = Spec { target: 0.7, total: 1.0, ..spec() };
        let burst = events(10_000.0, 0.0);
        assert_eq!(decided(one_at_a_time.clone(), observed(0.0, burst, 0)), (334, Reason::Panic));
        let in_order = Events { allowed: Some(10.0), ..burst };
        assert_eq!(decided(one_at_a_time.clone(), observed(0.0, in_order, 0)), (10, Reason::Panic));
        let quick = Events { service_time: Duration::from_millis(1), ..burst };
        assert_eq!(decided(one_at_a_time, observed(0.0, quick, 0)), (1, Reason::Events));
    }

    #[test]
    fn replicas_that_are_starting_are_no_reason_to_panic() {
        let windows = |starting| Observed {
            requests: Some((1.0, 100.0)),
            events: Some(events(0.0, 0.0)),
            ready: 1,
            starting,
        };
        assert_eq!(decided(spec(), windows(0)), (15, Reason::Panic));
        assert_eq!(decided(spec(), windows(6)), (15, Reason::Panic));
        assert_eq!(decided(spec(), windows(7)), (1, Reason::Requests));
    }

    #[test]
    fn the_number_falls_step_by_step() {
        let mut decider = Decider::new(spec(), 20);
        let mut at = Duration::ZERO;
        let mut decide = |requests| {
            at += TICK;
            let Decision { desired, reason } = decider.decide(observed(requests, events(0.0, 0.0), 20), at);
            (desired, reason)
        };
        assert_eq!([decide(7.0), decide(7.0), decide(7.0)].map(|(desired, _)| desired), [18, 16, 14]);
        assert_eq!(decide(100.0), (15, Reason::Requests), "up at once");
        assert_eq!(decide(7.0), (13, Reason::Decay));
        let to_zero = (0..60).map(|_| decide(0.0)).position(|decision| decision == (0, Reason::Idle));
        assert!(to_zero.is_some_and(|ticks| ticks < 20), "{to_zero:?}");
    }

    #[test]
    fn what_is_not_known_holds() {
        let mut decider = Decider::new(spec(), 5);
        let silent = Observed { requests: None, ..observed(0.0, events(0.0, 0.0), 5) };
        let Decision { desired, reason } = decider.decide(silent, TICK);
        assert_eq!((desired, reason), (5, Reason::Unknown));
        let deaf = Observed { events: None, ..observed(70.0, events(0.0, 0.0), 5) };
        assert_eq!(decider.decide(deaf, TICK).desired, 10, "more is known to be needed");
        let deaf = Observed { events: None, ..observed(0.0, events(0.0, 0.0), 10) };
        assert_eq!(decider.decide(deaf, TICK).desired, 10);
    }

    #[test]
    fn delay_and_activation_scale_hold_more() {
        let delayed = Spec { scale_down_delay: Duration::from_secs(60), ..spec() };
        let mut decider = Decider::new(delayed, 1);
        let at = |decider: &mut Decider, seconds, requests| {
            let seen = observed(requests, events(0.0, 0.0), 10);
            let Decision { desired, reason } = decider.decide(seen, Duration::from_secs(seconds));
            (desired, reason)
        };
        assert_eq!(at(&mut decider, 0, 70.0), (10, Reason::Requests));
        assert_eq!(at(&mut decider, 58, 7.0), (10, Reason::Delay));
        assert_eq!(at(&mut decider, 60, 7.0), (9, Reason::Decay));
        let activated = Spec { activation_scale: 3, ..spec() };
        assert_eq!(
            decided(activated.clone(), observed(1.0, events(0.0, 0.0), 1)),
            (3, Reason::ActivationScale)
        );
        assert_eq!(decided(activated, observed(0.0, events(0.0, 0.0), 0)), (0, Reason::Idle));
    }

    proptest::proptest! {
        /// It never falls faster than it may, never below what is needed, and never when something is not known.
        #[test]
        fn decisions_keep_to_their_bounds(
            rows in proptest::collection::vec(
                (proptest::option::of(0.0_f64..300.0), proptest::option::of((0.0_f64..5000.0, 0.0_f64..50.0)), 0_u32..40, 0_u32..40), 1..60,
            ),
        ) {
            let mut decider = Decider::new(spec(), 3);
            let mut before = 3;
            for (step, (requests, waiting, ready, starting)) in rows.into_iter().enumerate() {
                let seen = Observed {
                    requests: requests.map(|requests| (requests, requests)),
                    events: waiting.map(|(due, rate)| events(due, rate)),
                    ready,
                    starting,
                };
                let Decision { desired, .. } = decider.decide(seen, TICK * u32::try_from(step).unwrap());
                let by_requests = requests.unwrap_or_default() / 7.0;
                let by_events = waiting.map_or(0.0, |(due, rate)| (rate + due / 30.0) / 10.0);
                proptest::prop_assert!(f64::from(desired) + 1e-6 >= by_requests + by_events);
                proptest::prop_assert!(f64::from(desired) >= (f64::from(before) * DECAY).floor());
                if requests.is_none() || waiting.is_none() {
                    proptest::prop_assert!(desired >= before);
                }
                before = desired;
            }
        }
    }
}
