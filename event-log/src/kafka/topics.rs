//! Topics on Kafka: made where they are missing, never changed where somebody else made them.
//!
//! An events topic that exists keeps its partitions and settings: keys would move, and its owner has chosen them. The topics
//! beside it (retries, dead letters, progress) get as many partitions as it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminOptions, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::cluster::{Cluster, unavailable};
use super::incarnation::{Both, Identities, Identity, TopicId};
use super::native;
use super::progress::Book;
use crate::limits::{KAFKA_REQUEST_TIMEOUT, KAFKA_RETRY_MIN};
use crate::topic::PROGRESS_SUFFIX;
use crate::{KafkaTopic, LogError, TopicInfo, TopicName, TopicSpec};

/// Settings of a progress topic: compacted soon and in small steps, so that who gains a partition reads little.
const PROGRESS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "8388608"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "3600000"),
];

/// The topic that holds the progress of `events`.
pub(super) fn progress_topic(events: &TopicName) -> TopicName {
    TopicName::new(format!("{events}{PROGRESS_SUFFIX}"))
}

/// Makes the topic as `spec` says where it is missing, with its progress topic if it is an events topic.
pub(super) async fn ensure(cluster: &Arc<Cluster>, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
    let retention = ("retention.ms".to_owned(), spec.retention.age.as_millis().to_string());
    let mut config = BTreeMap::from([retention]);
    let is_events = !spec.name.is_beside();
    if is_events {
        config.extend(spec.kafka.config.clone());
    }
    let found = partitions(cluster, &spec.name).await?;
    let partitions = match (found, is_events) {
        (Some(found), true) => found,
        (None, true) if spec.kafka.external => {
            let why = "it is an external topic, which Pelton does not make, and it does not exist";
            return Err(LogError::Topic(spec.name.clone(), why.into()));
        }
        (Some(found), false) => grow(cluster, &spec.name, found, spec.partitions).await?,
        (None, _) => {
            let made = create(cluster, &spec.name, spec.partitions, &spec.kafka, &config).await?;
            // Whoever is told that it is there may look at once.
            heard_of(cluster, &spec.name, made.partitions).await?
        }
    };
    if is_events && !spec.kafka.handed_back {
        ensure_progress(cluster, &spec.name, partitions, found.is_some(), &spec.kafka).await?;
    }
    let lifetime = if is_events { lifetime(cluster, &spec.name).await } else { None };
    Ok(TopicInfo { name: spec.name.clone(), partitions, bytes: 0, lifetime })
}

async fn ensure_progress(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    wanted: u32,
    was_there: bool,
    like: &KafkaTopic,
) -> Result<(), LogError> {
    let name = progress_topic(events);
    if let Some(found) = partitions(cluster, &name).await? {
        is_compacted(cluster, &name).await?;
        return grow(cluster, &name, found, wanted).await.map(drop);
    }
    let made = make_progress(cluster, events, wanted, like).await?;
    if was_there && made.by_us {
        adopt(cluster, events, wanted).await?;
    }
    Ok(())
}

async fn make_progress(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    partitions: u32,
    like: &KafkaTopic,
) -> Result<Made, LogError> {
    let config = PROGRESS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    create(cluster, &progress_topic(events), partitions, like, &config.into()).await
}

/// Makes a progress topic that somebody has deleted, for an owner that has its content in memory.
pub(super) async fn restore_progress(cluster: &Arc<Cluster>, events: &TopicName) -> Result<(), LogError> {
    let Some(partitions) = partitions(cluster, events).await? else { return Ok(()) };
    make_progress(cluster, events, partitions, &KafkaTopic::default()).await.map(drop)
}

/// Notes where a topic of others ends: triggers do not start with what is before.
async fn adopt(cluster: &Arc<Cluster>, events: &TopicName, partitions: u32) -> Result<(), LogError> {
    let name = progress_topic(events);
    let [id] = ids(cluster, [events.clone()]).await?;
    let id = id.ok_or_else(|| LogError::Unavailable(format!("topic {events} does not exist").into()))?;
    let identities = Identities { events: Identity::default().now(&id), ..Identities::default() };
    for partition in 0..partitions {
        let asked = events.clone();
        let bounds = cluster.ask(move |cluster| cluster.bounds(&asked, partition)).await?;
        for record in Book::adopted(bounds.end, &identities) {
            cluster.store(vec![record.outgoing(&name, partition)]).await?;
        }
    }
    Ok(())
}

