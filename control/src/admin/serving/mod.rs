//! What runs of Services: revisions, routes, traffic, and what replicas write.

pub(super) mod json;
mod logs;
mod traffic;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pelton_resources::contracts::{Override, ServingSource, Written};
use pelton_resources::{Kind, NamespacedName, Service, TRAFFIC_ANNOTATION, TrafficTarget, traffic_text};
use serde_json::{Value, json};

use super::Admin;
use super::extract::{Parameters, Whole};
use super::json::written;
use super::refusal::Refusal;
use super::resources::Narrow;
pub(super) use logs::logs;
use traffic::Change;

use crate::limits;

pub(super) async fn revisions(
    State(admin): State<Arc<Admin>>,
    Parameters(narrow): Parameters<Narrow>,
) -> Result<Json<Value>, Refusal> {
    let revisions = admin.serving()?.revisions();
    let wanted = revisions.iter().filter(|revision| narrow.wants(&revision.service));
    Ok(Json(json!({"items": wanted.map(json::revision).collect::<Vec<_>>()})))
}

pub(super) async fn revision(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let revisions = admin.serving()?.revisions();
    let found = revisions
        .iter()
        .find(|revision| revision.name == name && revision.service.namespace() == namespace)
        .map(json::revision);
    found.map(Json).ok_or_else(|| Refusal::NothingServed("revision", NamespacedName::new(&namespace, &name)))
}

pub(super) async fn routes(
    State(admin): State<Arc<Admin>>,
    Parameters(narrow): Parameters<Narrow>,
) -> Result<Json<Value>, Refusal> {
    let routes = admin.serving()?.routes();
    let wanted = routes.iter().filter(|route| narrow.wants(&route.service));
    Ok(Json(json!({"items": wanted.map(json::route).collect::<Vec<_>>()})))
}

pub(super) async fn route(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let name = NamespacedName::new(&namespace, &name);
    let route = admin.serving()?.route(&name);
    let route = route.ok_or(Refusal::NothingServed("route", name))?;
    Ok(Json(json::route(&route)))
}

/// Changes the traffic of a Service by command.
pub(super) async fn traffic(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    body: Whole,
) -> Result<Json<Value>, Refusal> {
    let change: Change = body.json()?;
    let service = admin.service(&NamespacedName::new(&namespace, &name))?;
    let serving = admin.serving()?;
    let after = change.of(&service.traffic).map_err(Refusal::Traffic)?;
    let waits_for = check_revisions(&*serving, &service.name, &after)?;
    let written = set_traffic(&admin, &service.name, &after).await?;
    let mut answer = changed(&written, &service.traffic, &after);
    answer["waitsFor"] = json!(waits_for);
    Ok(Json(answer))
}

/// Gives all requests to the revision that had them before the last change; tags stay.
pub(super) async fn rollback(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let service = admin.service(&NamespacedName::new(&namespace, &name))?;
    let previous = admin.serving()?.route(&service.name).and_then(|route| route.previous);
    let previous = previous.ok_or_else(|| Refusal::NothingBefore(service.name.clone()))?;
    let after = Change::all_to(&previous).of(&service.traffic).map_err(Refusal::Traffic)?;
    let written = set_traffic(&admin, &service.name, &after).await?;
    let mut answer = changed(&written, &service.traffic, &after);
    answer["revision"] = json!(previous);
    Ok(Json(answer))
}

async fn set_traffic(
    admin: &Admin,
    service: &NamespacedName,
    targets: &[TrafficTarget],
) -> Result<Written, Refusal> {
    let change = Override { annotation: TRAFFIC_ANNOTATION.to_owned(), value: Some(traffic_text(targets)) };
    Ok(admin.parts.writer.set(Kind::Service, service.clone(), change).await?)
}

fn changed(one: &Written, before: &[TrafficTarget], after: &[TrafficTarget]) -> Value {
    let list =
        |targets: &[TrafficTarget]| targets.iter().map(super::json::target_of_traffic).collect::<Vec<_>>();
    let mut answer = written(one);
    answer["before"] = json!(list(before));
    answer["after"] = json!(list(after));
    answer
}

/// Refuses revisions that the Service does not have. Answers those that are not ready: the traffic waits for them.
fn check_revisions(
    serving: &dyn ServingSource,
    service: &NamespacedName,
    targets: &[TrafficTarget],
) -> Result<Vec<String>, Refusal> {
    let own: Vec<_> =
        serving.revisions().into_iter().filter(|revision| revision.service == *service).collect();
    let mut waits_for = Vec::new();
    for name in targets.iter().filter_map(|target| target.revision.as_ref()) {
        let Some(revision) = own.iter().find(|revision| revision.name == *name) else {
            let known = own.iter().map(|revision| revision.name.as_str());
            let known: Vec<_> = known.take(limits::REVISIONS_NAMED).chain(["latest"]).collect();
            let message =
                format!("Service {service} has no revision {name}; name one of {}", known.join(", "));
            return Err(Refusal::Traffic(message));
        };
        if !revision.readiness.is_ready() {
            waits_for.push(name.clone());
        }
    }
    Ok(waits_for)
}

impl Admin {
    /// What runs the Services.
    fn serving(&self) -> Result<Arc<dyn ServingSource>, Refusal> {
        self.parts.serving.clone().ok_or(Refusal::NothingRuns)
    }

    fn service(&self, name: &NamespacedName) -> Result<Arc<Service>, Refusal> {
        let service = self.snapshot().services.get(name).cloned();
        service.ok_or_else(|| Refusal::NoSuchResource(Kind::Service, name.clone()))
    }
}
