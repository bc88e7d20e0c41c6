//! What there is, for those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pelton_resources::contracts::ResourceStatus;
use pelton_resources::{NamespacedName, Readiness, Service};

use super::live::{Key, Live};
use super::state::State;
use crate::condition::{Cause, Condition};
use crate::gateway::Backend;
use crate::queue::Class;
use crate::replicas::Phase;
use crate::revisions::{Revision, ServiceRevisions};
use crate::routes::status::{RevisionStatus, ServiceStatus};
use crate::scaling::Explained;

/// A Service as it is.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// Its name.
    pub name: NamespacedName,
    /// Latest revisions and conditions.
    pub status: ServiceStatus,
    /// Its revisions, newest first.
    pub revisions: Vec<RevisionView>,
}

/// A revision as it is.
#[derive(Debug, Clone)]
pub struct RevisionView {
    /// Name, readiness, traffic.
    pub status: RevisionStatus,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas that start.
    pub starting: u32,
    /// Replicas that finish what they have.
    pub leaving: u32,
    /// Requests that wait for a place, and deliveries.
    pub waiting: (usize, usize),
    /// Requests that wait or are in flight, and deliveries.
    pub present: (u64, u64),
    /// The last decision; `None`: it is asleep, and nothing leads to it.
    pub explained: Option<Explained>,
    /// Its queue and its answers.
    pub backend: Option<Arc<Backend>>,
    /// Why the last replica ended that nobody had told to, and its last lines.
    pub failure: Option<(String, Vec<Box<str>>)>,
}

/// Lines of a replica that are shown with its failure.
const LINES_SHOWN: usize = 5;

/// The Services as they were shown last.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<NamespacedName, ServiceView>>);

impl Board {
    pub(super) fn services(&self) -> Vec<ServiceView> {
        self.views().values().cloned().collect()
    }

    pub(super) fn service(&self, name: &NamespacedName) -> Option<ServiceView> {
        self.views().get(name).cloned()
    }

    pub(super) fn show(
        &self,
        services: &BTreeMap<NamespacedName, Arc<Service>>,
        state: &State,
        live: &BTreeMap<Key, Live>,
    ) {
        let view = |name: &NamespacedName| {
            let all = state.book.of(name).map(ServiceRevisions::all).unwrap_or_default();
            let revisions = all.iter().rev().map(|revision| revision_view(revision, state, live)).collect();
            let status = ServiceStatus::of(name, &state.book, &state.routes);
            (name.clone(), ServiceView { name: name.clone(), status, revisions })
        };
        let views = services.keys().map(view).collect();
        *self.views() = views;
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<NamespacedName, ServiceView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revision_view(revision: &Revision, state: &State, live: &BTreeMap<Key, Live>) -> RevisionView {
    let status = RevisionStatus::of(revision, &state.routes);
    let key = Key { service: revision.service.clone(), revision: revision.name.as_str().into() };
    let Some(live) = live.get(&key) else {
        return RevisionView {
            status,
            ready: 0,
            starting: 0,
            leaving: 0,
            waiting: (0, 0),
            present: (0, 0),
            explained: None,
            backend: None,
            failure: None,
        };
    };
    let (fleet, queue) = (&live.scaling.fleet, &live.backend.queue);
    let leaving = fleet
        .members()
        .iter()
        .filter(|member| matches!(member.phase, Phase::Draining { .. } | Phase::Ending))
        .count();
    let failure = fleet.last_failure().map(|why| (why.to_owned(), live.lines.last(LINES_SHOWN)));
    RevisionView {
        status,
        ready: fleet.ready(),
        starting: fleet.starting(),
        leaving: u32::try_from(leaving).unwrap_or(u32::MAX),
        waiting: (queue.waiting(Class::Request), queue.waiting(Class::Delivery)),
        present: (queue.present(Class::Request), queue.present(Class::Delivery)),
        explained: Some(*live.scaling.explained()),
        backend: Some(live.backend.clone()),
        failure,
    }
}

/// A cause in words.
pub(super) fn why(cause: Option<&Cause>) -> String {
    cause.map_or_else(|| "it is not ready yet".to_owned(), |cause| cause.message.clone())
}

impl ServiceView {
    /// As the admin API tells it.
    pub(super) fn status(&self) -> ResourceStatus {
        let readiness = match self.status.ready() {
            Condition::True => Readiness::Ready,
            Condition::Unknown(cause) | Condition::False(cause) => {
                Readiness::not_ready(cause.reason, cause.message)
            }
        };
        let mut facts = Vec::new();
        for revision in &self.revisions {
            let RevisionStatus { name, percent, tags, ready, .. } = &revision.status;
            if *percent == 0 && tags.is_empty() && revision.explained.is_none() {
                continue;
            }
            let mut text = format!("{name}: {percent} %");
            if !tags.is_empty() {
                text += &format!(" ({})", tags.join(", "));
            }
            text += &format!(", {} ready", revision.ready);
            for (count, what) in [(revision.starting, "starting"), (revision.leaving, "leaving")] {
                if count > 0 {
                    text += &format!(", {count} {what}");
                }
            }
            let waiting = revision.waiting.0 + revision.waiting.1;
            if waiting > 0 {
                text += &format!(", {waiting} waiting");
            }
            if let Some(cause) = ready.cause() {
                text += &format!("; {}: {}", cause.reason, cause.message);
            }
            facts.push(("Revision", text));
            if let Some(explained) = &revision.explained {
                facts.push(("Why so many", explained.to_string()));
            }
            if let Some((why, lines)) = &revision.failure {
                facts.push(("Last failure", why.clone()));
                facts.extend(lines.iter().map(|line| ("Its last lines", line.to_string())));
            }
        }
        ResourceStatus { readiness, facts, ..ResourceStatus::default() }
    }
}
