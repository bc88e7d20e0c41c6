//! What deliveries share: places on replicas, the process-wide share, limits of triggers.

use pelton_resources::contracts::NoSlot;
use pelton_resources::{Destination, Start};

use super::*;
use crate::testing::{broker, delivery, event, response, trigger};

fn of_service(of: &str) -> Trigger {
    let subscriber = Some(Destination::Service { name: name("shop"), path: "/".into() });
    Trigger { subscriber, ..trigger(of) }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_a_service_waits_for_its_place() {
    let (log, http, slots) = (MemoryLog::new(), FakeSender::statuses(&[204]), FakeSlots::with(0));
    let setup = Setup { slots: slots.clone(), ..Setup::new(log.clone(), http.clone()) };
    let world = setup.start(snapshot(vec![broker("main")], vec![of_service("a")])).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("a place was asked for", || !slots.asked.lock().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(http.ids().is_empty(), "waiting has no time-out");
    let backlog = world.backlog("a").unwrap();
    assert_eq!((backlog.in_flight, backlog.due, backlog.owed, backlog.probed), (0, Some(1), Some(1), false));
    slots.places.add_permits(1);
    world.counted("a", "delivered", 1).await;
    assert_eq!(world.counter("a", "failed attempts"), 0, "waiting is no attempt");
    assert_eq!(http.sent.lock().unwrap()[0].replica.as_deref(), Some("127.0.0.1:9"));
    assert_eq!(slots.places.available_permits(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_start_fails_deliveries_by_policy() {
    let (log, http, slots) = (MemoryLog::new(), FakeSender::statuses(&[204]), FakeSlots::with(1));
    *slots.refuse.lock().unwrap() = Some(NoSlot::NoSuchService(name("shop")));
    let setup = Setup { slots, ..Setup::new(log.clone(), http.clone()) };
    let mut trigger = of_service("a");
    trigger.delivery.retry = 2;
    let world = setup.start(snapshot(vec![broker("main")], vec![trigger])).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "kept as dead letters", 1).await;
    assert_eq!(world.counter("a", "failed attempts"), 3);
    assert!(http.ids().is_empty());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hanging_subscribers_leave_room_for_the_others() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let log = MemoryLog::new();
    let http = Arc::new(Hanging { good: FakeSender::statuses(&[204]), gate });
    let config = Config { deliveries_in_flight: 64, ..Config::default() };
    let setup = Setup { config, ..Setup::new(log.clone(), http.clone()) };
    let triggers = vec![trigger("good"), trigger("hangs1"), trigger("hangs2")];
    let world = setup.start(snapshot(vec![broker("main")], triggers)).await;
    world.ready(&["good", "hangs1", "hangs2"]).await;
    for id in 0..500 {
        world.publish(event(&id.to_string())).await;
    }
    world.counted("good", "delivered", 500).await;
    let in_flight = |trigger| world.backlog(trigger).unwrap().in_flight;
    assert!(in_flight("hangs1") + in_flight("hangs2") < 64);
    // They come to themselves: everything arrives, and the share is whole again.
    http.gate.add_permits(10_000);
    for trigger in ["hangs1", "hangs2"] {
        world.counted(trigger, "delivered", 500).await;
    }
    let text = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    assert!(text.contains("\npelton_in_flight_deliveries 0\n"), "{text}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_a_share_hears_of_the_room_that_others_leave() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let log = MemoryLog::new();
    let http = Arc::new(Hanging { good: FakeSender::statuses(&[204]), gate });
    let config = Config { deliveries_in_flight: 1, ..Config::default() };
    let setup = Setup { config, ..Setup::new(log.clone(), http.clone()) };
    let late = Trigger { broker: name("other"), start: Start::Earliest, ..trigger("late") };
    let triggers = vec![trigger("hangs1"), trigger("hangs2"), late];
    let world = setup.start(snapshot(vec![broker("main"), broker("other")], triggers)).await;
    world.ready(&["hangs1", "hangs2", "late"]).await;
    world.publish(event("1")).await;
    let in_flight = |trigger| world.backlog(trigger).unwrap().in_flight;
    until("the hard cap is reached", || in_flight("hangs1") + in_flight("hangs2") == 2).await;
    world.publish_to("other", event("2")).await;
    until("it was refused", || world.backlog("late").unwrap().owed == Some(1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.counter("late", "delivered"), 0);
    http.gate.add_permits(1);
    world.counted("late", "delivered", 1).await;
    http.gate.add_permits(1);
    world.stop().await;
}

/// Answers for destinations that hang only with a permit.
#[derive(Debug)]
struct Hanging {
    good: Arc<FakeSender>,
    gate: Arc<tokio::sync::Semaphore>,
}

impl pelton_resources::contracts::Sender for Hanging {
    fn send(
        &self,
        deliveries: Vec<pelton_resources::contracts::Delivery>,
    ) -> futures_core::future::BoxFuture<'_, Vec<pelton_resources::contracts::Outcome>> {
        Box::pin(async move {
            if deliveries[0].destination.to_string().contains("hangs") {
                self.gate.acquire().await.unwrap().forget();
                return vec![response(204)];
            }
            self.good.send(deliveries).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_keeps_to_its_concurrency() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let limited = Trigger { max_concurrency: Some(3), ..trigger("a") };
    let world = World::start(&log, &http, vec![broker("main")], vec![limited]).await;
    world.ready(&["a"]).await;
    for id in 0..10 {
        world.publish(event(&id.to_string())).await;
    }
    until("three are on their way", || http.ids().len() == 3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(http.ids().len(), 3);
    http.gate.add_permits(10);
    world.counted("a", "delivered", 10).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_as_subscriber_gets_the_event_in_its_log() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let to_broker = Trigger { subscriber: Some(Destination::Broker(name("other"))), ..trigger("a") };
    let next = Trigger { broker: name("other"), ..trigger("next") };
    let world = World::start(&log, &http, vec![broker("main"), broker("other")], vec![to_broker, next]).await;
    world.ready(&["a", "next"]).await;
    world.publish(event("1")).await;
    world.counted("next", "delivered", 1).await;
    let expected = delivery(event("1"), Destination::Uri("http://next.example/".into()));
    let sent = http.sent.lock().unwrap().clone();
    assert_eq!((sent.len(), &sent[0].destination, sent[0].hops), (1, &expected.destination, 31));
    world.stop().await;
}