/// A progress topic that is there may have been made by somebody else.
///
/// # Errors
/// [`LogError::Topic`] if Kafka deletes what it holds by age or size: what triggers are owed would go with it.
async fn is_compacted(cluster: &Arc<Cluster>, name: &TopicName) -> Result<(), LogError> {
    let settings = settings(cluster, name).await;
    match settings.as_ref().and_then(|settings| value(settings, "cleanup.policy")) {
        None | Some("compact") => Ok(()),
        Some(policy) => {
            let why = format!(
                "it holds what Triggers are owed, and its cleanup.policy is {policy}, so that Kafka deletes that after a \
                 while; set it with kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=compact"
            );
            Err(LogError::Topic(name.clone(), why.into()))
        }
    }
}

/// The settings of a topic; `None` if Kafka does not tell: not everybody may ask.
async fn settings(cluster: &Arc<Cluster>, name: &TopicName) -> Option<ConfigResource> {
    let topic = ResourceSpecifier::Topic(name.as_str());
    let described = cluster.admin.describe_configs([&topic], &options()).await;
    match described.map(|mut all| all.pop()) {
        Ok(Some(Ok(settings))) => Some(settings),
        error => {
            tracing::debug!(topic = %name, ?error, "its settings are not known");
            None
        }
    }
}

fn value<'a>(settings: &'a ConfigResource, name: &str) -> Option<&'a str> {
    settings.get(name).and_then(|entry| entry.value.as_deref())
}

/// The age at which Kafka deletes the records of a topic; `None` if it never does, or does not say.
async fn lifetime(cluster: &Arc<Cluster>, name: &TopicName) -> Option<Duration> {
    // Where it may not be asked it is not warned of.
    let settings = settings(cluster, name).await?;
    if !value(&settings, "cleanup.policy").unwrap_or("delete").contains("delete") {
        return None;
    }
    // -1 stands for ever.
    value(&settings, "retention.ms")?.parse().ok().map(Duration::from_millis)
}

/// The ids that the events topic and its retry topic have now; `None` for one that is not there.
pub(super) async fn ids_of_both(
    cluster: &Arc<Cluster>,
    events: &TopicName,
) -> Result<Both<Option<TopicId>>, LogError> {
    let [events, retry] =
        ids(cluster, [events.clone(), crate::BrokerTopics::of(events.as_str()).retry]).await?;
    Ok(Both { events, retry })
}

/// The ids that topics have now; `None` for one that is not there.
pub(super) async fn ids<const N: usize>(
    cluster: &Arc<Cluster>,
    topics: [TopicName; N],
) -> Result<[Option<TopicId>; N], LogError> {
    let ask = move |cluster: &Cluster| {
        let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
        let found = native::topic_ids(cluster.admin.inner(), &names, KAFKA_REQUEST_TIMEOUT);
        let found = found.map_err(|error| LogError::Unavailable(format!("Kafka: {error}").into()))?;
        let mut found = found.into_iter().map(|id| id.map(TopicId::new));
        let ids = topics.each_ref().map(|_| found.next().flatten());
        let there = topics.iter().zip(&ids).filter_map(|(topic, id)| Some((topic, id.as_ref()?)));
        there.for_each(|(topic, id)| cluster.note_id(topic, id));
        Ok(ids)
    };
    cluster.ask(ask).await
}

/// Gives the topics beside `events` as many partitions as it has: it may have grown.
pub(super) async fn grow_beside(
    cluster: &Arc<Cluster>,
    beside: &[TopicName],
    wanted: u32,
) -> Result<(), LogError> {
    for name in beside {
        match partitions(cluster, name).await? {
            Some(found) => grow(cluster, name, found, wanted).await?,
            None => return Err(LogError::Topic(name.clone(), "it does not exist yet".into())),
        };
    }
    Ok(())
}

/// The topic, if it is there; one of events with its lifetime.
pub(super) async fn find(cluster: &Arc<Cluster>, name: &TopicName) -> Result<Option<TopicInfo>, LogError> {
    let Some(partitions) = partitions(cluster, name).await? else { return Ok(None) };
    let lifetime = if name.is_beside() { None } else { lifetime(cluster, name).await };
    Ok(Some(TopicInfo { name: name.clone(), partitions, bytes: 0, lifetime }))
}

