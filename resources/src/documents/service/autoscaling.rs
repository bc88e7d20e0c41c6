//! The annotations `autoscaling.knative.dev/*` of a template, with the bounds of Knative's webhook.

use std::time::Duration;

use super::super::delivery::one_of;
use super::super::fields::Field;
use super::super::metadata::Annotations;
use super::super::report::Report;
use super::super::scalar;
use super::{AUTOSCALING, REPLICAS_MAX, number, setting, warn_of_unknown, whole_number};
use crate::limits::{WINDOW_MAX, WINDOW_MIN};
use crate::service::{Aggregation, Autoscaling, Metric, ScaleBounds};

const CLASS: &str = "autoscaling.knative.dev/class";
const KPA: &str = "kpa.autoscaling.knative.dev";
const HPA: &str = "hpa.autoscaling.knative.dev";
const METRIC: &str = "autoscaling.knative.dev/metric";
const TARGET: [&str; 1] = ["autoscaling.knative.dev/target"];
const WINDOW: [&str; 1] = ["autoscaling.knative.dev/window"];
const ACTIVATION_SCALE: [&str; 1] = ["autoscaling.knative.dev/activation-scale"];
const UTILIZATION: [&str; 2] = [
    "autoscaling.knative.dev/target-utilization-percentage",
    "autoscaling.knative.dev/targetUtilizationPercentage",
];
const BURST_CAPACITY: [&str; 2] =
    ["autoscaling.knative.dev/target-burst-capacity", "autoscaling.knative.dev/targetBurstCapacity"];
const PANIC_WINDOW: [&str; 2] =
    ["autoscaling.knative.dev/panic-window-percentage", "autoscaling.knative.dev/panicWindowPercentage"];
const PANIC_THRESHOLD: [&str; 2] = [
    "autoscaling.knative.dev/panic-threshold-percentage",
    "autoscaling.knative.dev/panicThresholdPercentage",
];
const MIN_SCALE: [&str; 2] = ["autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale"];
const MAX_SCALE: [&str; 2] = ["autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale"];
const INITIAL_SCALE: [&str; 2] =
    ["autoscaling.knative.dev/initial-scale", "autoscaling.knative.dev/initialScale"];
const SCALE_DOWN_DELAY: [&str; 2] =
    ["autoscaling.knative.dev/scale-down-delay", "autoscaling.knative.dev/scaleDownDelay"];
const RETENTION: [&str; 2] = [
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
    "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod",
];
const AGGREGATION: [&str; 2] = [
    "autoscaling.knative.dev/metric-aggregation-algorithm",
    "autoscaling.knative.dev/metricAggregationAlgorithm",
];

/// Reads all of them; mistakes go to the report, and stand as unset.
pub(super) fn read(annotations: &mut Annotations<'_>, report: &mut Report) -> Autoscaling {
    let default = Autoscaling::default();
    let is_kpa = class(annotations, report);
    let metric = metric(annotations, is_kpa, report);
    let aggregation = aggregation(annotations, is_kpa, report);
    let mut numbers = |names: &[&'static str], min, max, default| {
        let found = setting(annotations, names, report, |text| number(text, min, max));
        found.map_or(default, |(number, _)| number)
    };
    let panic_window_percentage = numbers(&PANIC_WINDOW, 1.0, 100.0, default.panic_window_percentage);
    let panic_threshold_percentage =
        numbers(&PANIC_THRESHOLD, 110.0, 1000.0, default.panic_threshold_percentage);
    let target = setting(annotations, &TARGET, report, |text| number(text, 0.01, f64::MAX));
    let utilization = setting(annotations, &UTILIZATION, report, |text| number(text, 1.0, 100.0));
    let burst_capacity = setting(annotations, &BURST_CAPACITY, report, burst_capacity);
    let window = setting(annotations, &WINDOW, report, |text| seconds(text, WINDOW_MIN));
    let delay = setting(annotations, &SCALE_DOWN_DELAY, report, |text| seconds(text, Duration::ZERO));
    let retention = setting(annotations, &RETENTION, report, |text| {
        scalar::within(scalar::go_duration(text)?, Duration::ZERO, WINDOW_MAX)
    });
    let replicas = replicas(annotations, report);
    warn_of_unknown(annotations, AUTOSCALING, report);
    Autoscaling {
        metric,
        target: target.map(|(target, _)| target),
        target_utilization_percentage: utilization.map(|(percentage, _)| percentage),
        target_burst_capacity: burst_capacity.map_or(default.target_burst_capacity, |(capacity, _)| capacity),
        window: window.map_or(default.window, |(window, _)| window),
        panic_window_percentage,
        panic_threshold_percentage,
        bounds: replicas.bounds,
        initial_scale: replicas.initial.unwrap_or(default.initial_scale),
        activation_scale: replicas.activation.unwrap_or(default.activation_scale),
        scale_down_delay: delay.map_or(default.scale_down_delay, |(delay, _)| delay),
        scale_to_zero_pod_retention_period: retention
            .map_or(default.scale_to_zero_pod_retention_period, |(retention, _)| retention),
        aggregation,
    }
}

