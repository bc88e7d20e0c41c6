//! Knative's decision, to the letter: stable and panic window, rates, activation scale, scale-down delay, burst capacity.
//!
//! Bounds (`min-scale`, `max-scale`, `initial-scale`) and the way to zero are not part of it: they come after.

use std::time::Duration;

use super::delay::DelayWindow;

/// How often is decided.
pub const TICK: Duration = Duration::from_secs(2);

/// What a decision goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// What one replica is to have: its capacity times the target utilisation.
    pub target: f64,
    /// What one replica can have.
    pub total: f64,
    /// Room for a burst, in the unit of `total`; 0: the gateway is needed at zero replicas only, -1: always.
    pub target_burst_capacity: f64,
    /// The panic window's need, divided by the ready replicas, at which panic begins (2: twice as many).
    pub panic_threshold: f64,
    /// Replicas grow at most by this factor.
    pub max_scale_up_rate: f64,
    /// Replicas shrink at most by this factor.
    pub max_scale_down_rate: f64,
    /// The length of the stable window; panic lasts as long after the last sign of it.
    pub stable_window: Duration,
    /// How long the highest number stays in force.
    pub scale_down_delay: Duration,
    /// Replicas that are started at least if any is.
    pub activation_scale: i32,
    /// Whether a route leads to the revision. One without traffic may go down at once.
    pub reachable: bool,
}

impl Default for Spec {
    /// Knative's defaults for concurrency.
    fn default() -> Self {
        Self {
            target: 70.0,
            total: 100.0,
            target_burst_capacity: 211.0,
            panic_threshold: 2.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            stable_window: Duration::from_secs(60),
            scale_down_delay: Duration::ZERO,
            activation_scale: 0,
            reachable: true,
        }
    }
}

impl Spec {
    /// The excess burst capacity before the first decision, with the replicas that are started first.
    #[must_use]
    pub fn initial_burst_capacity(&self, initial_scale: u32) -> i32 {
        self.excess_burst_capacity(initial_scale, 0.0)
    }

    fn excess_burst_capacity(&self, ready: u32, panic: f64) -> i32 {
        if self.target_burst_capacity == 0.0 {
            return 0;
        }
        if self.target_burst_capacity < 0.0 {
            return -1;
        }
        whole((f64::from(ready) * self.total - self.target_burst_capacity - panic).floor())
    }
}

/// What is measured at the time of a decision: averages over the stable and the panic window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
    /// Replicas that are ready.
    pub ready: u32,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Replicas, before bounds.
    pub desired: i32,
    /// Room left for a burst; below 0 the gateway stays in the way of requests.
    pub excess_burst_capacity: i32,
    /// Whether it panics: it only goes up.
    pub is_panicking: bool,
}

/// The state between the decisions for one revision. Times are since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Decider {
    spec: Spec,
    delay: Option<DelayWindow>,
    panicking: Option<Panic>,
}

#[derive(Debug, Clone, Copy)]
struct Panic {
    /// The last sign of it.
    since: Duration,
    /// The highest number so far.
    highest: i32,
}

impl Decider {
    /// A decider that begins at `now` with `ready` replicas. More than one are held by a panic at first: nothing is known
    /// about what they do, so they are not taken away before a stable window has passed.
    #[must_use]
    pub fn new(spec: Spec, ready: u32, now: Duration) -> Self {
        let delay = (!spec.scale_down_delay.is_zero()).then(|| DelayWindow::new(spec.scale_down_delay));
        let panicking = (ready > 1).then(|| Panic { since: now, highest: whole(f64::from(ready)) });
        Self { spec, delay, panicking }
    }

    /// Changes what is gone by; what was seen stays. A scale-down delay that was not there at the start does not come into
    /// force.
    pub fn set_spec(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// What is gone by.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Decides.
    pub fn decide(&mut self, observed: Observed, now: Duration) -> Decision {
        let Spec { target, panic_threshold, stable_window, reachable, .. } = self.spec;
        let ready = f64::from(observed.ready.max(1));
        let (stable, panic) = ((observed.stable / target).ceil(), (observed.panic / target).ceil());
        let desired_stable = self.within_rates(stable, ready);
        let desired_panic = self.within_rates(panic, ready);
        let is_over = panic / ready >= panic_threshold;
        self.panicking = match self.panicking {
            _ if is_over => {
                Some(Panic { since: now, highest: self.panicking.map_or(0, |panic| panic.highest) })
            }
            Some(panic) if panic.since + stable_window < now => None,
            other => other,
        };
        let mut desired = match &mut self.panicking {
            Some(panic) => {
                panic.highest = panic.highest.max(desired_stable).max(desired_panic);
                panic.highest
            }
            None => desired_stable,
        };
        if let Some(delay) = self.delay.as_mut().filter(|_| reachable) {
            desired = delay.highest_with(now, desired);
        }
        Decision {
            desired,
            excess_burst_capacity: self.spec.excess_burst_capacity(observed.ready, observed.panic),
            is_panicking: self.panicking.is_some(),
        }
    }

    /// Replicas for a need, no further from what is ready than the rates allow.
    fn within_rates(&self, needed: f64, ready: f64) -> i32 {
        let Spec { max_scale_up_rate, max_scale_down_rate, activation_scale, reachable, .. } = self.spec;
        let most = (max_scale_up_rate * ready).ceil();
        let least = if reachable { (ready / max_scale_down_rate).floor() } else { 0.0 };
        let desired = whole(needed.max(least).min(most));
        if activation_scale > 1 && needed > 0.0 { desired.max(activation_scale) } else { desired }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "out of range it is the nearest there is")]
const fn whole(number: f64) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests;
