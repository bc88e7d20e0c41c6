use std::sync::{Arc, Mutex};

use pelton_resources::{DeliveryPolicy, Destination, Trigger};
use pelton_runtime::client::Target;

use super::*;
use crate::testing::{delivery, event, event_with, name, trigger};

type Answer = Result<http::Response<Bytes>, CallError>;

/// Keeps the calls and answers the same each time.
#[derive(Debug)]
struct FakeClient {
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Answer,
}

impl HttpClient for FakeClient {
    async fn call(&self, call: Call) -> Answer {
        self.calls.lock().unwrap().push(call);
        self.answer.clone()
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Answer {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(Bytes::from_static(body.as_bytes())).unwrap())
}

/// Sends one delivery and tells the call and the outcome.
async fn send(delivery: Delivery, answer: Answer) -> (Call, Outcome) {
    send_with(delivery, answer, Options::default()).await
}

async fn send_with(delivery: Delivery, answer: Answer, values: Options) -> (Call, Outcome) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let client = FakeClient { calls: calls.clone(), answer };
    let sender = HttpSender::new(client, Clock::fixed(0), 1_000_000).with_header_values(values);
    let outcome = sender.send(vec![delivery]).await.remove(0);
    let call = calls.lock().unwrap().remove(0);
    (call, outcome)
}

async fn outcome_of(answer: Answer) -> Outcome {
    send(to_uri(event("1")), answer).await.1
}

