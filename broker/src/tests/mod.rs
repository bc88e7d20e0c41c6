//! The ingress as a whole, over a log that does as it is told.

mod fake_log;
mod rows;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use pelton_event_log::{AppendError, EventLog, LogStatus, TopicName};
use pelton_resources::contracts::StatusSource;
use pelton_resources::{
    Broker, KafkaSettings, Kind, NamespacedName, OnFull, Readiness, RetentionPolicy, Snapshot,
};
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::{DrainTrigger, drain};
use prometheus::Registry;
use tokio::sync::watch;

use crate::{Client, Config, Error, Handle, Ingress, limits};
use fake_log::{FakeLog, Plan, Topics};

struct Setup {
    log: Arc<FakeLog>,
    handle: Handle,
    client: Client,
    snapshots: watch::Sender<Arc<Snapshot>>,
    registry: Registry,
    /// Keeps the ingress running.
    _drain: DrainTrigger,
}

fn broker(name: &str) -> Broker {
    Broker {
        name: NamespacedName::new("default", name),
        topic: format!("knative-broker-default-{name}"),
        partitions: 10,
        retention: RetentionPolicy {
            age: Duration::from_secs(60),
            dead_letter_age: Duration::from_secs(60),
            bytes: 1 << 30,
            on_full: OnFull::Refuse,
        },
        kafka: KafkaSettings::default(),
        readiness: Readiness::Ready,
    }
}

fn snapshot(generation: u64, brokers: impl IntoIterator<Item = Broker>) -> Arc<Snapshot> {
    let brokers: BTreeMap<_, _> =
        brokers.into_iter().map(|broker| (broker.name.clone(), Arc::new(broker))).collect();
    Arc::new(Snapshot { generation, brokers, ..Snapshot::default() })
}

async fn setup(config: Config) -> Setup {
    setup_with(config, FakeLog::new()).await
}

async fn setup_with(config: Config, log: Arc<FakeLog>) -> Setup {
    let (snapshots, receiver) = watch::channel(snapshot(1, [broker("orders")]));
    let registry = Registry::new();
    let clock = Clock::fixed(1_234);
    let (ingress, handle) = Ingress::new(config, log.clone(), receiver, clock, &registry).unwrap();
    let (trigger, drain) = drain();
    tokio::spawn(ingress.run(drain));
    handle.loaded().await;
    let client = handle.connect("192.0.2.1".parse().unwrap());
    Setup { log, handle, client, snapshots, registry, _drain: trigger }
}

/// A binary event for `default/orders`.
fn event() -> http::request::Builder {
    Request::post("/default/orders")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .header("content-type", "application/json")
}

impl Setup {
    async fn send<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let response = self.handle.handle(&self.client, request).await;
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn send_event(&self) -> Response<Bytes> {
        self.send(event().body(full("{}")).unwrap()).await
    }

    fn stored(&self) -> usize {
        self.log.batches.lock().unwrap().iter().map(|batch| batch.records.len()).sum()
    }

    /// The value of a metric with all its labels as shown, `name{label="value"}`.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

fn full(text: &str) -> Full<Bytes> {
    Full::new(Bytes::from(text.to_owned()))
}

fn code(response: &Response<Bytes>) -> String {
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(problem["status"], response.status().as_u16());
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    problem["code"].as_str().unwrap().to_owned()
}

/// A body whose length is not known ahead and whose frames come from a channel.
struct Stream(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn stream(frames: &[&str]) -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Stream) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    for frame in frames {
        sender.send(Bytes::from((*frame).to_owned())).unwrap();
    }
    (sender, Stream(receiver))
}

#[tokio::test]
async fn nothing_is_said_before_the_log_has_stored_the_event() {
    let setup = setup(Config::default()).await;
    *setup.log.plan.lock().unwrap() = Plan::Wait;
    let mut sending = std::pin::pin!(setup.send_event());
    let early = tokio::select! {
        biased;
        response = &mut sending => Some(response.status()),
        () = tokio::task::yield_now() => None,
    };
    assert_eq!(early, None, "answered before the append ended");
    let appended = setup.log.waiting.lock().unwrap().pop().unwrap();
    appended.send(Ok(pelton_event_log::Stored::default())).unwrap();
    assert_eq!(sending.await.status(), 202);
}

