//! A reader gets every record once and in order, whatever a broker says on the way.

use super::*;
use crate::{Bounds, LogError};

/// Reads partition 0 on from `from` until `count` records have come; what fails is tried again from where it stood.
async fn read_on(mocked: &Mocked, log: &KafkaLog, from: Offset, count: usize) -> Vec<(Offset, String)> {
    let (mut all, mut next) = (Vec::new(), from);
    eventually("all is read", async || {
        match log.read(&mocked.topic, 0, next, WAIT).await {
            Ok(chunk) => {
                next = chunk.next;
                all.extend(chunk.entries.into_iter().map(|entry| (entry.offset, id_of(&entry.content))));
            }
            Err(LogError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        (all.len() >= count).then_some(())
    })
    .await;
    all
}

/// What was appended to partition 0 one by one from its start.
fn all_of(ids: &[String]) -> Vec<(Offset, String)> {
    (0..).zip(ids.iter().cloned()).collect()
}

async fn append_all(mocked: &Mocked, log: &KafkaLog, ids: &[String]) {
    for id in ids {
        mocked.append(log, id).await.unwrap();
    }
}

#[tokio::test]
async fn fetches_that_fail_lose_and_repeat_nothing() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    let ids = numbers(30);
    append_all(&mocked, &log, &ids[..10]).await;
    mocked.fail(
        Request::Fetch,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_NO_ERROR,
            Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
            Code::RD_KAFKA_RESP_ERR_NO_ERROR,
            Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    append_all(&mocked, &log, &ids[10..]).await;
    assert_eq!(read_on(&mocked, &log, 0, ids.len()).await, all_of(&ids));
}

#[tokio::test]
async fn a_read_of_what_is_there_does_not_end_before_it() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    let ids = numbers(5);
    append_all(&mocked, &log, &ids).await;
    mocked.fail(Request::Fetch, &[Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3]);
    assert_eq!(mocked.stored(&log).await, all_of(&ids));
}

#[tokio::test]
async fn writer_and_reader_follow_a_leader_that_moves() {
    let mocked = Mocked::new(3);
    let log = mocked.open();
    let ids = numbers(40);
    append_all(&mocked, &log, &ids[..10]).await;
    let mut read = read_on(&mocked, &log, 0, 10).await;
    for (turn, leader) in [2, 3, 1].into_iter().enumerate() {
        mocked.apart(|brokers| brokers.partition_leader(mocked.topic.as_str(), 0, Some(leader)));
        let new = &ids[10 * (turn + 1)..10 * (turn + 2)];
        append_all(&mocked, &log, new).await;
        read.extend(read_on(&mocked, &log, read.len() as Offset, new.len()).await);
    }
    assert_eq!(read, all_of(&ids));
}

#[tokio::test]
async fn bounds_are_asked_for_again() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    append_all(&mocked, &log, &numbers(3)).await;
    mocked.fail(
        Request::ListOffsets,
        &[Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE],
    );
    assert_eq!(log.bounds(&mocked.topic, 0).await.unwrap(), Bounds { start: 0, end: 3 });
}

/// One at a time: what else was fetched waits in an idle cursor.
const ONE: ReadLimit = ReadLimit { entries: 1, ..WAIT };

/// How many clients read and how many idle cursors they have.
fn counted(mocked: &Mocked, log: &KafkaLog) -> (usize, usize) {
    log.0.cluster(&mocked.config().connection).unwrap().readers.counted()
}

#[tokio::test]
async fn what_was_fetched_of_a_partition_is_forgotten() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    append_all(&mocked, &log, &numbers(3)).await;
    let cluster = log.0.cluster(&mocked.config().connection).unwrap();
    log.read(&mocked.topic, 0, 0, ONE).await.unwrap();
    assert_eq!(counted(&mocked, &log), (1, 1));
    cluster.readers.forget(&mocked.topic, 0);
    assert_eq!(counted(&mocked, &log).1, 0);
    assert_eq!(read_on(&mocked, &log, 1, 2).await.len(), 2);
    // What a read is about to wait for is handed out; the next does not go on there.
    let waiting = log.read(&mocked.topic, 0, 3, WAIT);
    let meanwhile = async {
        sleep(Duration::from_millis(50)).await;
        cluster.readers.forget(&mocked.topic, 0);
        mocked.append(&log, "3").await.unwrap();
    };
    let (read, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(read.unwrap().next, 4);
    assert_eq!(counted(&mocked, &log).1, 0);
}

#[tokio::test]
async fn a_position_that_is_not_there_makes_all_that_was_fetched_doubtful() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    append_all(&mocked, &log, &numbers(3)).await;
    log.read(&mocked.topic, 0, 0, ONE).await.unwrap();
    assert_eq!(counted(&mocked, &log).1, 1);
    let behind = log.read(&mocked.topic, 0, 100, NO_WAIT).await;
    assert!(matches!(behind, Err(LogError::Unavailable(_))), "{behind:?}");
    assert_eq!(counted(&mocked, &log).1, 0);
}

/// Each in a place of its own, so all find a seat in the first client that is made.
#[tokio::test]
async fn readers_that_come_together_share_a_client() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    append_all(&mocked, &log, &numbers(1)).await;
    log.append(mocked.batch(1, ["0"])).await.unwrap();
    let reads = (0..PARTITIONS).map(|partition| log.read(&mocked.topic, partition, 0, WAIT));
    for read in futures_util::future::join_all(reads).await {
        assert_eq!(read.unwrap().next, 1);
    }
    assert_eq!(counted(&mocked, &log), (1, PARTITIONS as usize));
}

#[tokio::test]
async fn readers_that_are_dropped_or_moved_leave_their_seats() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    append_all(&mocked, &log, &numbers(5)).await;
    for turn in 0..20 {
        // Dropped at the latest when it waits at the end.
        let read = log.read(&mocked.topic, 0, 5, WAIT);
        let _ = tokio::time::timeout(Duration::from_micros(turn * 200), read).await;
        let from = turn % 5;
        assert!(log.read(&mocked.topic, 0, from, NO_WAIT).await.unwrap().next > from);
    }
    sleep(Duration::from_millis(200)).await;
    let (clients, idle) = counted(&mocked, &log);
    assert!(clients <= 4 && idle <= clients, "{clients} clients, {idle} idle");
}