async fn response_of(answer: Answer) -> Response {
    match outcome_of(answer).await {
        Outcome::Response(response) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn to_uri(event: Event) -> Delivery {
    delivery(event, Destination::Uri("http://orders.example/in?x=1".into()))
}

fn header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    call.headers.get(name).map(|value| value.to_str().unwrap())
}

fn in_json(delivery: Delivery) -> Delivery {
    let policy = DeliveryPolicy { format: DeliveryFormat::Json, ..DeliveryPolicy::default() };
    let trigger = Trigger { delivery: policy, ..trigger("orders") };
    Delivery { trigger: Arc::new(trigger), ..delivery }
}

#[tokio::test]
async fn a_binary_delivery_is_headers_and_data() {
    let event = event_with("1", &[("datacontenttype", "text/plain"), ("knativebrokerttl", "7")]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = TraceContext { parent: parent.into(), state: "vendor=1".into(), baggage: "user=1".into() };
    let (call, _) = send(Delivery { trace: Some(trace), ..to_uri(event) }, answer(204, &[], "")).await;
    assert_eq!(call.method, Method::POST);
    assert_eq!(call.target.path_and_query(), "/in?x=1");
    assert_eq!(call.timeout, Duration::from_secs(10));
    assert_eq!(&call.body[..], b"data");
    let expected = [
        ("ce-specversion", Some("1.0")),
        ("ce-id", Some("1")),
        ("ce-source", Some("/tests")),
        ("ce-type", Some("test")),
        ("content-type", Some("text/plain")),
        ("prefer", Some("reply")),
        ("kn-namespace", Some("default")),
        ("traceparent", Some(parent)),
        ("tracestate", Some("vendor=1")),
        ("baggage", Some("user=1")),
        ("ce-knativebrokerttl", None),
    ];
    for (name, value) in expected {
        assert_eq!(header(&call, name), value, "{name}");
    }
}

#[tokio::test]
async fn a_structured_delivery_is_one_document_without_the_hops() {
    let event = event_with("1", &[("knativebrokerttl", "7"), ("subject", "s")]);
    let (call, _) = send(in_json(to_uri(event)), answer(204, &[], "")).await;
    assert_eq!(header(&call, "content-type"), Some("application/cloudevents+json"));
    assert_eq!(header(&call, "ce-id"), None);
    assert_eq!(header(&call, "prefer"), Some("reply"));
    let body = std::str::from_utf8(&call.body).unwrap();
    assert!(body.contains(r#""subject":"s""#), "{body}");
    assert!(!body.contains("knativebrokerttl"), "{body}");
}

#[tokio::test]
async fn a_service_is_called_on_the_granted_replica() {
    let service = Destination::Service { name: name("shop"), path: "/orders".into() };
    let granted = Delivery { replica: Some("127.0.0.1:20001".into()), ..delivery(event("1"), service) };
    let (call, _) = send(granted, answer(204, &[], "")).await;
    let expected = "http://shop.default.svc.cluster.local/orders";
    assert_eq!(call.target, Target::on_replica(expected, "127.0.0.1:20001").unwrap());
}

#[tokio::test]
async fn what_cannot_be_called_is_forbidden_and_not_called() {
    let service = Destination::Service { name: name("shop"), path: "/".into() };
    for destination in [
        Destination::Uri("ftp://a/".into()),
        Destination::Uri("nonsense".into()),
        service,
        Destination::Broker(name("b")),
    ] {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let client = FakeClient { calls: calls.clone(), answer: answer(204, &[], "") };
        let sender = HttpSender::new(client, Clock::fixed(0), 1_000);
        // The second time it comes from what was prepared.
        for _ in 0..2 {
            let outcome = sender.send(vec![delivery(event("1"), destination.clone())]).await.remove(0);
            assert!(matches!(outcome, Outcome::Forbidden { .. }), "{destination}: {outcome:?}");
        }
        assert!(calls.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn only_a_200_carries_a_reply() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "r"),
        ("ce-source", "/s"),
        ("ce-type", "reply"),
        ("content-type", "a/b"),
    ];
    let reply = response_of(answer(200, &headers, "hello")).await.reply.unwrap().unwrap();
    assert_eq!((reply.id(), reply.event_type()), ("r", "reply"));
    for status in [201, 202, 204, 206, 500] {
        assert_eq!(response_of(answer(status, &headers, "hello")).await.reply, Ok(None), "{status}");
    }
    assert_eq!(response_of(answer(200, &[("content-type", "text/html")], "")).await.reply, Ok(None));
    assert!(response_of(answer(200, &[("content-type", "text/html")], "<p>")).await.reply.is_err());
}

#[tokio::test]
async fn header_values_are_encoded_both_ways_or_neither() {
    let reply = answer(
        200,
        &[("ce-specversion", "1.0"), ("ce-id", "%41"), ("ce-source", "/s"), ("ce-type", "t")],
        "",
    );
    for (percent_encoded, sent, received) in [(true, "a%2541b%20c", "A"), (false, "a%41b c", "%41")] {
        let event = event_with("1", &[("subject", "a%41b c")]);
        let (call, outcome) = send_with(to_uri(event), reply.clone(), Options { percent_encoded }).await;
        assert_eq!(header(&call, "ce-subject"), Some(sent));
        let Outcome::Response(Response { reply: Ok(Some(reply)), .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(reply.id(), received);
    }
}

#[tokio::test]
async fn a_structured_reply_is_read() {
    let body = r#"{"specversion":"1.0","id":"r","source":"/s","type":"reply","data":{"a":1}}"#;
    let structured = answer(200, &[("content-type", "Application/CloudEvents+JSON")], body);
    let reply = response_of(structured).await.reply.unwrap().unwrap();
    assert_eq!((reply.id(), reply.event_type()), ("r", "reply"));
    assert_eq!(reply.data().unwrap().as_ref(), br#"{"a":1}"#);
}

#[tokio::test]
async fn the_first_bytes_of_a_body_are_kept_and_no_more() {
    let body: &'static str = "x".repeat(5_000).leak();
    let response = response_of(answer(500, &[], body)).await;
    assert_eq!((response.status, response.body.len()), (500, 1_024));
    assert_eq!(response_of(answer(422, &[], "no")).await.body, "no");
}

#[tokio::test]
async fn retry_after_is_a_wait() {
    for (value, wait) in [("120", Some(120)), ("Thu, 01 Jan 1970 00:01:00 GMT", Some(60)), ("soon", None)] {
        let response = response_of(answer(503, &[("retry-after", value)], "")).await;
        assert_eq!(response.retry_after, wait.map(Duration::from_secs), "{value}");
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_a_fact_and_no_verdict() {
    let origin = || "http://orders.example:80".to_owned();
    let problem = || "reset".to_owned();
    let timed_out = CallError::Timeout { after: Duration::from_secs(1), sent: true };
    assert_eq!(outcome_of(Err(timed_out)).await, Outcome::TimedOut);
    let guarded = CallError::Forbidden {
        host: "h".into(),
        address: [169, 254, 169, 254].into(),
        reason: pelton_runtime::egress::Forbidden::LinkLocal,
    };
    assert!(matches!(outcome_of(Err(guarded)).await, Outcome::Forbidden { .. }));
    for error in [
        CallError::Resolve { host: "h".into(), problem: problem() },
        CallError::Connect { origin: origin(), problem: problem() },
        CallError::Tls { origin: origin(), problem: problem() },
        CallError::Closed { origin: origin(), problem: problem(), sent: true },
        CallError::InvalidResponse { origin: origin(), problem: problem() },
    ] {
        let outcome = outcome_of(Err(error.clone())).await;
        assert_eq!(outcome, Outcome::Unreachable { message: error.to_string().into() });
    }
    let too_large = |status| CallError::ResponseTooLarge { origin: origin(), limit: 9, status };
    assert!(response_of(Err(too_large(200))).await.reply.is_err(), "a reply that is too large is a bad one");
    let taken = response_of(Err(too_large(202))).await;
    assert_eq!((taken.status, taken.reply), (202, Ok(None)), "what comes with a 202 does not matter");
}
