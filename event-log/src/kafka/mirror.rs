//! The groups of triggers as mirrors of their lanes: what `kafka-consumer-groups`, Burrow and KEDA read.
//!
//! Kafka takes the offsets of one group per request, and forgets those of groups that nobody writes. So one task for each
//! events topic goes round the groups of its lanes, writes those that moved, at a bounded rate, and all of them now and then.
//! Kafka refuses the offsets of a group that has members; such a lane is held until they are gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::native::{self, Commits, GroupState, NativeError};
use super::owner::{Owner, Rounds};
use crate::limits::{
    KAFKA_MIRROR_AGAIN, KAFKA_MIRROR_AT_ONCE, KAFKA_MIRROR_INTERVAL, KAFKA_MIRROR_RETRY_MAX,
    KAFKA_MIRROR_RETRY_MIN, KAFKA_REQUEST_TIMEOUT, KAFKA_RETRY_MAX,
};
use crate::{HeldLanes, LogError, MirroredLane, Offset, Partition, TopicName};

/// What our commits say, so that they are told from those of others.
const OURS: &str = "pelton";

pub(super) type Offsets = Vec<(Partition, Offset)>;

/// Which lanes of a topic are mirrored, and which are held.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    wanted: Mutex<Wanted>,
    held: watch::Sender<HeldLanes>,
}

#[derive(Debug, Default, Clone)]
struct Wanted {
    lanes: Vec<MirroredLane>,
    take_over: bool,
}

/// What the task remembers of the groups that are wanted.
#[derive(Debug, Default)]
pub(super) struct Written {
    tried: HashMap<Arc<str>, Tried>,
    /// Groups that may be written: they are empty, ours, or taken over.
    known: HashSet<Arc<str>>,
}

/// When a group was tried last, and what came of it.
#[derive(Debug)]
struct Tried {
    at: Instant,
    /// What it was given; `None` if it was not written.
    offsets: Option<Offsets>,
    /// It is tried again then, whether its lane moves or not.
    again: Instant,
    /// How long it waits after its next failure.
    backoff: Duration,
}

/// What came of writing a group.
enum Outcome {
    Written,
    /// It has members: who.
    InUse(String),
    /// It has commits of somebody else.
    Foreign,
    Failed(LogError),
}

impl Mirror {
    /// Replaces what is mirrored.
    pub(super) fn set(&self, lanes: Vec<MirroredLane>, take_over: bool) -> watch::Receiver<HeldLanes> {
        let mut wanted = self.wanted();
        self.held.send_if_modified(|held| {
            let is_wanted = |lane: &Arc<str>| lanes.iter().any(|wanted| wanted.lane == *lane);
            if held.keys().all(is_wanted) {
                return false;
            }
            let kept = held.iter().filter(|(lane, _)| is_wanted(lane));
            *held = Arc::new(kept.map(|(lane, reason)| (lane.clone(), reason.clone())).collect());
            true
        });
        *wanted = Wanted { lanes, take_over };
        self.held.subscribe()
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, lane: &Arc<str>, reason: Option<&str>) {
        let wanted = self.wanted();
        if !wanted.lanes.iter().any(|wanted| wanted.lane == *lane) {
            return;
        }
        self.held.send_if_modified(|held| {
            if held.get(lane).map(AsRef::as_ref) == reason {
                return false;
            }
            let mut changed = BTreeMap::clone(held);
            match reason {
                Some(reason) => drop(changed.insert(lane.clone(), reason.into())),
                None => drop(changed.remove(lane)),
            }
            *held = Arc::new(changed);
            true
        });
    }
}

/// Mirrors the lanes of an owner until nobody listens to it or the log closes: the owner is not kept for this alone, since its
/// stream of changes ends with it.
pub(super) async fn run(owner: Weak<Owner>) {
    let mut written = Written::default();
    let mut rounds = Rounds::new(owner, KAFKA_MIRROR_INTERVAL);
    while let Some(owner) = rounds.next().await {
        if owner.cluster.reachable().is_ok() {
            let positions = owner.positions();
            round(&owner.cluster, &owner.events, &owner.mirror, &positions, &mut written).await;
        }
    }
}

