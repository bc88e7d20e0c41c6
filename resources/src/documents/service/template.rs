//! `spec.template` of a Service.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::fields::{Field, Fields};
use super::super::metadata::{self, Annotations, is_own_annotation};
use super::super::report::Report;
use super::super::scalar;
use super::{
    PROCESS_COMMAND, PROGRESS_DEADLINE, SCALING, autoscaling, command, container, fingerprint,
    refuse_misplaced, setting,
};
use crate::limits;
use crate::name::{Kind, NamespacedName};
use crate::service::{Autoscaling, Container, RevisionTemplate};

/// How long the first replicas of a revision may take (Knative's `config-deployment`).
const PROGRESS_DEADLINE_DEFAULT: Duration = Duration::from_secs(600);

/// Annotations of Knative and of its vendors that have no effect on a revision here.
const NOT_SERVED: [(&str, &str); 5] = [
    ("features.knative.dev/", "what Pelton serves of a Service needs no switch"),
    ("queue.sidecar.serving.knative.dev/", "there is no sidecar beside a replica"),
    ("serving.knative.dev/rollout", "it belongs into metadata.annotations of the Service"),
    ("autoscaling.alibabacloud.com/", "this version reads Knative's annotations and those of Pelton only"),
    ("knative.aliyun.com/", "this version reads Knative's annotations and those of Pelton only"),
];

/// Fields of Kubernetes' PodSpec that have no effect here.
const POD_NOT_SERVED: [&str; 27] = [
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "priority",
    "priorityClassName",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
];

/// What the metadata of a template says.
#[derive(Default)]
struct TemplateMetadata {
    name: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    autoscaling: Autoscaling,
    progress_deadline: Option<Duration>,
    process_command: Option<Vec<String>>,
}

/// Reads the template of the Service `name`, which says `process_command` for it where the template says nothing.
pub(super) fn read(
    field: &Field<'_>,
    service: &NamespacedName,
    process_command: Option<Vec<String>>,
    report: &mut Report,
) -> Option<RevisionTemplate> {
    let mut fields = field.fields(report)?;
    let metadata = fields.take("metadata").and_then(|field| read_metadata(&field, service, report));
    let metadata = metadata.unwrap_or_default();
    let process_command = metadata.process_command.or(process_command);
    let spec = fields.required("spec", "spec: {containers: [{image: example.com/app}]}", report);
    let spec = spec.and_then(|field| read_spec(&field, process_command.clone(), report));
    fields.finish(report);
    let Spec { container_concurrency, times, container } = spec?;
    Some(RevisionTemplate {
        name: metadata.name,
        labels: metadata.labels,
        annotations: metadata.annotations,
        container_concurrency,
        timeout: times.timeout,
        response_start_timeout: times.response_start,
        idle_timeout: times.idle,
        progress_deadline: metadata.progress_deadline.unwrap_or(PROGRESS_DEADLINE_DEFAULT),
        autoscaling: metadata.autoscaling,
        container,
        fingerprint: fingerprint::of(field.node, process_command.as_deref()),
    })
}

fn read_metadata(
    field: &Field<'_>,
    service: &NamespacedName,
    report: &mut Report,
) -> Option<TemplateMetadata> {
    let mut fields = field.fields(report)?;
    let name = fields.take("name").and_then(|field| revision_name(&field, service.name(), report));
    let labels = fields.take("labels").and_then(|field| field.texts(report)).unwrap_or_default();
    let mut annotations = Annotations::of(fields.take("annotations"), report);
    fields.ignore(&["namespace"]);
    metadata::ignore_others(&mut fields);
    fields.finish(report);

    let texts = annotations.texts().filter(|(name, _)| !is_own_annotation(name));
    let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let autoscaling = autoscaling::read(&mut annotations, report);
    let deadline = setting(&mut annotations, &PROGRESS_DEADLINE, report, |text| {
        let duration = scalar::go_duration(text)?;
        scalar::whole_seconds(duration)?;
        // At 0 no revision would ever get ready.
        scalar::within(duration, limits::PROGRESS_DEADLINE_MIN, limits::DURATION_MAX)
    });
    let process_command =
        annotations.take(PROCESS_COMMAND).and_then(|field| field.parsed(report, command::words));
    refuse_misplaced(&mut annotations, SCALING, "metadata.annotations", report);
    annotations.not_served(&NOT_SERVED, report);
    annotations.finish(Kind::Service, report);
    Some(TemplateMetadata {
        name,
        labels,
        annotations: texts,
        autoscaling,
        progress_deadline: deadline.map(|(deadline, _)| deadline),
        process_command,
    })
}

