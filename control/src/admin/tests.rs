//! The API through its router, over a real folder and a real embedded log.

mod letters;
mod serving;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use pelton_event::{
    DeadLetterReason, Envelope, Event, EventBuilder, Failure, Kind as AttributeKind, Origin, Record,
    SpecVersion, Step, Timestamp,
};
use pelton_event_log::embedded::Config;
use pelton_event_log::{Batch, BrokerTopics, Content, EmbeddedLog, EventLog, ReadLimit, TopicName};
use pelton_resources::contracts::{
    HandBack, HandBackError, HandedBack, ResourceStatus, ServingSource, StatusSource,
};
use pelton_resources::{Defaults, Kind, NamespacedName, Readiness};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::Secret;
use pelton_runtime::drain::{DrainTrigger, drain};
use pelton_runtime::telemetry::Metrics;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::{AdminConfig, AdminParts, router};
use crate::{FolderConfig, FolderStore, Topics, TopicsConfig};

const RESOURCES: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: b, annotations: {log.pelton.dev/partitions: '2'}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: b
  filters: [{exact: {type: test}}]
  subscriber: {uri: 'http://127.0.0.1:9001/'}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: waits}
spec: {broker: nowhere, subscriber: {uri: 'http://127.0.0.1:9001/'}}
";

/// A log that nobody else could go on with.
#[derive(Debug)]
struct NobodyElse;

impl HandBack for NobodyElse {
    fn hand_back<'a>(
        &'a self,
        broker: &'a NamespacedName,
        _: bool,
    ) -> BoxFuture<'a, Result<Vec<HandedBack>, HandBackError>> {
        Box::pin(std::future::ready(Err(HandBackError::NotOnKafka(broker.clone()))))
    }

    fn complete<'a>(&'a self, broker: &'a NamespacedName) -> BoxFuture<'a, Result<(), HandBackError>> {
        Box::pin(std::future::ready(Err(HandBackError::NotOnKafka(broker.clone()))))
    }
}

#[derive(Debug)]
struct FakeRole;

impl StatusSource for FakeRole {
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus> {
        (kind == Kind::Trigger && name.name() == "t").then(|| ResourceStatus {
            readiness: Readiness::not_ready("SubscriberBroken", "it answers 500"),
            backlog: Some(7),
            oldest: Some(Timestamp::from_millis(1_000)),
            last_error: Some((Timestamp::from_millis(2_500), "500 from http://127.0.0.1:9001/".into())),
            counters: vec![("delivered", 3)],
            facts: Vec::new(),
        })
    }
}

struct Site {
    _folder: TempDir,
    log: Arc<EmbeddedLog>,
    router: Router,
    stop: DrainTrigger,
}

impl Site {
    async fn new() -> Self {
        Self::with_token("").await
    }

    async fn with_token(token: &str) -> Self {
        Self::build(token, None).await
    }

    /// With what runs the Services; without, none are run.
    async fn build(token: &str, serving: Option<Arc<dyn ServingSource>>) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = folder.path().join("resources");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("resources.yaml"), RESOURCES).unwrap();
        let clock = Clock::fixed(5_000);
        let mut config = Config::new(folder.path().join("log"));
        config.segment_bytes = 4 << 20;
        let log = Arc::new(EmbeddedLog::open(config, clock.clone()).unwrap());
        let data_dir = folder.path().join("data");
        let defaults = Defaults { runs_services: serving.is_some(), ..Defaults::default() };
        let config = FolderConfig { dir, data_dir: data_dir.clone(), defaults };
        let store = FolderStore::open(config).unwrap();
        let handle = store.handle();
        let topics =
            Topics::start(TopicsConfig::new(data_dir), log.clone(), clock.clone(), handle.snapshots()).await;
        let (stop, drained) = drain();
        let parts = AdminParts {
            snapshots: topics.snapshots(),
            writer: Arc::new(handle.writer(topics.in_force())),
            statuses: vec![Arc::new(FakeRole), Arc::new(handle)],
            serving,
            hand_back: Arc::new(NobodyElse),
            log: log.clone(),
            clock,
            ready: Arc::new(|| Box::pin(async { Err("no append yet".to_owned()) })),
            metrics: Metrics::new().unwrap(),
            drain: drained.clone(),
        };
        tokio::spawn(topics.run(drained));
        let address = "127.0.0.1:9090".parse().unwrap();
        let config = AdminConfig {
            address,
            token: Secret::new(token),
            version: "0.0.0-test",
            listeners: vec![("admin", address)],
        };
        Self { _folder: folder, log, router: router(config, parts), stop }
    }

    async fn send(&self, request: Request) -> (StatusCode, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "localhost:9090");
        let (status, body) = self.send(request.body(body.into()).unwrap()).await;
        (status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    /// Everything in a partition of a topic.
    async fn records(&self, topic: &TopicName, partition: u32) -> Vec<Record> {
        let limit = ReadLimit { bytes: 1 << 20, entries: 1_000, wait: false };
        let chunk = self.log.read(topic, partition, 0, limit).await.unwrap();
        let record = |content| match content {
            Content::Record(record) => record,
            Content::Undecodable { reason, .. } => panic!("{reason}"),
        };
        chunk.entries.into_iter().map(|entry| record(entry.content)).collect()
    }

    async fn append(&self, topic: &TopicName, partition: u32, record: Record) {
        let batch = Batch { records: vec![(topic.clone(), partition, record)], ..Batch::default() };
        self.log.append(batch).await.unwrap();
    }
}

