//! What is let go, what is spared, what is refused.

use std::path::Path;
use std::time::Duration;

use pelton_event::{Origin, Record, Step};
use pelton_runtime::clock::Clock;

use super::support::*;
use crate::embedded::{Config, EmbeddedLog};
use crate::{
    AppendError, Batch, Bounds, EventLog, LaneProgress, OnFull, Retention, Stored, TopicName, TopicSpec,
};

const KIB: usize = 1024;

fn kept(topic: &str, account: &str, age: Duration, bytes: usize, on_full: OnFull) -> TopicSpec {
    let retention = Retention { age, bytes: bytes as u64, on_full, account: account.into() };
    TopicSpec::new(name(topic), 1, retention)
}

fn open_at(dir: &Path, clock: &Clock) -> EmbeddedLog {
    EmbeddedLog::open(config(dir), clock.clone()).unwrap()
}

async fn put(log: &EmbeddedLog, topic: &str, record: Record) -> Result<Stored, AppendError> {
    log.append(Batch { records: vec![(name(topic), 0, record)], ..Batch::default() }).await
}

fn kibibyte(key: &str, clock: &Clock) -> Record {
    let mut record = large(key, KIB);
    record.envelope.time = pelton_event::Timestamp::from_millis(clock.unix_ms());
    record
}

/// Saves that everything before `head` is read, and what a lane still needs.
async fn save(log: &EmbeddedLog, topic: &str, head: u64, low: Option<u64>) {
    let mut update = progress(topic, 0, epoch(log, topic).await, head);
    update.lanes = vec![("ns/slow".into(), Some(LaneProgress { low, state: bytes::Bytes::new() }.into()))];
    log.append(settle(update)).await.unwrap();
}

/// Waits until the writer has come to `what`.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn start(log: &EmbeddedLog, topic: &str) -> u64 {
    log.bounds(&name(topic), 0).await.unwrap().start
}

#[tokio::test]
async fn old_settled_records_go_and_what_a_lane_still_needs_is_carried_forward() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let hour = Duration::from_secs(3600);
    let log = open_at(dir.path(), &clock);
    log.ensure_topic(&kept("t", "a", hour, 1 << 30, OnFull::Refuse)).await.unwrap();
    for number in 0..200 {
        put(&log, "t", kibibyte(&number.to_string(), &clock)).await.unwrap();
    }
    save(&log, "t", 200, Some(150)).await;
    clock.advance(hour * 2);
    // Each new record may come with a look at age; segments that fill up certainly do.
    until("the first 150 are gone", async || {
        put(&log, "t", kibibyte("new", &clock)).await.unwrap();
        start(&log, "t").await == 150
    })
    .await;
    until("their segments are retired", async || {
        put(&log, "t", kibibyte("new", &clock)).await.unwrap();
        log.stats().retired_segments >= 2
    })
    .await;
    let check = async |log: &EmbeddedLog| {
        let all = read_all(log, "t", 0, 0).await;
        assert_eq!(all[0], (150, "150".to_owned()), "reading starts at the first kept one");
        assert!(all.iter().take(50).all(|(offset, key)| offset.to_string() == *key));
        assert!(all.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    };
    check(&log).await;
    log.close().await.unwrap();
    drop(log);
    let log = open_at(dir.path(), &clock);
    check(&log).await;
    assert_eq!(log.stats().corrupt, 0);
}

#[tokio::test]
async fn a_full_broker_is_refused_alone_and_served_again_when_something_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let week = Duration::from_secs(7 * 86_400);
    let log = open_at(dir.path(), &clock);
    log.ensure_topic(&kept("t", "ns/full", week, 100 * KIB, OnFull::Refuse)).await.unwrap();
    log.ensure_topic(&kept("u", "ns/other", week, 100 * KIB, OnFull::Refuse)).await.unwrap();
    save(&log, "t", 0, Some(0)).await;
    let mut stored = 0;
    let refused = loop {
        match put(&log, "t", kibibyte(&stored.to_string(), &clock)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Full { account, bytes, holder } = refused else { panic!("{refused}") };
    assert_eq!((&*account, bytes), ("ns/full", 100 * KIB as u64));
    assert!(holder.contains("partition t/0"), "{holder}");
    assert!(log.status().full["ns/full"].contains("t/0"));
    assert!((90..100).contains(&stored), "{stored}");
    // Another broker, and what deliveries append, still go.
    put(&log, "u", kibibyte("u", &clock)).await.unwrap();
    let mut reply = kibibyte("reply", &clock);
    reply.envelope.origin =
        Some(Origin { trigger: "ns/t".into(), partition: 0, offset: 0, step: Step::Reply });
    put(&log, "t", reply).await.unwrap();
    assert!(matches!(put(&log, "t", kibibyte("x", &clock)).await, Err(AppendError::Full { .. })));
    // A lane that holds the oldest is named.
    save(&log, "t", 50, Some(3)).await;
    assert!(log.status().full.is_empty(), "progress may have made room");
    while put(&log, "t", kibibyte("fits", &clock)).await.is_ok() {}
    assert!(log.status().full["ns/full"].contains("trigger ns/slow at offset 3"), "{:?}", log.status());
    // Room again: the settled ones go, the oldest first, and no more than needed.
    save(&log, "t", 50, Some(40)).await;
    put(&log, "t", kibibyte("fits", &clock)).await.unwrap();
    let start = start(&log, "t").await;
    assert!((5..=40).contains(&start), "{start}");
    assert!(log.status().full.is_empty());
    assert_eq!(log.stats().expired_records, 0);
}

#[tokio::test]
async fn a_dead_letter_is_taken_though_replies_have_filled_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let week = Duration::from_secs(7 * 86_400);
    let log = open_at(dir.path(), &clock);
    for topic in ["t", "t_dead-letter"] {
        log.ensure_topic(&kept(topic, "ns/full", week, 100 * KIB, OnFull::Refuse)).await.unwrap();
    }
    save(&log, "t", 0, Some(0)).await;
    let derived = |key: &str| {
        let mut record = kibibyte(key, &clock);
        record.envelope.origin =
            Some(Origin { trigger: "ns/t".into(), partition: 0, offset: 0, step: Step::Reply });
        record
    };
    let mut replies = 0;
    while put(&log, "t", derived("reply")).await.is_ok() {
        replies += 1;
    }
    assert!((100..115).contains(&replies), "{replies}");
    for number in 0..5 {
        put(&log, "t_dead-letter", derived("letter")).await.unwrap();
        assert_eq!(start(&log, "t_dead-letter").await, number, "it displaces the one before");
    }
    assert!(matches!(put(&log, "t", derived("reply")).await, Err(AppendError::Full { .. })));
    assert_eq!(start(&log, "t").await, 0, "never what is owed");
}

