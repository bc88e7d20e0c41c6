//! The state of resources, as each role sees it.

use std::fmt;

use pelton_event::Timestamp;

use crate::name::{Kind, NamespacedName};
use crate::readiness::Readiness;

/// Answers for resources. The admin API asks every role and joins the answers.
pub trait StatusSource: Send + Sync + fmt::Debug {
    /// What this role knows about a resource; `None`: nothing.
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus>;
}

/// What a role knows about a resource. `None` and empty: this role does not know, or it does not apply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourceStatus {
    /// Whether it is in service, as far as this role is concerned.
    pub readiness: Readiness,
    /// Matched events without an end.
    pub backlog: Option<u64>,
    /// When the oldest event without an end was accepted.
    pub oldest: Option<Timestamp>,
    /// The last error and when it happened.
    pub last_error: Option<(Timestamp, String)>,
    /// Counters since the start of the process, by name (`delivered`, `failed attempts`).
    pub counters: Vec<(&'static str, u64)>,
    /// More to know, in order: label and text.
    pub facts: Vec<(&'static str, String)>,
}