fn topics() -> BrokerTopics {
    BrokerTopics::of("knative-broker-default-b")
}

fn event(id: &str) -> Event {
    event_with(id, b"{\"n\":1}")
}

fn event_with(id: &str, data: &'static [u8]) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in
        [("id", id), ("source", "/s"), ("type", "test"), ("datacontenttype", "application/json")]
    {
        builder.attribute(name, value, AttributeKind::String).unwrap();
    }
    builder.build(Some(Bytes::from_static(data))).unwrap()
}

fn letter(id: &str, trigger: &str, reason: DeadLetterReason, offset: u64) -> Record {
    let failure = Failure {
        reason,
        destination: "http://127.0.0.1:9001/".into(),
        status: 503,
        message: "no room".into(),
        body: Bytes::from_static(b"busy"),
    };
    let step = Step::DeadLetter { attempts: 11, failure: Box::new(failure) };
    let origin = Origin { trigger: trigger.into(), partition: 1, offset, step };
    Record::new(Envelope::new(Timestamp::from_millis(1_500)).with_origin(origin), event(id))
}

/// Four dead letters: three in partition 1, one in partition 0.
async fn with_letters() -> Site {
    let site = Site::new().await;
    let topic = topics().dead_letter;
    for (partition, id, trigger, reason) in [
        (1, "1", "default/t", DeadLetterReason::Exhausted),
        (1, "2", "default/gone", DeadLetterReason::Exhausted),
        (1, "3", "default/t", DeadLetterReason::Rejected),
        (0, "4", "default/t", DeadLetterReason::Exhausted),
    ] {
        site.append(&topic, partition, letter(id, trigger, reason, 40)).await;
    }
    site
}

