//! Appending: records go to Kafka one by one, and an append is answered when all of its records are acknowledged.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use pelton_event::Record;
use pelton_event::kafka::{OwnedKafkaRecord, encode};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::client::{self, Health};
use super::config::Config;
use super::sizes::Sizes;
use crate::limits::{KAFKA_RECORD_BYTES_MAX, KAFKA_REPORTS_IDLE, KAFKA_REPORTS_POLL};
use crate::{AppendError, Offset, Partition, TopicName};

/// What is told once all of a batch is acknowledged, or will not be.
pub(super) type Done = Box<dyn FnOnce(Result<Vec<(Partition, Offset)>, Failed>) + Send>;

/// Why a batch is not stored as a whole.
pub(super) struct Failed {
    /// The first error, or one that leaves the outcome open.
    pub(super) error: AppendError,
    /// Whether some of its records are stored all the same.
    pub(super) in_part: bool,
}

/// A record that goes to Kafka.
pub(super) struct Outgoing {
    pub(super) topic: TopicName,
    pub(super) partition: Partition,
    pub(super) record: OwnedKafkaRecord,
}

impl Outgoing {
    pub(super) fn of(topic: TopicName, partition: Partition, record: &Record) -> Self {
        Self { topic, partition, record: encode(record) }
    }
}

/// The producer of a cluster: idempotent, `acks=all`.
pub(super) struct Producer {
    client: ArcSwap<Client>,
    config: ClientConfig,
    health: Arc<Health>,
    sizes: Arc<Sizes>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl Producer {
    pub(super) fn new(
        mut config: ClientConfig,
        settings: &Config,
        health: Arc<Health>,
        sizes: Arc<Sizes>,
    ) -> Result<Self, KafkaError> {
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Java's, where a record leaves the choice to the client; ours all name their partition.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", settings.delivery_timeout.as_millis().to_string())
            .set("linger.ms", "1")
            .set("batch.num.messages", "10000")
            // The cluster says what is too large, not the client.
            .set("message.max.bytes", KAFKA_RECORD_BYTES_MAX.to_string())
            .set("batch.size", "900000")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", (settings.queue_bytes / 1024).max(1).to_string())
            .set("delivery.report.only.error", "false");
        let client = Client::start(&config, &health, &sizes)?;
        Ok(Self { client: ArcSwap::from_pointee(client), config, health, sizes })
    }

    /// Sends the records; `done` hears of their end, from a thread of the client that must not be kept waiting.
    pub(super) fn send(&self, records: Vec<Outgoing>, done: Done) {
        if records.is_empty() {
            return done(Ok(Vec::new()));
        }
        let batch = Arc::new(Pending::new(records.len(), done));
        let client = self.client.load();
        for (index, outgoing) in records.into_iter().enumerate() {
            let Outgoing { topic, partition, record } = outgoing;
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(&**value) })
                });
            let bytes = size_of(&record);
            let ticket = Box::new(Ticket { batch: batch.clone(), index, bytes });
            let mut to_send = BaseRecord::<[u8], [u8], Box<Ticket>>::with_opaque_to(topic.as_str(), ticket)
                .partition(i32::try_from(partition).unwrap_or(-1))
                .headers(headers)
                // 0 is the time at which it is sent.
                .timestamp(i64::try_from(record.timestamp.as_millis()).unwrap_or(0));
            if let Some(key) = &record.key {
                to_send = to_send.key(key);
            }
            if let Some(value) = &record.value {
                to_send = to_send.payload(value);
            }
            if let Err((error, refused)) = client.producer.send(to_send) {
                refused.delivery_opaque.end(Err(refusal(&error, bytes, &topic, partition)));
            }
        }
        client.expect_reports();
    }

    /// Takes a new client if this one cannot go on (a fatal error of the idempotent producer).
    pub(super) fn renew_if_broken(&self) {
        let client = self.client.load_full();
        let Some((code, reason)) = client.producer.client().fatal_error() else { return };
        tracing::warn!(%code, "the Kafka producer starts anew: {reason}");
        self.renew();
    }

    /// Takes a new client. Answers the old one, which has to be kept until all that it was given has its end.
    fn renew(&self) -> Option<Arc<Client>> {
        match Client::start(&self.config, &self.health, &self.sizes) {
            Ok(fresh) => Some(self.client.swap(Arc::new(fresh))),
            Err(error) => {
                tracing::error!(%error, "the Kafka producer cannot start anew");
                None
            }
        }
    }

    /// Takes a new client, and waits until the old one has done with what it was given, at most for `timeout`.
    pub(super) fn renew_and_wait(&self, timeout: Duration) {
        if let Some(old) = self.renew()
            && let Err(error) = old.producer.flush(timeout)
        {
            tracing::warn!(%error, "a Kafka producer that is replaced did not finish");
        }
    }

    /// Asks what a topic is.
    pub(super) fn metadata(&self, topic: &TopicName, timeout: Duration) -> Result<Metadata, KafkaError> {
        self.client.load().producer.client().fetch_metadata(Some(topic.as_str()), timeout)
    }

    /// Waits until everything sent so far has its end.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.client.load().producer.flush(timeout)
    }
}

/// A client and the thread that hears what became of its records. While nothing is under way the thread rests. The wrapper's
/// own one does not, and spins for the last part of a millisecond of each wait: a hundredth of a processor for nothing.
struct Client {
    producer: Arc<BaseProducer<Acknowledged>>,
    ended: Arc<AtomicBool>,
    reports: Option<JoinHandle<()>>,
}

