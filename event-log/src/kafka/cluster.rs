//! One cluster: its producer, its readers, and what is asked of it now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::admin::AdminClient;
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::{Context, Health, Trouble};
use super::config::{Config, Connection};
use super::incarnation::TopicId;
use super::native::NativeError;
use super::producer::{Outgoing, Producer};
use super::readers::Readers;
use super::sizes::Sizes;
use crate::limits::{KAFKA_LOOK_TIMEOUT, KAFKA_REQUEST_TIMEOUT, KAFKA_RETRY_MAX, KAFKA_RETRY_MIN};
use crate::{AppendError, Bounds, LogError, Offset, Partition, TopicName};

/// A cluster that some topic is on.
pub(super) struct Cluster {
    pub(super) connection: Connection,
    pub(super) settings: Config,
    pub(super) health: Arc<Health>,
    pub(super) producer: Producer,
    pub(super) readers: Readers,
    pub(super) admin: Arc<AdminClient<Context>>,
    /// For what goes to the coordinators of groups; another one once one of them has moved, or does not answer.
    groups: ArcSwap<GroupClient>,
    /// For questions; it reads nothing.
    questions: BaseConsumer<Context>,
    /// The ids of the topics that clients may know.
    ids: Mutex<HashMap<TopicName, TopicId>>,
}

/// Asks the coordinators of groups.
struct GroupClient {
    admin: Arc<AdminClient<Context>>,
    /// When it replaced another.
    since: Option<Instant>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.connection).finish()
    }
}