#[tokio::test]
async fn an_append_without_success_is_never_a_202() {
    let cases = [
        (
            AppendError::Full { account: "default/orders".into(), bytes: 1, holder: "a lane".into() },
            503,
            "PEL-1201",
        ),
        (AppendError::DiskFull, 503, "PEL-1202"),
        (AppendError::Fenced(TopicName::new("t"), 0), 503, "PEL-1203"),
        (AppendError::NoSuchPartition(TopicName::new("t"), 0), 503, "PEL-1204"),
        (AppendError::TooLarge { bytes: 2, max: Some(1) }, 413, "PEL-1205"),
        (AppendError::Busy, 503, "PEL-1206"),
        (AppendError::Closed, 503, "PEL-1207"),
        (AppendError::Unknown("the disk".into()), 503, "PEL-1208"),
    ];
    for (error, status, expected) in cases {
        let setup = setup(Config::default()).await;
        *setup.log.plan.lock().unwrap() = Plan::Refuse(error);
        let response = setup.send_event().await;
        assert_eq!(response.status(), status, "{expected}");
        assert_eq!(code(&response), expected);
        assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{expected}");
        let refused = format!(
            "pelton_ingress_refused_total{{broker=\"orders\",code=\"{expected}\",namespace=\"default\"}}"
        );
        assert_eq!(setup.metric(&refused), Some(1.0));
        assert_eq!(
            setup.metric("pelton_ingress_accepted_total{broker=\"orders\",namespace=\"default\"}"),
            Some(0.0)
        );
    }
}

#[tokio::test]
async fn a_log_that_stops_in_the_middle_is_an_unknown_outcome() {
    let setup = setup(Config::default()).await;
    *setup.log.plan.lock().unwrap() = Plan::Wait;
    let stop = async {
        let appended = loop {
            if let Some(appended) = setup.log.waiting.lock().unwrap().pop() {
                break appended;
            }
            tokio::task::yield_now().await;
        };
        drop(appended);
    };
    let (response, ()) = tokio::join!(setup.send_event(), stop);
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (503, "PEL-1208"));
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_unread() {
    let config = Config { body_bytes_max: 10, ..Config::default() };
    let setup = setup(config).await;
    let response = setup.send(event().body(full("01234567890")).unwrap()).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (413, "PEL-1005"));
    assert!(!response.headers().contains_key("connection"), "the rest is little");
    assert_eq!(setup.send(event().body(full("0123456789")).unwrap()).await.status(), 202);
    let large = "x".repeat(usize::try_from(limits::REFUSED_BODY_BYTES).unwrap() + 1);
    let response = setup.send(event().body(full(&large)).unwrap()).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (413, "PEL-1005"));
    assert_eq!(response.headers()["connection"], "close");
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_where_it_exceeds_the_limit_and_joined_where_it_does_not() {
    let setup = setup(Config { body_bytes_max: 10, ..Config::default() }).await;
    let (end, body) = stream(&["012345", "67890"]);
    drop(end);
    let response = setup.send(event().body(body).unwrap()).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (413, "PEL-1005"));
    let (end, body) = stream(&["", "01234", "56", "789"]);
    drop(end);
    assert_eq!(setup.send(event().body(body).unwrap()).await.status(), 202);
    let batches = setup.log.batches.lock().unwrap();
    let event = batches[0].records[0].2.event.as_ref().unwrap();
    assert_eq!(event.data().unwrap(), "0123456789");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused() {
    let setup = setup(Config::default()).await;
    let (_open, body) = stream(&["{"]);
    let response = setup.send(event().body(body).unwrap()).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (408, "PEL-1008"));
    assert_eq!(setup.stored(), 0);
}

#[tokio::test]
async fn spent_shares_are_refused_and_come_back_with_the_answer() {
    let needed = limits::REQUEST_OVERHEAD_BYTES + 10;
    let base = Config { body_bytes_max: 10, batch_bytes_max: 10, ..Config::default() };
    let cases = [
        (Config { client_in_flight_bytes: needed, ..base.clone() }, 429, "PEL-1010"),
        (Config { broker_in_flight_bytes: needed, ..base.clone() }, 429, "PEL-1011"),
        (Config { in_flight_bytes: needed, ..base }, 503, "PEL-1012"),
    ];
    for (config, status, expected) in cases {
        let setup = setup(config).await;
        *setup.log.plan.lock().unwrap() = Plan::Wait;
        let first = setup.send_event();
        let second = async {
            while setup.log.waiting.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            let response = setup.send_event().await;
            assert_eq!(response.status(), status, "{expected}");
            assert_eq!(code(&response), expected);
            assert_eq!(response.headers()["retry-after"], "1");
            let appended = setup.log.waiting.lock().unwrap().pop().unwrap();
            appended.send(Ok(pelton_event_log::Stored::default())).unwrap();
        };
        let (first, ()) = tokio::join!(first, second);
        assert_eq!(first.status(), 202);
        assert_eq!(setup.metric("pelton_ingress_in_flight_bytes"), Some(0.0));
        *setup.log.plan.lock().unwrap() = Plan::Store;
        assert_eq!(setup.send_event().await.status(), 202);
    }
}

