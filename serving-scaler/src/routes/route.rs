//! The route of one Service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pelton_resources::{NamespacedName, Service};

use super::resolve::{Target, resolve};
use super::rollout::{Rollout, Share};
use crate::condition::{Cause, Condition};
use crate::limits::TRAFFIC_PARTS;
use crate::revisions::{Book, ServiceRevisions};

/// Which revision of a Service a request goes to.
///
/// While a target cannot be assigned, all stays as it was when all could be, rollouts included.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    service: NamespacedName,
    /// What was assigned last; empty if nothing ever could be.
    pub(super) targets: Vec<Target>,
    /// Of the targets that follow the latest revision: under `""` those without regard to tags, and each that has a tag
    /// under it, since a tag has all of its own traffic.
    pub(super) rollouts: BTreeMap<String, Rollout>,
    /// Where requests without a tag go: adds up to 100.
    shares: Vec<Share>,
    /// Where requests with a tag go: each adds up to 100.
    tags: BTreeMap<String, Vec<Share>>,
    /// The revision with the most requests without a tag.
    pub(super) main: Option<String>,
    /// That which was it before.
    pub(super) before: Option<String>,
    /// The revisions that the Service names.
    named: BTreeSet<String>,
    rollout_duration: Duration,
    condition: Condition,
}

/// The key of the rollout of requests without a tag; no tag is empty.
const NO_TAG: &str = "";

impl Route {
    pub(super) fn new(service: NamespacedName) -> Self {
        Self {
            service,
            targets: Vec::new(),
            rollouts: BTreeMap::new(),
            shares: Vec::new(),
            tags: BTreeMap::new(),
            main: None,
            before: None,
            named: BTreeSet::new(),
            rollout_duration: Duration::ZERO,
            condition: Condition::Unknown(Cause::new("Unknown", "the traffic was not looked at yet")),
        }
    }

    /// A route as it was kept.
    pub(super) fn restored(
        service: NamespacedName,
        targets: Vec<Target>,
        rollouts: BTreeMap<String, Rollout>,
        [main, before]: [Option<String>; 2],
    ) -> Self {
        let mut route = Self { targets, rollouts, main, before, ..Self::new(service) };
        route.spread();
        route
    }

    /// Follows what the Service says and what became of its revisions; `now` is in milliseconds since the Unix epoch.
    /// Answers whether requests go elsewhere than before.
    pub(super) fn follow(&mut self, service: &Service, book: &Book, now: u64) -> bool {
        self.rollout_duration = service.rollout_duration;
        self.named = service.traffic.iter().filter_map(|target| target.revision.clone()).collect();
        self.targets = match resolve(service, book) {
            Ok(targets) => targets,
            Err(condition) => {
                self.condition = condition;
                return false;
            }
        };
        self.condition = Condition::True;
        self.roll_out(book, now);
        let before = (std::mem::take(&mut self.shares), std::mem::take(&mut self.tags));
        self.spread();
        self.note_main();
        before != (self.shares.clone(), self.tags.clone())
    }

    /// Notes which revision has the most requests, where it is another than before.
    fn note_main(&mut self) {
        let share_of_main = self.shares.iter().find(|share| self.main.as_ref() == Some(&share.revision));
        let share_of_main = share_of_main.map_or(0, |share| share.percent);
        let largest = self.shares.iter().max_by_key(|share| share.percent);
        if let Some(largest) = largest.filter(|largest| largest.percent > share_of_main) {
            self.before = self.main.replace(largest.revision.clone()).or(self.before.take());
        }
    }

