//! Topics over a real embedded log.

use std::sync::Arc;
use std::time::Duration;

use pelton_event_log::embedded::Config;
use pelton_event_log::{EmbeddedLog, EventLog};
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
