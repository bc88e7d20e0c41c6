//! Over the embedded engine, with real requests to real sockets.

use std::path::Path;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use pelton_event_log::{EmbeddedLog, ReadLimit, TopicName, embedded};
use pelton_resources::contracts::{NoSlot, Slot};
use pelton_resources::{DeliveryFormat, DeliveryPolicy, Destination, Order};
use pelton_runtime::client::{Client, ClientOptions, SystemResolver};
use pelton_runtime::egress::EgressPolicy;

use super::*;
use crate::HttpSender;
use crate::testing::subscriber::{Reaction, Subscriber, status};
use crate::testing::{broker, event, event_with, trigger};

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    let mut config = embedded::Config::new(dir);
    config.segment_bytes = 1 << 20;
    Arc::new(EmbeddedLog::open(config, Clock::starting_at(1_700_000_000_000)).unwrap())
}

fn http(loopback: bool) -> Arc<HttpSender<Client>> {
    let egress = EgressPolicy { allow: Vec::new(), deny: Vec::new(), private_networks: false, loopback };
    let options = ClientOptions {
        connections_per_origin: 64,
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        egress,
    };
    let client = Client::new(&options, SystemResolver, None).unwrap();
    Arc::new(HttpSender::new(client, Clock::starting_at(1_700_000_000_000), 1 << 20))
}

async fn start(log: &Arc<EmbeddedLog>, triggers: Vec<Trigger>) -> World {
    let main = Broker { partitions: 4, ..broker("main") };
    Setup::new(log.clone(), http(true)).start(snapshot(vec![main], triggers)).await
}