impl Client {
    fn start(config: &ClientConfig, health: &Arc<Health>, sizes: &Arc<Sizes>) -> Result<Self, KafkaError> {
        let context = Acknowledged { health: health.clone(), sizes: sizes.clone() };
        let producer = Arc::new(BaseProducer::from_config_and_context(config, context)?);
        let ended = Arc::<AtomicBool>::default();
        let (heard, until) = (producer.clone(), ended.clone());
        let hear = move || {
            while !until.load(Ordering::Acquire) {
                // Reports and errors that wait to be heard are counted, too.
                if heard.in_flight_count() > 0 {
                    heard.poll(KAFKA_REPORTS_POLL);
                } else {
                    std::thread::park_timeout(KAFKA_REPORTS_IDLE);
                }
            }
        };
        let thread = std::thread::Builder::new().name("kafka-reports".to_owned());
        let failed = |error: std::io::Error| KafkaError::ClientCreation(error.to_string());
        let reports = Some(thread.spawn(hear).map_err(failed)?);
        Ok(Self { producer, ended, reports })
    }

    /// Something was sent: the thread must not rest.
    fn expect_reports(&self) {
        self.reports.iter().for_each(|reports| reports.thread().unpark());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.expect_reports();
        // What is told of a record may be the last to hold the client; the thread does not wait for itself.
        let own = std::thread::current().id();
        if let Some(reports) = self.reports.take_if(|reports| reports.thread().id() != own) {
            // It does not panic, and if it did, nothing else could be done.
            let _ = reports.join();
        }
    }
}

/// Why the client did not take a record: nothing of it was sent.
fn refusal(error: &KafkaError, bytes: usize, topic: &TopicName, partition: Partition) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => AppendError::Busy,
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            AppendError::TooLarge { bytes, max: Some(KAFKA_RECORD_BYTES_MAX) }
        }
        Some(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic) => {
            AppendError::NoSuchPartition(topic.clone(), partition)
        }
        _ => AppendError::Unavailable(error.to_string().into()),
    }
}

/// Bytes that a record takes on its way if it goes alone, at the most.
fn size_of(record: &OwnedKafkaRecord) -> usize {
    // The frame of a batch has 61 bytes, that of a record at most 31, that of a header at most 10.
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>();
    let content = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
    61 + 31 + content(&record.key) + content(&record.value) + headers
}

/// Kafka refused a record, or the records that it went with, as too large for a topic that takes `max` bytes at once.
fn too_large(bytes: usize, max: Option<usize>) -> AppendError {
    match max {
        Some(max) if bytes <= max => AppendError::Unavailable(
            format!("Kafka takes {max} bytes at once for this topic, and several records together had more")
                .into(),
        ),
        max => AppendError::TooLarge { bytes, max },
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize))
}

/// Why Kafka did not acknowledge a record. What is not certain is unknown.
fn failure(error: &KafkaError, topic: &str, partition: i32) -> AppendError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            AppendError::NoSuchPartition(TopicName::new(topic), u32::try_from(partition).unwrap_or(0))
        }
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::PolicyViolation) => {
            AppendError::Unavailable(error.to_string().into())
        }
        _ => AppendError::Unknown(error.to_string().into()),
    }
}

/// An append under way.
struct Pending(Mutex<State>);

struct State {
    waiting: usize,
    stored: usize,
    positions: Vec<(Partition, Offset)>,
    failed: Option<AppendError>,
    done: Option<Done>,
}

impl Pending {
    fn new(records: usize, done: Done) -> Self {
        let positions = vec![(0, 0); records];
        Self(Mutex::new(State { waiting: records, stored: 0, positions, failed: None, done: Some(done) }))
    }

    fn end(&self, index: usize, end: Result<(Partition, Offset), AppendError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        match end {
            Ok(position) => {
                state.positions[index] = position;
                state.stored += 1;
            }
            // That one record was certainly refused says nothing about another that may be stored.
            Err(error) if state.failed.is_none() || matches!(error, AppendError::Unknown(_)) => {
                state.failed = Some(error);
            }
            Err(_) => {}
        }
        if state.waiting > 0 {
            return;
        }
        let positions = std::mem::take(&mut state.positions);
        let in_part = state.stored > 0;
        let result = state.failed.take().map_or(Ok(positions), |error| Err(Failed { error, in_part }));
        let done = state.done.take();
        drop(state);
        if let Some(done) = done {
            done(result);
        }
    }
}

/// Which record of which append a report of the client is about.
struct Ticket {
    batch: Arc<Pending>,
    index: usize,
    /// Bytes of the record.
    bytes: usize,
}

impl Ticket {
    fn end(self, end: Result<(Partition, Offset), AppendError>) {
        self.batch.end(self.index, end);
    }
}

struct Acknowledged {
    health: Arc<Health>,
    sizes: Arc<Sizes>,
}

impl ClientContext for Acknowledged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&self.health, &error, reason);
    }
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let end = match result {
            Ok(message) => match (u32::try_from(message.partition()), u64::try_from(message.offset())) {
                (Ok(partition), Ok(offset)) => {
                    self.health.up();
                    Ok((partition, offset))
                }
                // A duplicate of an earlier try: stored, but where is not told.
                _ => Err(AppendError::Unknown("Kafka did not say where the record is".into())),
            },
            Err((error, message)) if is_too_large(error) => {
                let bytes = ticket.bytes;
                let end = move |max| ticket.end(Err(too_large(bytes, max)));
                return self.sizes.ask(TopicName::new(message.topic()), end);
            }
            Err((error, message)) => Err(failure(error, message.topic(), message.partition())),
        };
        ticket.end(end);
    }
}
