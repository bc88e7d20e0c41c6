//! From the traffic that a Service describes to revisions that can take it.

use pelton_resources::{Service, TrafficTarget};
use serde::{Deserialize, Serialize};

use crate::condition::{Cause, Condition};
use crate::revisions::{Book, RevisionState, ServiceRevisions};

/// Knative's reason for all that is wrong with a target.
const REVISION_MISSING: &str = "RevisionMissing";

/// A part of the traffic, and the revision that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// The revision; of a target that follows the latest, the one that all of it goes to in the end.
    pub revision: String,
    /// Its part, in percent.
    pub percent: u8,
    /// The name under which it is reached by itself.
    pub tag: Option<String>,
    /// Whether the Service says `latestRevision` rather than a name.
    pub follows_latest: bool,
}

/// The targets of `service`, or why they cannot all be assigned: what is wrong for good counts before what may yet come.
pub(super) fn resolve(service: &Service, book: &Book) -> Result<Vec<Target>, Condition> {
    let none = ServiceRevisions::default();
    let own = book.of(&service.name).unwrap_or(&none);
    let mut targets = Vec::with_capacity(service.traffic.len());
    let mut condition = Condition::True;
    for target in &service.traffic {
        match revision(target, own) {
            Ok(revision) => targets.push(Target {
                revision,
                percent: target.percent,
                tag: target.tag.clone(),
                follows_latest: target.revision.is_none(),
            }),
            Err(wrong) => condition = condition.and(wrong),
        }
    }
    if condition.is_true() { Ok(targets) } else { Err(condition) }
}

fn revision(target: &TrafficTarget, own: &ServiceRevisions) -> Result<String, Condition> {
    let cause = |message: String| Cause::new(REVISION_MISSING, message);
    let Some(name) = &target.revision else {
        return match (own.latest_ready(), own.latest_created().map(|latest| &latest.state)) {
            (Some(latest), _) => Ok(latest.name.clone()),
            (None, Some(RevisionState::Failed(why))) => Err(Condition::False(cause(format!(
                "no revision of the Service is ready, and the latest failed: {}",
                why.message
            )))),
            (None, _) => Err(Condition::Unknown(cause("no revision of the Service is ready yet".into()))),
        };
    };
    let Some(revision) = own.get(name) else {
        return Err(Condition::False(cause(format!(
            "traffic names revision {name}, which the Service does not have; name one that it has, or none for the latest"
        ))));
    };
    match &revision.state {
        RevisionState::Ready | RevisionState::Untried => Ok(name.clone()),
        RevisionState::Starting => {
            Err(Condition::Unknown(cause(format!("traffic names revision {name}, which is not ready yet"))))
        }
        RevisionState::Failed(why) => Err(Condition::False(cause(format!(
            "traffic names revision {name}, which failed: {}",
            why.message
        )))),
    }
}