/// Writes what of `positions` moved since the last round, as much of it as one round takes.
pub(super) async fn round(
    cluster: &Arc<Cluster>,
    topic: &TopicName,
    mirror: &Mirror,
    positions: &BTreeMap<Arc<str>, Offsets>,
    written: &mut Written,
) {
    let Wanted { lanes, take_over } = mirror.wanted().clone();
    let now = Instant::now();
    written.keep(&lanes);
    let due = written.due(lanes, positions, now);
    if due.is_empty() {
        return;
    }
    let (topic, known) = (topic.clone(), written.known.clone());
    let asked = cluster.ask(move |cluster| {
        let write = |(lane, offsets): (MirroredLane, Offsets)| {
            let is_known = known.contains(&lane.group);
            let outcome = write(cluster, &topic, &lane.group, &offsets, is_known || take_over, is_known);
            (lane, offsets, outcome)
        };
        // The rest waits for the next round: it shall not wait for many that do not answer.
        let began = Instant::now();
        let in_time = |_: &_| began.elapsed() < KAFKA_REQUEST_TIMEOUT;
        Ok(due.into_iter().take_while(in_time).map(write).collect::<Vec<_>>())
    });
    let Ok(outcomes) = asked.await else { return };
    for (MirroredLane { lane, group }, offsets, outcome) in outcomes {
        match outcome {
            Outcome::Written => {
                written.known.insert(group.clone());
                written.note(group, now, Some(offsets), KAFKA_MIRROR_AGAIN);
                mirror.hold(&lane, None);
            }
            Outcome::InUse(who) => {
                written.known.remove(&group);
                let reason =
                    format!("its consumer group {group} has members again ({who}); it is left to them");
                tracing::warn!(%lane, "{reason}");
                mirror.hold(&lane, Some(&reason));
                // Looked at again soon, but not with every round.
                written.note(group, now, None, KAFKA_RETRY_MAX);
            }
            Outcome::Foreign => {
                tracing::warn!(%lane, %group, "the consumer group has offsets of another client, which are left alone; \
                 `kafka.pelton.dev/take-over: \"true\"` on the Broker continues them");
                written.note(group, now, None, KAFKA_MIRROR_AGAIN);
            }
            Outcome::Failed(error) => {
                tracing::debug!(%lane, %group, %error, "a consumer group is not mirrored");
                written.failed(group, now);
            }
        }
    }
}

impl Written {
    /// Forgets the groups of lanes that are gone.
    fn keep(&mut self, lanes: &[MirroredLane]) {
        let wanted: HashSet<_> = lanes.iter().map(|lane| &lane.group).collect();
        self.tried.retain(|group, _| wanted.contains(group));
        self.known.retain(|group| wanted.contains(group));
    }

    /// What one round writes, where it is to be: those first that were not tried for longest, so that groups which cannot be
    /// written keep no others waiting.
    fn due(
        &self,
        lanes: Vec<MirroredLane>,
        positions: &BTreeMap<Arc<str>, Offsets>,
        now: Instant,
    ) -> Vec<(MirroredLane, Offsets)> {
        let due = |lane: MirroredLane| {
            let offsets = positions.get(&lane.lane).filter(|offsets| !offsets.is_empty())?;
            let is_due = self.tried.get(&lane.group).is_none_or(|tried| {
                now >= tried.again || tried.offsets.as_ref().is_some_and(|written| written != offsets)
            });
            is_due.then(|| (lane, offsets.clone()))
        };
        let mut due: Vec<_> = lanes.into_iter().filter_map(due).collect();
        due.sort_by_key(|(lane, _)| self.tried.get(&lane.group).map(|tried| tried.at));
        due.truncate(KAFKA_MIRROR_AT_ONCE);
        due
    }

    fn note(&mut self, group: Arc<str>, now: Instant, offsets: Option<Offsets>, after: Duration) {
        let tried = Tried { at: now, offsets, again: now + after, backoff: KAFKA_MIRROR_RETRY_MIN };
        self.tried.insert(group, tried);
    }

    fn failed(&mut self, group: Arc<str>, now: Instant) {
        let wait = self.tried.get(&group).map_or(KAFKA_MIRROR_RETRY_MIN, |tried| tried.backoff);
        let backoff = (wait * 2).min(KAFKA_MIRROR_RETRY_MAX);
        self.tried.insert(group, Tried { at: now, offsets: None, again: now + wait, backoff });
    }
}

fn write(
    cluster: &Cluster,
    topic: &TopicName,
    group: &str,
    offsets: &Offsets,
    may_be_foreign: bool,
    is_known: bool,
) -> Outcome {
    if !may_be_foreign {
        match commits(cluster, topic, group) {
            Ok(commits) if commits.values().any(|(_, by)| **by != *OURS) => return Outcome::Foreign,
            Ok(_) => {}
            Err(error) => return Outcome::Failed(error),
        }
    }
    match set_commits(cluster, topic, group, offsets) {
        Ok(()) => Outcome::Written,
        Err(LogError::GroupInUse { members, .. }) => {
            // Members that were there before we ever wrote belong to a group that was never ours.
            if is_known || may_be_foreign { Outcome::InUse(members.into()) } else { Outcome::Foreign }
        }
        Err(error) => Outcome::Failed(error),
    }
}

/// What a group has committed for a topic, by whomever.
pub(super) fn commits(cluster: &Cluster, topic: &TopicName, group: &str) -> Result<Commits, LogError> {
    let topic = topic.as_str();
    let ask = |client: &Client<_>| native::committed_offsets(client, group, topic, KAFKA_REQUEST_TIMEOUT);
    cluster.ask_coordinator(ask).map_err(|error| failed(group, &error))
}

