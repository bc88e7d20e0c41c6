//! The groups of triggers follow their lanes, however often a commit fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCoordinator;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::*;
use crate::kafka::cluster::Cluster;
use crate::kafka::mirror::{Mirror, Written, round};
use crate::{EventLog as _, LogError, MirroredLane};

const GROUP: &str = "knative-trigger-default-mocked";

/// What the group has committed.
fn committed(mocked: &Mocked) -> BTreeMap<i32, i64> {
    let mut config = mocked.config().connection.client();
    let consumer: BaseConsumer = config.set("group.id", GROUP).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(mocked.topic.as_str(), 0, PARTITIONS as i32 - 1);
    let found = consumer.committed_offsets(asked, Duration::from_secs(5)).unwrap();
    let of = |found: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        Some((found.partition(), found.offset().to_raw().filter(|offset| *offset >= 0)?))
    };
    found.elements().iter().filter_map(of).collect()
}

#[tokio::test]
async fn a_commit_that_fails_is_told() {
    let mocked = Mocked::new(2);
    let log = mocked.open();
    let groups = log.groups().unwrap();
    mocked.fail(Request::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED]);
    let refused = groups.commit(&mocked.topic, GROUP, vec![(0, 7), (1, 9)]).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    assert_eq!(committed(&mocked), BTreeMap::new());
    groups.commit(&mocked.topic, GROUP, vec![(0, 7), (1, 9)]).await.unwrap();
    assert_eq!(committed(&mocked), BTreeMap::from([(0, 7), (1, 9)]));
}

fn coordinator(mocked: &Mocked, broker: i32) {
    let group = MockCoordinator::Group(GROUP.to_owned());
    mocked.apart(|brokers| brokers.coordinator(group, broker));
}

#[tokio::test]
async fn a_commit_finds_the_coordinator_that_has_moved() {
    let mocked = Mocked::new(2);
    let log = mocked.open();
    let groups = log.groups().unwrap();
    coordinator(&mocked, 1);
    groups.commit(&mocked.topic, GROUP, vec![(0, 7)]).await.unwrap();
    coordinator(&mocked, 2);
    // The mock's brokers take commits of any group, unless they are told not to.
    mocked.fail(Request::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
    groups.commit(&mocked.topic, GROUP, vec![(0, 8)]).await.unwrap();
    assert_eq!(committed(&mocked), BTreeMap::from([(0, 8)]));
}

#[tokio::test]
async fn a_commit_finds_the_coordinator_after_the_last_one_died() {
    let mocked = Mocked::new(2);
    let log = mocked.open();
    let groups = log.groups().unwrap();
    coordinator(&mocked, 2);
    // The client is a new one, which has no other connections than it needs.
    mocked.fail(Request::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
    groups.commit(&mocked.topic, GROUP, vec![(0, 7)]).await.unwrap();
    coordinator(&mocked, 1);
    mocked.apart(|brokers| brokers.broker_down(2));
    // Until the client has noticed.
    sleep(Duration::from_millis(200)).await;
    groups.commit(&mocked.topic, GROUP, vec![(0, 8)]).await.unwrap();
    assert_eq!(committed(&mocked), BTreeMap::from([(0, 8)]));
}

#[tokio::test]
async fn the_mirror_tries_again_until_the_groups_are_where_their_lanes_are() {
    let mocked = Mocked::new(1);
    let config = mocked.config();
    let cluster = Arc::new(Cluster::new(config.connection.clone(), config).unwrap());
    let (lane, mirror, mut written) =
        (Arc::<str>::from("default/mocked"), Mirror::default(), Written::default());
    let held = mirror.set(vec![MirroredLane { lane: lane.clone(), group: GROUP.into() }], true);
    let mut positions = BTreeMap::from([(lane.clone(), vec![(0, 3), (1, 8)])]);
    mocked.fail(Request::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 1000]);
    for _ in 0..2 {
        round(&cluster, &mocked.topic, &mirror, &positions, &mut written).await;
        assert_eq!(committed(&mocked), BTreeMap::new());
    }
    mocked.brokers.clear_request_errors(Request::OffsetCommit);
    eventually("the group is written, though not with every round", async || {
        round(&cluster, &mocked.topic, &mirror, &positions, &mut written).await;
        (committed(&mocked) == BTreeMap::from([(0, 3), (1, 8)])).then_some(())
    })
    .await;
    assert!(held.borrow().is_empty(), "no lane is held because Kafka was busy: {:?}", held.borrow());
    positions.insert(lane, vec![(0, 5), (1, 8)]);
    round(&cluster, &mocked.topic, &mirror, &positions, &mut written).await;
    assert_eq!(committed(&mocked), BTreeMap::from([(0, 5), (1, 8)]));
}
