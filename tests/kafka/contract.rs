//! The contract of the log, written once and kept by both engines: the embedded one in a scratch directory, the other on a
//! real Kafka. What only Kafka has (writers beside Pelton, processes that share a log, outages) follows in modules of its
//! own.

mod foreign;
mod outage;
mod owning;
mod reading;
mod sharing;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pelton_event::{Envelope, Event, EventBuilder, Kind, Record, SpecVersion, Timestamp};
use pelton_event_log::{
    Batch, BrokerTopics, Chunk, Content, EmbeddedLog, Epoch, EventLog, KafkaLog, LaneProgress, Offset,
    OnFull, Ownership, OwnershipChange, Partition, ProgressUpdate, ReadLimit, Retention, TopicName,
    TopicSpec, embedded, kafka,
};
use pelton_runtime::clock::Clock;
use pelton_tests::kafka::Kafka;

const NO_WAIT: ReadLimit = ReadLimit { bytes: 1 << 20, entries: 10_000, wait: false };
const WAIT: ReadLimit = ReadLimit { wait: true, ..NO_WAIT };

/// Runs each case on both engines, in a place of its own.
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::contract::Place::embedded()).await;
            })*
        }
        mod on_kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let Some(place) = crate::contract::Place::on_kafka().await else { return };
                super::$case(place).await;
            })*
        }
    };
}
use on_both_engines;

/// Where the log of a case is kept: it can be opened again and again.
struct Place {
    engine: Engine,
    /// Topics that nobody else uses.
    topics: BrokerTopics,
}

enum Engine {
    Embedded(tempfile::TempDir),
    Kafka(kafka::Config),
}

impl Place {
    fn embedded() -> Self {
        Self::new(Engine::Embedded(tempfile::tempdir().expect("a scratch directory can be made")))
    }

    /// On the Kafka that all tests share.
    async fn on_kafka() -> Option<Self> {
        Some(Self::on(pelton_tests::kafka::shared().await?))
    }

    fn on(kafka: &Kafka) -> Self {
        let connection = kafka::Connection::plaintext(kafka.bootstrap());
        Self::new(Engine::Kafka(kafka::Config::new(connection)))
    }

    fn new(engine: Engine) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        Self { engine, topics: BrokerTopics::of(&format!("knative-broker-contract-{number}")) }
    }

    /// Opens the log. The embedded one belongs to one opener at a time.
    fn open(&self) -> Arc<dyn EventLog> {
        match &self.engine {
            Engine::Embedded(folder) => {
                let config = embedded::Config::new(folder.path());
                Arc::new(EmbeddedLog::open(config, Clock::system()).expect("the log can be opened"))
            }
            Engine::Kafka(config) => {
                Arc::new(KafkaLog::open(config.clone()).expect("the settings can be used"))
            }
        }
    }

    /// Opens the log and makes the topics with that many partitions.
    async fn open_with(&self, partitions: u32) -> Arc<dyn EventLog> {
        let log = self.open();
        for topic in [&self.topics.events, &self.topics.retry, &self.topics.dead_letter] {
            let made = log.ensure_topic(&spec(topic, partitions)).await.expect("the topic can be made");
            assert_eq!((&made.name, made.partitions), (topic, partitions));
        }
        log
    }

    /// The same, with so many records in each partition of the events and the retry topic, if these are new: progress is
    /// never beyond what there is.
    async fn open_filled(&self, partitions: u32, count: usize) -> Arc<dyn EventLog> {
        let log = self.open_with(partitions).await;
        for topic in [self.events(), self.retry()] {
            for partition in 0..partitions {
                if log.bounds(topic, partition).await.expect("it is there").end == 0 {
                    append_numbers(&*log, topic, partition, count).await;
                }
            }
        }
        log
    }

    fn is_kafka(&self) -> bool {
        matches!(self.engine, Engine::Kafka(_))
    }

    fn events(&self) -> &TopicName {
        &self.topics.events
    }

    fn retry(&self) -> &TopicName {
        &self.topics.retry
    }
}

fn spec(topic: &TopicName, partitions: u32) -> TopicSpec {
    let retention = Retention {
        age: Duration::from_secs(3600),
        bytes: 1 << 30,
        on_full: OnFull::Refuse,
        account: Arc::from("contract/broker"),
    };
    TopicSpec::new(topic.clone(), partitions, retention)
}

fn now() -> u64 {
    let since_epoch = pelton_tests::subscriber::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since_epoch.expect("it is after 1970").as_millis()).expect("and not that much")
}

