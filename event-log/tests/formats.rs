//! Logs of every format that was ever released must open and hold exactly what was written.
//!
//! `cargo test -p pelton-event-log --test formats -- --ignored` writes the fixture of the current format where there is none.
//! A fixture is never changed; a new format gets a new directory.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pelton_event::{Envelope, EventBuilder, Kind, Origin, Record, SpecVersion, Step, Timestamp};
use pelton_event_log::embedded::Config;
use pelton_event_log::{
    Batch, Bounds, Content, EmbeddedLog, Epoch, EventLog, LaneProgress, OnFull, OwnershipChange, Progress,
    ProgressUpdate, ReadLimit, Retention, TopicName, TopicSpec,
};
use pelton_runtime::clock::Clock;

const START: u64 = 1_700_000_000_000;
const EVENTS: &str = "knative-broker-shop-orders";
const RECORDS: u64 = 150;

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn open(dir: &Path) -> EmbeddedLog {
    let mut config = Config::new(dir);
    config.segment_bytes = 64 * 1024;
    EmbeddedLog::open(config, Clock::fixed(START)).unwrap()
}

fn spec(name: &str, partitions: u32) -> TopicSpec {
    let retention = Retention {
        age: Duration::from_secs(7 * 86_400),
        bytes: 10 << 30,
        on_full: OnFull::Refuse,
        account: "shop/orders".into(),
    };
    TopicSpec::new(TopicName::new(name), partitions, retention)
}

/// The record with this number; every third comes from a delivery, every fifth has no event.
fn record(number: u64) -> Record {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", number.to_string().as_str()), ("source", "/shop"), ("type", "order.placed")]
    {
        builder.attribute(name, value.to_owned(), Kind::String).unwrap();
    }
    let data = Bytes::from("x".repeat(usize::try_from(number).unwrap() * 7 % 1500));
    let event = builder.build(Some(data)).unwrap();
    let origin = || Origin {
        trigger: "shop/bill".into(),
        partition: 1,
        offset: number,
        step: Step::Retry { attempts: 3, due: Timestamp::from_millis(START + number), failure: None },
    };
    let envelope = Envelope {
        key: Some(Bytes::from(number.to_string())),
        time: Timestamp::from_millis(START + number),
        hops: 31,
        origin: number.is_multiple_of(3).then(origin),
        ..Envelope::default()
    };
    Record { envelope, event: (!number.is_multiple_of(5)).then_some(event) }
}

fn lanes() -> BTreeMap<Arc<str>, Arc<LaneProgress>> {
    let row = |low, state: &'static str| {
        Arc::new(LaneProgress { low, state: Bytes::from_static(state.as_bytes()) })
    };
    BTreeMap::from([("shop/bill".into(), row(Some(3), "gaps")), ("shop/mail".into(), row(None, ""))])
}

async fn write(log: &EmbeddedLog) {
    for (name, partitions) in [(EVENTS, 3), ("short-lived", 1)] {
        log.ensure_topic(&spec(name, partitions)).await.unwrap();
    }
    let Some(OwnershipChange::Gained { epoch, .. }) = log.ownership(&TopicName::new(EVENTS)).next().await
    else {
        panic!("no partition");
    };
    for number in 0..RECORDS {
        let partition = u32::try_from(number % 3).unwrap();
        let mut batch = Batch::default();
        batch.records.push((TopicName::new(EVENTS), partition, record(number)));
        if number % 10 == 0 {
            batch.records.push((TopicName::new("short-lived"), 0, record(number)));
        }
        if number == 100 {
            batch.progress.push(update(epoch, 40));
        }
        log.append(batch).await.unwrap();
    }
    log.append(Batch { progress: vec![update(epoch, 45)], ..Batch::default() }).await.unwrap();
    log.delete_topic(&TopicName::new("short-lived")).await.unwrap();
}

fn update(epoch: Epoch, head: u64) -> ProgressUpdate {
    let lanes = lanes().into_iter().map(|(name, row)| (name, Some(row))).collect();
    ProgressUpdate { topic: TopicName::new(EVENTS), partition: 1, epoch, head: Some(head), lanes }
}

async fn check(log: &EmbeddedLog) {
    let topic = TopicName::new(EVENTS);
    let topics = log.topics().await.unwrap();
    assert_eq!(topics.len(), 1);
    assert_eq!((&topics[0].name, topics[0].partitions), (&topic, 3));
    for partition in 0..3u32 {
        let end = RECORDS / 3;
        assert_eq!(log.bounds(&topic, partition).await.unwrap(), Bounds { start: 0, end });
        let limit = ReadLimit { bytes: 1 << 20, entries: 1000, wait: false };
        let mut from = 0;
        while from < end {
            let chunk = log.read(&topic, partition, from, limit).await.unwrap();
            for entry in chunk.entries {
                let Content::Record(found) = entry.content else { panic!("{entry:?}") };
                assert_eq!(found, record(entry.offset * 3 + u64::from(partition)));
                assert_eq!(entry.offset, from);
                from += 1;
            }
        }
    }
    let expected = Progress { head: 45, lanes: lanes() };
    assert_eq!(log.progress(&topic, 1).await.unwrap(), expected);
    assert_eq!(log.progress(&topic, 0).await.unwrap(), Progress::default());
    assert_eq!(log.status(), pelton_event_log::LogStatus::default());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn every_released_format_opens_and_goes_on() {
    for version in ["v1/closed", "v1/crashed"] {
        let temp = tempfile::tempdir().unwrap();
        copy(&fixture(version), temp.path());
        let log = open(temp.path());
        check(&log).await;
        log.append(Batch { records: vec![(TopicName::new(EVENTS), 0, record(0))], ..Batch::default() })
            .await
            .unwrap();
        log.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "writes the fixture of a new format"]
async fn write_the_fixture() {
    for (version, clean) in [("v1/closed", true), ("v1/crashed", false)] {
        let dir = fixture(version);
        assert!(!dir.exists(), "{} is there already, and never changes", dir.display());
        let log = open(&dir);
        write(&log).await;
        check(&log).await;
        if clean {
            log.close().await.unwrap();
        }
    }
}
