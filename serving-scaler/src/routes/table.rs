//! The routes of all Services.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_resources::{NamespacedName, Service};

use super::route::Route;
use crate::revisions::Book;

/// The routes of all Services of a process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes {
    pub(super) routes: BTreeMap<NamespacedName, Route>,
}

impl Routes {
    /// Follows the Services and what became of their revisions, and takes the steps of rollouts that are due; to be called
    /// after any change, and at [`Routes::next_at`]. `services` must be all there are. `now` is in milliseconds since the
    /// Unix epoch. Answers the Services whose requests go elsewhere than before.
    pub fn reconcile(
        &mut self,
        services: &BTreeMap<NamespacedName, Arc<Service>>,
        book: &Book,
        now: u64,
    ) -> Vec<NamespacedName> {
        let mut changed = Vec::new();
        self.routes.retain(|service, _| {
            let stays = services.contains_key(service);
            if !stays {
                changed.push(service.clone());
            }
            stays
        });
        for service in services.values() {
            let route = self.routes.entry(service.name.clone());
            let route = route.or_insert_with(|| Route::new(service.name.clone()));
            if route.follow(service, book, now) {
                changed.push(service.name.clone());
            }
        }
        changed
    }

    /// Notes that requests go where the last [`Routes::reconcile`] said: how long that took is the pace of the rollouts that
    /// it began.
    pub fn in_force(&mut self, now: u64) {
        self.routes.values_mut().for_each(|route| route.in_force(now));
    }

    /// When a rollout has a step to take, in milliseconds since the Unix epoch; `None`: not by time alone.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.routes.values().filter_map(Route::next_at).min()
    }

    /// The route of a Service.
    #[must_use]
    pub fn get(&self, service: &NamespacedName) -> Option<&Route> {
        self.routes.get(service)
    }

    /// All routes, by Service.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// Whether traffic names a revision; what [`Book::collect`] asks.
    #[must_use]
    pub fn has_revision(&self, service: &NamespacedName, revision: &str) -> bool {
        self.get(service).is_some_and(|route| route.has_revision(revision))
    }
}
