//! The whole crate over a log: in memory under a stopped clock, and the embedded engine with real requests.

mod changes;
mod deliveries;
mod embedded;
mod partitions;
mod resources;

use std::time::Duration;

use pelton_event::{Envelope, Event, Record, Timestamp};
use pelton_event_log::{Batch, BrokerTopics, Urgency, partition_of};
use pelton_resources::contracts::{BacklogSource as _, ResourceStatus, StatusSource as _, TriggerBacklog};
use pelton_resources::{Kind, Readiness};
use pelton_runtime::drain::{DrainTrigger, drain};
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{FakeSender, FakeSlots, MemoryLog, make_topics, name, snapshot};

/// A dispatcher that runs, and everything around it.
struct World {
    log: Arc<dyn EventLog>,
    clock: Clock,
    handle: Handle,
    registry: Registry,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: DrainTrigger,
    run: JoinHandle<()>,
}

/// The fakes and settings that a test chooses.
struct Setup {
    log: Arc<dyn EventLog>,
    http: Arc<dyn pelton_resources::contracts::Sender>,
    slots: Arc<dyn Slots>,
    config: Config,
}

impl Setup {
    fn new(log: Arc<dyn EventLog>, http: Arc<dyn pelton_resources::contracts::Sender>) -> Self {
        Self { log, http, slots: FakeSlots::with(0), config: Config::default() }
    }

    async fn start(self, resources: Arc<Snapshot>) -> World {
        make_topics(&*self.log, resources.brokers.values().map(AsRef::as_ref)).await;
        let clock = Clock::starting_at(1_700_000_000_000);
        let (snapshots, received) = watch::channel(resources);
        let broker = crate::BrokerSender::new(self.log.clone(), received.clone(), clock.clone());
        let senders = Senders { http: self.http, broker: Arc::new(broker) };
        let registry = Registry::new();
        let (dispatcher, handle) = Dispatcher::new(
            self.config,
            self.log.clone(),
            received,
            senders,
            self.slots,
            clock.clone(),
            &registry,
        )
        .unwrap();
        let (stop, drain) = drain();
        let run = tokio::spawn(dispatcher.run(drain));
        World { log: self.log, clock, handle, registry, snapshots, stop, run }
    }
}

impl World {
    /// A world over `log` where `http` answers.
    async fn start(
        log: &Arc<MemoryLog>,
        http: &Arc<FakeSender>,
        brokers: Vec<Broker>,
        triggers: Vec<Trigger>,
    ) -> Self {
        Setup::new(log.clone(), http.clone()).start(snapshot(brokers, triggers)).await
    }

    /// Passes other resources on, once the topics of their brokers are there.
    async fn want(&self, resources: Arc<Snapshot>) {
        make_topics(&*self.log, resources.brokers.values().map(AsRef::as_ref)).await;
        self.snapshots.send_replace(resources);
    }

    /// Appends an event to the broker `main`, by key if it has one.
    async fn publish(&self, event: Event) {
        self.publish_to("main", event).await;
    }

    /// Appends an event to a broker.
    async fn publish_to(&self, broker: &str, event: Event) {
        let topics = BrokerTopics::of(&format!("knative-broker-default-{broker}"));
        let all = self.log.topics().await.unwrap();
        let partitions = all.iter().find(|topic| topic.name == topics.events).unwrap().partitions;
        let key =
            event.attribute("partitionkey").map(|key| bytes::Bytes::copy_from_slice(key.text.as_bytes()));
        let partition = key.as_deref().map_or(0, |key| partition_of(key, partitions));
        let time = Timestamp::from_millis(self.clock.unix_ms());
        let envelope = Envelope { key, time, hops: 32, ..Envelope::default() };
        let records = vec![(topics.events, partition, Record { envelope, event: Some(event) })];
        let batch = Batch { records, progress: Vec::new(), urgency: Urgency::Now };
        self.log.append(batch).await.unwrap();
    }

    fn status(&self, trigger: &str) -> ResourceStatus {
        self.handle.status(Kind::Trigger, &name(trigger)).unwrap()
    }

    fn counter(&self, trigger: &str, counter: &str) -> u64 {
        let status = self.status(trigger);
        let found = status.counters.iter().find(|(name, _)| *name == counter);
        found.map_or(0, |(_, value)| *value)
    }

    fn backlog(&self, trigger: &str) -> Option<TriggerBacklog> {
        self.handle.backlog().into_iter().find(|backlog| backlog.trigger == name(trigger))
    }

    /// Waits until the triggers miss nothing that is published from now on.
    async fn ready(&self, triggers: &[&str]) {
        for trigger in triggers {
            until(&format!("{trigger} is ready"), || self.status(trigger).readiness == Readiness::Ready)
                .await;
        }
    }

    /// Waits until a counter of a trigger is `value`.
    async fn counted(&self, trigger: &str, counter: &str, value: u64) {
        let reached = tokio::time::timeout(Duration::from_secs(60), async {
            while self.counter(trigger, counter) < value {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "{trigger}: {counter} does not reach {value}: {:?}", self.status(trigger));
        assert_eq!(self.counter(trigger, counter), value, "{trigger}: {counter}");
    }

    /// Stops it cleanly.
    async fn stop(self) {
        self.stop.start();
        self.run.await.unwrap();
    }
}

/// Waits for a condition. The limit is there to end a test that fails, on whatever machine.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), polled).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}
