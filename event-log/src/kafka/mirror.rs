//! The groups of triggers as mirrors of their lanes: what `kafka-consumer-groups`, Burrow and KEDA read.
//!
//! Kafka takes the offsets of one group per request, and forgets those of groups that nobody writes. So one task for each
//! events topic goes round the groups of its lanes, writes those that moved, at a bounded rate, and all of them now and then.
//! Kafka refuses the offsets of a group that has members; such a lane is held until they are gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster::Cluster;
use super::native::{self, Commits, GroupState, NativeError};
use super::owner::Owner;
use crate::limits::{
    KAFKA_MIRROR_AGAIN, KAFKA_MIRROR_AT_ONCE, KAFKA_MIRROR_INTERVAL, KAFKA_REQUEST_TIMEOUT, KAFKA_RETRY_MAX,
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

/// What the task remembers.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The offsets that each group was given last, and when.
    last: HashMap<Arc<str>, (Offsets, Instant)>,
    /// Groups that may be written: they are empty, ours, or taken over.
    known: HashSet<Arc<str>>,
    /// Groups of others that are left alone, and when they were looked at.
    foreign: HashMap<Arc<str>, Instant>,
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
        *self.wanted() = Wanted { lanes, take_over };
        self.held.subscribe()
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, lane: &Arc<str>, reason: Option<&str>) {
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
    let mut tick = interval(KAFKA_MIRROR_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(owner) = owner.upgrade() else { return };
        if owner.is_abandoned() {
            return;
        }
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
    let mut due: Vec<(MirroredLane, Offsets)> = Vec::new();
    for lane in lanes {
        let Some(offsets) = positions.get(&lane.lane).filter(|offsets| !offsets.is_empty()) else { continue };
        let fresh =
            |(last, at): &(Offsets, Instant)| last == offsets && now.duration_since(*at) < KAFKA_MIRROR_AGAIN;
        let left_alone =
            written.foreign.get(&lane.group).is_some_and(|at| now.duration_since(*at) < KAFKA_MIRROR_AGAIN);
        if !left_alone && !written.last.get(&lane.group).is_some_and(fresh) {
            due.push((lane, offsets.clone()));
        }
    }
    // Those that waited longest first.
    due.sort_by_key(|(lane, _)| written.last.get(&lane.group).map(|(_, at)| *at));
    due.truncate(KAFKA_MIRROR_AT_ONCE);
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
        Ok(due.into_iter().map(write).collect::<Vec<_>>())
    });
    let Ok(outcomes) = asked.await else { return };
    for (MirroredLane { lane, group }, offsets, outcome) in outcomes {
        match outcome {
            Outcome::Written => {
                written.known.insert(group.clone());
                written.last.insert(group, (offsets, now));
                mirror.hold(&lane, None);
            }
            Outcome::InUse(who) => {
                // Looked at again soon, but not with every round.
                written.last.insert(group.clone(), (offsets, now - (KAFKA_MIRROR_AGAIN - KAFKA_RETRY_MAX)));
                written.known.remove(&group);
                let reason = format!("its consumer group {group} has members ({who}); it is left to them");
                tracing::warn!(%lane, "{reason}");
                mirror.hold(&lane, Some(&reason));
            }
            Outcome::Foreign => {
                tracing::warn!(%lane, %group, "the consumer group has offsets of another client, which are left alone; to \
                 continue them stop Pelton, delete the progress topic, and start with `kafka.pelton.dev/take-over: \"true\"` on the Broker");
                written.foreign.insert(group, now);
            }
            Outcome::Failed(error) => {
                tracing::debug!(%lane, %group, %error, "a consumer group is not mirrored");
            }
        }
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
