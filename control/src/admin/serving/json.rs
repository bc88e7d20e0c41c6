//! The shapes of what runs.

use std::collections::BTreeMap;

use pelton_event::Timestamp;
use pelton_resources::contracts::{ReplicaCounts, RevisionState, RouteState, ServingSource};
use pelton_resources::{NamespacedName, Readiness};
use serde_json::{Value, json};

use super::super::json::{target_of_traffic, template, time};

/// The members of every resource that say whether it is in service.
fn resource(kind: &str, namespace: &str, name: &str, readiness: &Readiness) -> Value {
    let reason = match readiness {
        Readiness::Ready => None,
        Readiness::NotReady(reason) => Some(reason),
    };
    json!({
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "ready": reason.is_none(),
        "reason": reason.map(|reason| &reason.reason),
        "message": reason.map(|reason| reason.message.as_str()),
    })
}

pub(super) fn revision(revision: &RevisionState) -> Value {
    let mut spec = template(&revision.template);
    spec["service"] = json!(revision.service.name());
    spec["generation"] = json!(revision.generation);
    let (requests, deliveries) = revision.waiting;
    let failure = revision.failure.as_ref();
    let mut shown = resource("Revision", revision.service.namespace(), &revision.name, &revision.readiness);
    shown["spec"] = spec;
    shown["status"] = json!({
        "created": time(Timestamp::from_millis(revision.created_unix_ms)),
        "percent": revision.percent,
        "tags": revision.tags,
        "replicas": replicas(revision.replicas),
        "waiting": {"requests": requests, "deliveries": deliveries},
        "why": (!revision.why.is_empty()).then_some(&revision.why),
        "failure": failure.map(|(reason, lines)| json!({"reason": reason, "lines": lines})),
    });
    shown
}

fn replicas(counts: ReplicaCounts) -> Value {
    let ReplicaCounts { wanted, ready, starting, leaving } = counts;
    json!({"wanted": wanted, "ready": ready, "starting": starting, "leaving": leaving})
}

pub(super) fn route(route: &RouteState) -> Value {
    let service = &route.service;
    let mut shown = resource("Route", service.namespace(), service.name(), &route.readiness);
    shown["spec"] = json!({"traffic": route.targets.iter().map(target_of_traffic).collect::<Vec<_>>()});
    shown["status"] = json!({
        "url": route.url,
        "clusterUrl": route.cluster_url,
        "path": route.path,
        "tags": route.tags.iter().map(|(tag, url)| json!({"tag": tag, "url": url})).collect::<Vec<_>>(),
        "traffic": shares(route),
        "latestCreatedRevision": route.latest_created,
        "latestReadyRevision": route.latest_ready,
        "previousRevision": route.previous,
    });
    shown
}

fn shares(route: &RouteState) -> Vec<Value> {
    let share = |(revision, percent): &(String, u8)| json!({"revision": revision, "percent": percent});
    route.shares.iter().map(share).collect()
}

/// What runs of all Services, to be shown with them.
#[derive(Default)]
pub(in super::super) struct Running {
    routes: BTreeMap<NamespacedName, RouteState>,
    replicas: BTreeMap<NamespacedName, ReplicaCounts>,
}

impl Running {
    /// `None`: this process runs none.
    pub(in super::super) fn of(serving: Option<&dyn ServingSource>) -> Self {
        let Some(serving) = serving else { return Self::default() };
        let routes = serving.routes().into_iter().map(|route| (route.service.clone(), route)).collect();
        let mut replicas: BTreeMap<NamespacedName, ReplicaCounts> = BTreeMap::new();
        for revision in serving.revisions() {
            let sum = replicas.entry(revision.service).or_default();
            let own = revision.replicas;
            *sum = ReplicaCounts {
                wanted: sum.wanted + own.wanted,
                ready: sum.ready + own.ready,
                starting: sum.starting + own.starting,
                leaving: sum.leaving + own.leaving,
            };
        }
        Self { routes, replicas }
    }

    /// What runs of one Service; `null`: nothing is known.
    pub(in super::super) fn service(&self, name: &NamespacedName) -> Value {
        let Some(route) = self.routes.get(name) else { return Value::Null };
        json!({
            "url": route.url,
            "clusterUrl": route.cluster_url,
            "latestCreatedRevision": route.latest_created,
            "latestReadyRevision": route.latest_ready,
            "traffic": shares(route),
            "replicas": replicas(self.replicas.get(name).copied().unwrap_or_default()),
        })
    }
}
