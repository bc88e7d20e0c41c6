//! How a Service is scaled: what Knative's annotations say of a revision, and Pelton's of the Service.

use std::time::Duration;

/// What the annotations `autoscaling.knative.dev/*` of a template say, with Knative's defaults where they say nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoscaling {
    /// What is measured.
    pub metric: Metric,
    /// What one replica is to have, in the unit of `metric`; `None`: the default of the metric.
    pub target: Option<f64>,
    /// How much of the target is aimed at, in percent; `None`: the default of the metric.
    pub target_utilization_percentage: Option<f64>,
    /// Room for a burst, in the unit of `metric`; 0: only at zero replicas is the gateway in the way, -1: always.
    pub target_burst_capacity: f64,
    /// The time over which is averaged.
    pub window: Duration,
    /// The length of the panic window, in percent of `window`.
    pub panic_window_percentage: f64,
    /// The need at which panic begins, in percent of what the ready replicas are to have.
    pub panic_threshold_percentage: f64,
    /// The bounds of the number of replicas.
    pub bounds: ScaleBounds,
    /// Replicas that are started first.
    pub initial_scale: u32,
    /// Replicas that are started at least if any is.
    pub activation_scale: u32,
    /// How long the highest number stays in force.
    pub scale_down_delay: Duration,
    /// How long the last replica is kept when there is nothing to do.
    pub scale_to_zero_pod_retention_period: Duration,
    /// How the buckets of a window become one number.
    pub aggregation: Aggregation,
}

impl Default for Autoscaling {
    /// Knative's defaults (its ConfigMap `config-autoscaler`).
    fn default() -> Self {
        Self {
            metric: Metric::default(),
            target: None,
            target_utilization_percentage: None,
            target_burst_capacity: 211.0,
            window: Duration::from_secs(60),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            bounds: ScaleBounds::default(),
            initial_scale: 1,
            activation_scale: 1,
            scale_down_delay: Duration::ZERO,
            scale_to_zero_pod_retention_period: Duration::ZERO,
            aggregation: Aggregation::default(),
        }
    }
}

/// Requests at a time that one replica takes where nothing limits them (`container-concurrency-target-default`).
const CONCURRENCY_DEFAULT: f64 = 100.0;
/// How much of it is aimed at (`container-concurrency-target-percentage`).
const CONCURRENCY_UTILIZATION_DEFAULT: f64 = 0.7;
/// Requests per second that one replica takes (`requests-per-second-target-default`).
const REQUESTS_PER_SECOND_DEFAULT: f64 = 200.0;
/// How much of it is aimed at; Knative has no key for it.
const REQUESTS_PER_SECOND_UTILIZATION_DEFAULT: f64 = 0.7;
/// No target is smaller.
const TARGET_MIN: f64 = 0.01;

impl Autoscaling {
    /// What one replica is to have, for a revision with this `container_concurrency` (0: no limit). A target above the
    /// limit is cut to it: a replica cannot have more.
    #[must_use]
    pub fn effective_target(&self, container_concurrency: u32) -> EffectiveTarget {
        let limit = (container_concurrency > 0).then(|| f64::from(container_concurrency));
        let (total, default_utilization) = match self.metric {
            Metric::RequestsPerSecond => {
                (self.target.unwrap_or(REQUESTS_PER_SECOND_DEFAULT), REQUESTS_PER_SECOND_UTILIZATION_DEFAULT)
            }
            Metric::Concurrency => {
                let target = self.target.or(limit).unwrap_or(CONCURRENCY_DEFAULT);
                (limit.map_or(target, |limit| target.min(limit)), CONCURRENCY_UTILIZATION_DEFAULT)
            }
        };
        let utilization =
            self.target_utilization_percentage.map_or(default_utilization, |percent| percent / 100.0);
        EffectiveTarget { total, utilization, target: TARGET_MIN.max(total * utilization) }
    }
}

/// What one replica is to have, in the unit of the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EffectiveTarget {
    /// What a replica can have: counts for burst capacity.
    pub total: f64,
    /// How much of that is aimed at, above 0 to 1.
    pub utilization: f64,
    /// `total` times `utilization`, at least 0.01: counts for the number of replicas.
    pub target: f64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Metric {
    /// Requests at a time.
    #[default]
    Concurrency,
    /// Requests per second.
    RequestsPerSecond,
}

impl Metric {
    /// The word in the annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::RequestsPerSecond => "rps",
        }
    }
}

/// How the buckets of a window become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Aggregation {
    /// Each second counts alike.
    #[default]
    Linear,
    /// Later seconds count more.
    WeightedExponential,
}

/// The bounds of a number of replicas; `min` is never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScaleBounds {
    /// At least so many.
    pub min: u32,
    /// At most so many; `None`: no bound.
    pub max: Option<u32>,
}

/// What the annotations `scaling.pelton.dev/*` of a Service say. They hold for all of its revisions, and a change makes no
/// new one.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingSettings {
    /// How the number of replicas is decided.
    pub policy: Policy,
    /// At least so many replicas, whatever the template says.
    pub min_scale: Option<u32>,
    /// At most so many replicas, whatever the template says; 0: no bound.
    pub max_scale: Option<u32>,
    /// In what time waiting events are to be worked off.
    pub drain_time: Duration,
    /// What an event takes without waiting; `None`: as measured.
    pub service_time: Option<Duration>,
    /// What is expected of the time to come.
    pub forecast: Forecast,
    /// Small replicas that are always there and serve first.
    pub reserve_replicas: u32,
    /// Whether the number of replicas stays as it is.
    pub paused: bool,
}