/// A trigger whose deliveries go to `subscriber`, with short waits.
fn to(subscriber: &Subscriber, of: &str) -> Trigger {
    let delivery = DeliveryPolicy { backoff_delay: Duration::from_millis(5), ..DeliveryPolicy::default() };
    Trigger { subscriber: Some(subscriber.destination()), delivery, ..trigger(of) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_replies_and_dead_letters_go_their_way() {
    let dir = tempfile::tempdir().unwrap();
    let works = Subscriber::start(|_, request| {
        if request.headers()["ce-type"] == "reply" {
            return status(204);
        }
        let reply = Response::builder()
            .header("ce-specversion", "1.0")
            .header("ce-id", format!("re-{}", request.headers()["ce-id"].to_str().unwrap()))
            .header("ce-source", "/subscriber")
            .header("ce-type", "reply")
            .body(Full::from("thanks"));
        Reaction::Answer(reply.unwrap())
    })
    .await;
    let refuses = Subscriber::start(|_, _| status(400)).await;
    let sink = Subscriber::start(|_, _| status(200)).await;
    let mut refused = to(&refuses, "refused");
    refused.delivery.dead_letter_sink = Some(sink.destination());
    refused.delivery.format = DeliveryFormat::Json;
    let log = open(dir.path());
    let world = start(&log, vec![to(&works, "works"), refused]).await;
    world.ready(&["works", "refused"]).await;
    for id in 0..50 {
        let id = id.to_string();
        world.publish(event_with(&id, &[("partitionkey", &id), ("datacontenttype", "text/plain")])).await;
    }
    world.counted("works", "delivered", 100).await;
    world.counted("refused", "taken by dead letter sink", 100).await;
    let mut ids = works.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100, "50 events and their 50 replies");
    let first = &works.requests()[0];
    assert_eq!(
        (first.headers()["kn-namespace"].as_bytes(), &first.body()[..]),
        (&b"default"[..], &b"data"[..])
    );
    let letter = String::from_utf8(sink.requests()[0].body().to_vec()).unwrap();
    assert!(letter.contains(r#""knativeerrorcode":"400""#), "{letter}");
    world.stop().await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_owed_at_a_stop_or_a_crash_comes_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Subscriber::start(|_, _| status(503)).await;
    let log = open(dir.path());
    let mut trigger = to(&broken, "a");
    trigger.order = Order::Keyed;
    trigger.delivery.backoff_delay = Duration::from_secs(3_600);
    let world = start(&log, vec![trigger.clone()]).await;
    world.ready(&["a"]).await;
    for id in 0..200 {
        let id = id.to_string();
        world.publish(event_with(&id, &[("partitionkey", &id)])).await;
    }
    until("some were tried", || world.counter("a", "failed attempts") >= 5).await;
    // Nothing is told to anybody, as in a crash.
    world.run.abort();
    let _ = world.run.await;
    log.close().await.unwrap();
    drop(log);

    let works = Subscriber::start(|_, _| status(204)).await;
    trigger.subscriber = Some(works.destination());
    trigger.delivery.backoff_delay = Duration::from_millis(1);
    let log = open(dir.path());
    let world = start(&log, vec![trigger]).await;
    // Those that wait for their next attempt keep their due time: at most what each partition had on its way.
    let waiting = 4 * u64::from(crate::limits::LANE_CONCURRENCY_START);
    let owed = || world.status("a").backlog.unwrap_or(u64::MAX);
    until("all others came", || works.ids().len() as u64 + owed() == 200 && owed() <= waiting).await;
    let mut ids = works.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), works.ids().len(), "none came twice");
    world.stop().await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_of_every_temper_end_with_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let endless: &'static [u8] = vec![b'x'; 3 << 20].leak();
    let moody = Subscriber::start(move |number, _| match number {
        0 => status(500),
        1 => Reaction::Close,
        2 => Reaction::Hang,
        3 => status(429),
        4 => Reaction::Answer(Response::new(Full::from("<p>no event</p>"))),
        5 => Reaction::Answer(Response::builder().status(503).body(Full::from(endless)).unwrap()),
        6 => Reaction::Answer(Response::new(Full::from(endless))),
        _ => status(202),
    })
    .await;
    let log = open(dir.path());
    let mut trigger = to(&moody, "a");
    trigger.delivery.timeout = Duration::from_millis(200);
    let world = start(&log, vec![trigger]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    assert_eq!(world.counter("a", "failed attempts"), 7);
    let text = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    for (outcome, count) in
        [("2xx", 1), ("4xx", 1), ("5xx", 2), ("bad_reply", 2), ("timeout", 1), ("unreachable", 1)]
    {
        let line = format!(
            r#"pelton_delivery_attempts_total{{broker="main",namespace="default",outcome="{outcome}"}} {count}"#
        );
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
    world.stop().await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_address_is_a_dead_letter_and_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let inside = Subscriber::start(|_, _| status(200)).await;
    let log = open(dir.path());
    let main = Broker { partitions: 1, ..broker("main") };
    let world =
        Setup::new(log.clone(), http(false)).start(snapshot(vec![main], vec![to(&inside, "a")])).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "kept as dead letters", 1).await;
    assert!(inside.requests().is_empty());
    let topic = TopicName::new("knative-broker-default-main_dead-letter");
    let limit = ReadLimit { bytes: 1 << 20, entries: 10, wait: false };
    assert_eq!(log.read(&topic, 0, 0, limit).await.unwrap().entries.len(), 1);
    world.stop().await;
    log.close().await.unwrap();
}

/// Grants places on a replica at `authority`.
#[derive(Debug)]
struct OneReplica(String);

impl Slots for OneReplica {
    fn acquire<'a>(
        &'a self,
        _: &'a NamespacedName,
    ) -> futures_core::future::BoxFuture<'a, Result<Slot, NoSlot>> {
        Box::pin(async { Ok(Slot::new(self.0.as_str(), ())) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_served_by_its_replica_under_its_own_host() {
    let dir = tempfile::tempdir().unwrap();
    let replica = Subscriber::start(|_, _| status(204)).await;
    let log = open(dir.path());
    // Loopback is forbidden for URLs; a replica is where Pelton put it.
    let slots = Arc::new(OneReplica(replica.authority()));
    let setup = Setup { slots, ..Setup::new(log.clone(), http(false)) };
    let service = Destination::Service { name: name("shop"), path: "/orders?x=1".into() };
    let trigger = Trigger { subscriber: Some(service), ..trigger("a") };
    let world = setup.start(snapshot(vec![broker("main")], vec![trigger])).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    let request: http::Request<Bytes> = replica.requests().remove(0);
    assert_eq!(request.headers()["host"], "shop.default.svc.cluster.local");
    assert_eq!(request.uri(), "/orders?x=1");
    world.stop().await;
    log.close().await.unwrap();
}