async fn partitions(cluster: &Arc<Cluster>, name: &TopicName) -> Result<Option<u32>, LogError> {
    let name = name.clone();
    cluster.ask(move |cluster| cluster.partitions(&name)).await
}

/// A topic that is there now.
struct Made {
    partitions: u32,
    /// Another process may have been quicker.
    by_us: bool,
}

async fn create(
    cluster: &Arc<Cluster>,
    name: &TopicName,
    partitions: u32,
    like: &KafkaTopic,
    config: &BTreeMap<String, String>,
) -> Result<Made, LogError> {
    cluster.reachable()?;
    let replicas = like.replication_factor.or(cluster.settings.replication_factor);
    // -1 leaves it to the cluster.
    let replicas = TopicReplication::Fixed(replicas.map_or(-1, i32::from));
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let mut topic = NewTopic::new(name.as_str(), count, replicas);
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let made =
        cluster.admin.create_topics([&topic], &options()).await.map_err(|error| unavailable(&error))?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            // Another process was quicker.
            Ok(Made { partitions: heard_of(cluster, name, 1).await?, by_us: false })
        }
        Some(Err((_, RDKafkaErrorCode::InvalidConfig))) => {
            let settings: Vec<_> = config.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let text = format!("Kafka does not take one of its settings: {}", settings.join(", "));
            Err(LogError::Topic(name.clone(), text.into()))
        }
        Some(Err((_, error))) => Err(refused(name, "it could not be made", error)),
        _ => {
            tracing::info!(topic = %name, partitions, "a topic is made");
            Ok(Made { partitions, by_us: true })
        }
    }
}

async fn grow(cluster: &Arc<Cluster>, name: &TopicName, found: u32, wanted: u32) -> Result<u32, LogError> {
    if found >= wanted {
        return Ok(found);
    }
    cluster.reachable()?;
    let more = NewPartitions::new(name.as_str(), wanted as usize);
    let grown =
        cluster.admin.create_partitions([&more], &options()).await.map_err(|error| unavailable(&error))?;
    match grown.into_iter().next() {
        // Another process was quicker.
        Some(Err((_, RDKafkaErrorCode::InvalidPartitions)) | Ok(_)) | None => {
            heard_of(cluster, name, wanted).await
        }
        Some(Err((_, error))) => Err(refused(name, "partitions could not be added", error)),
    }
}

/// Waits until so many partitions are known, and answers how many there are: the nodes hear of them one after the other.
async fn heard_of(cluster: &Arc<Cluster>, name: &TopicName, wanted: u32) -> Result<u32, LogError> {
    let began = Instant::now();
    loop {
        // For a moment a new topic has no leaders, which is told as an error.
        let unheard = match partitions(cluster, name).await {
            Ok(Some(found)) if found >= wanted => return Ok(found),
            Ok(_) => {
                LogError::Unavailable(format!("topic {name}: Kafka's nodes have not heard of it yet").into())
            }
            Err(error @ LogError::Unavailable(_)) => error,
            Err(error) => return Err(error),
        };
        if began.elapsed() >= KAFKA_REQUEST_TIMEOUT {
            return Err(unheard);
        }
        cluster.reachable()?;
        tokio::time::sleep(KAFKA_RETRY_MIN).await;
    }
}

/// Deletes a topic; one that is not there is deleted already.
pub(super) async fn delete(cluster: &Arc<Cluster>, name: &TopicName) -> Result<(), LogError> {
    cluster.reachable()?;
    let gone = cluster
        .admin
        .delete_topics(&[name.as_str()], &options())
        .await
        .map_err(|error| unavailable(&error))?;
    match gone.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))) => Ok(()),
        Some(Err((_, error))) => Err(refused(name, "it could not be deleted", error)),
        _ => Ok(()),
    }
}

/// What Kafka refuses for a while is told apart from what it will always refuse.
fn refused(name: &TopicName, what: &str, error: RDKafkaErrorCode) -> LogError {
    use RDKafkaErrorCode as Code;
    let text = format!("{what}: {error}");
    match error {
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::PolicyViolation
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed => LogError::Topic(name.clone(), text.into()),
        _ => LogError::Unavailable(format!("topic {name}: {text}").into()),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(KAFKA_REQUEST_TIMEOUT))
        .operation_timeout(Some(KAFKA_REQUEST_TIMEOUT))
}
