//! The contract, on a real directory.

use std::time::Duration;

use pelton_event::Timestamp;
use pelton_runtime::clock::Clock;

use super::support::*;
use crate::embedded::EmbeddedLog;
use crate::{AppendError, Batch, Bounds, EventLog, LogError, OwnershipChange, Progress, ReadLimit};

#[tokio::test]
async fn what_was_acknowledged_is_read_back_after_a_stop_and_after_a_crash() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.ensure_topic(&spec("t", 2)).await.unwrap();
        let stored = log.append(batch("t", &[(0, "a"), (1, "b"), (0, "c")])).await.unwrap();
        assert_eq!(stored.positions, [(0, 0), (1, 0), (0, 1)]);
        let stored = log.append(batch("t", &[(0, "d")])).await.unwrap();
        assert_eq!(stored.positions, [(0, 2)]);
        if clean {
            log.close().await.unwrap();
        }
        drop(log);
        let log = open(dir.path());
        assert_eq!(read_all(&log, "t", 0, 0).await, [(0, "a".into()), (1, "c".into()), (2, "d".into())]);
        assert_eq!(read_all(&log, "t", 1, 0).await, [(0, "b".into())]);
        assert_eq!(log.bounds(&name("t"), 0).await.unwrap(), Bounds { start: 0, end: 3 });
        let stored = log.append(batch("t", &[(0, "e")])).await.unwrap();
        assert_eq!(stored.positions, [(0, 3)]);
        assert_eq!(read_all(&log, "t", 0, 2).await, [(2, "d".into()), (3, "e".into())]);
        assert_eq!(log.status(), crate::LogStatus::default());
        assert_eq!(log.stats().corrupt + log.stats().quarantined, 0);
    }
}

#[tokio::test]
async fn many_segments_are_crossed_and_read_with_any_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 3)).await.unwrap();
    for round in 0..200u32 {
        let records =
            (0..3).map(|partition| (name("t"), partition, large(&format!("{round}"), 700))).collect();
        log.append(Batch { records, ..Batch::default() }).await.unwrap();
    }
    assert!(log.stats().segments > 5, "{:?}", log.stats());
    let expected: Vec<(u64, String)> = (0..200).map(|round| (round, format!("{round}"))).collect();
    for (bytes, entries) in [(1, 1000), (5000, 3), (100_000, 7), (1 << 20, 1000)] {
        let limit = ReadLimit { bytes, entries, wait: false };
        let mut all = Vec::new();
        let mut from = 0;
        while from < 200 {
            let chunk = log.read(&name("t"), 1, from, limit).await.unwrap();
            assert!(!chunk.entries.is_empty() && chunk.entries.len() <= entries);
            all.extend(shown(&chunk));
            from = chunk.next;
        }
        assert_eq!(all, expected, "{bytes} bytes, {entries} entries");
    }
    log.close().await.unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(read_all(&log, "t", 2, 0).await, expected);
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_its_own_partition() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 2)).await.unwrap();
    let topic = name("t");
    let limit = ReadLimit { wait: true, ..NO_WAIT };
    let (chunk, ()) = tokio::join!(log.read(&topic, 1, 0, limit), async {
        log.append(batch("t", &[(0, "other")])).await.unwrap();
        log.append(batch("t", &[(1, "mine")])).await.unwrap();
    });
    assert_eq!(shown(&chunk.unwrap()), [(0, "mine".into())]);
    let (gone, ()) = tokio::join!(log.read(&topic, 1, 1, limit), async {
        log.delete_topic(&topic).await.unwrap();
    });
    assert!(matches!(gone, Err(LogError::NoSuchPartition(..))));
}

#[tokio::test]
async fn closing_ends_waiting_readers_and_ownership_and_refuses_appends() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    let mut ownership = log.ownership(&name("t"));
    assert!(matches!(ownership.next().await, Some(OwnershipChange::Gained { partition: 0, .. })));
    let topic = name("t");
    let limit = ReadLimit { wait: true, ..NO_WAIT };
    let (read, closed) = tokio::join!(log.read(&topic, 0, 0, limit), log.close());
    closed.unwrap();
    assert!(matches!(read, Err(LogError::Closed)));
    assert!(ownership.next().await.is_none());
    assert_eq!(log.append(batch("t", &[(0, "late")])).await, Err(AppendError::Closed));
    log.close().await.unwrap();
    // The directory is free as soon as `close` answered.
    open(dir.path());
}

