use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use prost::Message as _;

use super::*;
use crate::client::CallError;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A collector that keeps what it is sent.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<(Target, Bytes)>>>);

impl Collector {
    fn spans(&self) -> Vec<Exported> {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests
            .iter()
            .flat_map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).unwrap().resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }

    fn tracer(&self, sample_one_in: u32) -> (Traces, Tracer) {
        let traces = Traces::over(self.clone(), "http://collector:4318", sample_one_in).unwrap();
        let tracer = traces.tracer();
        (traces, tracer)
    }
}

impl HttpClient for Collector {
    async fn call(&self, call: Call) -> Result<Response<Bytes>, CallError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((call.target, call.body));
        Ok(Response::new(Bytes::new()))
    }
}

#[tokio::test]
async fn spans_of_a_sampled_trace_are_exported_below_their_sender() {
    let collector = Collector::default();
    let (traces, tracer) = collector.tracer(0);
    let mut receive = tracer.begin(SpanKind::Server, "receive", (SAMPLED, "vendor=a")).unwrap();
    receive.set_text("cloudevents.event_id", "1");
    receive.set_number("http.response.status_code", 202);
    let mut deliver = tracer.begin(SpanKind::Client, "deliver", (&receive.parent(), "")).unwrap();
    deliver.fail("timeout");
    let parent = receive.parent();
    receive.end();
    deliver.end();
    traces.close().await;

    let spans = collector.spans();
    let [receive, deliver] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(collector.0.lock().unwrap()[0].0, Target::parse("http://collector:4318/v1/traces").unwrap());
    assert_eq!((&*receive.name, &*deliver.name), ("receive", "deliver"));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&receive.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&receive.parent_span_id), "b7ad6b7169203331");
    assert_eq!(receive.trace_state, "vendor=a");
    assert_eq!(parent, format!("00-{}-{}-01", hex(&receive.trace_id), hex(&receive.span_id)));
    assert_eq!((&receive.trace_id, &receive.span_id), (&deliver.trace_id, &deliver.parent_span_id));
    let names = |span: &Exported| span.attributes.iter().map(|a| a.key.clone()).collect::<Vec<_>>();
    assert_eq!(names(receive), ["cloudevents.event_id", "http.response.status_code"]);
    assert_eq!(names(deliver), ["error.type"]);
    let failed = |span: &Exported| span.status.as_ref().is_some_and(|status| status.code == 2);
    assert_eq!((failed(receive), failed(deliver)), (false, true));
}

#[tokio::test]
async fn a_span_is_bounded_and_one_that_is_given_up_says_so() {
    let collector = Collector::default();
    let (traces, tracer) = collector.tracer(0);
    let undefined_flags = SAMPLED.replace("-01", "-f1");
    let mut span = tracer.begin(SpanKind::Client, "deliver", (&undefined_flags, "")).unwrap();
    assert!(span.parent().ends_with("-01"), "{}", span.parent());
    span.set_text("cloudevents.event_id", &"é".repeat(limits::SPAN_TEXT_BYTES_MAX));
    drop(span);
    traces.close().await;
    let spans = collector.spans();
    let texts = spans[0].attributes.iter().map(|attribute| {
        let Some(Value::StringValue(text)) = attribute.value.clone().unwrap().value else {
            panic!("{attribute:?}")
        };
        (attribute.key.clone(), text)
    });
    let cut = "é".repeat(limits::SPAN_TEXT_BYTES_MAX / 2);
    let expected = [("cloudevents.event_id", &*cut), ("error.type", "cancelled")];
    assert_eq!(texts.collect::<Vec<_>>(), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn the_resource_names_pelton_unless_the_environment_names_it() {
    let resource = resource();
    let named =
        |name: &'static str| resource.get(&opentelemetry::Key::new(name)).map(|value| value.to_string());
    assert_eq!(named("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let expected = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "pelton".to_owned());
    assert_eq!(named("service.name"), Some(expected));
}

#[tokio::test]
async fn what_its_sender_does_not_sample_makes_no_span() {
    let collector = Collector::default();
    let (traces, tracer) = collector.tracer(1);
    assert!(tracer.begin(SpanKind::Server, "receive", (NOT_SAMPLED, "")).is_none());
    assert!(tracer.begin(SpanKind::Server, "receive", ("no traceparent", "")).is_none());
    traces.close().await;
    assert_eq!(collector.spans(), []);
}

#[tokio::test]
async fn events_without_a_trace_are_drawn() {
    let collector = Collector::default();
    for (one_in, expected) in [(0, 0..=0), (1, 1000..=1000), (10, 20..=300)] {
        let (traces, tracer) = collector.tracer(one_in);
        let begun = |_: &u32| tracer.begin(SpanKind::Server, "receive", ("", "")).is_some();
        let drawn = (0..1000).filter(begun).count();
        assert!(expected.contains(&drawn), "{drawn} of 1000 with one in {one_in}");
        traces.close().await;
    }
}

#[test]
fn without_an_endpoint_nothing_is_made() {
    assert!(Traces::start(&Config::default()).unwrap().is_none());
    assert!(Tracer::default().begin(SpanKind::Server, "receive", (SAMPLED, "")).is_none());
}

#[test]
fn an_endpoint_is_a_base_or_a_whole_url() {
    for (endpoint, url) in [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("https://collector/", "https://collector/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ] {
        assert_eq!(signal(endpoint), Ok(Target::parse(url).unwrap()));
        assert_eq!(check_endpoint(endpoint), Ok(()));
    }
    for endpoint in [
        "localhost:4318",
        "ftp://collector",
        "http://user:secret@collector",
        "http://collector/?token=secret",
        "not a url",
    ] {
        let problem = check_endpoint(endpoint).unwrap_err();
        assert!(!problem.contains("secret"), "{problem}");
    }
}