fn event(id: &str, data: &[u8]) -> Event {
    let mut event = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", id), ("source", "/contract"), ("type", "test")] {
        event.attribute(name, value, Kind::String).unwrap();
    }
    event.build(Some(Bytes::copy_from_slice(data))).unwrap()
}

fn record(id: &str) -> Record {
    record_at(id, now())
}

fn record_at(id: &str, time: u64) -> Record {
    Record::new(Envelope::new(Timestamp::from_millis(time)), event(id, b"data"))
}

/// A record of about `bytes` bytes.
fn large(id: &str, bytes: usize) -> Record {
    Record::new(Envelope::new(Timestamp::from_millis(now())), event(id, &vec![b'x'; bytes]))
}

/// Records of those ids for one partition.
fn batch<'a>(topic: &TopicName, partition: Partition, ids: impl IntoIterator<Item = &'a str>) -> Batch {
    let records = ids.into_iter().map(|id| (topic.clone(), partition, record(id)));
    Batch { records: records.collect(), ..Batch::default() }
}

/// Appends records of the ids 0 up to before `count`; answers their offsets.
async fn append_numbers(
    log: &dyn EventLog,
    topic: &TopicName,
    partition: Partition,
    count: usize,
) -> Vec<Offset> {
    let ids: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let stored = log.append(batch(topic, partition, ids.iter().map(String::as_str))).await.unwrap();
    stored.positions.into_iter().map(|(_, offset)| offset).collect()
}

/// What an entry holds: the id of its event, or `undecodable`.
fn id_of(content: &Content) -> String {
    match content {
        Content::Record(record) => record.event.as_ref().map_or("no event", |event| event.id()).to_owned(),
        Content::Undecodable { .. } => "undecodable".to_owned(),
    }
}

fn shown(chunk: &Chunk) -> Vec<(Offset, String)> {
    chunk.entries.iter().map(|entry| (entry.offset, id_of(&entry.content))).collect()
}

fn ids(chunk: &Chunk) -> Vec<String> {
    chunk.entries.iter().map(|entry| id_of(&entry.content)).collect()
}

/// Reads on from `from` with that limit until nothing more comes; answers the ids and where it ended.
async fn read_all(
    log: &dyn EventLog,
    topic: &TopicName,
    partition: Partition,
    from: Offset,
    limit: ReadLimit,
) -> (Vec<String>, Offset) {
    let (mut all, mut from) = (Vec::new(), from);
    loop {
        let chunk = log.read(topic, partition, from, limit).await.unwrap();
        assert!(
            chunk.next >= from
                && chunk.entries.iter().all(|entry| (from..chunk.next).contains(&entry.offset))
        );
        if chunk.entries.is_empty() && chunk.next == from {
            return (all, from);
        }
        all.extend(ids(&chunk));
        from = chunk.next;
    }
}

fn row(low: Option<Offset>, state: &str) -> Arc<LaneProgress> {
    Arc::new(LaneProgress { low, state: Bytes::copy_from_slice(state.as_bytes()) })
}

/// A save: the head, and rows to set or remove.
fn save(
    topic: &TopicName,
    partition: Partition,
    epoch: Epoch,
    head: Option<Offset>,
    lanes: &[(&str, Option<Arc<LaneProgress>>)],
) -> Batch {
    let lanes = lanes.iter().map(|(name, row)| (Arc::from(*name), row.clone())).collect();
    let update = ProgressUpdate { topic: topic.clone(), partition, epoch, head, lanes };
    Batch { progress: vec![update], ..Batch::default() }
}

/// Waits until all of the partitions are gained; answers their epochs, by partition.
async fn gain_all(ownership: &mut Ownership, partitions: u32) -> Vec<Epoch> {
    let mut epochs = vec![None; partitions as usize];
    while epochs.contains(&None) {
        match next(ownership).await {
            OwnershipChange::Gained { partition, epoch, lease } => {
                lease.held().await;
                assert_eq!(epochs[partition as usize].replace(epoch), None, "gained once");
            }
            OwnershipChange::Coming { .. } => {}
            other => panic!("nobody takes a partition away: {other:?}"),
        }
    }
    epochs.into_iter().flatten().collect()
}

async fn next(ownership: &mut Ownership) -> OwnershipChange {
    let change = tokio::time::timeout(pelton_tests::PATIENCE, ownership.next()).await;
    change.expect("ownership changes").expect("the log is open")
}
