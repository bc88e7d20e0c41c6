//! The JSON format cases of the CloudEvents conformance suite (43) through the real ingress: what is valid is accepted and
//! delivered equal, what is not is refused.

use std::collections::BTreeMap;

use hyper::Method;
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::subscriber::{Receipt, Subscriber};
use pelton_tests::{eventually, http, testdata};
use serde_json::{Map, Value};

const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn cases(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["tests"].as_array().unwrap().clone()
}

async fn post(pelton: &Pelton, content_type: &str, body: &Value) -> u16 {
    let headers = [("content-type", content_type)];
    http::request(pelton.ingress, Method::POST, "/default/b", &headers, body.to_string())
        .await
        .status
        .as_u16()
}

/// The attributes of an event in JSON as text, without nulls and data.
fn attributes(event: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members: &Map<String, Value> = event.as_object().unwrap();
    members
        .iter()
        .filter(|(name, value)| {
            !value.is_null() && !name.starts_with("data")
                || name.starts_with("datas")
                || name.starts_with("datac")
        })
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The attributes of a delivery in binary mode.
fn delivered(receipt: &Receipt) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = receipt
        .headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix("ce-")?.to_owned(), value.to_str().unwrap().to_owned()))
        })
        .collect();
    if !receipt.header("content-type").is_empty() {
        found.insert("datacontenttype".to_owned(), receipt.header("content-type").to_owned());
    }
    found
}

/// The data of an event in JSON as bytes.
fn data(event: &Value) -> Vec<u8> {
    let content_type = event["datacontenttype"].as_str().unwrap_or("application/json");
    match (&event["data"], event["data_base64"].as_str()) {
        (_, Some(_)) => Vec::new(), // compared by length below; the delivered bytes are the decoded ones
        (Value::Null, None) => Vec::new(),
        (Value::String(text), None) if !content_type.contains("json") => text.clone().into_bytes(),
        (value, None) => value.to_string().into_bytes(),
    }
}

fn assert_equal(id: &str, event: &Value, receipt: &Receipt) {
    let mut expected = attributes(event);
    let got = delivered(receipt);
    if !expected.contains_key("datacontenttype")
        && got.get("datacontenttype").is_some_and(|value| value == "application/json")
    {
        // Absent means JSON (JSON format, 3.1.1), which binary mode has to say.
        expected.insert("datacontenttype".to_owned(), "application/json".to_owned());
    }
    assert_eq!(got, expected, "{id}: attributes");
    if event["data_base64"].is_null() {
        let sent = data(event);
        let equal = sent == receipt.body
            || serde_json::from_slice::<Value>(&sent).is_ok_and(|sent| {
                serde_json::from_slice::<Value>(&receipt.body).is_ok_and(|got| sent == got)
            });
        assert!(equal, "{id}: data {:?} is not {:?}", receipt.body, String::from_utf8_lossy(&sent));
    } else {
        assert!(!receipt.body.is_empty(), "{id}: data");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_valid_is_delivered_equal_and_what_is_not_is_refused() {
    let Some(folder) = testdata("cloudevents-format") else { return };
    let subscriber = Subscriber::start().await;
    let site = Site::new(&super::resources(&subscriber.url("/")));
    let pelton = site.start().await;
    let mut total = 0;
    let mut expected = Vec::new();
    for case in cases(&folder.join("valid-events.json")) {
        let id = case["id"].as_str().unwrap().to_owned();
        assert_eq!(post(&pelton, EVENT, &case["event"]).await, 202, "{id}");
        expected.push((id, case["event"].clone()));
        total += 1;
    }
    for case in cases(&folder.join("valid-batches.json")) {
        let id = case["id"].as_str().unwrap().to_owned();
        assert_eq!(post(&pelton, BATCH, &case["batch"]).await, 202, "{id}");
        for event in case["batch"].as_array().unwrap() {
            expected.push((id.clone(), event.clone()));
        }
        total += 1;
    }
    for case in cases(&folder.join("invalid-events.json")) {
        assert_eq!(post(&pelton, EVENT, &case["event"]).await, 400, "{}", case["id"]);
        total += 1;
    }
    for case in cases(&folder.join("invalid-batches.json")) {
        assert_eq!(post(&pelton, BATCH, &case["batch"]).await, 400, "{}", case["id"]);
        total += 1;
    }
    assert_eq!(total, 43, "the suite has 43 JSON cases");

    eventually("every valid event is delivered", async || {
        (subscriber.count() >= expected.len()).then_some(())
    })
    .await;
    let mut receipts = subscriber.receipts();
    assert_eq!(receipts.len(), expected.len(), "nothing of a refused batch is delivered");
    for (id, event) in &expected {
        let id_of = event["id"].as_str().unwrap();
        let candidates: Vec<usize> = receipts
            .iter()
            .enumerate()
            .filter(|(_, receipt)| receipt.id() == id_of)
            .map(|(index, _)| index)
            .collect();
        // Many cases share an id; the one that was meant is the one with the same attributes and data.
        let found = candidates
            .iter()
            .copied()
            .find(|&index| std::panic::catch_unwind(|| assert_equal(id, event, &receipts[index])).is_ok());
        let Some(index) = found else {
            panic!("{id}: no delivery equals {event}; candidates {candidates:?}")
        };
        receipts.swap_remove(index);
    }
    assert!(pelton.stop().await);
}