fn revision_name(field: &Field<'_>, service: &str, report: &mut Report) -> Option<String> {
    field.parsed(report, |text| {
        scalar::dns_1035(text)?;
        let own = text.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
        if own.is_none_or(str::is_empty) {
            return Err(format!(
                "does not start with the name of the Service; write a name such as {service}-v2"
            ));
        }
        Ok(text.to_owned())
    })
}

/// What the spec of a template says.
struct Spec {
    container_concurrency: u32,
    times: Times,
    container: Container,
}

fn read_spec(field: &Field<'_>, process_command: Option<Vec<String>>, report: &mut Report) -> Option<Spec> {
    let mut fields = field.fields(report)?;
    let concurrency = fields.take("containerConcurrency");
    let concurrency = concurrency.and_then(|field| field.integer(limits::CONTAINER_CONCURRENCY_MAX, report));
    let times = Times::read(&mut fields, report);
    let containers = fields.required("containers", "containers: [{image: example.com/app}]", report);
    let container = containers.and_then(|field| only_container(&field, process_command, report));
    // Pelton sets no variables for the addresses of others, whatever is asked for.
    fields.ignore(&["enableServiceLinks"]);
    fields.not_served(&["volumes"], "; the container sees no files but its own", report);
    fields.not_served(&POD_NOT_SERVED, "", report);
    fields.finish(report);
    Some(Spec { container_concurrency: concurrency.unwrap_or_default(), times, container: container? })
}

fn only_container(
    field: &Field<'_>,
    process_command: Option<Vec<String>>,
    report: &mut Report,
) -> Option<Container> {
    let items = field.items(report)?;
    match items.as_slice() {
        [item] => container::read(item, process_command, report),
        [] => {
            field.wrong(report, "is empty; write one container");
            None
        }
        several => {
            let message = format!(
                "has {} containers, and a replica of Pelton is one; keep the one that answers requests, and give the others \
                 Services of their own",
                several.len()
            );
            field.wrong(report, message);
            None
        }
    }
}

/// How long a request may take.
struct Times {
    timeout: Duration,
    response_start: Duration,
    idle: Option<Duration>,
}

impl Times {
    /// 0 is as none, in all three. Without a time of its own, the first byte may take as long as the whole.
    fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let max = u32::try_from(limits::REQUEST_TIMEOUT_MAX.as_secs()).unwrap_or(u32::MAX);
        let timeout = fields.take("timeoutSeconds").and_then(|field| field.integer(max, report));
        let timeout = timeout.filter(|seconds| *seconds > 0).unwrap_or(TIMEOUT_SECONDS_DEFAULT);
        let mut below = |name| {
            let seconds = fields.take(name).and_then(|field| {
                let seconds = field.integer(max, report)?;
                if seconds > timeout {
                    field.wrong(
                        report,
                        format!("{seconds} is above timeoutSeconds, which is {timeout}; lower it"),
                    );
                }
                Some(seconds)
            });
            seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
        };
        let (response_start, idle) = (below("responseStartTimeoutSeconds"), below("idleTimeoutSeconds"));
        let timeout = Duration::from_secs(timeout.into());
        Self { timeout, response_start: response_start.unwrap_or(timeout), idle }
    }
}

/// Knative's `revision-timeout-seconds`.
const TIMEOUT_SECONDS_DEFAULT: u32 = 300;
