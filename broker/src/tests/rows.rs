//! Every rule of the ingress as a row: what is sent, what comes back, what is stored.

use http::{Method, Request};

use super::{Config, code, full, setup};

struct Row {
    rule: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    code: &'static str,
    stored: usize,
}

const BINARY: &[(&str, &str)] =
    &[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];
const BATCH: &[(&str, &str)] = &[("content-type", "Application/CloudEvents-Batch+JSON; charset=utf-8")];
const OK: Row = Row {
    rule: "a binary event",
    method: "POST",
    path: "/default/orders",
    headers: BINARY,
    body: "{}",
    status: 202,
    code: "",
    stored: 1,
};
const BAD: Row = Row { rule: "", status: 400, code: "PEL-1003", stored: 0, ..OK };
const ONE: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
const TWO: &str = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"0.3","id":"2","source":"/s","type":"t"}]"#;
const ONE_BAD_OF_TWO: &str = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0","id":"2","source":"/s"}]"#;

const ROWS: &[Row] = &[
    OK,
    Row { rule: "a trailing slash", path: "/default/orders/", ..OK },
    Row { rule: "a query does not matter", path: "/default/orders?a=b", ..OK },
    Row { rule: "an empty body", body: "", ..OK },
    Row { rule: "a structured event", headers: STRUCTURED, body: ONE, ..OK },
    Row {
        rule: "version 0.3",
        headers: &[("ce-specversion", "0.3"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")],
        ..OK
    },
    Row { rule: "a batch", headers: BATCH, body: TWO, stored: 2, ..OK },
    Row { rule: "an empty batch", headers: BATCH, body: "[]", stored: 0, ..OK },
    Row { rule: "a batch with one bad event is none", headers: BATCH, body: ONE_BAD_OF_TWO, ..BAD },
    Row {
        rule: "the path goes before the Host",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("host", "other.default.localhost")],
        ..OK
    },
    Row {
        rule: "the Host where the path names none",
        path: "/",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("host", "orders.default.localhost:8080")],
        ..OK
    },
    Row {
        rule: "an identity coding",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("content-encoding", "identity")],
        ..OK
    },
    Row {
        rule: "hops left",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("ce-knativebrokerttl", "1")],
        ..OK
    },
    Row { rule: "GET", method: "GET", status: 405, code: "PEL-1001", stored: 0, ..OK },
    Row {
        rule: "PUT at a path that is none",
        method: "PUT",
        path: "/",
        status: 405,
        code: "PEL-1001",
        stored: 0,
        ..OK
    },
    Row { rule: "DELETE", method: "DELETE", status: 405, code: "PEL-1001", stored: 0, ..OK },
    Row { rule: "the root", path: "/", status: 404, code: "PEL-1002", stored: 0, ..OK },
    Row { rule: "one segment", path: "/default", status: 404, code: "PEL-1002", stored: 0, ..OK },
    Row { rule: "three segments", path: "/default/orders/x", status: 404, code: "PEL-1002", stored: 0, ..OK },
    Row { rule: "an unknown broker", path: "/default/none", status: 404, code: "PEL-1002", stored: 0, ..OK },
    Row {
        rule: "an unknown namespace",
        path: "/other/orders",
        status: 404,
        code: "PEL-1002",
        stored: 0,
        ..OK
    },
    Row {
        rule: "OPTIONS of an unknown broker",
        method: "OPTIONS",
        path: "/default/none",
        status: 404,
        code: "PEL-1002",
        stored: 0,
        ..OK
    },
    Row { rule: "no event at all", headers: &[], ..BAD },
    Row { rule: "no id", headers: &[BINARY[0], BINARY[2], BINARY[3]], ..BAD },
    Row { rule: "no source", headers: &[BINARY[0], BINARY[1], BINARY[3]], ..BAD },
    Row { rule: "no type", headers: &[BINARY[0], BINARY[1], BINARY[2]], ..BAD },
    Row { rule: "no specversion", headers: &[BINARY[1], BINARY[2], BINARY[3]], ..BAD },
    Row {
        rule: "an unknown specversion",
        headers: &[("ce-specversion", "2.0"), BINARY[1], BINARY[2], BINARY[3]],
        ..BAD
    },
    Row { rule: "bad JSON", headers: STRUCTURED, body: "{", ..BAD },
    Row {
        rule: "no hops left",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("ce-knativebrokerttl", "0")],
        code: "PEL-1004",
        ..BAD
    },
    Row {
        rule: "a format that is not read",
        headers: &[("content-type", "application/cloudevents+avro")],
        body: "x",
        status: 415,
        code: "PEL-1006",
        stored: 0,
        ..OK
    },
    Row {
        rule: "a compressed body",
        headers: &[BINARY[0], BINARY[1], BINARY[2], BINARY[3], ("content-encoding", "gzip")],
        status: 415,
        code: "PEL-1007",
        stored: 0,
        ..OK
    },
];