#[tokio::test]
async fn progress_is_kept_and_old_epochs_are_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 2)).await.unwrap();
    let first = epoch(&log, "t").await;
    let mut update = progress("t", 1, first, 7);
    update.lanes = vec![("ns/a".into(), Some(row(Some(3), "gaps"))), ("ns/b".into(), Some(row(None, "x")))];
    log.append(settle(update)).await.unwrap();
    let mut update = progress("t", 1, first, 9);
    update.lanes = vec![("ns/b".into(), None)];
    // Progress alone that nobody waits for goes by itself in time.
    log.append(lazily(settle(update), Duration::from_millis(5))).await.unwrap();
    let lanes = [("ns/a".into(), row(Some(3), "gaps"))].into();
    let expected = Progress { head: 9, lanes };
    assert_eq!(log.progress(&name("t"), 1).await.unwrap(), expected);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.progress(&name("t"), 1).await.unwrap(), expected);
    assert_eq!(log.progress(&name("t"), 0).await.unwrap(), Progress::default());
    assert!(epoch(&log, "t").await > first);
    let mut fenced = settle(progress("t", 1, first, 1));
    fenced.records.push((name("t"), 0, record("x")));
    assert_eq!(log.append(fenced).await, Err(AppendError::Fenced(name("t"), 1)));
    assert_eq!(log.bounds(&name("t"), 0).await.unwrap(), Bounds { start: 0, end: 0 }, "all or nothing");
}

#[tokio::test]
async fn topics_grow_are_deleted_and_come_back_empty() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut ownership = log.ownership(&name("t"));
    assert_eq!(log.ensure_topic(&spec("t", 1)).await.unwrap().partitions, 1);
    assert!(matches!(ownership.next().await, Some(OwnershipChange::Gained { partition: 0, .. })));
    assert_eq!(log.ensure_topic(&spec("t", 3)).await.unwrap().partitions, 3);
    assert!(matches!(ownership.next().await, Some(OwnershipChange::Gained { partition: 1, .. })));
    assert!(matches!(ownership.next().await, Some(OwnershipChange::Gained { partition: 2, .. })));
    assert_eq!(log.ensure_topic(&spec("t", 2)).await.unwrap().partitions, 3, "never fewer");
    log.append(batch("t", &[(2, "a")])).await.unwrap();
    log.delete_topic(&name("t")).await.unwrap();
    log.delete_topic(&name("t")).await.unwrap();
    assert!(matches!(ownership.next().await, Some(OwnershipChange::Lost { .. })));
    let refused = log.append(batch("t", &[(2, "b")])).await;
    assert_eq!(refused, Err(AppendError::NoSuchPartition(name("t"), 2)));
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.bounds(&name("t"), 0).await.unwrap(), Bounds { start: 0, end: 0 });
    assert_eq!(log.topics().await.unwrap().len(), 1);
    let none = spec("none", 0);
    assert!(matches!(log.ensure_topic(&none).await, Err(LogError::Topic(..))));
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    for number in 0..300u64 {
        let mut record = large("r", 900);
        record.envelope.time = Timestamp::from_millis(1000 + number * 10);
        log.append(Batch { records: vec![(name("t"), 0, record)], ..Batch::default() }).await.unwrap();
    }
    for (time, offset) in [(0, 0), (1000, 0), (1001, 1), (2000, 100), (3990, 299), (3991, 300)] {
        let found = log.offset_at(&name("t"), 0, Timestamp::from_millis(time)).await.unwrap();
        assert_eq!(found, offset, "{time}");
    }
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    let records = vec![(name("t"), 0, large("big", 20_000))];
    let refused = log.append(Batch { records, ..Batch::default() }).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { max: Some(16_384), .. })), "{refused:?}");
}

#[tokio::test]
async fn a_directory_serves_one_log_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _log = open(dir.path());
    let second = EmbeddedLog::open(config(dir.path()), Clock::fixed(0));
    assert!(matches!(second, Err(LogError::Locked(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow_many_writers() {
    const WRITERS: usize = 16;
    const EACH: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(open(dir.path()));
    log.ensure_topic(&spec("t", 2)).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = std::sync::Arc::clone(&log);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for number in 0..EACH {
                    let key = format!("{writer}-{number}");
                    let records = vec![(name("t"), (number % 2) as u32, large(&key, 500))];
                    let stored = log.append(Batch { records, ..Batch::default() }).await.unwrap();
                    mine.push((stored.positions[0], key));
                }
                mine
            })
        })
        .collect();
    let readers: Vec<_> = (0..2u32)
        .map(|partition| {
            let log = std::sync::Arc::clone(&log);
            tokio::spawn(async move {
                let (mut from, mut all) = (0, Vec::new());
                while all.len() < WRITERS * EACH / 2 {
                    let limit = ReadLimit { bytes: 4096, entries: 20, wait: true };
                    let chunk = log.read(&name("t"), partition, from, limit).await.unwrap();
                    all.extend(shown(&chunk));
                    from = chunk.next;
                }
                all
            })
        })
        .collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort();
    let mut read = Vec::new();
    for (partition, reader) in readers.into_iter().enumerate() {
        let entries = reader.await.unwrap().into_iter();
        read.extend(entries.map(|(offset, key)| ((partition as u32, offset), key)));
    }
    assert_eq!(read, written);
}