const LETTERS: &str = "/api/v1/brokers/default/b/dead-letters";

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["event"]["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_shown_with_what_every_role_knows() {
    let site = Site::new().await;
    let trigger = site.get("/api/v1/triggers/default/t").await;
    assert_eq!(
        trigger,
        json!({
            "kind": "Trigger", "namespace": "default", "name": "t",
            "ready": false, "reason": "SubscriberBroken", "message": "it answers 500",
            "spec": {
                "broker": "default/b", "filter": {"exact": {"type": "test"}}, "subscriber": "http://127.0.0.1:9001/",
                "delivery": {
                    "retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S", "backoffMax": "PT10M",
                    "retryAfterMax": "PT10M", "timeout": "PT10M", "format": "binary", "deadLetterSink": null,
                },
                "order": "unordered", "maxConcurrency": null, "maxRate": null, "start": "", "paused": false,
            },
            "status": {
                "backlog": 7, "oldest": "1970-01-01T00:00:01.000Z",
                "lastError": {"time": "1970-01-01T00:00:02.500Z", "message": "500 from http://127.0.0.1:9001/"},
                "counters": {"delivered": 3},
                "facts": [{"label": "defined in", "text": "resources.yaml:5"}],
            },
        })
    );
    let broker = site.get("/api/v1/brokers/default/b").await;
    assert_eq!(broker["ready"], true);
    assert_eq!(
        broker["spec"],
        json!({
            "path": "/default/b", "topic": "knative-broker-default-b", "partitions": 2, "retention": "PT168H",
            "deadLetterRetention": "PT720H", "retentionBytes": 10_u64 << 30, "onFull": "refuse",
        })
    );
    let waits = site.get("/api/v1/triggers/default/waits").await;
    assert_eq!((&waits["ready"], &waits["reason"]), (&json!(false), &json!("BrokerNotFound")));
    assert_eq!(site.get("/api/v1/triggers").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(site.get("/api/v1/triggers?namespace=other").await, json!({"items": []}));
    let problems = site.get("/api/v1/problems").await;
    assert_eq!(problems["items"][0]["code"], "PEL-1310");
    assert_eq!(problems["items"][0]["place"], "resources.yaml:16");
    let status = site.get("/api/v1/status").await;
    assert_eq!(status["listeners"], json!({"admin": "127.0.0.1:9090"}));
    assert_eq!(
        status["resources"],
        json!({"generation": 1, "brokers": 1, "triggers": 2, "services": 0, "problems": 1})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let site = Site::new().await;
    let text = async |path: &str| {
        let (status, body) = site.send(Request::get(path).body(Body::empty()).unwrap()).await;
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(text("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(text("/readyz").await, (503, "no append yet\n".to_owned()));
    let (status, metrics) = text("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("process_cpu_seconds_total"), "{metrics}");
    site.stop.start();
    assert_eq!(text("/readyz").await, (503, "Pelton is stopping\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_problem_details_with_a_code() {
    let site = Site::new().await;
    let large = "#".repeat(crate::limits::BODY_BYTES_MAX + 1);
    let cases = [
        (Method::GET, "/nothing", "", 404, "PEL-1601"),
        (Method::GET, "/api/v1/things", "", 404, "PEL-1601"),
        (Method::GET, "/api/v1/secrets", "", 404, "PEL-1601"),
        (Method::GET, "/api/v1/triggers?namespce=default", "", 400, "PEL-1608"),
        (Method::POST, "/api/v1/apply?dry-run=true", "", 400, "PEL-1608"),
        (Method::GET, "/api/v1/triggers/default/none", "", 404, "PEL-1602"),
        (Method::DELETE, "/api/v1/triggers/default/none", "", 404, "PEL-1602"),
        (Method::DELETE, "/api/v1/triggers/default/t", "", 409, "PEL-1603"),
        (Method::POST, "/api/v1/apply", "kind: Trigger", 422, "PEL-1604"),
        (Method::POST, "/api/v1/apply", large.as_str(), 413, "PEL-1605"),
        (Method::PUT, "/api/v1/apply", "", 405, "PEL-1611"),
        (Method::POST, "/api/v1/triggers/default/none/pause", "", 404, "PEL-1602"),
        (Method::POST, "/api/v1/triggers/default/t/replay", "{}", 400, "PEL-1608"),
        (Method::POST, "/api/v1/triggers/default/t/replay", r#"{"from": "tomorrow"}"#, 400, "PEL-1608"),
        (Method::POST, "/api/v1/triggers/default/none/replay", r#"{"from": 0}"#, 404, "PEL-1602"),
        (Method::POST, "/api/v1/triggers/default/waits/replay", r#"{"from": 0}"#, 404, "PEL-1602"),
        (Method::GET, "/api/v1/brokers/default/none/dead-letters", "", 404, "PEL-1602"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters?limit=0", "", 400, "PEL-1608"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters?reason=bad", "", 400, "PEL-1608"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters?colour=red", "", 400, "PEL-1608"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters/x", "", 400, "PEL-1608"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters/0-7", "", 404, "PEL-1613"),
        (Method::GET, "/api/v1/brokers/default/b/dead-letters/9-7", "", 404, "PEL-1613"),
        (Method::POST, "/api/v1/brokers/default/b/dead-letters/replay", "{}", 400, "PEL-1608"),
        (
            Method::POST,
            "/api/v1/brokers/default/b/dead-letters/discard",
            r#"{"all": false}"#,
            400,
            "PEL-1608",
        ),
        (Method::GET, "/api/v1/brokers/default/b/tail?filter=type%20=", "", 400, "PEL-1608"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, problem) = site.call(method.clone(), path, body.to_owned()).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{method} {path}: {problem}");
        assert_eq!(problem["type"], format!("urn:pelton:error:{code}"));
        assert_eq!(problem["status"], status);
    }
    let (_, invalid) =
        site.post("/api/v1/apply", "apiVersion: v1\nkind: Secret\nmetadata: {name: A}\n").await;
    assert_eq!(invalid["problems"][0]["place"], "request:3");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_come_change_and_go() {
    let site = Site::new().await;
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: made}\n";
    let (status, answer) = site.post("/api/v1/apply", broker).await;
    assert_eq!((status, &answer["results"][0]["action"]), (200, &json!("created")));
    // The answer comes once it is in force, topics included.
    assert_eq!(site.get("/api/v1/brokers/default/made").await["ready"], true);
    let (_, again) = site.post("/api/v1/apply", broker).await;
    assert_eq!(
        again["results"][0],
        json!({
            "kind": "Broker", "namespace": "default", "name": "made", "action": "unchanged",
            "ready": true, "reason": null, "message": null,
        })
    );
    let (status, gone) = site.call(Method::DELETE, "/api/v1/brokers/default/made", "").await;
    assert_eq!((status, &gone["action"]), (200, &json!("deleted")));
    assert_eq!(site.call(Method::GET, "/api/v1/brokers/default/made", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_tells_what_waits_and_what_was_skipped() {
    let site = Site::new().await;
    let text = "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: new}\n\
                spec: {broker: nowhere, subscriber: {uri: 'http://127.0.0.1:9001/'}}\n---\n\
                apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    let (status, answer) = site.post("/api/v1/apply?namespace=team", text).await;
    assert_eq!(status, 200, "{answer}");
    let result = &answer["results"][0];
    assert_eq!((&result["namespace"], &result["ready"]), (&json!("team"), &json!(false)));
    assert_eq!(result["reason"], "BrokerNotFound");
    let warnings: Vec<_> =
        answer["warnings"].as_array().unwrap().iter().map(|warning| &warning["code"]).collect();
    // That the trigger `waits` of a file waits too is no news here.
    assert_eq!(warnings, ["PEL-1306", "PEL-1310"]);
    let (_, twice) = site.post("/api/v1/apply", format!("{text}---\n{text}")).await;
    assert_eq!((&twice["code"], &twice["problems"][2]["code"]), (&json!("PEL-1604"), &json!("PEL-1308")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_is_paused_and_resumed() {
    let site = Site::new().await;
    let paused = async || site.get("/api/v1/triggers/default/t").await["spec"]["paused"].clone();
    let (status, answer) = site.post("/api/v1/triggers/default/t/pause", "").await;
    assert_eq!((status, &answer["action"]), (200, &json!("configured")));
    assert_eq!(paused().await, true);
    let facts = site.get("/api/v1/triggers/default/t").await["status"]["facts"].clone();
    assert_eq!(facts[1], json!({"label": "set by command", "text": "delivery.pelton.dev/paused: true"}));
    site.post("/api/v1/triggers/default/t/resume", "").await;
    assert_eq!(paused().await, false);
}

#[tokio::test]
async fn what_is_in_the_embedded_log_is_not_handed_back() {
    let site = Site::new().await;
    let (status, answer) = site.post("/api/v1/brokers/default/b/hand-back", "").await;
    assert_eq!((status, &answer["code"]), (409, &json!("PEL-1614")), "{answer}");
    let broker = site.get("/api/v1/brokers/default/b").await;
    assert!(!broker.to_string().contains("handed-back"), "nothing was marked: {broker}");
    let (status, answer) = site.post("/api/v1/brokers/default/none/hand-back", "").await;
    assert_eq!((status, &answer["code"]), (404, &json!("PEL-1602")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_everywhere_but_at_the_probes() {
    let site = Site::with_token("s3cret").await;
    let call = async |path: &str, authorization: Option<&str>| {
        let mut request = Request::get(path).header("host", "localhost");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        site.send(request.body(Body::empty()).unwrap()).await.0.as_u16()
    };
    assert_eq!(call("/healthz", None).await, 200);
    assert_eq!(call("/readyz", None).await, 503);
    for path in ["/metrics", "/api/v1/status", "/api/v1/triggers", "/nothing"] {
        assert_eq!(call(path, None).await, 401, "{path}");
        assert_eq!(call(path, Some("Bearer wrong")).await, 401, "{path}");
        assert_ne!(call(path, Some("Bearer s3cret")).await, 401, "{path}");
    }
    for (authorization, says) in
        [(None, "none was presented"), (Some("Bearer wrong"), "is not the admin token")]
    {
        let request = Request::get("/api/v1/status").header("host", "localhost");
        let request =
            authorization.into_iter().fold(request, |request, it| request.header("authorization", it));
        let (_, body) = site.send(request.body(Body::empty()).unwrap()).await;
        assert!(String::from_utf8_lossy(&body).contains(says), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_of_others_are_kept_out() {
    let site = Site::new().await;
    let call = async |method: Method, host: &str, origin: Option<&str>| {
        let mut request = Request::builder().method(method).uri("/api/v1/apply").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        site.send(request.body(Body::empty()).unwrap()).await.0.as_u16()
    };
    assert_eq!(call(Method::POST, "evil.example:9090", None).await, 403);
    assert_eq!(call(Method::POST, "localhost:9090", Some("http://evil.example")).await, 403);
    assert_eq!(call(Method::POST, "localhost:9090", None).await, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_a_command_for_each_partition_that_has_something() {
    let site = Site::new().await;
    for (time, partition) in [(1_000, 0), (2_000, 0), (3_000, 0)] {
        let record = Record::new(Envelope::new(Timestamp::from_millis(time)), event("1"));
        site.append(&topics().events, partition, record).await;
    }
    let replay = "/api/v1/triggers/default/t/replay";
    let (status, answer) = site.post(replay, r#"{"from": "1970-01-01T00:00:02Z"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["partitions"], json!([{"partition": 0, "from": 1, "to": 3}]));
    assert_eq!(answer["events"], 2);
    let id = u64::from_str_radix(answer["id"].as_str().unwrap(), 16).unwrap();
    let commands = site.records(&topics().retry, 0).await;
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].event, None);
    assert_eq!(
        commands[0].envelope.origin,
        Some(Origin {
            trigger: "default/t".into(),
            partition: 0,
            offset: 1,
            step: Step::Replay { id, from: 1, to: 3 }
        })
    );
    assert!(site.records(&topics().retry, 1).await.is_empty());
    for (range, expected) in [
        (r#"{"from": "earliest", "to": "latest"}"#, json!([{"partition": 0, "from": 0, "to": 3}])),
        (r#"{"from": 1, "to": 2}"#, json!([{"partition": 0, "from": 1, "to": 2}])),
        (r#"{"from": 0, "to": 1000}"#, json!([{"partition": 0, "from": 0, "to": 3}])),
        (r#"{"from": "latest"}"#, json!([])),
        (r#"{"from": 2, "to": 1}"#, json!([])),
    ] {
        assert_eq!(site.post(replay, range).await.1["partitions"], expected, "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_events_as_lines() {
    let site = Site::new().await;
    for id in ["1", "2", "3"] {
        let record = Record::new(Envelope::new(Timestamp::from_millis(1_000)), event(id));
        site.append(&topics().events, 0, record).await;
    }
    let lines = async |query: &str| {
        let path = format!("/api/v1/brokers/default/b/tail?{query}");
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let (status, body) = site.send(request).await;
        assert_eq!(status, 200);
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = lines("from=earliest&follow=false").await;
    assert_eq!(all.len(), 3);
    assert_eq!(
        all[0],
        json!({
            "partition": 0, "offset": 0, "time": "1970-01-01T00:00:01.000Z", "replyOf": null,
            "event": {
                "specversion": "1.0", "id": "1", "source": "/s", "type": "test", "datacontenttype": "application/json",
                "data": {"n": 1},
            },
        })
    );
    assert_eq!(lines("from=earliest&filter=id%20%3D%20'2'&max=1").await[0]["event"]["id"], "2");
    assert_eq!(lines("from=1&max=1").await[0]["event"]["id"], "2");
    assert_eq!(lines("from=latest&follow=false").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_follows_until_the_stop_and_their_number_is_bounded() {
    let site = Site::new().await;
    let open = async || {
        let request = Request::get("/api/v1/brokers/default/b/tail").header("host", "localhost");
        site.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let mut tails = Vec::new();
    for _ in 0..crate::limits::TAILS_MAX {
        tails.push(open().await);
    }
    let one_more = open().await;
    assert_eq!(one_more.status(), StatusCode::TOO_MANY_REQUESTS);
    let mut body = tails.pop().unwrap().into_body();
    drop(tails);
    site.append(&topics().events, 1, Record::new(Envelope::new(Timestamp::EPOCH), event("late"))).await;
    let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&line).contains("late"));
    assert_eq!(open().await.status(), StatusCode::OK);
    site.stop.start();
    assert!(body.frame().await.is_none(), "the stop ends it");
}
