//! The revisions of all Services, and how a changed template makes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_resources::{NamespacedName, Service};

use super::revision::{Revision, RevisionState};
use crate::condition::{Cause, Condition};
use crate::limits::GENERATION_DIGITS_MIN;

/// The revisions of all Services of a process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Book {
    pub(super) services: BTreeMap<NamespacedName, ServiceRevisions>,
}

/// The revisions of one Service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceRevisions {
    /// The highest generation there was; never given again, even if its revision is gone.
    pub(super) generation: u64,
    /// In order of their generations, oldest first.
    pub(super) revisions: Vec<Revision>,
    /// Why the template makes no revision.
    pub(super) problem: Option<Cause>,
}

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created {
        /// The Service it is of.
        service: NamespacedName,
        /// Its name.
        revision: String,
    },
    /// It was there, and is the latest again: the Service went back to it by its name.
    LatestAgain {
        /// The Service it is of.
        service: NamespacedName,
        /// Its name.
        revision: String,
    },
    /// It is gone.
    Removed {
        /// The Service it was of.
        service: NamespacedName,
        /// Its name.
        revision: String,
    },
}

impl Book {
    /// Makes a revision for each Service whose template is not that of its latest one, and forgets those of Services that
    /// are gone. `services` must be all there are: before they are known, call it not. `now` is in milliseconds since the
    /// Unix epoch.
    ///
    /// As in Knative, a Service that goes back to an older template gets a new revision. Only if the owner named the older
    /// one, and names it again, is there no other name to give: then that one is the latest again.
    pub fn reconcile(&mut self, services: &BTreeMap<NamespacedName, Arc<Service>>, now: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.services.retain(|service, own| {
            let stays = services.contains_key(service);
            if !stays {
                changes.extend(own.revisions.iter().map(removed));
            }
            stays
        });
        for service in services.values() {
            changes.extend(self.follow(service, now));
        }
        changes
    }

    /// The revisions of a Service.
    #[must_use]
    pub fn of(&self, service: &NamespacedName) -> Option<&ServiceRevisions> {
        self.services.get(service)
    }

    /// A revision of a Service.
    #[must_use]
    pub fn get(&self, service: &NamespacedName, revision: &str) -> Option<&Revision> {
        self.of(service)?.get(revision)
    }

    /// All revisions, by Service and generation.
    pub fn iter(&self) -> impl Iterator<Item = &Revision> {
        self.services.values().flat_map(|own| &own.revisions)
    }

    /// Those that have failed and are the latest of their Services are to be tried again: what they lacked may be there by now.
    /// One that only a request starts is tried only where no other would have answered that.
    pub fn try_again(&mut self) {
        for own in self.services.values_mut() {
            let has_other = own.latest_ready().is_some();
            let Some(latest) = own.revisions.last_mut() else { continue };
            if let RevisionState::Failed(_) = latest.state {
                match latest.template.autoscaling.initial_scale {
                    0 if has_other => {}
                    0 => latest.state = RevisionState::Untried,
                    _ => latest.state = RevisionState::Starting,
                }
            }
        }
    }

    /// Says what became of a revision's replicas. Answers whether that is news; a revision that is gone is none.
    pub fn set_state(&mut self, service: &NamespacedName, revision: &str, state: RevisionState) -> bool {
        let own = self.services.get_mut(service);
        let found = own.and_then(|own| own.revisions.iter_mut().find(|known| known.name == revision));
        match found {
            Some(found) if found.state != state => {
                found.state = state;
                true
            }
            _ => false,
        }
    }

    /// Makes the latest revision of `service` that of its template.
    fn follow(&mut self, service: &Service, now: u64) -> Option<Change> {
        let fingerprint = service.template.fingerprint;
        let own = self.services.entry(service.name.clone()).or_default();
        own.problem = None;
        if own.latest_created().is_some_and(|latest| latest.template.fingerprint == fingerprint) {
            return None;
        }
        let Some(name) = &service.template.name else {
            let (name, generation) = self.free_name(&service.name);
            return Some(self.add(service, name, generation, now));
        };
        let Some(existing) = self.named(service.name.namespace(), name) else {
            let generation = self.next_generation(&service.name);
            return Some(self.add(service, name.clone(), generation, now));
        };
        if existing.service == service.name && existing.template.fingerprint == fingerprint {
            return self.latest_again(service, name);
        }
        let message = if existing.service == service.name {
            format!("revision {name} was made of another template; give the changed template another name")
        } else {
            format!("revision {name} belongs to the Service {}; choose another name", existing.service)
        };
        if let Some(own) = self.services.get_mut(&service.name) {
            own.problem = Some(Cause::new("RevisionFailed", message));
        }
        None
    }

