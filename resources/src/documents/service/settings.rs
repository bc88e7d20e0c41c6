//! The annotations `scaling.pelton.dev/*` of a Service.

use std::time::Duration;

use super::super::delivery::one_of;
use super::super::fields::Field;
use super::super::metadata::Annotations;
use super::super::report::Report;
use super::super::scalar;
use super::{REPLICAS_MAX, number, setting, whole_number};
use crate::limits;
use crate::service::{Forecast, ForecastMode, Policy, ScaleBounds, ScalingSettings};

/// Settings that are known, and have no effect in this version.
const NOT_SERVED: [&str; 3] =
    ["scaling.pelton.dev/reserve-template", "scaling.pelton.dev/pools", "scaling.pelton.dev/schedule"];

/// What the annotations say, and where the bounds stand.
pub(super) struct Settings<'a> {
    pub(super) values: ScalingSettings,
    min: Option<Field<'a>>,
    max: Option<Field<'a>>,
}

pub(super) fn read<'a>(annotations: &mut Annotations<'a>, report: &mut Report) -> Settings<'a> {
    let default = ScalingSettings::default();
    let replicas = |text: &str| whole_number(text, 0, REPLICAS_MAX);
    let policy = setting(annotations, &["scaling.pelton.dev/policy"], report, policy);
    let min = setting(annotations, &["scaling.pelton.dev/min-scale"], report, replicas);
    let max = setting(annotations, &["scaling.pelton.dev/max-scale"], report, replicas);
    let drain_time = setting(annotations, &["scaling.pelton.dev/drain-time"], report, |text| {
        duration(text, limits::DRAIN_TIME_MIN, limits::DRAIN_TIME_MAX)
    });
    let service_time = setting(annotations, &["scaling.pelton.dev/service-time"], report, |text| {
        duration(text, limits::SERVICE_TIME_MIN, limits::REQUEST_TIMEOUT_MAX)
    });
    let forecast = forecast(annotations, report);
    let reserve = setting(annotations, &["scaling.pelton.dev/reserve-replicas"], report, replicas);
    let paused = setting(annotations, &["scaling.pelton.dev/paused"], report, scalar::boolean);
    for name in NOT_SERVED {
        if let Some(field) = annotations.take(name) {
            report.warning(&field.at(), "PEL-1307", "is not served by this version and has no effect");
        }
    }
    Settings {
        values: ScalingSettings {
            policy: policy.map_or(default.policy, |(policy, _)| policy),
            min_scale: min.as_ref().map(|(min, _)| *min),
            max_scale: max.as_ref().map(|(max, _)| *max),
            drain_time: drain_time.map_or(default.drain_time, |(time, _)| time),
            service_time: service_time.map(|(time, _)| time),
            forecast,
            reserve_replicas: reserve.map_or(default.reserve_replicas, |(replicas, _)| replicas),
            paused: paused.is_some_and(|(paused, _)| paused),
        },
        min: min.map(|(_, field)| field),
        max: max.map(|(_, field)| field),
    }
}

fn forecast(annotations: &mut Annotations<'_>, report: &mut Report) -> Forecast {
    let default = Forecast::default();
    let mode = setting(annotations, &["scaling.pelton.dev/forecast"], report, mode);
    let quantile = setting(annotations, &["scaling.pelton.dev/forecast-quantile"], report, quantile);
    let horizon = setting(annotations, &["scaling.pelton.dev/forecast-horizon"], report, |text| {
        duration(text, limits::FORECAST_HORIZON_MIN, limits::FORECAST_HORIZON_MAX)
    });
    Forecast {
        mode: mode.map_or(default.mode, |(mode, _)| mode),
        quantile: quantile.map_or(default.quantile, |(quantile, _)| quantile),
        horizon: horizon.map(|(horizon, _)| horizon),
    }
}

impl Settings<'_> {
    /// Refuses bounds that contradict each other, or those of the template where only one of the two is set.
    pub(super) fn check_bounds(&self, template: ScaleBounds, report: &mut Report) {
        let ScaleBounds { min, max } = self.values.bounds_over(template);
        let Some(max) = max.filter(|max| *max < min) else { return };
        if let Some(field) = &self.max {
            field.wrong(report, format!("{max} is below min-scale, which is {min}; raise it, or lower that"));
        } else if let Some(field) = &self.min {
            field.wrong(report, format!("{min} is above max-scale, which is {max}; lower it, or raise that"));
        }
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    let known = [Policy::Kpa, Policy::Combined];
    let found = known.into_iter().find(|policy| policy.as_str() == text);
    found.ok_or_else(|| one_of(text, &known.map(Policy::as_str)))
}

fn mode(text: &str) -> Result<ForecastMode, String> {
    let known = [ForecastMode::Off, ForecastMode::Observe, ForecastMode::Act];
    let found = known.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| one_of(text, &known.map(ForecastMode::as_str)))
}

fn quantile(text: &str) -> Result<f64, String> {
    let quantile = number(text, 0.0, 1.0).ok().filter(|quantile| *quantile > 0.0 && *quantile < 1.0);
    quantile.ok_or_else(|| "is not a quantile; write a number between 0 and 1, such as 0.95".into())
}

/// Reads a duration as Pelton's annotations have them (`PT30S`), or as Knative's beside them do (`30s`).
fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let read = if text.starts_with('P') { scalar::duration(text) } else { scalar::go_duration(text) };
    scalar::within(read?, min, max)
}
