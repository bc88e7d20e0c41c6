//! Resources: shown, applied, deleted, paused.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pelton_resources::contracts::{Override, Written};
use pelton_resources::{Kind, NAMESPACE_DEFAULT, NamespacedName, Problem, Severity, Snapshot, Source};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Parameters, Whole};
use super::refusal::Refusal;
use super::serving::json::Running;
use super::{Admin, json};

/// The annotation by which a resource is paused; `None`: it cannot be.
const fn paused(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Trigger => Some("delivery.pelton.dev/paused"),
        Kind::Service => Some("scaling.pelton.dev/paused"),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Narrow {
    namespace: Option<String>,
}

impl Narrow {
    /// Whether a resource is among those that are asked for.
    pub(super) fn wants(&self, name: &NamespacedName) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == name.namespace())
    }
}

pub(super) async fn problems(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let snapshot = admin.snapshot();
    Json(json!({"items": snapshot.problems}))
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Path(kind): Path<String>,
    Parameters(narrow): Parameters<Narrow>,
) -> Result<Json<Value>, Refusal> {
    let (snapshot, statuses) = (admin.snapshot(), &admin.parts.statuses);
    let wanted = |name: &NamespacedName| narrow.wants(name);
    let items: Vec<Value> = match Kind::parse(&kind) {
        Some(Kind::Broker) => {
            let brokers = snapshot.brokers.values().filter(|broker| wanted(&broker.name));
            brokers.map(|broker| json::broker(broker, statuses)).collect()
        }
        Some(Kind::Trigger) => {
            let triggers = snapshot.triggers.values().filter(|trigger| wanted(&trigger.name));
            triggers.map(|trigger| json::trigger(trigger, statuses)).collect()
        }
        Some(Kind::Service) => {
            let services = snapshot.services.values().filter(|service| wanted(&service.name));
            let running = Running::of(admin.parts.serving.as_deref());
            services.map(|service| json::service(service, statuses, &running)).collect()
        }
        Some(other) => return Err(Refusal::NotShown(other)),
        None => return Err(Refusal::NoSuchPath),
    };
    Ok(Json(json!({"items": items})))
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    let kind = Kind::parse(&kind).ok_or(Refusal::NoSuchPath)?;
    let name = NamespacedName::new(&namespace, &name);
    let (snapshot, statuses) = (admin.snapshot(), &admin.parts.statuses);
    let shown = match kind {
        Kind::Broker => snapshot.brokers.get(&name).map(|broker| json::broker(broker, statuses)),
        Kind::Trigger => snapshot.triggers.get(&name).map(|trigger| json::trigger(trigger, statuses)),
        Kind::Service => {
            let running = Running::of(admin.parts.serving.as_deref());
            snapshot.services.get(&name).map(|service| json::service(service, statuses, &running))
        }
        other => return Err(Refusal::NotShown(other)),
    };
    shown.map(Json).ok_or(Refusal::NoSuchResource(kind, name))
}

pub(super) async fn apply(
    State(admin): State<Arc<Admin>>,
    Parameters(narrow): Parameters<Narrow>,
    body: Whole,
) -> Result<Json<Value>, Refusal> {
    let text = String::from_utf8(body.0.to_vec())
        .map_err(|_| Refusal::BadRequest("the body is not UTF-8 text".to_owned()))?;
    let namespace = narrow.namespace.unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned());
    let skipped = skipped(&text, &namespace);
    let written = admin.parts.writer.apply(text, namespace).await?;
    let (snapshot, statuses) = (admin.snapshot(), &admin.parts.statuses);
    let warnings: Vec<_> = skipped.iter().chain(warnings(&snapshot, &written)).collect();
    let results: Vec<_> = written.iter().map(|one| json::applied(one, &snapshot, statuses)).collect();
    Ok(Json(json!({"results": results, "warnings": warnings})))
}

/// Warnings of documents that are no resources of Pelton: nothing of them is in force, so no snapshot tells of them.
fn skipped(text: &str, namespace: &str) -> Vec<Problem> {
    let source = Source::read_in("request", text, namespace);
    source.problems().iter().filter(|problem| problem.resource.is_none()).cloned().collect()
}

/// What is worth knowing about the resources that were written.
fn warnings<'a>(snapshot: &'a Snapshot, written: &'a [Written]) -> impl Iterator<Item = &'a Problem> {
    snapshot.problems.iter().filter(|problem| problem.severity == Severity::Warning).filter(|problem| {
        let resource = problem.resource.as_ref();
        resource.is_some_and(|(kind, name)| written.iter().any(|one| (one.kind, &one.name) == (*kind, name)))
    })
}

pub(super) async fn delete(
    State(admin): State<Arc<Admin>>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    let kind = Kind::parse(&kind).ok_or(Refusal::NoSuchPath)?;
    let written = admin.parts.writer.delete(kind, NamespacedName::new(&namespace, &name)).await?;
    Ok(Json(json::written(&written)))
}

pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    set_paused(&admin, &kind, NamespacedName::new(&namespace, &name), "true").await
}

pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    set_paused(&admin, &kind, NamespacedName::new(&namespace, &name), "false").await
}

async fn set_paused(
    admin: &Admin,
    kind: &str,
    name: NamespacedName,
    value: &str,
) -> Result<Json<Value>, Refusal> {
    let pausable = Kind::parse(kind).and_then(|kind| Some((kind, paused(kind)?)));
    let (kind, annotation) = pausable.ok_or(Refusal::NoSuchPath)?;
    let change = Override { annotation: annotation.to_owned(), value: Some(value.to_owned()) };
    let written = admin.parts.writer.set(kind, name, change).await?;
    Ok(Json(json::written(&written)))
}
