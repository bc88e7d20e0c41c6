//! The Services that a process runs: their revisions, their routes, and what their replicas write.

use std::fmt;
use std::sync::Arc;

use crate::name::NamespacedName;
use crate::readiness::Readiness;
use crate::service::{RevisionTemplate, TrafficTarget};

/// Tells of the Services that this process runs.
pub trait ServingSource: Send + Sync + fmt::Debug {
    /// All revisions, by Service, the newest first.
    fn revisions(&self) -> Vec<RevisionState>;

    /// The routes of all Services, by name.
    fn routes(&self) -> Vec<RouteState>;

    /// The route of one Service; `None`: there is none yet.
    fn route(&self, service: &NamespacedName) -> Option<RouteState>;

    /// The lines that are kept of a Service's replicas, in the order in which they were written; `None`: there is no such
    /// Service.
    fn lines(&self, service: &NamespacedName) -> Option<Vec<ReplicaLine>>;
}

/// A revision as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionState {
    /// Its name; that of its Service says its namespace.
    pub name: String,
    /// The Service it is of.
    pub service: NamespacedName,
    /// Counts the revisions of the Service.
    pub generation: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// What it is made of.
    pub template: Arc<RevisionTemplate>,
    /// Whether it can take requests.
    pub readiness: Readiness,
    /// Its part of the requests without a tag, in percent, as it is now.
    pub percent: u8,
    /// The tags whose requests go to it.
    pub tags: Vec<String>,
    /// Replicas.
    pub replicas: ReplicaCounts,
    /// Requests that wait for a place, and deliveries.
    pub waiting: (u64, u64),
    /// Why it has so many replicas, for people; empty: nothing leads to it.
    pub why: String,
    /// Why the last replica ended that nobody had told to, and its last lines.
    pub failure: Option<(String, Vec<String>)>,
}

/// Replicas of a revision by what they are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// So many are to be there.
    pub wanted: u32,
    /// They take requests.
    pub ready: u32,
    /// They start.
    pub starting: u32,
    /// They finish what they have.
    pub leaving: u32,
}

/// Where the requests of a Service go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteState {
    /// The Service.
    pub service: NamespacedName,
    /// Whether all that it says is in force, and rollouts are through.
    pub readiness: Readiness,
    /// Where it is reached on this machine.
    pub url: String,
    /// Where it is reached as in a cluster; triggers write it as a `uri`.
    pub cluster_url: String,
    /// Its path at the gateway, for clients that cannot choose their host.
    pub path: String,
    /// Its tags in order, and where each is reached on this machine.
    pub tags: Vec<(String, String)>,
    /// What the Service says.
    pub targets: Vec<TrafficTarget>,
    /// Revisions and their parts of the requests without a tag, in percent, as it is now.
    pub shares: Vec<(String, u8)>,
    /// The revision that was made last.
    pub latest_created: Option<String>,
    /// What `latest` means.
    pub latest_ready: Option<String>,
    /// The ready revision that had the traffic before those that have it now; `None`: there is none to go back to.
    pub previous: Option<String>,
}

/// A line that a replica wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaLine {
    /// Counts the lines of all replicas of the process.
    pub order: u64,
    /// The revision.
    pub revision: Arc<str>,
    /// Counts the lines of the revision from 0: a gap tells of lines that were not kept.
    pub index: u64,
    /// The replica.
    pub replica: Arc<str>,
    /// What it wrote, without the line end.
    pub text: Arc<str>,
}
