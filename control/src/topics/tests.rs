//! Topics over a real embedded log.

use std::sync::Arc;
use std::time::Duration;

use pelton_event_log::embedded::Config;
use pelton_event_log::{BrokerTopics, EmbeddedLog, EventLog};
use pelton_resources::{Assembly, Defaults, NamespacedName, Overrides, Snapshot, Source, assemble};
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::drain;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Topics, TopicsConfig};
use crate::limits;

fn broker(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n---\n"
    )
}

struct World {
    folder: TempDir,
    log: Arc<dyn EventLog>,
    clock: Clock,
    assembly: Assembly,
    desired: watch::Sender<Arc<Snapshot>>,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Clock::fixed(1_000);
        let mut config = Config::new(folder.path().join("log"));
        config.segment_bytes = 4 << 20;
        let log = Arc::new(EmbeddedLog::open(config, clock.clone()).unwrap());
        Self { folder, log, clock, assembly: Assembly::default(), desired: watch::Sender::default() }
    }

    fn want(&mut self, yaml: &str) {
        let source = Arc::new(Source::read("f.yaml", yaml));
        self.assembly = assemble(&self.assembly, &[source], &Defaults::default(), &Overrides::default());
        self.desired.send_replace(self.assembly.snapshot.clone());
    }

    async fn topics(&self) -> Topics {
        let config = TopicsConfig::new(self.folder.path().join("data"));
        Topics::start(config, self.log.clone(), self.clock.clone(), self.desired.subscribe()).await
    }

    async fn names(&self) -> Vec<(String, u32)> {
        let mut topics = self.log.topics().await.unwrap();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.into_iter().map(|topic| (topic.name.to_string(), topic.partitions)).collect()
    }
}

