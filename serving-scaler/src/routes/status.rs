//! What is told of Services, revisions and routes.

use pelton_resources::NamespacedName;

use super::address::{Entrance, Urls};
use super::resolve::Target;
use super::rollout::Share;
use super::route::Route;
use super::table::Routes;
use crate::condition::{Cause, Condition};
use crate::revisions::{Book, Revision, ServiceRevisions};

/// A row of `get revisions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionStatus {
    /// Its name.
    pub name: String,
    /// The Service it is of.
    pub service: NamespacedName,
    /// Its generation.
    pub generation: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created: u64,
    /// Whether it takes traffic.
    pub ready: Condition,
    /// Its part of the requests without a tag, in percent, as it is now.
    pub percent: u8,
    /// The tags whose requests go to it, in order; those that are moving to another included.
    pub tags: Vec<String>,
}

/// A row of `get routes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    /// The Service.
    pub service: NamespacedName,
    /// Where it is reached.
    pub urls: Urls,
    /// Its tags in order, and where each is reached.
    pub tags: Vec<(String, Urls)>,
    /// What the Service says, with the revisions that it means; what was assigned last where it cannot be.
    pub targets: Vec<Target>,
    /// Where requests without a tag go now: differs from the targets while a rollout is under way.
    pub shares: Vec<Share>,
    /// Whether all that is in force, and the rollouts are through.
    pub ready: Condition,
}

/// What `describe service` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The revision that was made last.
    pub latest_created: Option<String>,
    /// What `latestRevision` means.
    pub latest_ready: Option<String>,
    /// The ready revision that the requests went to before the last change.
    pub previous: Option<String>,
    /// Whether the latest revision is ready.
    pub configurations_ready: Condition,
    /// Whether requests go where they are to go.
    pub routes_ready: Condition,
}

impl ServiceStatus {
    /// Of a Service; one that is not known has neither revision nor route yet.
    #[must_use]
    pub fn of(service: &NamespacedName, book: &Book, routes: &Routes) -> Self {
        let unknown = || Condition::Unknown(Cause::new("Unknown", "the Service was not looked at yet"));
        let own = book.of(service);
        let name = |revision: &Revision| revision.name.clone();
        Self {
            latest_created: own.and_then(ServiceRevisions::latest_created).map(name),
            latest_ready: own.and_then(ServiceRevisions::latest_ready).map(name),
            previous: routes.get(service).and_then(|route| route.previous(own?)).map(str::to_owned),
            configurations_ready: own.map_or_else(unknown, ServiceRevisions::condition),
            routes_ready: routes.get(service).map_or_else(unknown, Route::condition),
        }
    }

    /// Knative's condition `Ready` of a Service.
    #[must_use]
    pub fn ready(&self) -> Condition {
        self.configurations_ready.clone().and(self.routes_ready.clone())
    }

    /// All conditions with their names, in the order in which Knative shows them.
    #[must_use]
    pub fn conditions(&self) -> [(&'static str, Condition); 3] {
        [
            ("Ready", self.ready()),
            ("ConfigurationsReady", self.configurations_ready.clone()),
            ("RoutesReady", self.routes_ready.clone()),
        ]
    }
}

impl RevisionStatus {
    /// Of a revision.
    #[must_use]
    pub fn of(revision: &Revision, routes: &Routes) -> Self {
        let percent = |shares: &[Share]| {
            let share = shares.iter().find(|share| share.revision == revision.name);
            share.map_or(0, |share| share.percent)
        };
        let route = routes.get(&revision.service);
        let tags = route.into_iter().flat_map(Route::tags);
        let tags = tags.filter(|(_, shares)| percent(shares) > 0).map(|(tag, _)| tag.clone());
        Self {
            name: revision.name.clone(),
            service: revision.service.clone(),
            generation: revision.generation,
            created: revision.created,
            ready: revision.condition(),
            percent: route.map_or(0, |route| percent(route.shares())),
            tags: tags.collect(),
        }
    }
}

impl RouteStatus {
    /// Of a route behind a gateway.
    #[must_use]
    pub fn of(route: &Route, gateway: Entrance) -> Self {
        let service = route.service();
        let tags = route.tags().keys();
        Self {
            service: service.clone(),
            urls: Urls::of(service, None, gateway),
            tags: tags.map(|tag| (tag.clone(), Urls::of(service, Some(tag), gateway))).collect(),
            targets: route.targets().to_vec(),
            shares: route.shares().to_vec(),
            ready: route.condition(),
        }
    }
}
