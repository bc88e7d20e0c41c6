//! The routes as a file: the last good assignment and the rollouts outlive the process.

use std::collections::{BTreeMap, BTreeSet};

use pelton_resources::NamespacedName;
use serde::{Deserialize, Serialize};

use super::resolve::Target;
use super::rollout::Rollout;
use super::route::Route;
use super::table::Routes;
use crate::state_file::{self, StateError};

/// The version of the file. A field that is added or means something else makes another.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRoutes {
    version: u32,
    routes: Vec<StoredRoute>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRoute {
    service: String,
    targets: Vec<Target>,
    rollouts: BTreeMap<String, Rollout>,
    main: Option<String>,
    before: Option<String>,
}

impl Routes {
    /// The routes as JSON, the same for the same routes.
    ///
    /// # Errors
    /// [`StateError::Unwritable`].
    pub fn to_json(&self) -> Result<String, StateError> {
        let routes = self.routes.iter().map(|(service, route)| StoredRoute {
            service: service.to_string(),
            targets: route.targets.clone(),
            rollouts: route.rollouts.clone(),
            main: route.main.clone(),
            before: route.before.clone(),
        });
        state_file::write(&StoredRoutes { version: VERSION, routes: routes.collect() })
    }

    /// Reads what [`Routes::to_json`] wrote. Requests go where they went, whatever the Services say by now, until
    /// [`Routes::reconcile`].
    ///
    /// # Errors
    /// Another version, damage, or parts that do not add up. Who cannot read it begins without: all that is lost is where
    /// rollouts stood.
    pub fn from_json(text: &str) -> Result<Self, StateError> {
        let stored: StoredRoutes = state_file::read(text, VERSION)?;
        let mut routes = Self::default();
        for (index, stored) in stored.routes.into_iter().enumerate() {
            let wrong = |what: &str| StateError::Contradictory(format!("routes[{index}] {what}"));
            let service = NamespacedName::parse(&stored.service).ok_or_else(|| wrong("has no name"))?;
            if !stored.adds_up() {
                return Err(wrong("does not add up"));
            }
            let route = Route::restored(
                service.clone(),
                stored.targets,
                stored.rollouts,
                [stored.main, stored.before],
            );
            if routes.routes.insert(service, route).is_some() {
                return Err(wrong("is there twice"));
            }
        }
        Ok(routes)
    }
}

impl StoredRoute {
    /// Whether every request would go somewhere.
    fn adds_up(&self) -> bool {
        if !self.rollouts.values().all(Rollout::is_sound) {
            return false;
        }
        let sum = |targets: &mut dyn Iterator<Item = &Target>| {
            targets.map(|target| u32::from(target.percent)).sum::<u32>()
        };
        let (latest, named): (Vec<_>, Vec<_>) = self.targets.iter().partition(|target| target.follows_latest);
        let (latest_sum, named_sum) = (sum(&mut latest.iter().copied()), sum(&mut named.into_iter()));
        let mut expected = BTreeMap::new();
        if !latest.is_empty() {
            expected.insert("", latest_sum);
        }
        expected.extend(latest.iter().filter_map(|target| Some((target.tag.as_deref()?, 100))));
        let tags: Vec<_> = self.targets.iter().filter_map(|target| target.tag.as_deref()).collect();
        let all_differ = tags.iter().collect::<BTreeSet<_>>().len() == tags.len();
        let found = self.rollouts.iter().map(|(tag, rollout)| (tag.as_str(), rollout.sum())).collect();
        let all = latest_sum + named_sum;
        (all == 100 || self.targets.is_empty()) && expected == found && all_differ && !tags.contains(&"")
    }
}