impl Cluster {
    /// Makes the clients. They connect by themselves, now or when the cluster can be reached.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(connection: Connection, settings: Config) -> Result<Self, LogError> {
        let health = Arc::new(Health::default());
        let config = connection.client();
        let wrong = |error: KafkaError| {
            LogError::Unavailable(format!("the connection to Kafka cannot be set up: {error}").into())
        };
        let context = || Context { health: health.clone() };
        let admin = Arc::new(AdminClient::from_config_and_context(&config, context()).map_err(wrong)?);
        let of_groups = Arc::new(AdminClient::from_config_and_context(&config, context()).map_err(wrong)?);
        let sizes = Arc::new(Sizes::new(admin.clone(), Handle::current()));
        Ok(Self {
            producer: Producer::new(config.clone(), &settings, health.clone(), sizes).map_err(wrong)?,
            readers: Readers::new(config.clone(), health.clone()),
            groups: ArcSwap::from_pointee(GroupClient { admin: of_groups, since: None }),
            admin,
            questions: BaseConsumer::from_config_and_context(&config, context()).map_err(wrong)?,
            ids: Mutex::default(),
            health,
            connection,
            settings,
        })
    }

    /// Asks the cluster in a thread that may wait; ends at once when the cluster cannot be reached.
    pub(super) async fn ask<T, F>(self: &Arc<Self>, question: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, LogError> + Send + 'static,
    {
        self.reachable()?;
        let cluster = self.clone();
        let answer = tokio::task::spawn_blocking(move || question(&cluster));
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(Err(LogError::Closed)),
            trouble = self.health.goes_down() => Err(not_served(&trouble)),
        }
    }

    /// # Errors
    /// [`LogError::Unavailable`] while the cluster cannot be reached.
    pub(super) fn reachable(&self) -> Result<(), LogError> {
        self.health.trouble().map_or(Ok(()), |trouble| Err(not_served(&trouble)))
    }

    /// Partitions of a topic; `None` if it does not exist. The producer asks, so that it knows them from then on: it takes no
    /// record for a partition that it has not heard of.
    pub(super) fn partitions(&self, topic: &TopicName) -> Result<Option<u32>, LogError> {
        let found = self.producer.metadata(topic, KAFKA_REQUEST_TIMEOUT);
        let metadata = self.checked(found)?;
        let Some(found) = metadata.topics().first() else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(u32::try_from(found.partitions().len()).unwrap_or(u32::MAX))),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
            Some(error) => Err(LogError::Unavailable(format!("topic {topic}: {error}").into())),
        }
    }

    /// All topics and their partitions.
    pub(super) fn topics(&self) -> Result<Vec<(TopicName, u32)>, LogError> {
        let metadata = self.checked(self.questions.fetch_metadata(None, KAFKA_REQUEST_TIMEOUT))?;
        let topic = |found: &rdkafka::metadata::MetadataTopic| {
            let partitions = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
            (TopicName::new(found.name()), partitions)
        };
        Ok(metadata.topics().iter().map(topic).collect())
    }

    /// First kept offset and end of a partition.
    pub(super) fn bounds(&self, topic: &TopicName, partition: Partition) -> Result<Bounds, LogError> {
        let number = i32::try_from(partition).unwrap_or(-1);
        let ask = || self.questions.fetch_watermarks(topic.as_str(), number, KAFKA_REQUEST_TIMEOUT);
        let mut found = while_it_moves(ask);
        if found.as_ref().is_err_and(is_new_partition) {
            // It may have been added a moment ago: what is known about the topic is asked for anew.
            self.checked(self.questions.fetch_metadata(Some(topic.as_str()), KAFKA_REQUEST_TIMEOUT))?;
            found = while_it_moves(ask);
        }
        let (start, end) = self.checked(found).map_err(|error| no_partition(error, topic, partition))?;
        Ok(Bounds { start: offset(start), end: offset(end) })
    }

    /// The offset of the first record at or after a time; `None` if there is none.
    pub(super) fn offset_at(
        &self,
        topic: &TopicName,
        partition: Partition,
        millis: u64,
    ) -> Result<Option<Offset>, LogError> {
        let mut asked = TopicPartitionList::new();
        let number = i32::try_from(partition).unwrap_or(-1);
        let time = KafkaOffset::Offset(i64::try_from(millis).unwrap_or(i64::MAX));
        self.checked(asked.add_partition_offset(topic.as_str(), number, time))?;
        let ask = || self.questions.offsets_for_times(asked.clone(), KAFKA_REQUEST_TIMEOUT);
        let found = self.checked(while_it_moves(ask))?;
        let found = found.elements().first().map(|found| (found.offset(), found.error()));
        match found {
            Some((KafkaOffset::Offset(at), Ok(()))) => Ok(Some(offset(at))),
            Some((_, Err(error))) => Err(no_partition(unavailable(&error), topic, partition)),
            _ => Ok(None),
        }
    }

    /// Notes the id that a topic has now. librdkafka keeps what it knows about the leaders of a topic beyond its end, and
    /// takes what it hears about a new one of that name for outdated, as the epochs of its leaders begin anew: only other
    /// clients find it.
    pub(super) fn note_id(&self, topic: &TopicName, id: &TopicId) {
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.clone(), id.clone());
        if known.is_some_and(|known| !known.may_be(id)) {
            tracing::info!(topic = %topic, "the topic was made anew: the clients are replaced");
            self.readers.renew();
            self.producer.renew_and_wait(self.settings.delivery_timeout);
        }
    }

    /// Asks the coordinator of a group. librdkafka keeps a coordinator for as long as it is asked for, even once another one
    /// has taken over or its node is gone for good; only another client looks anew.
    pub(super) fn ask_coordinator<T>(
        &self,
        question: impl Fn(&Client<Context>) -> Result<T, NativeError>,
    ) -> Result<T, NativeError> {
        use RDKafkaErrorCode as Code;
        let client = self.groups.load_full();
        let answer = question(client.admin.inner());
        let has_moved = answer
            .as_ref()
            .is_err_and(|error| matches!(error.code, Code::NotCoordinator | Code::OperationTimedOut));
        // While coordinators move one after the other, not a client for each.
        let is_new = client.since.is_some_and(|since| since.elapsed() < KAFKA_RETRY_MAX);
        if !has_moved || (is_new && !self.health.is_down()) {
            return answer;
        }
        let (config, context) = (self.connection.client(), Context { health: self.health.clone() });
        let Ok(admin) = AdminClient::from_config_and_context(&config, context) else { return answer };
        let fresh = Arc::new(GroupClient { admin: Arc::new(admin), since: Some(Instant::now()) });
        self.groups.store(fresh.clone());
        question(fresh.admin.inner())
    }

    /// Stores records, and waits for it.
    pub(super) async fn store(&self, records: Vec<Outgoing>) -> Result<Vec<(Partition, Offset)>, LogError> {
        let (told, told_of) = oneshot::channel();
        self.producer
            .send(records, Box::new(move |result| drop(told.send(result.map_err(|failed| failed.error)))));
        match told_of.await {
            Ok(Ok(positions)) => Ok(positions),
            Ok(Err(AppendError::NoSuchPartition(topic, partition))) => {
                Err(LogError::NoSuchPartition(topic, partition))
            }
            Ok(Err(AppendError::Unavailable(reason))) => Err(LogError::Unavailable(reason)),
            Ok(Err(error)) => Err(LogError::Unavailable(error.to_string().into())),
            Err(_) => Err(LogError::Closed),
        }
    }

    /// Waits until everything sent so far has its end; what is sent to a cluster that cannot be reached has none.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        if self.health.is_down() { Ok(()) } else { self.checked(self.producer.flush(timeout)) }
    }

    /// What has to be done now and then.
    pub(super) fn tidy(&self) {
        self.readers.tidy();
        self.producer.renew_if_broken();
        while self.questions.poll(Duration::ZERO).is_some() {}
    }

    /// Looks whether the cluster can be reached; `suspicion` tells why it might not.
    pub(super) fn look(&self, suspicion: &str) {
        let answers = self.questions.fetch_metadata(Some("pelton"), KAFKA_LOOK_TIMEOUT).is_ok();
        let servers = &self.connection.bootstrap_servers;
        if answers && self.health.up() {
            tracing::info!(%servers, "Kafka can be reached again");
        } else if !answers && self.health.down(suspicion) {
            tracing::warn!(%servers, "Kafka cannot be reached: {suspicion}");
        }
    }

    /// An answer; a time-out means that the cluster cannot be reached, so that others need not find out by themselves.
    fn checked<T>(&self, answer: Result<T, KafkaError>) -> Result<T, LogError> {
        answer.map_err(|error| {
            let timed_out = matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure)
            );
            if timed_out {
                self.health.down("it does not answer");
            }
            unavailable(&error)
        })
    }
}