    fn next_generation(&self, service: &NamespacedName) -> u64 {
        self.of(service).map_or(0, |own| own.generation).saturating_add(1)
    }

    /// The name of the next revision and its generation. A generation whose name an owner has chosen before is left out:
    /// else the Service would be stuck at it.
    fn free_name(&self, service: &NamespacedName) -> (String, u64) {
        let mut generation = self.next_generation(service);
        loop {
            let name = format!("{}-{generation:0width$}", service.name(), width = GENERATION_DIGITS_MIN);
            if self.named(service.namespace(), &name).is_none() {
                return (name, generation);
            }
            generation = generation.saturating_add(1);
        }
    }

    /// The revision of any Service in `namespace` with this name.
    fn named(&self, namespace: &str, name: &str) -> Option<&Revision> {
        // A revision's name begins with that of its Service and a hyphen, so only few Services can have it.
        let services = name.match_indices('-').map(|(end, _)| NamespacedName::new(namespace, &name[..end]));
        services.into_iter().find_map(|service| self.get(&service, name))
    }

    fn add(&mut self, service: &Service, name: String, generation: u64, now: u64) -> Change {
        let own = self.services.entry(service.name.clone()).or_default();
        own.generation = generation;
        own.revisions.push(Revision {
            name: name.clone(),
            service: service.name.clone(),
            generation,
            created: now,
            template: Arc::new(service.template.clone()),
            state: at_first(service),
            last_active: now,
        });
        Change::Created { service: service.name.clone(), revision: name }
    }

    fn latest_again(&mut self, service: &Service, name: &str) -> Option<Change> {
        let own = self.services.get_mut(&service.name)?;
        let index = own.revisions.iter().position(|known| known.name == name)?;
        let mut revision = own.revisions.remove(index);
        own.generation = own.generation.saturating_add(1);
        revision.generation = own.generation;
        if let RevisionState::Failed(_) = revision.state {
            // Whoever asks for it again wants it tried again.
            revision.state = at_first(service);
        }
        own.revisions.push(revision);
        Some(Change::LatestAgain { service: service.name.clone(), revision: name.to_owned() })
    }
}

/// What the revision of a Service's template is at first. As in Knative, one that is to have no replicas at first has all that
/// it is to have.
fn at_first(service: &Service) -> RevisionState {
    let waits_for_nothing = service.template.autoscaling.initial_scale.max(service.bounds().min) == 0;
    if waits_for_nothing { RevisionState::Untried } else { RevisionState::Starting }
}

pub(super) fn removed(revision: &Revision) -> Change {
    Change::Removed { service: revision.service.clone(), revision: revision.name.clone() }
}

impl ServiceRevisions {
    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Revision] {
        &self.revisions
    }

    /// The one with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    /// The one that was made last.
    #[must_use]
    pub fn latest_created(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The newest that is ready: what `latestRevision` means. A newer one that fails changes nothing.
    #[must_use]
    pub fn latest_ready(&self) -> Option<&Revision> {
        self.revisions.iter().rev().find(|revision| revision.is_ready())
    }

    /// Knative's condition `Ready` of a Configuration: whether the latest revision that was to be made is ready.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if let Some(problem) = &self.problem {
            return Condition::False(problem.clone());
        }
        let Some(latest) = self.latest_created() else {
            return Condition::Unknown(Cause::new("Deploying", "there is no revision yet"));
        };
        let RevisionState::Failed(cause) = &latest.state else { return latest.condition() };
        let message = format!("revision {} failed: {}", latest.name, cause.message);
        Condition::False(Cause::new("RevisionFailed", message))
    }
}
