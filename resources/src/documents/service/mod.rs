//! A Service document.

mod autoscaling;
mod command;
mod container;
mod fingerprint;
mod probe;
mod settings;
mod template;
mod traffic;

#[cfg(test)]
mod tests;

use super::fields::{Field, Fields, join};
use super::metadata::{Annotations, Metadata};
use super::report::Report;
use super::scalar;
use crate::name::{Kind, NamespacedName};
use crate::readiness::Readiness;
use crate::service::{Service, TRAFFIC_ANNOTATION};

/// Annotations that say something about a revision, and so stand in the template.
const AUTOSCALING: &str = "autoscaling.knative.dev/";
/// Annotations that say something about the Service, whatever its revisions.
const SCALING: &str = "scaling.pelton.dev/";
/// What runs instead of the container's command where the replica is a process.
const PROCESS_COMMAND: &str = "process.pelton.dev/command";
/// The names of Knative's annotations that the Service and the template have one each of.
const ROLLOUT_DURATION: [&str; 2] =
    ["serving.knative.dev/rollout-duration", "serving.knative.dev/rolloutDuration"];
const PROGRESS_DEADLINE: [&str; 2] =
    ["serving.knative.dev/progress-deadline", "serving.knative.dev/progressDeadline"];

/// Annotations of Knative and of its vendors that have no effect on a Service here.
const NOT_SERVED: [(&str, &str); 4] = [
    ("networking.knative.dev/", "Pelton reaches Services through its own gateway"),
    ("serving.knative.dev/progress", "it belongs into spec.template.metadata.annotations"),
    ("autoscaling.alibabacloud.com/", "this version reads Knative's annotations and those of Pelton only"),
    ("knative.aliyun.com/", "this version reads Knative's annotations and those of Pelton only"),
];

/// Reads a Service document, but for its identity `name`.
pub(crate) fn read(
    document: &mut Fields<'_>,
    metadata: Metadata<'_>,
    name: &NamespacedName,
    report: &mut Report,
) -> Option<Service> {
    let Metadata { mut annotations, labels } = metadata;
    let labels = labels.and_then(|field| field.texts(report)).unwrap_or_default();
    let settings = settings::read(&mut annotations, report);
    let rollout_duration = setting(&mut annotations, &ROLLOUT_DURATION, report, |text| {
        let duration = scalar::go_duration(text)?;
        scalar::whole_seconds(duration).map(|()| duration)
    });
    let command = annotations.take(PROCESS_COMMAND).and_then(|field| field.parsed(report, command::words));
    let traffic_text = setting(&mut annotations, &[TRAFFIC_ANNOTATION], report, traffic::of_text);
    refuse_misplaced(&mut annotations, AUTOSCALING, "spec.template.metadata.annotations", report);
    annotations.not_served(&NOT_SERVED, report);
    annotations.finish(Kind::Service, report);

    let example = "spec: {template: {spec: {containers: [{image: example.com/app}]}}}";
    let field = document.required("spec", example, report)?;
    let mut spec = field.fields(report)?;
    let template =
        spec.required("template", "template: {spec: {containers: [{image: example.com/app}]}}", report);
    let template = template.and_then(|field| template::read(&field, name, command, report));
    let traffic = traffic::read(spec.take("traffic").as_ref(), report);
    spec.finish(report);
    let (template, traffic) = (template?, traffic?);
    let traffic = traffic_text.map_or(traffic, |(traffic, _)| traffic);
    settings.check_bounds(template.autoscaling.bounds, report);
    Some(Service {
        name: name.clone(),
        labels,
        template,
        traffic,
        scaling: settings.values,
        rollout_duration: rollout_duration.map(|(duration, _)| duration).unwrap_or_default(),
        readiness: Readiness::Ready,
    })
}

/// Reads an annotation that has several names, of which the first one given counts; an empty text is as none. Answers the
/// field as well, for what is only wrong beside others.
fn setting<'a, T>(
    annotations: &mut Annotations<'a>,
    names: &[&'static str],
    report: &mut Report,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<(T, Field<'a>)> {
    let mut given = names.iter().filter_map(|name| annotations.take(name)).collect::<Vec<_>>().into_iter();
    let first = given.next()?;
    for other in given {
        report.warning(
            &other.at(),
            "PEL-1307",
            format!("has no effect beside {}; keep one of the two", names[0]),
        );
    }
    if first.node.as_text() == Some("") {
        return None;
    }
    first.parsed(report, read).map(|value| (value, first))
}

/// An error for each annotation with `prefix`, which has its place elsewhere: where it stands it would do nothing.
fn refuse_misplaced(annotations: &mut Annotations<'_>, prefix: &str, place: &str, report: &mut Report) {
    for (name, field) in annotations.remove(prefix) {
        let right = join(place, &name);
        report.error(&field.at(), "PEL-1320", format!("does nothing here; move it to {right}"));
    }
}

/// A warning for each annotation with `prefix` that nobody took.
fn warn_of_unknown(annotations: &Annotations<'_>, prefix: &str, report: &mut Report) {
    for (name, field) in annotations.left(prefix) {
        let hint = annotations.suggestion(name);
        let message =
            format!("is no annotation that Pelton knows of Knative's autoscaler, and has no effect{hint}");
        report.warning(&field.at(), "PEL-1307", message);
    }
}

/// Reads a whole number of `min` to `max`.
fn whole_number(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| match max {
        REPLICAS_MAX => format!("is not a number of replicas; write a whole number from {min}"),
        _ => format!("is out of range; write a whole number from {min} to {max}"),
    })
}

/// Knative's numbers of replicas are signed ones of 32 bits.
const REPLICAS_MAX: u32 = i32::MAX.unsigned_abs();

/// Reads a number of `min` to `max`.
fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        if max == f64::MAX {
            format!("is out of range; write a number from {min}")
        } else {
            format!("is out of range; write a number from {min} to {max}")
        }
    })
}