/// Sets the commits of a group without members.
pub(super) fn set_commits(
    cluster: &Cluster,
    topic: &TopicName,
    group: &str,
    offsets: &[(Partition, Offset)],
) -> Result<(), LogError> {
    let alter = |client: &Client<_>| {
        native::alter_offsets(client, group, topic.as_str(), offsets, OURS, KAFKA_REQUEST_TIMEOUT)
    };
    match cluster.ask_coordinator(alter) {
        Ok(()) => Ok(()),
        Err(error) => {
            let refused = matches!(
                error.code,
                RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::NonEmptyGroup
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress
                    | RDKafkaErrorCode::GroupSubscribedToTopic
            );
            // What Kafka refuses for another reason is told as it is.
            if refused {
                idle(cluster, group)?;
            }
            Err(failed(group, &error))
        }
    }
}

/// # Errors
/// [`LogError::GroupInUse`] if the group has members.
pub(super) fn idle(cluster: &Cluster, group: &str) -> Result<(), LogError> {
    match describe(cluster, group)? {
        GroupState::Idle => Ok(()),
        GroupState::Members(hosts) => {
            Err(LogError::GroupInUse { group: group.into(), members: told(&hosts).into() })
        }
    }
}

/// The hosts of the members of a group.
pub(super) fn members(cluster: &Cluster, group: &str) -> Result<Vec<Box<str>>, LogError> {
    match describe(cluster, group)? {
        GroupState::Idle => Ok(Vec::new()),
        GroupState::Members(hosts) if hosts.is_empty() => Ok(vec!["one that is joining".into()]),
        GroupState::Members(hosts) => Ok(hosts),
    }
}

fn describe(cluster: &Cluster, group: &str) -> Result<GroupState, LogError> {
    let ask = |client: &Client<_>| native::describe_group(client, group, KAFKA_REQUEST_TIMEOUT);
    cluster.ask_coordinator(ask).map_err(|error| failed(group, &error))
}

fn told(hosts: &[Box<str>]) -> String {
    let mut hosts: Vec<&str> = hosts.iter().map(|host| host.trim_start_matches('/')).collect();
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.is_empty() { "joining".to_owned() } else { hosts.join(", ") }
}

fn failed(group: &str, error: &NativeError) -> LogError {
    LogError::Unavailable(format!("consumer group {group}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(numbers: std::ops::Range<usize>) -> Vec<MirroredLane> {
        numbers
            .map(|number| MirroredLane {
                lane: format!("lane-{number}").into(),
                group: format!("group-{number}").into(),
            })
            .collect()
    }

    fn at(lanes: &[MirroredLane], offset: Offset) -> BTreeMap<Arc<str>, Offsets> {
        lanes.iter().map(|lane| (lane.lane.clone(), vec![(0, offset)])).collect()
    }

    fn groups(due: &[(MirroredLane, Offsets)]) -> HashSet<Arc<str>> {
        due.iter().map(|(lane, _)| lane.group.clone()).collect()
    }

    #[test]
    fn groups_that_cannot_be_written_keep_no_others_waiting() {
        let all = lanes(0..KAFKA_MIRROR_AT_ONCE + 10);
        let (positions, mut now) = (at(&all, 7), Instant::now());
        let mut written = Written::default();
        let first = written.due(all.clone(), &positions, now);
        for group in groups(&first) {
            written.failed(group, now);
        }
        let second = written.due(all.clone(), &positions, now);
        assert_eq!(second.len(), 10, "those that failed wait");
        assert!(groups(&second).is_disjoint(&groups(&first)));
        // And are not the first when their time has come.
        now += KAFKA_MIRROR_RETRY_MIN;
        assert!(groups(&written.due(all, &positions, now)).is_superset(&groups(&second)));
    }

    #[test]
    fn a_group_that_fails_again_and_again_is_tried_less_and_less() {
        let (all, now) = (lanes(0..1), Instant::now());
        let mut written = Written::default();
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            written.failed(all[0].group.clone(), now);
            let due =
                |after| written.due(all.clone(), &at(&all, 7), now + Duration::from_millis(after)).len();
            assert_eq!((due(wait * 1000 - 1), due(wait * 1000)), (0, 1));
        }
        written.note(all[0].group.clone(), now, Some(vec![(0, 7)]), KAFKA_MIRROR_AGAIN);
        assert_eq!(written.due(all.clone(), &at(&all, 7), now).len(), 0);
        assert_eq!(written.due(all.clone(), &at(&all, 8), now).len(), 1, "it moved");
        assert_eq!(written.due(all.clone(), &at(&all, 7), now + KAFKA_MIRROR_AGAIN).len(), 1);
    }

    #[test]
    fn what_is_not_wanted_any_more_is_forgotten() {
        let (all, now) = (lanes(0..3), Instant::now());
        let (mirror, mut written) = (Mirror::default(), Written::default());
        let held = mirror.set(all.clone(), false);
        for lane in &all {
            written.note(lane.group.clone(), now, None, KAFKA_RETRY_MAX);
            written.known.insert(lane.group.clone());
            mirror.hold(&lane.lane, Some("it is in use"));
        }
        let _ = mirror.set(lanes(1..2), false);
        mirror.hold(&all[2].lane, Some("it is in use"));
        assert_eq!(held.borrow().keys().collect::<Vec<_>>(), [&all[1].lane]);
        written.keep(&lanes(1..2));
        assert_eq!((written.tried.len(), written.known.len()), (1, 1));
    }
}
