//! The data plane as Knative's specification and a cautious producer expect it: paths, methods, probes, status codes.

use hyper::Method;
use pelton_tests::eventually;
use pelton_tests::http::{self, Answer};
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::subscriber::{Behaviour, Subscriber};

const EVENT: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/test"), ("ce-type", "test")];

async fn start() -> (Subscriber, Site, Pelton) {
    let subscriber = Subscriber::start().await;
    let site = Site::new(&super::resources(&subscriber.url("/")));
    let pelton = site.start().await;
    (subscriber, site, pelton)
}

/// `EVENT` with one header replaced (or, by an empty value, removed).
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut headers: Vec<_> = EVENT.into_iter().filter(|(known, _)| *known != name).collect();
    if !value.is_empty() {
        headers.push((name, value));
    }
    headers
}

/// A refusal is a problem document (RFC 9457) with a code.
fn assert_refusal(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status.as_u16(), status, "{what}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("PEL-10")), "{what}: {problem}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_ingress_table() {
    let (_subscriber, _site, pelton) = start().await;
    let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
        http::request(pelton.ingress, Method::POST, path, headers, body.to_owned()).await
    };
    let accepted = post("/default/b", &EVENT, "data").await;
    assert_eq!((accepted.status.as_u16(), accepted.body.len()), (202, 0));
    assert_eq!(post("/default/b/", &EVENT, "").await.status, 202, "a trailing slash");
    assert_eq!(post("/default/b", &with("ce-specversion", "0.3"), "").await.status, 202, "0.3");

    let get = http::get(pelton.ingress, "/default/b").await;
    assert_refusal(&get, 405, "GET");
    assert!(get.header("allow").contains("POST"), "405 says what is allowed");
    for (path, what) in [
        ("/", "root"),
        ("/default", "one segment"),
        ("/default/none", "unknown broker"),
        ("/a/b/c", "three segments"),
    ] {
        assert_refusal(&post(path, &EVENT, "").await, 404, what);
    }
    for missing in ["ce-id", "ce-source", "ce-type", "ce-specversion"] {
        let answer = post("/default/b", &with(missing, ""), "{}").await;
        assert_refusal(&answer, 400, missing);
        let named = missing.trim_start_matches("ce-");
        assert!(
            String::from_utf8_lossy(&answer.body).contains(named),
            "{missing}: the refusal names the attribute"
        );
    }
    assert_refusal(&post("/default/b", &with("ce-specversion", "19.0"), "").await, 400, "specversion 19.0");
    assert_refusal(&post("/default/b", &with("ce-Bad_name", "x"), "").await, 400, "attribute name");
    let json = [("content-type", "application/cloudevents+json")];
    assert_refusal(&post("/default/b", &json, "{not json").await, 400, "bad JSON");
    assert_refusal(&post("/default/b", &json, "{}").await, 400, "empty object");
    assert_refusal(&post("/default/b", &[], "plain").await, 400, "not an event");
    let large = "x".repeat(2 << 20);
    assert_refusal(&post("/default/b", &EVENT, &large).await, 413, "body over the limit");
    assert_refusal(&post("/default/b", &with("ce-knativebrokerttl", "0"), "").await, 400, "no hops left");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_and_probes() {
    let (_subscriber, _site, pelton) = start().await;
    let origin = [("webhook-request-origin", "events.example.com")];
    let options = http::request(pelton.ingress, Method::OPTIONS, "/default/b", &origin, "").await;
    assert_eq!(options.status, 200);
    assert!(options.header("allow").contains("POST") && options.header("allow").contains("OPTIONS"));
    assert!(!options.header("webhook-allowed-origin").is_empty());
    assert!(!options.header("webhook-allowed-rate").is_empty());
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(pelton.ingress, path).await.status, 200, "{path}");
    }
    let probe = [("k-network-probe", "probe"), ("k-network-hash", "abc")];
    let answer = http::request(pelton.ingress, Method::GET, "/anything", &probe, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("k-network-hash")), (200, "abc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_content_reaches_the_subscriber_unchanged() {
    let (subscriber, _site, pelton) = start().await;
    let bodies: [(&str, &[u8]); 4] = [
        ("application/x-thrift", &[0, 159, 146, 150, 255]),
        ("application/xml", b"<much wow=\"xml\"/>"),
        ("application/json; charset=utf-8", br#"{ "b": 1.00, "a": [ ] }"#),
        ("text/plain", "ünï".as_bytes()),
    ];
    for (content_type, body) in bodies {
        let mut headers = EVENT.to_vec();
        headers.extend([
            ("content-type", content_type),
            ("ce-subject", "%C3%BC%20%25"),
            ("ce-time", "2026-01-02T03:04:05.678901+02:00"),
        ]);
        let answer = http::request(pelton.ingress, Method::POST, "/default/b", &headers, body.to_vec()).await;
        assert_eq!(answer.status, 202, "{content_type}");
    }
    eventually("all are delivered", async || (subscriber.count() == bodies.len()).then_some(())).await;
    let receipts = subscriber.receipts();
    for (content_type, body) in bodies {
        let receipt = receipts.iter().find(|receipt| receipt.header("content-type") == content_type).unwrap();
        assert_eq!(receipt.body, body, "{content_type}");
        assert_eq!(receipt.header("ce-subject"), "%C3%BC%20%25", "encoded as the binding says");
        assert_eq!(receipt.header("ce-time"), "2026-01-02T03:04:05.678901+02:00", "the sender's text");
        assert_eq!(receipt.header("prefer"), "reply");
        assert_eq!(receipt.header("kn-namespace"), "default");
        assert_eq!(receipt.header("ce-knativebrokerttl"), "", "hidden from subscribers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_and_nothing_else_passes() {
    let (subscriber, _site, pelton) = start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = EVENT.to_vec();
    headers.extend([("traceparent", parent), ("tracestate", "a=b"), ("x-secret", "s"), ("cookie", "c")]);
    assert_eq!(http::request(pelton.ingress, Method::POST, "/default/b", &headers, "").await.status, 202);
    eventually("it is delivered", async || (subscriber.count() == 1).then_some(())).await;
    let receipt = &subscriber.receipts()[0];
    assert_eq!(receipt.header("traceparent").get(..35), parent.get(..35), "the same trace");
    assert_eq!(receipt.header("tracestate"), "a=b");
    assert_eq!((receipt.header("x-secret"), receipt.header("cookie")), ("", ""));
}

/// KSPEC data plane, "Event Delivery": which responses are retried and which are not.
#[tokio::test(flavor = "multi_thread")]
async fn which_responses_are_retried() {
    let subscriber = Subscriber::start().await;
    let retried = [404, 408, 409, 429, 500, 503, 599];
    let final_ones = [300, 301, 302, 307, 400, 401, 403, 405, 410, 422];
    let mut yaml = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n".to_owned();
    for status in retried.iter().chain(&final_ones) {
        yaml += &format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t{status}}}\n\
             spec: {{broker: b, subscriber: {{uri: \"{}\"}}, delivery: {{retry: 2, backoffDelay: PT0.01S}}}}\n",
            subscriber.url(&format!("/{status}"))
        );
    }
    subscriber.behave(|receipt| Behaviour::Status(receipt.path[1..].parse().unwrap()));
    let site = Site::new(&yaml);
    let pelton = site.start().await;
    assert_eq!(http::request(pelton.ingress, Method::POST, "/default/b", &EVENT, "").await.status, 202);
    eventually("every trigger gave up", async || {
        let kept = pelton.metric("pelton_trigger_ended_total", &["end=\"kept\""]).await;
        (kept as usize == retried.len() + final_ones.len()).then_some(())
    })
    .await;
    for status in retried {
        assert_eq!(subscriber.receipts_at(&format!("/{status}")).len(), 3, "{status} is retried twice");
    }
    for status in final_ones {
        assert_eq!(subscriber.receipts_at(&format!("/{status}")).len(), 1, "{status} is not retried");
    }
}
