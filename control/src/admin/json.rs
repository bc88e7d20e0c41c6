//! The shapes of the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pelton_event::{Event, Timestamp};
use pelton_filter::{Conditions, Expression};
use pelton_resources::contracts::{ResourceStatus, StatusSource, WriteAction, Written};
use pelton_resources::{
    BackoffPolicy, Broker, DeliveryFormat, DeliveryPolicy, Kind, NamespacedName, OnFull, Order, Readiness,
    Reason, RevisionTemplate, Service, Snapshot, TrafficTarget, Trigger,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::serving::json::Running;

/// RFC 3339, UTC, to the millisecond; `null` for a time beyond the calendar.
pub(super) fn time(time: Timestamp) -> Value {
    let instant =
        i64::try_from(time.as_millis()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    instant.map_or(Value::Null, |instant| Value::String(format!("{instant:.3}")))
}

/// ISO 8601.
pub(super) fn duration(duration: Duration) -> Value {
    jiff::SignedDuration::try_from(duration)
        .map_or(Value::Null, |duration| Value::String(duration.to_string()))
}

pub(super) fn written(written: &Written) -> Value {
    json!({
        "kind": written.kind.as_str(),
        "namespace": written.name.namespace(),
        "name": written.name.name(),
        "action": match written.action {
            WriteAction::Created => "created",
            WriteAction::Configured => "configured",
            WriteAction::Unchanged => "unchanged",
            WriteAction::Deleted => "deleted",
        },
    })
}

/// The same, and whether what was written is in service.
pub(super) fn applied(one: &Written, snapshot: &Snapshot, statuses: &[Arc<dyn StatusSource>]) -> Value {
    let readiness = match one.kind {
        Kind::Broker => snapshot.brokers.get(&one.name).map(|broker| &broker.readiness),
        Kind::Trigger => snapshot.triggers.get(&one.name).map(|trigger| &trigger.readiness),
        Kind::Service => snapshot.services.get(&one.name).map(|service| &service.readiness),
        _ => None,
    };
    let mut result = written(one);
    let known = known(one.kind, &one.name, statuses);
    let not_ready = readiness.and_then(|readiness| not_ready(readiness, &known));
    result["ready"] = json!(readiness.map(|_| not_ready.is_none()));
    result["reason"] = json!(not_ready.map(|reason| &reason.reason));
    result["message"] = json!(not_ready.map(|reason| reason.message.as_str()));
    result
}

pub(super) fn broker(broker: &Broker, statuses: &[Arc<dyn StatusSource>]) -> Value {
    let retention = &broker.retention;
    let spec = json!({
        "path": format!("/{}", broker.name),
        "topic": broker.topic,
        "partitions": broker.partitions,
        "retention": duration(retention.age),
        "deadLetterRetention": duration(retention.dead_letter_age),
        "retentionBytes": retention.bytes,
        "onFull": match retention.on_full { OnFull::Refuse => "refuse", OnFull::Expire => "expire" },
    });
    resource(Kind::Broker, &broker.name, &broker.readiness, &spec, statuses)
}

pub(super) fn trigger(trigger: &Trigger, statuses: &[Arc<dyn StatusSource>]) -> Value {
    let spec = json!({
        "broker": trigger.broker.as_str(),
        "filter": trigger.expression.as_deref().map(filter),
        "subscriber": trigger.subscriber.as_ref().map(ToString::to_string),
        "delivery": delivery(&trigger.delivery),
        "order": match trigger.order {
            Order::Unordered => "unordered",
            Order::Ordered => "ordered",
            Order::Keyed => "keyed",
        },
        "maxConcurrency": trigger.max_concurrency,
        "maxRate": trigger.max_rate,
        "start": trigger.start_text,
        "paused": trigger.paused,
    });
    resource(Kind::Trigger, &trigger.name, &trigger.readiness, &spec, statuses)
}

/// What a revision is made of.
pub(super) fn template(template: &RevisionTemplate) -> Value {
    let container = &template.container;
    let target = template.autoscaling.effective_target(template.container_concurrency);
    let command: Vec<_> = container.command.iter().chain(&container.args).collect();
    json!({
        "image": container.image,
        "command": (!command.is_empty()).then_some(command),
        "processCommand": container.process_command,
        // Values may be credentials.
        "environment": container.env.iter().map(|variable| &variable.name).collect::<Vec<_>>(),
        "port": container.port,
        "protocol": container.protocol.as_str(),
        "containerConcurrency": template.container_concurrency,
        "timeout": duration(template.timeout),
        "responseStartTimeout": duration(template.response_start_timeout),
        "idleTimeout": template.idle_timeout.map(duration),
        "progressDeadline": duration(template.progress_deadline),
        "minScale": template.autoscaling.bounds.min,
        "maxScale": template.autoscaling.bounds.max,
        "initialScale": template.autoscaling.initial_scale,
        "metric": template.autoscaling.metric.as_str(),
        "target": target.target,
        "window": duration(template.autoscaling.window),
        "templateFingerprint": template.fingerprint.to_string(),
    })
}

pub(super) fn service(service: &Service, statuses: &[Arc<dyn StatusSource>], running: &Running) -> Value {
    let (scaling, bounds) = (&service.scaling, service.bounds());
    let mut spec = template(&service.template);
    let own = json!({
        "traffic": service.traffic.iter().map(target_of_traffic).collect::<Vec<_>>(),
        "rolloutDuration": duration(service.rollout_duration),
        "policy": scaling.policy.as_str(),
        "minScale": bounds.min,
        "maxScale": bounds.max,
        "drainTime": duration(scaling.drain_time),
        "serviceTime": scaling.service_time.map(duration),
        "forecast": scaling.forecast.mode.as_str(),
        "reserveReplicas": scaling.reserve_replicas,
        "scalingPaused": scaling.paused,
    });
    if let (Value::Object(spec), Value::Object(own)) = (&mut spec, own) {
        spec.extend(own);
    }
    let mut shown = resource(Kind::Service, &service.name, &service.readiness, &spec, statuses);
    shown["status"]["serving"] = running.service(&service.name);
    shown
}

pub(super) fn target_of_traffic(target: &TrafficTarget) -> Value {
    json!({"revision": target.revision, "percent": target.percent, "tag": target.tag})
}

fn delivery(policy: &DeliveryPolicy) -> Value {
    json!({
        "retry": policy.retry,
        "backoffPolicy": match policy.backoff_policy {
            BackoffPolicy::Linear => "linear",
            BackoffPolicy::Exponential => "exponential",
        },
        "backoffDelay": duration(policy.backoff_delay),
        "backoffMax": duration(policy.backoff_max),
        "retryAfterMax": duration(policy.retry_after_max),
        "timeout": duration(policy.timeout),
        "format": match policy.format { DeliveryFormat::Binary => "binary", DeliveryFormat::Json => "json" },
        "deadLetterSink": policy.dead_letter_sink.as_ref().map(ToString::to_string),
    })
}

/// The filter as it would be written in YAML.
fn filter(expression: &Expression) -> Value {
    let list = |filters: &[Expression]| filters.iter().map(filter).collect::<Vec<_>>();
    let map = |conditions: &Conditions| conditions.iter().cloned().collect::<BTreeMap<_, _>>();
    match expression {
        Expression::All(filters) => json!({"all": list(filters)}),
        Expression::Any(filters) => json!({"any": list(filters)}),
        Expression::Not(inner) => json!({"not": filter(inner)}),
        Expression::Exact(attributes) => json!({"exact": map(attributes)}),
        Expression::Prefix(attributes) => json!({"prefix": map(attributes)}),
        Expression::Suffix(attributes) => json!({"suffix": map(attributes)}),
        Expression::Cesql(text) => json!({"cesql": text}),
        Expression::Attributes(attributes) => json!({"attributes": map(attributes)}),
        other => json!({"other": format!("{other:?}")}),
    }
}

fn resource(
    kind: Kind,
    name: &NamespacedName,
    readiness: &Readiness,
    spec: &Value,
    statuses: &[Arc<dyn StatusSource>],
) -> Value {
    let known = known(kind, name, statuses);
    let not_ready = not_ready(readiness, &known);
    json!({
        "kind": kind.as_str(),
        "namespace": name.namespace(),
        "name": name.name(),
        "ready": not_ready.is_none(),
        "reason": not_ready.map(|reason| &reason.reason),
        "message": not_ready.map(|reason| reason.message.as_str()),
        "spec": spec,
        "status": status(&known),
    })
}

fn known(kind: Kind, name: &NamespacedName, statuses: &[Arc<dyn StatusSource>]) -> Vec<ResourceStatus> {
    statuses.iter().filter_map(|source| source.status(kind, name)).collect()
}

/// Why a resource is not in service: its own reason before those of the roles.
fn not_ready<'a>(own: &'a Readiness, known: &'a [ResourceStatus]) -> Option<&'a Reason> {
    let all = std::iter::once(own).chain(known.iter().map(|status| &status.readiness));
    all.into_iter().find_map(|readiness| match readiness {
        Readiness::Ready => None,
        Readiness::NotReady(reason) => Some(reason),
    })
}

/// What all roles know, joined: each figure from whoever has it, the oldest event, the last error.
fn status(known: &[ResourceStatus]) -> Value {
    let last_error = known.iter().filter_map(|status| status.last_error.as_ref()).max_by_key(|(at, _)| *at);
    let counters = known.iter().flat_map(|status| &status.counters);
    let facts = known.iter().flat_map(|status| &status.facts);
    json!({
        "backlog": known.iter().find_map(|status| status.backlog),
        "oldest": known.iter().filter_map(|status| status.oldest).min().map(time),
        "lastError": last_error.map(|(at, message)| json!({"time": time(*at), "message": message})),
        "counters": counters.map(|(name, count)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>(),
        "facts": facts.map(|(label, text)| json!({"label": label, "text": text})).collect::<Vec<_>>(),
    })
}

/// The whole event as structured JSON on one line. Its data keeps its text: the order of keys, numbers of any length.
pub(super) fn event(event: &Event) -> Box<RawValue> {
    // A line end in JSON is always between two values; within a text it is escaped.
    let text =
        String::from_utf8(pelton_event::json::encode(event)).unwrap_or_default().replace(['\n', '\r'], " ");
    // What was written as JSON is JSON; the other way out would be a fault of the writer.
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What tells events apart at a glance.
pub(super) fn event_summary(event: &Event) -> Value {
    json!({"id": event.id(), "source": event.source(), "type": event.event_type()})
}