/// Asks for offsets, and again while the partition gets another leader.
fn while_it_moves<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    use RDKafkaErrorCode as Code;
    let began = Instant::now();
    loop {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let moves = matches!(
            code,
            Some(
                Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::FencedLeaderEpoch
                    | Code::UnknownLeaderEpoch
                    | Code::OffsetNotAvailable
            )
        );
        if !moves || began.elapsed() > KAFKA_REQUEST_TIMEOUT {
            return answer;
        }
        std::thread::sleep(KAFKA_RETRY_MIN);
    }
}

pub(super) fn unavailable(error: &KafkaError) -> LogError {
    LogError::Unavailable(format!("Kafka: {error}").into())
}

fn not_served(trouble: &Trouble) -> LogError {
    LogError::Unavailable(format!("Kafka {trouble}").into())
}

/// Kafka does not know the partition: it may come yet, so the caller is told to try again.
fn no_partition(error: LogError, topic: &TopicName, partition: Partition) -> LogError {
    match error {
        LogError::Unavailable(reason) => {
            LogError::Unavailable(format!("partition {partition} of topic {topic}: {reason}").into())
        }
        other => other,
    }
}

fn is_new_partition(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::UnknownPartition | Code::UnknownTopicOrPartition))
}

fn offset(number: i64) -> Offset {
    u64::try_from(number).unwrap_or(0)
}
