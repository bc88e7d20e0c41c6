use std::sync::atomic::{AtomicBool, Ordering};

use futures_core::future::BoxFuture;
use pelton_resources::contracts::Sender;

use super::*;
use crate::testing::{FakeSender, FakeSlots, delivery, event, name, response};

fn attempt(http: Arc<dyn Sender>, broker: Arc<dyn Sender>, slots: Arc<FakeSlots>) -> Attempt {
    Attempt { senders: Senders { http, broker }, slots }
}

fn service() -> Destination {
    Destination::Service { name: name("shop"), path: "/orders".into() }
}

fn sent(ended: Ended) -> Outcome {
    match ended {
        Ended::Sent { outcome, .. } => outcome,
        Ended::NoSlot(none) => panic!("not sent: {none}"),
    }
}

static LEASE: Lease = Lease::unending();

#[tokio::test]
async fn each_destination_goes_to_its_sender() {
    let (http, broker) = (FakeSender::statuses(&[200]), FakeSender::statuses(&[202]));
    let attempt = attempt(http.clone(), broker.clone(), FakeSlots::with(1));
    let cases = [
        (Destination::Uri("http://a/".into()), 200),
        (service(), 200),
        (Destination::Broker(name("other")), 202),
    ];
    for (destination, status) in cases {
        let ended = attempt.run(delivery(event("1"), destination.clone()), async {}, &LEASE).await;
        assert_eq!(sent(ended), response(status), "{destination}");
    }
    assert_eq!((http.ids().len(), broker.ids().len()), (2, 1));
}

#[tokio::test]
async fn a_service_needs_a_place_and_keeps_it_until_the_exchange_is_over() {
    let (http, slots) = (FakeSender::gated(|_| response(200)), FakeSlots::with(0));
    let attempt = attempt(http.clone(), FakeSender::statuses(&[]), slots.clone());
    let started = AtomicBool::new(false);
    let running =
        attempt.run(delivery(event("1"), service()), async { started.store(true, Ordering::SeqCst) }, &LEASE);
    tokio::pin!(running);

    assert!(futures_util::poll!(&mut running).is_pending());
    assert_eq!(*slots.asked.lock().unwrap(), [name("shop")]);
    assert!(!started.load(Ordering::SeqCst) && http.ids().is_empty(), "waiting is no attempt");

    slots.places.add_permits(1);
    assert!(futures_util::poll!(&mut running).is_pending());
    assert!(started.load(Ordering::SeqCst));
    assert_eq!(http.sent.lock().unwrap()[0].replica.as_deref(), Some("127.0.0.1:9"));
    assert_eq!(slots.places.available_permits(), 0, "the place is taken while the exchange lasts");

    http.gate.add_permits(1);
    assert_eq!(sent(running.await), response(200));
    assert_eq!(slots.places.available_permits(), 1, "the place is given back");
}

#[tokio::test]
async fn no_place_is_told_and_nothing_is_sent() {
    let (http, slots) = (FakeSender::statuses(&[200]), FakeSlots::with(1));
    let none = NoSlot::DoesNotStart { service: name("shop"), reason: "exit status 1".into() };
    *slots.refuse.lock().unwrap() = Some(none.clone());
    let attempt = attempt(http.clone(), FakeSender::statuses(&[]), slots);
    let ended =
        attempt.run(delivery(event("1"), service()), async { panic!("it has no place") }, &LEASE).await;
    assert_eq!(ended, Ended::NoSlot(none));
    assert!(http.ids().is_empty());
}

#[tokio::test]
async fn only_services_ask_for_places() {
    let slots = FakeSlots::with(0);
    let attempt = attempt(FakeSender::statuses(&[200]), FakeSender::statuses(&[202]), slots.clone());
    for destination in [Destination::Uri("http://a/".into()), Destination::Broker(name("other"))] {
        sent(attempt.run(delivery(event("1"), destination), async {}, &LEASE).await);
    }
    assert!(slots.asked.lock().unwrap().is_empty());
}

#[derive(Debug)]
struct Silent;

impl Sender for Silent {
    fn send(&self, _: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>> {
        Box::pin(async { Vec::new() })
    }
}

#[tokio::test]
async fn a_sender_that_panics_or_says_nothing_is_a_destination_without_a_response() {
    let panics = FakeSender::new(|_| panic!("a defect"));
    for sender in [panics as Arc<dyn Sender>, Arc::new(Silent)] {
        let slots = FakeSlots::with(1);
        let attempt = attempt(sender, FakeSender::statuses(&[]), slots.clone());
        let outcome = sent(attempt.run(delivery(event("1"), service()), async {}, &LEASE).await);
        assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
        assert_eq!(slots.places.available_permits(), 1, "the place is given back all the same");
    }
}