#[tokio::test]
async fn every_row_holds() {
    for row in ROWS {
        let setup = setup(Config::default()).await;
        let mut request = Request::builder().method(row.method).uri(row.path);
        for (name, value) in row.headers {
            request = request.header(*name, *value);
        }
        let response = setup.send(request.body(full(row.body)).unwrap()).await;
        assert_eq!(response.status(), row.status, "{}: {:?}", row.rule, response.body());
        assert_eq!(setup.stored(), row.stored, "{}", row.rule);
        if row.status == 202 {
            assert!(response.body().is_empty(), "{}: a body would be a reply", row.rule);
            continue;
        }
        assert_eq!(code(&response), row.code, "{}", row.rule);
        assert_eq!(response.headers().contains_key("allow"), row.status == 405, "{}", row.rule);
    }
}

#[tokio::test]
async fn a_batch_is_one_append() {
    let setup = setup(Config::default()).await;
    let request = Request::post("/default/orders").header(BATCH[0].0, BATCH[0].1).body(full(TWO)).unwrap();
    assert_eq!(setup.send(request).await.status(), 202);
    assert_eq!(setup.log.batches.lock().unwrap().len(), 1);
    assert_eq!(
        setup.metric("pelton_ingress_accepted_total{broker=\"orders\",namespace=\"default\"}"),
        Some(2.0)
    );
}

#[tokio::test]
async fn an_event_that_is_too_large_alone_is_too_large_in_a_batch() {
    let setup = setup(Config { body_bytes_max: 10, ..Config::default() }).await;
    let batch = |data: &str| format!(r#"[{ONE},{}"data":{data}}}]"#, ONE.replace('}', ","));
    let send = |body: String| {
        setup.send(Request::post("/default/orders").header(BATCH[0].0, BATCH[0].1).body(full(&body)).unwrap())
    };
    let response = send(batch(r#""123456789""#)).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (413, "PEL-1005"));
    let text = String::from_utf8_lossy(response.body()).into_owned();
    assert!(text.contains("event 1 of the batch"), "{text}");
    assert_eq!(setup.stored(), 0);
    assert_eq!(send(batch(r#""12345678""#)).await.status(), 202);
    assert_eq!(setup.stored(), 2);
}

#[tokio::test]
async fn a_batch_of_too_many_events_is_refused() {
    let setup = setup(Config { batch_events_max: 1, ..Config::default() }).await;
    let request = Request::post("/default/orders").header(BATCH[0].0, BATCH[0].1).body(full(TWO)).unwrap();
    let response = setup.send(request).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (413, "PEL-1017"));
    assert_eq!(setup.stored(), 0);
}

#[tokio::test]
async fn a_refusal_names_the_attribute() {
    let setup = setup(Config::default()).await;
    let request = Request::post("/default/orders")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s");
    let response = setup.send(request.body(full("")).unwrap()).await;
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("`type`"), "{problem}");
}

#[tokio::test]
async fn a_webhook_is_validated_for_the_origin_that_asks() {
    let setup = setup(Config::default()).await;
    let request = Request::builder().method(Method::OPTIONS).uri("/default/orders");
    let request =
        request.header("webhook-request-origin", "events.example.com").header("webhook-request-rate", "120");
    let response = setup.send(request.body(full("")).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["allow"], "POST, OPTIONS");
    assert_eq!(response.headers()["webhook-allowed-origin"], "events.example.com");
    assert_eq!(response.headers()["webhook-allowed-rate"], "*");
    let plain = Request::builder().method(Method::OPTIONS).uri("/default/orders").body(full("")).unwrap();
    assert!(!setup.send(plain).await.headers().contains_key("webhook-allowed-origin"));
}

#[tokio::test]
async fn a_probe_of_the_network_gets_its_hash_back() {
    let setup = setup(Config::default()).await;
    let request = Request::get("/").header("k-network-probe", "probe").header("k-network-hash", "abc");
    let response = setup.send(request.body(full("")).unwrap()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["k-network-hash"]),
        (200, &"abc".parse().unwrap())
    );
}

#[tokio::test]
async fn the_envelope_carries_time_key_and_trace() {
    let setup = setup(Config::default()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request =
        Request::post("/default/orders").header("traceparent", parent).header("ce-partitionkey", "k");
    request = request.header("baggage", "user=1");
    for (name, value) in BINARY {
        request = request.header(*name, *value);
    }
    assert_eq!(setup.send(request.body(full("{}")).unwrap()).await.status(), 202);
    let batches = setup.log.batches.lock().unwrap();
    let (topic, _, record) = &batches[0].records[0];
    assert_eq!(topic.as_str(), "knative-broker-default-orders");
    assert_eq!(record.envelope.time.as_millis(), 1_234);
    assert_eq!(record.envelope.key.as_deref(), Some(&b"k"[..]));
    let trace = record.envelope.trace.as_ref().unwrap();
    assert_eq!((&*trace.parent, &*trace.baggage), (parent, "user=1"));
}
