//! What there is, for those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pelton_resources::contracts::{ReplicaCounts, ReplicaLine, ResourceStatus, RevisionState, RouteState};
use pelton_resources::{NamespacedName, Readiness, RevisionTemplate, Service, TrafficTarget};

use super::live::{Key, Live};
use super::state::State;
use crate::condition::{Cause, Condition};
use crate::gateway::Backend;
use crate::queue::Class;
use crate::replicas::{Line, Lines, Phase};
use crate::revisions::{Revision, ServiceRevisions};
use crate::routes::Target;
use crate::routes::address::Entrance;
use crate::routes::status::{RevisionStatus, RouteStatus, ServiceStatus};
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
    /// Where its requests go; `None`: that was not worked out yet.
    pub route: Option<RouteStatus>,
}

/// A revision as it is.
#[derive(Debug, Clone)]
pub struct RevisionView {
    /// Name, readiness, traffic.
    pub status: RevisionStatus,
    /// What it is made of.
    pub template: Arc<RevisionTemplate>,
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
    pub failure: Option<(String, Vec<Arc<str>>)>,
    /// The last lines of its replicas.
    pub lines: Lines,
}

/// Lines of a replica that are shown with its failure.
const LINES_SHOWN: usize = 5;

/// The Services as they were shown last.
#[derive(Debug)]
pub(super) struct Board {
    views: Mutex<BTreeMap<NamespacedName, ServiceView>>,
    gateway: Entrance,
}

impl Board {
    pub(super) fn new(gateway: Entrance) -> Self {
        Self { views: Mutex::default(), gateway }
    }

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
            let route = state.routes.get(name).map(|route| RouteStatus::of(route, self.gateway));
            (name.clone(), ServiceView { name: name.clone(), status, revisions, route })
        };
        let views = services.keys().map(view).collect();
        *self.views() = views;
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<NamespacedName, ServiceView>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revision_view(revision: &Revision, state: &State, live: &BTreeMap<Key, Live>) -> RevisionView {
    let status = RevisionStatus::of(revision, &state.routes);
    let template = revision.template.clone();
    let key = Key::new(&revision.service, &revision.name);
    let Some(live) = live.get(&key) else {
        return RevisionView {
            status,
            template,
            ready: 0,
            starting: 0,
            leaving: 0,
            waiting: (0, 0),
            present: (0, 0),
            explained: None,
            backend: None,
            failure: None,
            lines: Lines::default(),
        };
    };
    let (fleet, queue) = (&live.scaling.fleet, &live.backend.queue);
    let leaving = fleet
        .members()
        .iter()
        .filter(|member| matches!(member.phase, Phase::Draining { .. } | Phase::Ending))
        .count();
    let failure = fleet.last_failure().map(|why| (why.to_owned(), texts(live.lines.last(LINES_SHOWN))));
    RevisionView {
        status,
        template,
        ready: fleet.ready(),
        starting: fleet.starting(),
        leaving: u32::try_from(leaving).unwrap_or(u32::MAX),
        waiting: (queue.waiting(Class::Request), queue.waiting(Class::Delivery)),
        present: (queue.present(Class::Request), queue.present(Class::Delivery)),
        explained: Some(*live.scaling.explained()),
        backend: Some(live.backend.clone()),
        failure,
        lines: live.lines.clone(),
    }
}

fn texts(lines: Vec<Line>) -> Vec<Arc<str>> {
    lines.into_iter().map(|line| line.text).collect()
}

fn readiness(condition: Condition) -> Readiness {
    match condition {
        Condition::True => Readiness::Ready,
        Condition::Unknown(cause) | Condition::False(cause) => {
            Readiness::not_ready(cause.reason, cause.message)
        }
    }
}

/// A cause in words.
pub(super) fn why(cause: Option<&Cause>) -> String {
    cause.map_or_else(|| "it is not ready yet".to_owned(), |cause| cause.message.clone())
}

