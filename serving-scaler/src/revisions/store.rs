//! The book as a file: revisions outlive the process, since what an older one was made of stands nowhere else.
//!
//! The file holds the values of environment variables, which are needed to run a revision. Who writes it keeps others from
//! reading it.

use std::collections::BTreeSet;
use std::sync::Arc;

use pelton_resources::NamespacedName;
use serde::{Deserialize, Serialize};

use super::book::{Book, ServiceRevisions};
use super::revision::{Revision, RevisionState};
use super::template::StoredTemplate;
use crate::condition::Cause;
use crate::state_file::{self, StateError};

/// The version of the file. A field that is added or means something else makes another.
const VERSION: u32 = 1;

// None of these has `Debug`: they hold values of environment variables in the open.

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBook {
    version: u32,
    services: Vec<StoredService>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredService {
    service: String,
    generation: u64,
    revisions: Vec<StoredRevision>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StoredRevision {
    name: String,
    generation: u64,
    created: u64,
    last_active: u64,
    state: StoredState,
    template: StoredTemplate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredState {
    Starting,
    Untried,
    Ready,
    Failed(Cause),
}

impl Book {
    /// The book as JSON, the same for the same book.
    ///
    /// # Errors
    /// [`StateError::Unwritable`].
    pub fn to_json(&self) -> Result<String, StateError> {
        let services = self.services.iter().map(|(service, own)| StoredService {
            service: service.to_string(),
            generation: own.generation,
            revisions: own.revisions.iter().map(StoredRevision::of).collect(),
        });
        state_file::write(&StoredBook { version: VERSION, services: services.collect() })
    }

    /// Reads what [`Book::to_json`] wrote.
    ///
    /// # Errors
    /// Another version, damage, or revisions that cannot be beside each other. The error quotes no value.
    pub fn from_json(text: &str) -> Result<Self, StateError> {
        let stored: StoredBook = state_file::read(text, VERSION)?;
        let mut book = Self::default();
        for (index, stored) in stored.services.into_iter().enumerate() {
            let service = NamespacedName::parse(&stored.service);
            let service = service.ok_or_else(|| wrong(format!("services[{index}] has no name")))?;
            let own = stored.read(&service)?;
            if book.services.insert(service.clone(), own).is_some() {
                return Err(wrong(format!("{service} is there twice")));
            }
        }
        Ok(book)
    }
}

fn wrong(what: String) -> StateError {
    StateError::Contradictory(what)
}

impl StoredService {
    fn read(self, service: &NamespacedName) -> Result<ServiceRevisions, StateError> {
        let mut own = ServiceRevisions { generation: self.generation, ..ServiceRevisions::default() };
        let mut names = BTreeSet::new();
        for (index, stored) in self.revisions.into_iter().enumerate() {
            let at = || format!("revisions[{index}] of {service}");
            let before = own.revisions.last().map_or(0, |revision| revision.generation);
            if stored.generation <= before || stored.generation > self.generation {
                return Err(wrong(format!("{} is out of order", at())));
            }
            if !names.insert(stored.name.clone()) {
                return Err(wrong(format!("{} has the name of another", at())));
            }
            // Names are looked for by this rule.
            let rest = stored.name.strip_prefix(service.name());
            if !rest.is_some_and(|rest| rest.starts_with('-')) {
                return Err(wrong(format!("{} has a name of another Service", at())));
            }
            let revision = stored.read(service);
            own.revisions.push(revision.ok_or_else(|| wrong(format!("{} has no fingerprint", at())))?);
        }
        Ok(own)
    }
}

impl StoredRevision {
    fn of(revision: &Revision) -> Self {
        let Revision { name, service: _, generation, created, template, state, last_active } = revision;
        Self {
            name: name.clone(),
            generation: *generation,
            created: *created,
            last_active: *last_active,
            state: match state {
                RevisionState::Starting => StoredState::Starting,
                RevisionState::Untried => StoredState::Untried,
                RevisionState::Ready => StoredState::Ready,
                RevisionState::Failed(cause) => StoredState::Failed(cause.clone()),
            },
            template: StoredTemplate::of(template),
        }
    }

    /// `None` if its template has no fingerprint.
    fn read(self, service: &NamespacedName) -> Option<Revision> {
        Some(Revision {
            name: self.name,
            service: service.clone(),
            generation: self.generation,
            created: self.created,
            template: Arc::new(self.template.read()?),
            state: match self.state {
                StoredState::Starting => RevisionState::Starting,
                StoredState::Untried => RevisionState::Untried,
                StoredState::Ready => RevisionState::Ready,
                StoredState::Failed(cause) => RevisionState::Failed(cause),
            },
            last_active: self.last_active,
        })
    }
}
