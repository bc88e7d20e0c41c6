//! The spans of an event at a collector: below its sender's, above the subscriber's.

use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use pelton_tests::eventually;
use pelton_tests::pelton::Site;
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};
use prost::Message as _;

use crate::{BROKER, send, trigger};

const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn spans(receipts: &[Receipt]) -> Vec<Span> {
    let requests = receipts.iter().map(|receipt| {
        assert_eq!(receipt.path, "/v1/traces");
        assert_eq!(receipt.header("content-type"), "application/x-protobuf");
        assert_eq!(receipt.header("authorization"), "Bearer secret");
        ExportTraceServiceRequest::decode(receipt.body.clone()).unwrap()
    });
    requests
        .flat_map(|request| request.resource_spans)
        .inspect(|spans| {
            let attributes = spans.resource.iter().flat_map(|resource| &resource.attributes);
            let name = text_of(attributes, "service.name");
            assert_eq!(name, "pelton-of-the-test");
        })
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    text_of(&span.attributes, name)
}

fn text_of<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>, name: &str) -> String {
    let attribute = attributes.into_iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_the_way_of_an_event_from_its_sender_to_its_subscriber() {
    let collector = Subscriber::start().await;
    let attempts = AtomicUsize::new(0);
    let subscriber = Subscriber::scripted(move |receipt| match receipt.id() {
        "traced" if attempts.fetch_add(1, Ordering::Relaxed) < 2 => Behaviour::Status(500),
        _ => Behaviour::Status(204),
    })
    .await;
    let retries = "delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT0.01S}";
    let site = Site::new(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), retries)))
        .with("PELTON__TRACES__ENDPOINT", &collector.url(""))
        .with("PELTON__TRACES__SAMPLE_ONE_IN", "0")
        .with("OTEL_SERVICE_NAME", "pelton-of-the-test")
        .with("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer secret");
    let pelton = site.start().await;
    send(&pelton, "traced", "test", &[("traceparent", SENDER), ("tracestate", "vendor=a")]).await;
    send(&pelton, "not-sampled", "test", &[("traceparent", NOT_SAMPLED)]).await;
    send(&pelton, "without", "test", &[]).await;
    eventually("all are delivered", async || (pelton.ended("t", "delivered").await == 3).then_some(())).await;
    assert!(pelton.stop().await, "what waits is exported before the end");

    let spans = spans(&collector.receipts());
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (receives, delivers) = (named("receive"), named("deliver"));
    let [receive] = receives[..] else { panic!("{receives:?}") };
    assert_eq!((&*hex(&receive.trace_id), &*hex(&receive.parent_span_id)), (&SENDER[3..35], &SENDER[36..52]));
    assert_eq!(receive.trace_state, "vendor=a");
    assert_eq!(attribute(receive, "messaging.destination.name"), "default/b");
    assert_eq!(attribute(receive, "cloudevents.event_id"), "traced");

    let told = |id: &str| {
        let receipts = subscriber.receipts().into_iter().filter(|receipt| receipt.id() == id);
        receipts
            .map(|receipt| (receipt.header("traceparent").to_owned(), receipt.answered))
            .collect::<Vec<_>>()
    };
    let told_of_traced = told("traced");
    assert_eq!((told_of_traced.len(), delivers.len()), (3, 3));
    for (attempt, (parent, answered)) in told_of_traced.into_iter().enumerate() {
        let number = |span: &&&Span| attribute(span, "http.request.resend_count") == attempt.to_string();
        let deliver = delivers.iter().find(number).expect("each attempt is a span");
        assert_eq!(deliver.parent_span_id, receive.span_id);
        assert_eq!(parent, format!("00-{}-{}-01", hex(&deliver.trace_id), hex(&deliver.span_id)));
        assert_eq!(attribute(deliver, "messaging.consumer.group.name"), "default/t");
        assert_eq!(attribute(deliver, "http.response.status_code"), answered.to_string());
        assert_eq!(deliver.status.as_ref().is_some_and(|status| status.code == 2), answered == 500);
    }
    assert_eq!(told("not-sampled"), [(NOT_SAMPLED.to_owned(), 204)], "its sender's decision goes on");
    assert_eq!(told("without"), [(String::new(), 204)]);
}
