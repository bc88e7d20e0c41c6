//! One revision, from what is measured every second to replicas that start and end. Pure: it serves production and
//! simulation alike.
//!
//! ```text
//! report, backlog → signals → decision (policy) → sizing (bounds, the way to zero) → fleet → orders
//! ```

mod events;
mod explain;

use std::time::Duration;

use pelton_resources::{
    Aggregation as AggregationSetting, Policy as PolicySetting, RevisionTemplate, ScaleBounds,
    ScalingSettings,
};

use crate::decision::sizing::{Activity, Limits, Reachability, Situation, Sizing};
use crate::decision::{combined, kpa};
use crate::limits::{PROXY_GRACE, SCALE_DOWN_RATE_MAX, SCALE_UP_RATE_MAX};
use crate::replicas::Fleet;
use crate::signals::{Aggregation, Window};

pub use events::{ServiceTimes, TriggerRates};
pub use explain::{Cause, Explained};

/// What is measured of a revision in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Second {
    /// Requests at a time, deliveries left out; waiting ones count.
    pub requests: f64,
    /// Deliveries at a time.
    pub deliveries: f64,
    /// Requests and deliveries that came.
    pub count: f64,
}

/// How a revision is scaled: what its template says, and its Service.
#[derive(Debug, Clone)]
pub struct Rules {
    template: RevisionTemplate,
    settings: ScalingSettings,
    bounds: ScaleBounds,
    reachability: Reachability,
}

impl Rules {
    /// The rules of a revision; `bounds` are those that hold for it.
    #[must_use]
    pub const fn new(
        template: RevisionTemplate,
        settings: ScalingSettings,
        bounds: ScaleBounds,
        reachability: Reachability,
    ) -> Self {
        Self { template, settings, bounds, reachability }
    }

    /// What the revision is made of.
    #[must_use]
    pub const fn template(&self) -> &RevisionTemplate {
        &self.template
    }

    /// What the Service says of its scaling.
    #[must_use]
    pub const fn settings(&self) -> &ScalingSettings {
        &self.settings
    }

    fn limits(&self) -> Limits {
        let autoscaling = &self.template.autoscaling;
        Limits {
            min: self.bounds.min,
            max: self.bounds.max,
            initial: autoscaling.initial_scale,
            to_zero: true,
            stable_window: autoscaling.window,
            grace: PROXY_GRACE,
            retention: autoscaling.scale_to_zero_pod_retention_period,
            start_deadline: self.template.progress_deadline,
        }
    }

    fn kpa(&self) -> kpa::Spec {
        let autoscaling = &self.template.autoscaling;
        let effective = autoscaling.effective_target(self.template.container_concurrency);
        kpa::Spec {
            target: effective.target,
            total: effective.total,
            target_burst_capacity: autoscaling.target_burst_capacity,
            panic_threshold: autoscaling.panic_threshold_percentage / 100.0,
            max_scale_up_rate: SCALE_UP_RATE_MAX,
            max_scale_down_rate: SCALE_DOWN_RATE_MAX,
            stable_window: autoscaling.window,
            scale_down_delay: autoscaling.scale_down_delay,
            activation_scale: i32::try_from(autoscaling.activation_scale).unwrap_or(i32::MAX),
            reachable: self.reachability != Reachability::Unreachable,
        }
    }

    fn combined(&self) -> combined::Spec {
        let autoscaling = &self.template.autoscaling;
        let effective = autoscaling.effective_target(self.template.container_concurrency);
        combined::Spec {
            target: effective.target,
            total: effective.total,
            drain_time: self.settings.drain_time,
            scale_down_delay: autoscaling.scale_down_delay,
            activation_scale: autoscaling.activation_scale,
        }
    }
}

#[derive(Debug)]
enum Decider {
    Kpa(kpa::Decider),
    Combined(combined::Decider),
}

/// The scaling of one revision. Times are since the Unix epoch.
#[derive(Debug)]
pub struct Scaling {
    rules: Rules,
    decider: Decider,
    stable: Window,
    panic: Window,
    sizing: Sizing,
    /// Since when all requests come through the gateway: always.
    began: Duration,
    /// A first request that was counted before its second was over.
    counted_ahead: f64,
    explained: Explained,
    replicas: u32,
    /// The replicas.
    pub fleet: Fleet,
}

impl Scaling {
    /// A revision that begins at `now`, with its initial scale unless it `has_run` before.
    #[must_use]
    pub fn new(rules: Rules, has_run: bool, now: Duration) -> Self {
        let autoscaling = &rules.template.autoscaling;
        let aggregation = match autoscaling.aggregation {
            AggregationSetting::Linear => Aggregation::Linear,
            AggregationSetting::WeightedExponential => Aggregation::Weighted,
        };
        let panic_window = panic_window(autoscaling.window, autoscaling.panic_window_percentage);
        let (sizing, initial) = if has_run {
            (Sizing::initialized(now), 0)
        } else {
            (Sizing::new(now), autoscaling.initial_scale.max(rules.bounds.min))
        };
        let mut fleet = Fleet::default();
        fleet.want(initial);
        Self {
            decider: decider(&rules, initial, now),
            stable: Window::new(autoscaling.window, aggregation),
            panic: Window::new(panic_window, aggregation),
            sizing,
            began: now,
            counted_ahead: 0.0,
            explained: Explained::begun(initial),
            replicas: initial,
            fleet,
            rules,
        }
    }