/// Reads the class; answers whether it is Knative's own autoscaler, whose metrics are checked.
fn class(annotations: &mut Annotations<'_>, report: &mut Report) -> bool {
    let Some(field) = annotations.take(CLASS) else { return true };
    let Some(class) = field.text(report).filter(|class| *class != KPA) else { return true };
    if class.ends_with(".knative.dev") && class != HPA {
        field.wrong(report, format!("{class:?} is no class of Knative; write {KPA}, or remove it"));
    } else {
        let message =
            format!("{class:?} is not served: Pelton decides by scaling.pelton.dev/policy of the Service");
        report.warning(&field.at(), "PEL-1307", message);
    }
    false
}

fn metric(annotations: &mut Annotations<'_>, is_kpa: bool, report: &mut Report) -> Metric {
    let known = [Metric::Concurrency, Metric::RequestsPerSecond];
    let Some(field) = annotations.take(METRIC) else { return Metric::default() };
    let Some(text) = field.text(report) else { return Metric::default() };
    let found = known.into_iter().find(|metric| metric.as_str() == text);
    if found.is_none() {
        let why = format!("{text:?} {}", one_of(text, &known.map(Metric::as_str)));
        if is_kpa || text.is_empty() {
            field.wrong(report, why);
        } else {
            report.warning(&field.at(), "PEL-1307", format!("{why}; concurrency is measured"));
        }
    }
    found.unwrap_or_default()
}

fn aggregation(annotations: &mut Annotations<'_>, is_kpa: bool, report: &mut Report) -> Aggregation {
    let found = setting(annotations, &AGGREGATION, report, |text| match text {
        "linear" => Ok(Aggregation::Linear),
        "weighted-exponential" | "weightedExponential" => Ok(Aggregation::WeightedExponential),
        // Other classes may mean something by it.
        _ if !is_kpa => Ok(Aggregation::default()),
        other => Err(one_of(other, &["linear", "weighted-exponential"])),
    });
    found.map(|(aggregation, _)| aggregation).unwrap_or_default()
}

/// Numbers of replicas that the annotations set.
struct Replicas {
    bounds: ScaleBounds,
    initial: Option<u32>,
    activation: Option<u32>,
}

fn replicas(annotations: &mut Annotations<'_>, report: &mut Report) -> Replicas {
    let count = |text: &str| whole_number(text, 0, REPLICAS_MAX);
    let min = setting(annotations, &MIN_SCALE, report, count).map(|(min, _)| min).unwrap_or_default();
    let max = setting(annotations, &MAX_SCALE, report, count);
    let initial = setting(annotations, &INITIAL_SCALE, report, count);
    let activation =
        setting(annotations, &ACTIVATION_SCALE, report, |text| whole_number(text, 2, REPLICAS_MAX));
    let bound = max.as_ref().map(|(max, _)| *max).filter(|max| *max > 0);
    if let (Some((_, field)), Some(max)) = (&max, bound.filter(|max| *max < min)) {
        field.wrong(report, format!("{max} is below min-scale, which is {min}; raise it, or lower that"));
    }
    if let Some((activation, field)) = &activation {
        check_activation(*activation, field, min, bound, report);
    }
    Replicas {
        bounds: ScaleBounds { min, max: bound },
        initial: initial.map(|(initial, _)| initial),
        activation: activation.map(|(activation, _)| activation),
    }
}

fn check_activation(activation: u32, field: &Field<'_>, min: u32, max: Option<u32>, report: &mut Report) {
    if activation < min {
        field.wrong(
            report,
            format!("{activation} is below min-scale, which is {min}; raise it, or lower that"),
        );
    }
    if let Some(max) = max.filter(|max| activation > *max) {
        field.wrong(
            report,
            format!("{activation} is above max-scale, which is {max}; lower it, or raise that"),
        );
    }
}

fn burst_capacity(text: &str) -> Result<f64, String> {
    let capacity = text.parse::<f64>().ok().filter(|capacity| capacity.is_finite());
    capacity
        .filter(|capacity| *capacity >= 0.0 || capacity.to_bits() == (-1.0_f64).to_bits())
        .ok_or_else(|| "is out of range; write a number from 0, or -1 for any burst".into())
}

/// Reads a time of whole seconds, up to an hour.
fn seconds(text: &str, min: Duration) -> Result<Duration, String> {
    let duration = scalar::within(scalar::go_duration(text)?, min, WINDOW_MAX)?;
    scalar::whole_seconds(duration).map(|()| duration)
}
