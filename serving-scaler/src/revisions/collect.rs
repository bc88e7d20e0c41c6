//! Which revisions are given up (Knative Serving, ConfigMap `config-gc`).

use std::collections::BTreeSet;
use std::time::Duration;

use pelton_resources::NamespacedName;

use super::book::{Book, Change, ServiceRevisions, removed};
use super::revision::Revision;
use crate::limits;

/// An owner keeps a revision by this annotation of its template, where it says `true`.
const NO_GC: &str = "serving.knative.dev/no-gc";

/// How long revisions out of traffic are kept, and how many of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The time since it was made in which none is given up; `None`: that counts for nothing.
    pub since_create: Option<Duration>,
    /// The time since traffic last named it in which none is given up; `None`: that counts for nothing.
    pub since_active: Option<Duration>,
    /// So many are kept, however old.
    pub min: usize,
    /// More than so many are not kept, however new; `None`: any number is.
    pub max: Option<usize>,
}

impl Default for Retention {
    /// Knative's.
    fn default() -> Self {
        Self {
            since_create: Some(limits::REVISION_RETAIN_SINCE_CREATE),
            since_active: Some(limits::REVISION_RETAIN_SINCE_ACTIVE),
            min: limits::REVISIONS_IDLE_MIN,
            max: Some(limits::REVISIONS_IDLE_MAX),
        }
    }
}

impl Retention {
    /// Without either time nothing ever gets old.
    fn is_old(&self, revision: &Revision, now: u64) -> bool {
        let passed = |since: u64, time: Option<Duration>| {
            time.is_none_or(|time| u128::from(now.saturating_sub(since)) >= time.as_millis())
        };
        (self.since_create.is_some() || self.since_active.is_some())
            && passed(revision.created, self.since_create)
            && passed(revision.last_active, self.since_active)
    }
}

impl Book {
    /// Notes which revisions are in traffic, and gives up old ones that are not: those that were so longest first. The
    /// latest that was made and the latest that is ready stay. `now` is in milliseconds since the Unix epoch; between two
    /// calls should be minutes at most, since a revision's last time in traffic is that of a call.
    pub fn collect(
        &mut self,
        is_in_traffic: impl Fn(&NamespacedName, &str) -> bool,
        retention: &Retention,
        now: u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for own in self.services.values_mut() {
            let in_traffic = |revision: &Revision| is_in_traffic(&revision.service, &revision.name);
            own.revisions.iter_mut().filter(|revision| in_traffic(revision)).for_each(|revision| {
                revision.last_active = now;
            });
            let given_up = given_up(own, in_traffic, retention, now);
            own.revisions.retain(|revision| {
                let stays = !given_up.contains(&revision.generation);
                if !stays {
                    changes.push(removed(revision));
                }
                stays
            });
        }
        changes
    }
}

/// The generations of what is given up.
fn given_up(
    own: &ServiceRevisions,
    in_traffic: impl Fn(&Revision) -> bool,
    retention: &Retention,
    now: u64,
) -> BTreeSet<u64> {
    let latest = [own.latest_created(), own.latest_ready()];
    let latest = latest.map(|revision| revision.map(|revision| revision.generation));
    let is_latest = |revision: &Revision| latest.contains(&Some(revision.generation));
    let is_kept =
        |revision: &Revision| revision.template.annotations.get(NO_GC).is_some_and(|text| is_true(text));
    let idle = own.revisions.iter();
    let idle = idle.filter(|revision| !in_traffic(revision) && !is_latest(revision) && !is_kept(revision));
    let mut idle: Vec<_> = idle.collect();
    idle.sort_by_key(|revision| (revision.last_active, revision.generation));
    let mut given_up = BTreeSet::new();
    for revision in &idle {
        if idle.len() - given_up.len() <= retention.min {
            return given_up;
        }
        if retention.is_old(revision, now) {
            given_up.insert(revision.generation);
        }
    }
    let max = retention.max.map_or(usize::MAX, |max| max.max(retention.min));
    for revision in &idle {
        if idle.len() - given_up.len() <= max {
            break;
        }
        given_up.insert(revision.generation);
    }
    given_up
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}
