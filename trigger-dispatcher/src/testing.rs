//! Fakes and short ways to values that the tests of this crate share.

mod groups;
mod log;
pub(crate) mod subscriber;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_event_log::{BrokerTopics, EventLog, Retention, TopicSpec};
use pelton_filter::Filter;
use pelton_resources::contracts::{Delivery, NoSlot, Outcome, Response, Sender, Slot, Slots};
use pelton_resources::{
    Broker, DeliveryPolicy, Destination, KafkaSettings, NamespacedName, OnFull, Order, Readiness,
    RetentionPolicy, Snapshot, Start, Trigger,
};
use tokio::sync::Semaphore;

pub(crate) use log::MemoryLog;

/// A small event with id `id`.
pub(crate) fn event(id: &str) -> Event {
    event_with(id, &[])
}

/// A small event with more attributes.
pub(crate) fn event_with(id: &str, attributes: &[(&str, &str)]) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", id), ("source", "/tests"), ("type", "test")].iter().chain(attributes) {
        builder.attribute(*name, *value, Kind::String).unwrap();
    }
    builder.build(Some(Bytes::from_static(b"data"))).unwrap()
}

/// The name `name` in the namespace `default`.
pub(crate) fn name(name: &str) -> NamespacedName {
    NamespacedName::new("default", name)
}

/// A ready broker `default/NAME` with one partition.
pub(crate) fn broker(of: &str) -> Broker {
    Broker {
        name: name(of),
        topic: format!("knative-broker-default-{of}"),
        partitions: 1,
        retention: RetentionPolicy {
            age: Duration::from_secs(7 * 24 * 3600),
            dead_letter_age: Duration::from_secs(30 * 24 * 3600),
            bytes: 10 << 30,
            on_full: OnFull::Refuse,
        },
        kafka: KafkaSettings::default(),
        readiness: Readiness::Ready,
    }
}

/// Makes the topics of brokers, as the control role does before anybody hears of these.
pub(crate) async fn make_topics(log: &dyn EventLog, brokers: impl IntoIterator<Item = &Broker>) {
    for broker in brokers {
        let BrokerTopics { events, retry, dead_letter } = BrokerTopics::of(&broker.topic);
        for name in [retry, dead_letter, events] {
            let RetentionPolicy { age, bytes, .. } = broker.retention;
            let account = broker.name.as_str().into();
            let retention = Retention { age, bytes, on_full: pelton_event_log::OnFull::Refuse, account };
            log.ensure_topic(&TopicSpec::new(name, broker.partitions, retention)).await.unwrap();
        }
    }
}

/// A ready trigger `default/NAME` of the broker `default/main` that wants every event, with short waits.
pub(crate) fn trigger(of: &str) -> Trigger {
    Trigger {
        name: name(of),
        broker: name("main"),
        group: format!("knative-trigger-default-{of}"),
        filter: Arc::new(Filter::everything()),
        expression: None,
        subscriber: Some(Destination::Uri(format!("http://{of}.example/"))),
        delivery: DeliveryPolicy { timeout: Duration::from_secs(10), ..DeliveryPolicy::default() },
        order: Order::Unordered,
        max_concurrency: None,
        max_rate: None,
        start: Start::Latest,
        start_text: String::new(),
        paused: false,
        readiness: Readiness::Ready,
    }
}

/// What the operator wants, with one generation after the other.
pub(crate) fn snapshot(brokers: Vec<Broker>, triggers: Vec<Trigger>) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        generation: 1,
        brokers: brokers.into_iter().map(|broker| (broker.name.clone(), Arc::new(broker))).collect(),
        triggers: triggers.into_iter().map(|trigger| (trigger.name.clone(), Arc::new(trigger))).collect(),
        ..Snapshot::default()
    })
}

/// The first attempt to deliver `event` to `destination`.
pub(crate) fn delivery(event: Event, destination: Destination) -> Delivery {
    let trigger = Arc::new(trigger("orders"));
    Delivery { trigger, destination, replica: None, event, trace: None, hops: 32, attempts: 0 }
}

/// A response without body or reply.
pub(crate) fn response(status: u16) -> Outcome {
    Outcome::Response(Response { status, retry_after: None, reply: Ok(None), body: Bytes::new() })
}

/// What a fake sender answers.
pub(crate) type Answer = Box<dyn Fn(&Delivery) -> Outcome + Send + Sync>;

/// A sender that keeps what it is given and answers as told.
pub(crate) struct FakeSender {
    /// Every delivery, in the order in which it was given.
    pub(crate) sent: Mutex<Vec<Delivery>>,
    /// Each answer takes a permit; there are plenty unless a test takes them away.
    pub(crate) gate: Semaphore,
    answer: Answer,
}

impl std::fmt::Debug for FakeSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeSender")
    }
}

impl FakeSender {
    /// Answers at once what `answer` says.
    pub(crate) fn new(answer: impl Fn(&Delivery) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { sent: Mutex::default(), gate, answer: Box::new(answer) })
    }

    /// Answers what `answer` says, but only as many times as the test adds permits to the gate.
    pub(crate) fn gated(answer: impl Fn(&Delivery) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { sent: Mutex::default(), gate: Semaphore::new(0), answer: Box::new(answer) })
    }

    /// Answers `statuses` one after the other, the last for ever.
    pub(crate) fn statuses(statuses: &[u16]) -> Arc<Self> {
        let rest: Mutex<VecDeque<u16>> = Mutex::new(statuses.iter().copied().collect());
        Self::new(move |_| {
            let mut rest = rest.lock().unwrap();
            let status = if rest.len() > 1 { rest.pop_front() } else { rest.front().copied() };
            response(status.unwrap_or(204))
        })
    }

    /// Destination and id of every delivery so far.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|d| (d.destination.to_string(), d.event.id().to_owned())).collect()
    }

    /// Ids of the deliveries so far.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.log().into_iter().map(|(_, id)| id).collect()
    }
}

impl Sender for FakeSender {
    fn send(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>> {
        Box::pin(async move {
            let mut outcomes = Vec::new();
            for delivery in deliveries {
                self.sent.lock().unwrap().push(delivery.clone());
                self.gate.acquire().await.unwrap().forget();
                outcomes.push((self.answer)(&delivery));
            }
            outcomes
        })
    }
}

/// Grants places one permit at a time.
#[derive(Debug)]
pub(crate) struct FakeSlots {
    /// Free places.
    pub(crate) places: Arc<Semaphore>,
    /// The services that were asked for, in order.
    pub(crate) asked: Mutex<Vec<NamespacedName>>,
    /// Answered instead of a place.
    pub(crate) refuse: Mutex<Option<NoSlot>>,
}

impl FakeSlots {
    /// `places` free places on the replica `127.0.0.1:9`.
    pub(crate) fn with(places: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(places));
        Arc::new(Self { places, asked: Mutex::default(), refuse: Mutex::default() })
    }
}

impl Slots for FakeSlots {
    fn acquire<'a>(&'a self, service: &'a NamespacedName) -> BoxFuture<'a, Result<Slot, NoSlot>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(service.clone());
            if let Some(none) = self.refuse.lock().unwrap().clone() {
                return Err(none);
            }
            let place = self.places.clone().acquire_owned().await.unwrap();
            Ok(Slot::new("127.0.0.1:9", place))
        })
    }
}
