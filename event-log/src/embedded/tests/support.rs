//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pelton_event::{Envelope, Record, Timestamp};
use pelton_runtime::clock::Clock;

use crate::embedded::{Config, EmbeddedLog};
use crate::{
    Batch, Chunk, Content, Epoch, EventLog, LaneProgress, OnFull, ProgressUpdate, ReadLimit, Retention,
    TopicName, TopicSpec, Urgency,
};

/// A small segment, so that tests cross many.
pub(super) const SEGMENT: u64 = 64 * 1024;
pub(super) const NO_WAIT: ReadLimit = ReadLimit { bytes: 1 << 20, entries: 10_000, wait: false };

pub(super) fn config(dir: &Path) -> Config {
    Config { segment_bytes: SEGMENT, tail_cache_bytes: 16 * 1024, ..Config::new(dir) }
}

pub(super) fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(config(dir), Clock::fixed(1_000_000)).unwrap()
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName::new(topic)
}

pub(super) fn spec(topic: &str, partitions: u32) -> TopicSpec {
    let retention = Retention {
        age: Duration::from_secs(3600),
        bytes: 1 << 30,
        on_full: OnFull::Refuse,
        account: Arc::from("ns/broker"),
    };
    TopicSpec::new(name(topic), partitions, retention)
}

/// A record that is recognised by its key.
pub(super) fn record(key: impl Into<Bytes>) -> Record {
    record_at(key, 1_000_000)
}

pub(super) fn record_at(key: impl Into<Bytes>, time: u64) -> Record {
    let time = Timestamp::from_millis(time);
    Record { envelope: Envelope { key: Some(key.into()), time, ..Envelope::default() }, event: None }
}

pub(super) fn batch(topic: &str, keys: &[(u32, &str)]) -> Batch {
    let records =
        keys.iter().map(|(partition, key)| (name(topic), *partition, record(key.to_string()))).collect();
    Batch { records, ..Batch::default() }
}

/// A record of about `bytes` bytes whose key starts with `key`.
pub(super) fn large(key: &str, bytes: usize) -> Record {
    let mut text = format!("{key}:");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    record(text)
}

pub(super) fn progress(topic: &str, partition: u32, epoch: Epoch, head: u64) -> ProgressUpdate {
    ProgressUpdate { topic: name(topic), partition, epoch, head: Some(head), lanes: Vec::new() }
}

pub(super) fn row(low: Option<u64>, state: &'static str) -> Arc<LaneProgress> {
    Arc::new(LaneProgress { low, state: Bytes::from_static(state.as_bytes()) })
}

pub(super) fn settle(update: ProgressUpdate) -> Batch {
    Batch { progress: vec![update], ..Batch::default() }
}

pub(super) fn lazily(batch: Batch, wait: Duration) -> Batch {
    Batch { urgency: Urgency::Within(wait), ..batch }
}

/// What a chunk shows: offset and key, or `damaged`.
pub(super) fn shown(chunk: &Chunk) -> Vec<(u64, String)> {
    let text = |content: &Content| match content {
        Content::Record(record) => {
            let key = record.envelope.key.as_deref().unwrap_or_default();
            String::from_utf8_lossy(key).split(':').next().unwrap_or_default().to_owned()
        }
        Content::Undecodable { .. } => "damaged".to_owned(),
    };
    chunk.entries.iter().map(|entry| (entry.offset, text(&entry.content))).collect()
}

/// Everything from `from` on.
pub(super) async fn read_all(
    log: &EmbeddedLog,
    topic: &str,
    partition: u32,
    from: u64,
) -> Vec<(u64, String)> {
    let topic = name(topic);
    let mut all = Vec::new();
    let mut from = from;
    loop {
        let chunk = log.read(&topic, partition, from, NO_WAIT).await.unwrap();
        if chunk.entries.is_empty() {
            return all;
        }
        all.extend(shown(&chunk));
        from = chunk.next;
    }
}

/// The epoch in which this process owns a topic.
pub(super) async fn epoch(log: &EmbeddedLog, topic: &str) -> Epoch {
    match log.ownership(&name(topic)).next().await {
        Some(crate::OwnershipChange::Gained { epoch, .. }) => epoch,
        other => panic!("no ownership of {topic}: {other:?}"),
    }
}
