//! One revision.

use std::sync::Arc;

use pelton_resources::{NamespacedName, RevisionTemplate};

use crate::condition::{Cause, Condition};

/// What a Service was at a time: all that is needed to run it, whatever its document says by now. Times are milliseconds
/// since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Its name; no other in its namespace has it.
    pub name: String,
    /// The Service it is of.
    pub service: NamespacedName,
    /// Counts the revisions of the Service, from 1; gaps are possible.
    pub generation: u64,
    /// When it was made.
    pub created: u64,
    /// What it is made of.
    pub template: Arc<RevisionTemplate>,
    /// Whether it can take traffic.
    pub state: RevisionState,
    /// When traffic was last seen to name it; `created` if it never was.
    pub last_active: u64,
}

/// Whether a revision can take traffic. One without replicas stays ready: they are started when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionState {
    /// Its first replicas have not been ready yet.
    Starting,
    /// It takes traffic, and nothing of it has run yet: its initial scale is 0, so that a request or an event is the first to
    /// start a replica.
    Untried,
    /// It takes traffic.
    Ready,
    /// It does not, and will not by itself.
    Failed(Cause),
}

impl Revision {
    /// Whether it takes traffic.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, RevisionState::Ready | RevisionState::Untried)
    }

    /// Knative's condition `Ready` of a revision.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match &self.state {
            RevisionState::Starting => Condition::Unknown(Cause::new(
                "Deploying",
                format!("revision {} waits for its first replicas", self.name),
            )),
            RevisionState::Ready | RevisionState::Untried => Condition::True,
            RevisionState::Failed(cause) => Condition::False(cause.clone()),
        }
    }
}