#[tokio::test]
async fn a_broker_that_expires_lets_the_oldest_go_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let log = open_at(dir.path(), &clock);
    let week = Duration::from_secs(7 * 86_400);
    log.ensure_topic(&kept("t", "ns/b", week, 100 * KIB, OnFull::Expire)).await.unwrap();
    for number in 0..300 {
        put(&log, "t", kibibyte(&number.to_string(), &clock)).await.unwrap();
    }
    let Bounds { start, end } = log.bounds(&name("t"), 0).await.unwrap();
    assert_eq!(end, 300);
    assert!((200..290).contains(&start), "{start}");
    assert_eq!(log.stats().expired_records, start, "{:?}", log.stats());
    let all = read_all(&log, "t", 0, 0).await;
    assert_eq!(all[0], (start, start.to_string()));
    assert_eq!(all.len() as u64, end - start);
    // The space on the disk follows.
    until("segments are retired", async || {
        put(&log, "t", kibibyte("new", &clock)).await.unwrap();
        log.stats().retired_segments > 0
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_kept_by_age_and_size_alone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let log = open_at(dir.path(), &clock);
    let month = Duration::from_secs(30 * 86_400);
    log.ensure_topic(&kept("t_dead-letter", "ns/b", month, 100 * KIB, OnFull::Refuse)).await.unwrap();
    for number in 0..150 {
        put(&log, "t_dead-letter", kibibyte(&number.to_string(), &clock)).await.unwrap();
    }
    let displaced = start(&log, "t_dead-letter").await;
    assert!(displaced >= 50);
    let stats = log.stats();
    assert_eq!((stats.expired_records, stats.aged_dead_letters), (0, 0));
    assert_eq!(stats.displaced_dead_letters, displaced, "none goes uncounted");
    let [notice] = &log.status().notices[..] else { panic!("{:?}", log.status()) };
    assert!(notice.contains("t_dead-letter") && notice.contains(&format!("{displaced} because")), "{notice}");
    // By age, with what looks at age: a new record now and then.
    log.ensure_topic(&kept("t", "ns/other", month, 1 << 30, OnFull::Refuse)).await.unwrap();
    clock.advance(month * 2);
    until("the old ones are gone", async || {
        put(&log, "t", kibibyte("new", &clock)).await.unwrap();
        start(&log, "t_dead-letter").await == 150
    })
    .await;
    let stats = log.stats();
    assert_eq!(stats.displaced_dead_letters + stats.aged_dead_letters, 150);
    let notices = log.status().notices;
    assert!(notices[0].contains(&format!("{} for their age", 150 - displaced)), "{notices:?}");
}

#[tokio::test]
async fn a_deleted_topic_gives_its_budget_back_at_once_and_its_space_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000_000);
    let log = open_at(dir.path(), &clock);
    let week = Duration::from_secs(7 * 86_400);
    log.ensure_topic(&kept("t", "ns/b", week, 300 * KIB, OnFull::Refuse)).await.unwrap();
    log.ensure_topic(&kept("u", "ns/b", week, 300 * KIB, OnFull::Refuse)).await.unwrap();
    for _ in 0..250 {
        put(&log, "t", kibibyte("t", &clock)).await.unwrap();
    }
    log.delete_topic(&name("t")).await.unwrap();
    for _ in 0..250 {
        put(&log, "u", kibibyte("u", &clock)).await.unwrap();
    }
    until("its segments are retired", async || log.stats().retired_segments >= 3).await;
    assert_eq!(read_all(&log, "u", 0, 0).await.len(), 250);
    let topics = log.topics().await.unwrap();
    assert_eq!(topics.iter().map(|topic| &topic.name).collect::<Vec<_>>(), [&TopicName::new("u")]);
    assert!(topics[0].bytes > 250 * KIB as u64);
}

#[tokio::test]
async fn a_busy_queue_refuses_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { queue_bytes: 4 * KIB, ..config(dir.path()) };
    let log = EmbeddedLog::open(config, Clock::fixed(0)).unwrap();
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    let appends: Vec<_> = (0..200)
        .map(|_| {
            let records = vec![(name("t"), 0, large("x", 2 * KIB))];
            let batch = Batch { records, ..Batch::default() };
            log.append(lazily(batch, Duration::from_secs(3600)))
        })
        .collect();
    log.append(batch("t", &[(0, "now")])).await.unwrap_or_default();
    log.close().await.unwrap();
    let mut busy = 0;
    for append in appends {
        match append.await {
            Err(AppendError::Busy) => busy += 1,
            other => drop(other.unwrap()),
        }
    }
    assert!(busy >= 190, "{busy}");
    assert!(log.stats().refused_busy >= 190);
}