impl Default for ScalingSettings {
    /// Requests and events decide; waiting events are worked off in 30 s; no forecast, no reserve.
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            min_scale: None,
            max_scale: None,
            drain_time: Duration::from_secs(30),
            service_time: None,
            forecast: Forecast::default(),
            reserve_replicas: 0,
            paused: false,
        }
    }
}

impl ScalingSettings {
    /// These bounds, and where one is unset that of `template`. They may contradict each other, which reading refuses.
    #[must_use]
    pub fn bounds_over(&self, template: ScaleBounds) -> ScaleBounds {
        ScaleBounds {
            min: self.min_scale.unwrap_or(template.min),
            max: self.max_scale.map_or(template.max, |max| (max > 0).then_some(max)),
        }
    }
}

/// How the number of replicas is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// By requests alone, exactly as Knative's autoscaler.
    Kpa,
    /// By requests and waiting events together.
    #[default]
    Combined,
}

impl Policy {
    /// The word in the annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kpa => "kpa",
            Self::Combined => "combined",
        }
    }
}

/// What is expected of the time to come.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// What is done with it.
    pub mode: ForecastMode,
    /// The part of the expected demands that replicas are to suffice for, above 0 and below 1.
    pub quantile: f64,
    /// How far ahead replicas are started; `None`: as long as a start takes, as measured.
    pub horizon: Option<Duration>,
}

impl Default for Forecast {
    /// None; 95 of 100 demands.
    fn default() -> Self {
        Self { mode: ForecastMode::default(), quantile: 0.95, horizon: None }
    }
}

/// What is done with a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ForecastMode {
    /// There is none.
    #[default]
    Off,
    /// It is shown beside what is.
    Observe,
    /// Replicas are started ahead of the demand.
    Act,
}

impl ForecastMode {
    /// The word in the annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Act => "act",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metric, container concurrency, target, utilisation in percent; total, utilisation, target.
    type Row = (Metric, u32, Option<f64>, Option<f64>, (f64, f64, f64));

    const TARGETS: &[Row] = &[
        (Metric::Concurrency, 0, None, None, (100.0, 0.7, 70.0)),
        (Metric::Concurrency, 1, None, None, (1.0, 0.7, 0.7)),
        (Metric::Concurrency, 10, None, None, (10.0, 0.7, 7.0)),
        (Metric::Concurrency, 1000, None, None, (1000.0, 0.7, 700.0)),
        (Metric::Concurrency, 0, Some(1.0), None, (1.0, 0.7, 0.7)),
        (Metric::Concurrency, 0, Some(1000.0), None, (1000.0, 0.7, 700.0)),
        (Metric::Concurrency, 10, Some(4.0), None, (4.0, 0.7, 2.8)),
        (Metric::Concurrency, 10, Some(10.0), None, (10.0, 0.7, 7.0)),
        (Metric::Concurrency, 10, Some(11.0), None, (10.0, 0.7, 7.0)),
        (Metric::Concurrency, 10, Some(0.5), Some(100.0), (0.5, 1.0, 0.5)),
        (Metric::Concurrency, 0, None, Some(1.0), (100.0, 0.01, 1.0)),
        (Metric::Concurrency, 0, None, Some(100.0), (100.0, 1.0, 100.0)),
        (Metric::Concurrency, 10, None, Some(50.0), (10.0, 0.5, 5.0)),
        (Metric::Concurrency, 0, Some(0.01), None, (0.01, 0.7, 0.01)),
        (Metric::RequestsPerSecond, 0, None, None, (200.0, 0.7, 140.0)),
        // A limit of requests at a time says nothing about their rate.
        (Metric::RequestsPerSecond, 1, None, None, (200.0, 0.7, 140.0)),
        (Metric::RequestsPerSecond, 1, Some(50.0), None, (50.0, 0.7, 35.0)),
        (Metric::RequestsPerSecond, 0, Some(50.0), Some(90.0), (50.0, 0.9, 45.0)),
        (Metric::RequestsPerSecond, 0, Some(0.01), Some(1.0), (0.01, 0.01, 0.01)),
    ];

    #[test]
    fn targets_are_those_of_knative() {
        for row @ (metric, concurrency, target, percentage, (total, utilization, aimed_at)) in TARGETS {
            let autoscaling = Autoscaling {
                metric: *metric,
                target: *target,
                target_utilization_percentage: *percentage,
                ..Autoscaling::default()
            };
            let found = autoscaling.effective_target(*concurrency);
            let is = |a: f64, b: f64| (a - b).abs() < 1e-9;
            assert!(
                is(found.total, *total) && is(found.utilization, *utilization) && is(found.target, *aimed_at),
                "{row:?}: {found:?}"
            );
        }
    }

    #[test]
    fn bounds_of_the_service_count_before_those_of_the_template() {
        let template = ScaleBounds { min: 1, max: Some(4) };
        let cases = [
            (None, None, ScaleBounds { min: 1, max: Some(4) }),
            (Some(0), None, ScaleBounds { min: 0, max: Some(4) }),
            (None, Some(9), ScaleBounds { min: 1, max: Some(9) }),
            (Some(5), Some(0), ScaleBounds { min: 5, max: None }),
        ];
        for (min_scale, max_scale, expected) in cases {
            let settings = ScalingSettings { min_scale, max_scale, ..ScalingSettings::default() };
            assert_eq!(settings.bounds_over(template), expected, "{min_scale:?} {max_scale:?}");
        }
    }
}