impl ServiceView {
    /// As the admin API tells it.
    pub(super) fn status(&self) -> ResourceStatus {
        let readiness = readiness(self.status.ready());
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

    /// Its route, once there is one.
    pub(super) fn route(&self) -> Option<RouteState> {
        let route = self.route.clone()?;
        Some(RouteState {
            service: route.service,
            readiness: readiness(route.ready),
            url: route.urls.local,
            cluster_url: route.urls.cluster,
            path: route.urls.path.unwrap_or_default(),
            tags: route.tags.into_iter().map(|(tag, urls)| (tag, urls.local)).collect(),
            targets: route.targets.into_iter().map(target).collect(),
            shares: route.shares.into_iter().map(|share| (share.revision, share.percent)).collect(),
            latest_created: self.status.latest_created.clone(),
            latest_ready: self.status.latest_ready.clone(),
            previous: self.status.previous.clone(),
        })
    }

    /// What its replicas have written, of all revisions in one order.
    pub(super) fn lines(&self) -> Vec<ReplicaLine> {
        let mut lines = Vec::new();
        for revision in &self.revisions {
            let name: Arc<str> = revision.status.name.as_str().into();
            let own = revision.lines.last(usize::MAX).into_iter();
            lines.extend(own.map(|Line { order, index, replica, text }| ReplicaLine {
                order,
                revision: name.clone(),
                index,
                replica,
                text,
            }));
        }
        lines.sort_by_key(|line| line.order);
        lines
    }
}

fn target(target: Target) -> TrafficTarget {
    let revision = (!target.follows_latest).then_some(target.revision);
    TrafficTarget { revision, percent: target.percent, tag: target.tag }
}

impl RevisionView {
    /// As the admin API tells it.
    pub(super) fn state(&self) -> RevisionState {
        let RevisionStatus { name, service, generation, created, ready, percent, tags } = self.status.clone();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let failure = self.failure.as_ref();
        RevisionState {
            name,
            service,
            generation,
            created_unix_ms: created,
            template: self.template.clone(),
            readiness: readiness(ready),
            percent,
            tags,
            replicas: ReplicaCounts {
                wanted: self.explained.map_or(0, |explained| explained.replicas),
                ready: self.ready,
                starting: self.starting,
                leaving: self.leaving,
            },
            waiting: (count(self.waiting.0), count(self.waiting.1)),
            why: self.explained.map(|explained| explained.to_string()).unwrap_or_default(),
            failure: failure
                .map(|(why, lines)| (why.clone(), lines.iter().map(ToString::to_string).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{document, name, services};
    use crate::revisions::RevisionState as State_;

    #[test]
    fn revisions_routes_and_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        let traffic = "[{percent: 90}, {percent: 10, tag: canary}]";
        for image in ["a:1", "a:2"] {
            let services = services(&[document("hello", "", image, traffic)]);
            state.book.reconcile(&services, 7);
        }
        let services = services(&[document("hello", "", "a:2", traffic)]);
        state.book.set_state(&name("hello"), "hello-00001", State_::Ready);
        state.routes.reconcile(&services, &state.book, 7);
        let board = Board::new(Entrance::plain(8081));
        board.show(&services, &state, &BTreeMap::new());

        let view = board.service(&name("hello")).unwrap();
        let revisions: Vec<_> = view.revisions.iter().map(RevisionView::state).collect();
        let told = |revision: &RevisionState| {
            (revision.name.clone(), revision.readiness.is_ready(), revision.percent)
        };
        let found: Vec<_> = revisions.iter().map(told).collect();
        assert_eq!(found, [("hello-00002".into(), false, 0), ("hello-00001".into(), true, 100)]);
        assert_eq!((revisions[1].created_unix_ms, &revisions[1].tags[..]), (7, &["canary".to_owned()][..]));
        assert_eq!(revisions[0].template.container.image.as_deref(), Some("a:2"));
        assert_eq!(revisions[0].replicas, ReplicaCounts::default());

        let route = view.route().unwrap();
        assert_eq!((&*route.url, &*route.path), ("http://hello.default.localhost:8081", "/-/default/hello/"));
        assert_eq!(
            route.tags,
            [("canary".to_owned(), "http://canary-hello.default.localhost:8081".to_owned())]
        );
        assert_eq!(route.targets, services[&name("hello")].traffic);
        assert_eq!(route.shares, [("hello-00001".to_owned(), 100)]);
        assert_eq!(route.latest_ready.as_deref(), Some("hello-00001"));
        assert_eq!(route.latest_created.as_deref(), Some("hello-00002"));

        for (revision, text) in [(1, "one"), (0, "two"), (1, "three")] {
            view.revisions[revision].lines.push(&format!("r{revision}").into(), text);
        }
        let lines: Vec<_> =
            view.lines().into_iter().map(|line| (line.revision, line.index, line.text)).collect();
        let expected = [("hello-00001", 0, "one"), ("hello-00002", 0, "two"), ("hello-00001", 1, "three")];
        assert_eq!(lines, expected.map(|(revision, index, text)| (revision.into(), index, text.into())));
        assert!(board.service(&name("other")).is_none());
    }
}
