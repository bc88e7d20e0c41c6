//! All resources at one moment, and what changed between two.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::broker::Broker;
use crate::name::{Kind, NamespacedName};
use crate::service::Service;
use crate::trigger::Trigger;

/// All resources at one moment. What control decides reaches a role as `watch::Receiver<Arc<Snapshot>>`, nothing else.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with each change.
    pub generation: u64,
    /// The brokers.
    pub brokers: BTreeMap<NamespacedName, Arc<Broker>>,
    /// The triggers.
    pub triggers: BTreeMap<NamespacedName, Arc<Trigger>>,
    /// The services.
    pub services: BTreeMap<NamespacedName, Arc<Service>>,
    /// What is wrong with the sources of the resources; the last good state of what is wrong stays in force.
    pub problems: Vec<Problem>,
}

/// Something that is wrong, or worth knowing, in a source of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The stable code (`docs/errors/`).
    pub code: &'static str,
    /// The file and line, where it comes from a file (`triggers.yaml:12`).
    pub place: String,
    /// The resource it concerns, as far as known.
    pub resource: Option<(Kind, NamespacedName)>,
    /// The field (`spec.delivery.timeout`); empty where none is concerned.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `triggers.yaml:12: spec.delivery.timeout: "10s" is not a duration; …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl Serialize for Problem {
    /// The form of the admin API and of `pelton check`: `null` where no resource is known.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let resource = self.resource.as_ref();
        let mut problem = serializer.serialize_struct("Problem", 8)?;
        problem.serialize_field("severity", self.severity.as_str())?;
        problem.serialize_field("code", self.code)?;
        problem.serialize_field("place", &self.place)?;
        problem.serialize_field("kind", &resource.map(|(kind, _)| kind.as_str()))?;
        problem.serialize_field("namespace", &resource.map(|(_, name)| name.namespace()))?;
        problem.serialize_field("name", &resource.map(|(_, name)| name.name()))?;
        problem.serialize_field("field", &self.field)?;
        problem.serialize_field("message", &self.message)?;
        problem.end()
    }
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is lost by it: a field that is not served, a kind that is skipped.
    Warning,
    /// The document is not in force.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What happened to a resource between two snapshots.
#[derive(Debug, Clone)]
pub enum Change<T> {
    /// It is new.
    Added(Arc<T>),
    /// It is another value now.
    Changed {
        /// The value before.
        before: Arc<T>,
        /// The value now.
        after: Arc<T>,
    },
    /// It is gone.
    Removed(Arc<T>),
}

/// What changed between two snapshots. Equal `Arc`s are equal values, so an unchanged resource costs one comparison.
#[derive(Debug, Clone, Default)]
pub struct SnapshotDiff {
    /// Changes of brokers.
    pub brokers: Vec<Change<Broker>>,
    /// Changes of triggers.
    pub triggers: Vec<Change<Trigger>>,
    /// Changes of services.
    pub services: Vec<Change<Service>>,
}

impl SnapshotDiff {
    /// Whether no resource changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { brokers, triggers, services } = self;
        brokers.is_empty() && triggers.is_empty() && services.is_empty()
    }
}

impl Snapshot {
    /// What changed from `before` to `self`. A resource whose `Arc` is the same is unchanged.
    #[must_use]
    pub fn diff(&self, before: &Self) -> SnapshotDiff {
        SnapshotDiff {
            brokers: diff(&before.brokers, &self.brokers),
            triggers: diff(&before.triggers, &self.triggers),
            services: diff(&before.services, &self.services),
        }
    }
}

fn diff<T>(
    before: &BTreeMap<NamespacedName, Arc<T>>,
    after: &BTreeMap<NamespacedName, Arc<T>>,
) -> Vec<Change<T>> {
    let removed = before
        .iter()
        .filter(|(name, _)| !after.contains_key(*name))
        .map(|(_, old)| Change::Removed(old.clone()));
    let others = after.iter().filter_map(|(name, new)| match before.get(name) {
        None => Some(Change::Added(new.clone())),
        Some(old) if Arc::ptr_eq(old, new) => None,
        Some(old) => Some(Change::Changed { before: old.clone(), after: new.clone() }),
    });
    removed.chain(others).collect()
}