#[tokio::test]
async fn the_series_of_a_broker_go_with_it() {
    let setup = setup(Config::default()).await;
    for error in [AppendError::DiskFull, AppendError::Busy] {
        *setup.log.plan.lock().unwrap() = Plan::Refuse(error);
        setup.send_event().await;
    }
    let shown = || prometheus::TextEncoder::new().encode_to_string(&setup.registry.gather()).unwrap();
    assert_eq!(shown().matches("refused_total{broker=\"orders\"").count(), 2);
    setup.snapshots.send_replace(snapshot(2, []));
    setup.handle.shared.wait_for_generation(2).await;
    assert!(!shown().contains("broker=\"orders\""), "{}", shown());
}

#[tokio::test]
async fn shares_without_room_for_one_request_are_a_mistake_of_the_settings() {
    let (_, snapshots) = watch::channel(snapshot(1, []));
    let config = Config { client_in_flight_bytes: 100, ..Config::default() };
    let log: Arc<dyn EventLog> = FakeLog::new();
    let error = Ingress::new(config, log, snapshots, Clock::fixed(0), &Registry::new()).unwrap_err();
    assert!(matches!(error, Error::Share { share: "the share of a client", .. }), "{error}");
}

#[tokio::test]
async fn an_event_may_follow_at_once_on_the_change_that_made_its_broker() {
    let setup = setup(Config::default()).await;
    setup.snapshots.send_replace(snapshot(2, [broker("orders"), broker("new")]));
    let mut request = event().body(full("{}")).unwrap();
    *request.uri_mut() = "/default/new".parse().unwrap();
    assert_eq!(setup.send(request).await.status(), 202);
    setup.snapshots.send_replace(snapshot(3, [broker("new")]));
    setup.handle.shared.wait_for_generation(3).await;
    assert_eq!(setup.send_event().await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_broker_whose_topic_is_not_found_is_closed_until_it_is() {
    for lost in [Topics::Missing, Topics::Unknown] {
        let log = FakeLog::new();
        let there = std::mem::replace(&mut *log.topics.lock().unwrap(), lost);
        let setup = setup_with(Config::default(), log).await;
        let response = setup.send_event().await;
        assert_eq!((response.status().as_u16(), code(&response).as_str()), (503, "PEL-1013"));
        *setup.log.topics.lock().unwrap() = there;
        tokio::time::sleep(limits::REOPEN_INTERVAL * 2).await;
        assert_eq!(setup.send_event().await.status(), 202);
    }
}

#[tokio::test]
async fn a_broker_that_is_not_ready_takes_nothing_and_says_why() {
    let setup = setup(Config::default()).await;
    let mut closed = broker("orders");
    closed.readiness = Readiness::not_ready("TopicTaken", "its topic belongs to another broker");
    setup.snapshots.send_replace(snapshot(2, [closed]));
    setup.handle.shared.wait_for_generation(2).await;
    let response = setup.send_event().await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (503, "PEL-1013"));
    assert!(String::from_utf8_lossy(response.body()).contains("belongs to another broker"));
    assert_eq!(setup.stored(), 0);
}

#[tokio::test]
async fn readiness_is_that_of_the_log() {
    let setup = setup(Config::default()).await;
    let ready = || Request::get("/readyz").body(full("")).unwrap();
    assert_eq!(setup.send(ready()).await.status(), 200);
    *setup.log.status.lock().unwrap() =
        LogStatus { unavailable: Some("the disk is full".to_owned()), ..LogStatus::default() };
    let response = setup.send(ready()).await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (503, &b"the disk is full\n"[..]));
    let health = Request::get("/healthz").body(full("")).unwrap();
    assert_eq!(setup.send(health).await.status(), 200);
}

#[tokio::test]
async fn the_status_of_a_broker_counts_what_came_and_went() {
    let setup = setup(Config::default()).await;
    setup.send_event().await;
    setup.send(Request::post("/default/orders").body(full("no event")).unwrap()).await;
    let status = setup.handle.status(Kind::Broker, &NamespacedName::new("default", "orders")).unwrap();
    let counters = [("requests received", 2), ("requests refused", 1), ("events accepted", 1)];
    assert_eq!(status.counters, counters);
    assert_eq!(setup.handle.status(Kind::Trigger, &NamespacedName::new("default", "orders")), None);
    assert_eq!(
        setup.metric("pelton_ingress_decode_seconds_count{broker=\"orders\",namespace=\"default\"}"),
        Some(1.0)
    );
    assert_eq!(
        setup.metric("pelton_ingress_append_seconds_count{broker=\"orders\",namespace=\"default\"}"),
        Some(1.0)
    );
}
