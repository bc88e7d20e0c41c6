//! The engine over librdkafka's mock brokers, which fail when they are told to, request by request.
//!
//! They keep records and offsets in memory. What they do not do is tested on a real cluster (`tests/kafka`): topics are
//! neither made, deleted nor described, groups not described nor their commits listed, records not found by time. Nor do they
//! know idempotence: what is sent twice they store twice, and they notice no gap in a sequence. So no test here lets an
//! acknowledgement get lost and then counts.

mod mirror;
mod outage;
mod reading;
mod routes;
mod writing;

use std::time::Duration;

use bytes::Bytes;
use pelton_event::{Envelope, EventBuilder, Kind, Record, SpecVersion, Timestamp};
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
pub(super) use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Code};
use tokio::time::{Instant, sleep};

use super::config::{Config, Connection};
use super::topics::progress_topic;
use crate::{
    AppendError, Batch, Content, EventLog, KafkaLog, Offset, Partition, ReadLimit, Stored, TopicName,
};

const NO_WAIT: ReadLimit = ReadLimit { bytes: 1 << 20, entries: 1000, wait: false };
const WAIT: ReadLimit = ReadLimit { wait: true, ..NO_WAIT };
const PARTITIONS: u32 = 2;
/// How long something may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// All brokers.
const ALL: i32 = -1;

/// Mock brokers, numbered from 1, with one topic.
struct Mocked {
    brokers: MockCluster<'static, DefaultProducerContext>,
    /// A dead-letter topic: elsewhere positions depend on the ids of topics, which the brokers do not tell.
    topic: TopicName,
}

impl Mocked {
    fn new(count: i32) -> Self {
        let topic = TopicName::new("knative-broker-default-mocked_dead-letter");
        let mocked = Self { brokers: MockCluster::new(count).unwrap(), topic };
        let name = mocked.topic.as_str();
        mocked.apart(|brokers| brokers.create_topic(name, PARTITIONS as i32, count));
        for partition in 0..PARTITIONS as i32 {
            mocked.apart(|brokers| brokers.partition_leader(name, partition, Some(1)));
        }
        mocked
    }

    /// Makes an events topic with its progress topic, and tells the log of it.
    fn broker(&self, log: &KafkaLog, name: &str) -> TopicName {
        let events = TopicName::new(format!("knative-broker-default-{name}"));
        for topic in [events.clone(), progress_topic(&events)] {
            self.apart(|brokers| brokers.create_topic(topic.as_str(), 1, 1));
        }
        let cluster = log.0.cluster(&self.config().connection).unwrap();
        log.0.set_route(&events, cluster);
        events
    }

    /// To clients the topics of a broker are gone.
    fn remove(&self, events: &TopicName) {
        for topic in [events.clone(), progress_topic(events)] {
            let gone = Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
            self.apart(|brokers| brokers.topic_error(topic.as_str(), gone));
        }
    }

    /// Tells the brokers something. Their thread misses a wake-up that comes while it reads the one before, and then sleeps
    /// for a second.
    fn apart(&self, order: impl FnOnce(&MockCluster<'static, DefaultProducerContext>) -> KafkaResult<()>) {
        std::thread::sleep(Duration::from_millis(2));
        order(&self.brokers).unwrap();
    }

    fn config(&self) -> Config {
        Config::new(Connection::plaintext(self.brokers.bootstrap_servers()))
    }

    fn open(&self) -> KafkaLog {
        KafkaLog::open(self.config()).unwrap()
    }

    /// The next requests of that kind fail with these errors, each with one of them; those after succeed.
    fn fail(&self, request: Request, errors: &[Code]) {
        self.brokers.request_errors(request, errors);
    }

    fn batch<'a>(&self, partition: Partition, ids: impl IntoIterator<Item = &'a str>) -> Batch {
        let records = ids.into_iter().map(|id| (self.topic.clone(), partition, record(id, 4)));
        Batch { records: records.collect(), ..Batch::default() }
    }

    /// Appends one record.
    async fn append(&self, log: &KafkaLog, id: &str) -> Result<Stored, AppendError> {
        log.append(self.batch(0, [id])).await
    }

    /// Appends one record until it is taken, and says where it is. For logs that give up soon: the brokers' thread sometimes
    /// sleeps for a second (see `apart`), and so may the machine.
    async fn append_at_last(&self, log: &KafkaLog, id: &str) -> (Offset, String) {
        let taken = eventually("an append is taken", async || self.append(log, id).await.ok()).await;
        (taken.positions[0].1, id.to_owned())
    }

    /// What partition 0 holds from its start, with its offsets.
    async fn stored(&self, log: &KafkaLog) -> Vec<(Offset, String)> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let chunk = log.read(&self.topic, 0, from, NO_WAIT).await.unwrap();
            if chunk.entries.is_empty() {
                return all;
            }
            from = chunk.next;
            all.extend(chunk.entries.into_iter().map(|entry| (entry.offset, id_of(&entry.content))));
        }
    }
}

/// The event of that id with so many bytes of data.
fn record(id: &str, bytes: usize) -> Record {
    let mut event = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", id), ("source", "/mocked"), ("type", "test")] {
        event.attribute(name, value, Kind::String).unwrap();
    }
    let event = event.build(Some(Bytes::from(vec![b'x'; bytes]))).unwrap();
    Record::new(Envelope::new(Timestamp::from_millis(1_000_000)), event)
}

fn id_of(content: &Content) -> String {
    match content {
        Content::Record(record) => record.event.as_ref().unwrap().id().to_owned(),
        Content::Undecodable { reason, .. } => panic!("{reason}"),
    }
}

/// The numbers below `count` as texts.
fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Waits until `condition` answers a value.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