    /// As a revision that was just made; its replicas stay as far as they are needed.
    pub fn begin_again(&mut self, rules: Rules, now: Duration) {
        let fleet = std::mem::take(&mut self.fleet);
        *self = Self::new(rules, false, now);
        self.fleet = fleet;
        self.fleet.want(self.replicas);
    }

    /// Changes the rules; what was seen stays, unless the policy is another.
    pub fn set_rules(&mut self, rules: Rules, now: Duration) {
        self.rules = rules;
        match (&mut self.decider, self.rules.settings.policy) {
            (Decider::Kpa(decider), PolicySetting::Kpa) => decider.set_spec(self.rules.kpa()),
            (Decider::Combined(decider), PolicySetting::Combined) => decider.set_spec(self.rules.combined()),
            _ => self.decider = decider(&self.rules, self.fleet.ready(), now),
        }
    }

    /// Its replicas did not get ready in time: those that are wanted all the same have their time from now on.
    pub fn try_again(&mut self, now: Duration) {
        self.sizing = Sizing::initialized(now);
    }

    /// Takes a second in.
    pub fn record(&mut self, now: Duration, mut second: Second) {
        second.requests = (second.requests - self.counted_ahead).max(0.0);
        self.counted_ahead = 0.0;
        let value = self.value_of(second);
        self.stable.record(now, value);
        self.panic.record(now, value);
    }

    /// Somebody waits while there is no replica: that counts at once, not only when its second is over (as Knative's
    /// activator does it). Answers whether that is news.
    pub fn poke(&mut self, now: Duration, waiting: Second) -> bool {
        if self.replicas > 0 || self.counted_ahead > 0.0 {
            return false;
        }
        self.counted_ahead = 1.0_f64.min(waiting.requests + waiting.deliveries);
        let value = self.value_of(Second {
            requests: waiting.requests.min(1.0),
            deliveries: waiting.deliveries.min(1.0),
            count: 1.0,
        });
        self.stable.record(now, value);
        self.panic.record(now, value);
        true
    }

    /// What counts of a second: policy `kpa` counts everything that comes to a replica, `combined` knows of events better.
    fn value_of(&self, second: Second) -> f64 {
        use pelton_resources::Metric;
        let autoscaling = &self.rules.template.autoscaling;
        match (self.rules.settings.policy, autoscaling.metric) {
            (PolicySetting::Kpa, Metric::Concurrency) => second.requests + second.deliveries,
            (PolicySetting::Kpa, Metric::RequestsPerSecond) => second.count,
            (PolicySetting::Combined, _) => second.requests,
        }
    }

    /// Decides, and sizes the fleet. `events`: those of all triggers whose subscriber it is; `None` while that is not known.
    pub fn decide(&mut self, now: Duration, events: Option<combined::Events>) {
        if self.rules.settings.paused {
            self.explained.cause = Cause::Paused;
            return;
        }
        let (ready, starting) = (self.fleet.ready(), self.fleet.starting());
        let requests = (self.stable.average(now), self.panic.average(now));
        let mut excess_burst_capacity = None;
        let (desired, cause) = match &mut self.decider {
            Decider::Kpa(decider) => {
                let (stable, panic) = requests;
                let decision = decider.decide(kpa::Observed { stable, panic, ready }, now);
                excess_burst_capacity = Some(decision.excess_burst_capacity);
                (
                    u32::try_from(decision.desired).unwrap_or(0),
                    Cause::Kpa { is_panicking: decision.is_panicking },
                )
            }
            Decider::Combined(decider) => {
                let observed = combined::Observed { requests: Some(requests), events, ready, starting };
                let decision = decider.decide(observed, now);
                (decision.desired, Cause::Combined(decision.reason))
            }
        };
        let situation = Situation {
            desired: Some(desired),
            replicas: self.replicas,
            ready,
            reachability: self.rules.reachability,
            gateway_since: Some(self.began),
        };
        let size = self.sizing.size(&self.rules.limits(), situation, now);
        self.replicas = size.replicas;
        self.fleet.want(size.replicas);
        let target = self.rules.kpa().target;
        let replicas = size.replicas;
        self.explained = Explained {
            at: now,
            desired,
            replicas,
            ready,
            starting,
            requests,
            events,
            target,
            excess_burst_capacity,
            cause,
        };
    }

    /// The last decision, and why it was so.
    #[must_use]
    pub const fn explained(&self) -> &Explained {
        &self.explained
    }

    /// Replicas there are to be.
    #[must_use]
    pub const fn replicas(&self) -> u32 {
        self.replicas
    }

    /// What the revision is about, and since when.
    #[must_use]
    pub const fn activity(&self) -> (Activity, Duration) {
        self.sizing.activity()
    }

    /// Whether its replicas did not get ready in time. As long as somebody waits for them, its size does not become 0 for that.
    #[must_use]
    pub fn does_not_start(&self, now: Duration) -> bool {
        let (activity, since) = self.sizing.activity();
        let is_late = now > since + self.rules.template.progress_deadline;
        self.sizing.has_timed_out() || (activity == Activity::Activating && is_late)
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn decider(rules: &Rules, ready: u32, now: Duration) -> Decider {
    match rules.settings.policy {
        PolicySetting::Kpa => Decider::Kpa(kpa::Decider::new(rules.kpa(), ready, now)),
        PolicySetting::Combined => Decider::Combined(combined::Decider::new(rules.combined(), ready)),
    }
}

/// The panic window: a share of the stable one in whole seconds, at least one.
#[must_use]
pub(crate) fn panic_window(stable: Duration, percentage: f64) -> Duration {
    let seconds = (stable.as_secs_f64() * percentage / 100.0).round().max(1.0);
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests;
