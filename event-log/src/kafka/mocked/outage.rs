//! Brokers that are gone: it is told at once, and all goes on by itself when they are back.

use super::*;
use crate::LogError;

/// What is told while no broker can be reached.
async fn told(mocked: &Mocked, log: &KafkaLog) {
    let reason = eventually("the log says that Kafka is gone", async || log.status().unavailable).await;
    assert!(reason.contains(&mocked.brokers.bootstrap_servers()), "{reason}");
    for batch in [mocked.batch(0, ["refused"]), Batch::default()] {
        let refused = log.append(batch).await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    }
    let read = log.read(&mocked.topic, 0, 0, NO_WAIT).await;
    assert!(matches!(read, Err(LogError::Unavailable(_))), "{read:?}");
}

async fn is_back(log: &KafkaLog) {
    let what = "the log says that Kafka is back";
    eventually(what, async || log.status().unavailable.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_yet_is_waited_for() {
    let mocked = Mocked::new(2);
    mocked.apart(|brokers| brokers.broker_down(ALL));
    let log = mocked.open();
    told(&mocked, &log).await;
    mocked.apart(|brokers| brokers.broker_up(ALL));
    is_back(&log).await;
    mocked.append(&log, "first").await.unwrap();
    assert_eq!(mocked.stored(&log).await, [(0, "first".to_owned())]);
}

#[tokio::test]
async fn a_cluster_that_goes_and_comes_again_is_read_on() {
    let mocked = Mocked::new(2);
    let log = mocked.open();
    mocked.append(&log, "first").await.unwrap();
    assert_eq!(log.read(&mocked.topic, 0, 0, WAIT).await.unwrap().next, 1);
    let waiting = log.read(&mocked.topic, 0, 1, WAIT);
    let outage = async {
        mocked.apart(|brokers| brokers.broker_down(ALL));
        told(&mocked, &log).await;
        mocked.apart(|brokers| brokers.broker_up(ALL));
        is_back(&log).await;
        mocked.append(&log, "second").await.unwrap();
    };
    let (read, ()) = tokio::join!(waiting, outage);
    let read = read.unwrap();
    assert_eq!((read.entries.len(), read.next, id_of(&read.entries[0].content)), (1, 2, "second".to_owned()));
}

/// A node goes and its partitions are led by another one: who appended meanwhile has only waited.
#[tokio::test]
async fn an_append_waits_for_the_next_leader() {
    let mocked = Mocked::new(3);
    let log = mocked.open();
    mocked.append(&log, "before").await.unwrap();
    mocked.apart(|brokers| brokers.broker_down(1));
    let append = mocked.append(&log, "meanwhile");
    let election = async {
        sleep(Duration::from_millis(300)).await;
        mocked.apart(|brokers| brokers.partition_leader(mocked.topic.as_str(), 0, Some(2)));
    };
    let (stored, ()) = tokio::join!(append, election);
    assert_eq!(stored.unwrap().positions, [(0, 1)]);
    assert_eq!(log.status().unavailable, None, "two of three are there");
    mocked.apart(|brokers| brokers.broker_up(1));
    mocked.apart(|brokers| brokers.partition_leader(mocked.topic.as_str(), 0, Some(1)));
    mocked.append(&log, "after").await.unwrap();
    let ids: Vec<_> = mocked.stored(&log).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["before", "meanwhile", "after"]);
}