fn three(topic: &str, partitions: u32) -> Vec<(String, u32)> {
    ["", "_dead-letter", "_retry"].map(|suffix| (format!("{topic}{suffix}"), partitions)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_passed_on_once_its_topics_are_there() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '2'"));
    let topics = world.topics().await;
    let snapshots = topics.snapshots();
    let snapshot = snapshots.borrow().clone();
    let broker = &snapshot.brokers[&NamespacedName::new("default", "b")];
    assert!(broker.readiness.is_ready());
    assert!(
        Arc::ptr_eq(broker, &world.assembly.snapshot.brokers[&broker.name]),
        "an unchanged value keeps its Arc"
    );
    assert_eq!(world.names().await, three("knative-broker-default-b", 2));
    topics.in_force().reached(world.assembly.snapshot.generation).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_never_taken_away_and_the_roles_see_what_there_is() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '5'"));
    let topics = world.topics().await;
    let mut snapshots = topics.snapshots();
    let (stop, drained) = drain();
    let running = tokio::spawn(topics.run(drained));
    world.want(&broker("b", "log.pelton.dev/partitions: '3', log.pelton.dev/retention: P1D"));
    let snapshot = snapshots
        .wait_for(|snapshot| {
            snapshot.brokers.values().any(|broker| broker.retention.age == Duration::from_secs(86_400))
        })
        .await
        .unwrap()
        .clone();
    assert_eq!(snapshot.brokers.values().next().unwrap().partitions, 5);
    assert_eq!(world.names().await, three("knative-broker-default-b", 5));
    stop.start();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_topics_cannot_be_made_is_not_ready() {
    let mut world = World::new();
    world.want(&broker("b", ""));
    world.log.close().await.unwrap();
    let topics = world.topics().await;
    let snapshot = topics.snapshots().borrow().clone();
    let broker = snapshot.brokers.values().next().unwrap();
    let pelton_resources::Readiness::NotReady(reason) = &broker.readiness else { panic!("{broker:?}") };
    assert_eq!(reason.reason, "TopicsNotReady");
    assert!(reason.message.contains("PEL-12"), "{}", reason.message);
    // Writers do not wait for it.
    topics.in_force().reached(world.assembly.snapshot.generation).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_a_deleted_broker_stay_for_a_week_also_over_a_restart() {
    let mut world = World::new();
    world.want(&(broker("b", "") + &broker("c", "")));
    drop(world.topics().await);
    world.want(&broker("c", ""));
    let mut topics = world.topics().await;
    world.clock.advance(limits::DELETED_TOPICS_KEPT - Duration::from_millis(1));
    topics.remove_expired().await;
    assert_eq!(world.names().await.len(), 6);

    let mut topics = world.topics().await;
    world.clock.advance(Duration::from_millis(1));
    world.want("apiVersion: [");
    topics.remove_expired().await;
    assert_eq!(world.names().await.len(), 6, "with mistakes in the files a broker may only seem to be gone");
    world.want(&broker("c", ""));
    topics.remove_expired().await;
    assert_eq!(world.names().await, three("knative-broker-default-c", 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_keeps_its_topics() {
    let mut world = World::new();
    world.want(&broker("b", ""));
    let mut topics = world.topics().await;
    world.want("");
    topics.pass().await;
    world.clock.advance(limits::DELETED_TOPICS_KEPT * 2);
    world.want(&broker("b", ""));
    topics.pass().await;
    topics.remove_expired().await;
    assert_eq!(world.names().await.len(), 3);
}

/// What the roles are told of the only broker: whether it is ready, and its partitions.
fn told(topics: &Topics) -> (bool, u32) {
    let snapshot = topics.snapshots().borrow().clone();
    let broker = snapshot.brokers.values().next().unwrap();
    (broker.readiness.is_ready(), broker.partitions)
}

/// Looks, and does what follows from it.
async fn look(topics: &mut Topics) {
    if topics.look().await {
        topics.pass().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_gone_takes_its_broker_out_of_service_until_it_is_there_again() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '2'"));
    let mut topics = world.topics().await;
    let retry = &BrokerTopics::of("knative-broker-default-b").retry;
    world.log.delete_topic(retry).await.unwrap();
    for _ in 1..limits::TOPICS_MISSED {
        look(&mut topics).await;
        assert_eq!(told(&topics), (true, 2), "one look may be mistaken");
    }
    for _ in limits::TOPICS_MISSED..limits::TOPICS_MADE_AGAIN {
        look(&mut topics).await;
        assert_eq!(told(&topics), (false, 2));
        assert_eq!(world.names().await.len(), 2, "whoever deleted it may have something in mind");
    }
    look(&mut topics).await;
    assert_eq!(told(&topics), (true, 2));
    assert_eq!(world.names().await, three("knative-broker-default-b", 2));

    // Somebody else makes it.
    world.log.delete_topic(retry).await.unwrap();
    for _ in 0..limits::TOPICS_MISSED {
        look(&mut topics).await;
    }
    assert_eq!(told(&topics), (false, 2));
    let snapshot = topics.snapshots().borrow().clone();
    let again = super::spec(snapshot.brokers.values().next().unwrap(), retry, 2);
    world.log.ensure_topic(&again).await.unwrap();
    look(&mut topics).await;
    assert_eq!(told(&topics), (true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_others_add_are_used() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '2'"));
    let mut topics = world.topics().await;
    let events = BrokerTopics::of("knative-broker-default-b").events;
    let snapshot = topics.snapshots().borrow().clone();
    let more = super::spec(snapshot.brokers.values().next().unwrap(), &events, 5);
    world.log.ensure_topic(&more).await.unwrap();
    look(&mut topics).await;
    assert_eq!(told(&topics), (true, 5));
    assert_eq!(world.names().await, three("knative-broker-default-b", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_replaced_by_a_smaller_one_is_noticed() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '3'"));
    let mut topics = world.topics().await;
    let names = BrokerTopics::of("knative-broker-default-b");
    let snapshot = topics.snapshots().borrow().clone();
    let smaller = super::spec(snapshot.brokers.values().next().unwrap(), &names.events, 2);
    world.log.delete_topic(&names.events).await.unwrap();
    world.log.ensure_topic(&smaller).await.unwrap();
    look(&mut topics).await;
    // This log adds the partitions that are wanted. On Kafka it would be two from now on.
    assert_eq!(told(&topics), (true, 3));
    assert_eq!(world.names().await, three("knative-broker-default-b", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_beside_may_have_more_partitions_and_not_fewer() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '2'"));
    let mut topics = world.topics().await;
    let names = BrokerTopics::of("knative-broker-default-b");
    let snapshot = topics.snapshots().borrow().clone();
    let spec = |name, partitions| super::spec(snapshot.brokers.values().next().unwrap(), name, partitions);
    world.log.ensure_topic(&spec(&names.dead_letter, 7)).await.unwrap();
    assert!(!topics.look().await, "there is nothing to do about it");
    world.log.delete_topic(&names.retry).await.unwrap();
    world.log.ensure_topic(&spec(&names.retry, 1)).await.unwrap();
    look(&mut topics).await;
    assert_eq!(told(&topics), (true, 2));
    assert_eq!(world.log.topic(&names.retry).await.unwrap().unwrap().partitions, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broker_has_its_turn() {
    let mut world = World::new();
    let count = limits::TOPICS_LOOKED_AT + 2;
    let yaml: String =
        (0..count).map(|number| broker(&format!("b{number}"), "log.pelton.dev/partitions: '1'")).collect();
    world.want(&yaml);
    let mut topics = world.topics().await;
    let mut seen = topics.turn();
    assert_eq!(seen.len(), limits::TOPICS_LOOKED_AT);
    seen.extend(topics.turn().into_iter().take(2));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_handed_back_needs_no_retry_topic() {
    let mut world = World::new();
    world.want(&broker("b", "log.pelton.dev/partitions: '1'"));
    let mut topics = world.topics().await;
    let retry = BrokerTopics::of("knative-broker-default-b").retry;
    let snapshot = topics.snapshots().borrow().clone();
    let mut handed_back = Snapshot::clone(&snapshot);
    for broker in handed_back.brokers.values_mut() {
        Arc::make_mut(broker).kafka.handed_back = true;
    }
    world.desired.send_replace(Arc::new(handed_back));
    topics.pass().await;
    world.log.delete_topic(&retry).await.unwrap();
    for _ in 0..=limits::TOPICS_MADE_AGAIN {
        look(&mut topics).await;
        assert_eq!(told(&topics), (true, 1));
    }
    assert_eq!(world.log.topic(&retry).await.unwrap(), None, "it is not made again");
    let mut topics = world.topics().await;
    assert_eq!(world.log.topic(&retry).await.unwrap(), None, "nor after a restart");
    world.desired.send_replace(snapshot);
    topics.pass().await;
    assert!(world.log.topic(&retry).await.unwrap().is_some());
}
