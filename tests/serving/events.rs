//! Events wake Services.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};
use pelton_tests::{eventually, http};

use super::fixture::{Service, site};

const EVENTS: usize = 10;

fn resources(service: &Service) -> [String; 3] {
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";
    // One attempt that fails, and the event is lost.
    let trigger = "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  \
                   subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: sleeper}}\n  \
                   delivery: {timeout: PT2S, retry: 0}\n";
    [broker.to_owned(), trigger.to_owned(), service.yaml()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_longer_than_a_delivery_may_costs_no_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("ids");
    let service =
        Service::new("sleeper").asleep().env("START_MS", "4000").env("RECORD", record.to_str().unwrap());
    let site = site(&resources(&service));
    let pelton = site.start().await;
    assert_eq!(service.processes(), Vec::<u32>::new(), "there is no event yet");
    let sent: BTreeSet<String> = (0..EVENTS).map(|number| number.to_string()).collect();
    for id in &sent {
        let headers = [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", "t")];
        let answer = http::request(pelton.ingress, Method::POST, "/default/b", &headers, "").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    eventually("all are delivered", async || {
        assert_eq!(pelton.ended("t", "kept").await, 0, "one has failed");
        (pelton.ended("t", "delivered").await as usize == EVENTS).then_some(())
    })
    .await;
    let received = std::fs::read_to_string(record).unwrap();
    let ids: BTreeSet<String> = received.lines().map(str::to_owned).collect();
    assert_eq!(ids, sent);
    assert_eq!(received.lines().count(), EVENTS, "none came twice: {received}");
    let attempts = pelton.metric("pelton_delivery_attempts_total", &[]).await;
    assert_eq!(attempts as usize, EVENTS, "each with its first attempt");
}

/// A mistake in the traffic is the owner's to correct; the events have their time.
#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_the_traffic_names_no_revision_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("ids");
    let service = Service::new("sleeper").asleep().env("RECORD", record.to_str().unwrap());
    let nowhere = serde_json::json!([{"revisionName": "sleeper-00009", "percent": 100}]);
    let site = site(&resources(&service.clone().traffic(nowhere)));
    let pelton = site.start().await;
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/test"), ("ce-type", "t")];
    let answer = http::request(pelton.ingress, Method::POST, "/default/b", &headers, "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    eventually("it waits", async || (pelton.backlog("t").await == Some(1)).then_some(())).await;
    site.write("resources.yaml", &resources(&service).join("---\n"));
    eventually("it is delivered", async || {
        assert_eq!(pelton.ended("t", "kept").await, 0, "it has failed");
        (pelton.ended("t", "delivered").await == 1).then_some(())
    })
    .await;
    assert_eq!(pelton.metric("pelton_delivery_attempts_total", &[]).await as usize, 1);
}