    /// The ready revision that the requests went to before the last change; `None`: there is none to go back to. While
    /// several share the requests that is the greatest beside the newest, else that which had most of them before, and
    /// where that is gone the newest that is older.
    #[must_use]
    pub fn previous<'a>(&self, own: &'a ServiceRevisions) -> Option<&'a str> {
        let ready = |name: &str| own.get(name).filter(|revision| revision.is_ready());
        let in_traffic =
            || self.shares.iter().filter_map(|share| Some((own.get(&share.revision)?, share.percent)));
        let (newest, _) = in_traffic().max_by_key(|(revision, _)| revision.generation)?;
        let beside = in_traffic().filter(|(revision, _)| revision.is_ready() && revision.name != newest.name);
        let beside = beside.max_by_key(|(revision, percent)| (*percent, revision.generation));
        let before = || self.before.as_deref().and_then(ready).filter(|before| before.name != newest.name);
        let older = || {
            let mut older = own.all().iter().filter(|revision| revision.generation < newest.generation);
            older.rfind(|revision| revision.is_ready())
        };
        let previous = beside.map(|(revision, _)| revision).or_else(before).or_else(older);
        previous.map(|revision| revision.name.as_str())
    }

    /// Notes that the assignment is in force: a rollout that has begun has its pace with that.
    pub(super) fn in_force(&mut self, now: u64) {
        for rollout in self.rollouts.values_mut() {
            rollout.in_force(self.rollout_duration, now);
        }
    }

    fn roll_out(&mut self, book: &Book, now: u64) {
        let mut goals: BTreeMap<&str, (u8, &str)> = BTreeMap::new();
        for target in self.targets.iter().filter(|target| target.follows_latest) {
            let latest = target.revision.as_str();
            goals.entry(NO_TAG).or_insert((0, latest)).0 += target.percent;
            if let Some(tag) = &target.tag {
                goals.insert(tag, (100, latest));
            }
        }
        self.rollouts.retain(|tag, _| goals.contains_key(tag.as_str()));
        for (tag, (percent, latest)) in goals {
            let rollout = self.rollouts.entry(tag.to_owned()).or_default();
            rollout.drop_missing(|revision| book.get(&self.service, revision).is_some());
            rollout.advance(percent, latest, self.rollout_duration, now);
        }
    }

    /// Works out where requests go.
    fn spread(&mut self) {
        self.shares.clear();
        self.tags.clear();
        let named = self.targets.iter().filter(|target| !target.follows_latest);
        for target in named {
            add(&mut self.shares, &target.revision, target.percent);
            if let Some(tag) = &target.tag {
                self.tags.insert(tag.clone(), vec![Share::new(&target.revision, 100)]);
            }
        }
        for (tag, rollout) in &self.rollouts {
            let shares = match tag.as_str() {
                NO_TAG => &mut self.shares,
                tag => self.tags.entry(tag.to_owned()).or_default(),
            };
            rollout.shares().iter().for_each(|share| add(shares, &share.revision, share.percent));
        }
    }

    /// The Service.
    #[must_use]
    pub fn service(&self) -> &NamespacedName {
        &self.service
    }

    /// The revision for a request without a tag. `random` is below [`TRAFFIC_PARTS`]; over all of its values each revision
    /// comes up exactly as often as its part of the traffic says. `None`: no revision was ever ready.
    #[must_use]
    pub fn pick(&self, random: u32) -> Option<&str> {
        pick(parts(&self.shares), random)
    }

    /// The revision for a request with `tag`; `random` as for [`Route::pick`], since a tag of the latest revision is rolled
    /// out as well. `None`: there is no such tag.
    #[must_use]
    pub fn tagged(&self, tag: &str, random: u32) -> Option<&str> {
        pick(parts(self.tags.get(tag)?), random)
    }

    /// Whether the Service has this tag, in what is assigned.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains_key(tag)
    }

    /// What the Service says, with the revisions that it means.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Where requests without a tag go; adds up to 100, or is empty.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Where requests with a tag go, by tag; each adds up to 100.
    #[must_use]
    pub fn tags(&self) -> &BTreeMap<String, Vec<Share>> {
        &self.tags
    }

    /// Whether traffic names `revision`: in what is assigned, or in what the Service wants.
    #[must_use]
    pub fn has_revision(&self, revision: &str) -> bool {
        let is_in = |shares: &[Share]| shares.iter().any(|share| share.revision == revision);
        self.named.contains(revision) || is_in(&self.shares) || self.tags.values().any(|shares| is_in(shares))
    }

    /// When a rollout has a step to take; `None`: not by time alone. While a target cannot be assigned, none is taken.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        if !self.condition.is_true() {
            return None;
        }
        self.rollouts.values().filter_map(Rollout::next_at).min()
    }

    /// Knative's condition `Ready` of a Route. As there, a rollout under way is not ready yet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if !self.condition.is_true() || !self.rollouts.values().any(Rollout::is_moving) {
            return self.condition.clone();
        }
        Condition::Unknown(Cause::new(
            "RolloutInProgress",
            "traffic moves to the latest revision step by step",
        ))
    }
}

/// Adds to the share of `revision`; nothing is no share.
fn add(shares: &mut Vec<Share>, revision: &str, percent: u8) {
    if percent == 0 {
        return;
    }
    match shares.iter_mut().find(|share| share.revision == revision) {
        Some(share) => share.percent += percent,
        None => shares.push(Share::new(revision, percent)),
    }
}

fn parts(shares: &[Share]) -> impl Iterator<Item = (u8, &str)> {
    shares.iter().map(|share| (share.percent, share.revision.as_str()))
}

/// Chooses among what has a percentage each. Over all of `random`, below [`TRAFFIC_PARTS`], each comes up exactly as often as its
/// percentage says.
pub(crate) fn pick<T>(shares: impl IntoIterator<Item = (u8, T)>, random: u32) -> Option<T> {
    let mut point = random % TRAFFIC_PARTS;
    for (percent, one) in shares {
        let parts = u32::from(percent) * (TRAFFIC_PARTS / 100);
        if point < parts {
            return Some(one);
        }
        point -= parts;
    }
    None
}
