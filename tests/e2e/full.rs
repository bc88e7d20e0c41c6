//! A log whose budget is spent, and how it gets room again.

use std::collections::HashSet;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use pelton_tests::eventually;
use pelton_tests::http::Connection;
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};

use crate::trigger;

const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: \
                      {log.pelton.dev/partitions: \"1\", log.pelton.dev/retention-bytes: 16Mi}}\n";
const RETRIES: &str = "delivery: {retry: 10000, backoffPolicy: linear, backoffDelay: PT0.2S}";

/// Replies to everything, with that many bytes.
fn replies(receipt: &Receipt, bytes: usize) -> Behaviour {
    let headers = vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", format!("re-{}", receipt.id())),
        ("ce-source", "/reply".to_owned()),
        ("ce-type", "answer".to_owned()),
        ("content-type", "text/plain".to_owned()),
    ];
    Behaviour::Answer(200, headers, Bytes::from(vec![b'x'; bytes]))
}

/// Sends questions until the log is full; answers how many were accepted.
async fn fill(pelton: &Pelton, size: usize) -> usize {
    let mut connection = Connection::open(pelton.ingress).await.unwrap();
    for number in 0.. {
        if offer(&mut connection, &number.to_string(), size).await != StatusCode::ACCEPTED {
            return number;
        }
    }
    unreachable!("the loop has no end")
}

async fn offer(connection: &mut Connection, id: &str, size: usize) -> StatusCode {
    let headers = [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", "question")];
    let answer = connection.request(Method::POST, "/default/b", &headers, "x".repeat(size)).await.unwrap();
    answer.status
}

/// Waits until the log takes events again.
async fn takes_events(pelton: &Pelton) {
    eventually("the log takes events again", async || {
        let mut connection = Connection::open(pelton.ingress).await.ok()?;
        (offer(&mut connection, "again", 10).await == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_to_a_full_log_are_stored_once_a_subscriber_recovers() {
    let asked = Subscriber::scripted(|receipt| replies(receipt, 100_000)).await;
    let all = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let yaml = BROKER.to_owned()
        + &trigger("asks", "", &asked.url("/"), "filter: {attributes: {type: question}}")
        + &trigger("all", "", &all.url("/"), RETRIES);
    let site = Site::new(&yaml);
    let pelton = site.start().await;
    let accepted = fill(&pelton, 1_000).await;
    all.behave(|_| Behaviour::Status(204));
    eventually("every question and every reply is delivered", async || {
        let delivered: HashSet<String> = all
            .receipts()
            .iter()
            .filter(|receipt| receipt.answered == 204)
            .map(|receipt| receipt.id().to_owned())
            .collect();
        (delivered.len() == 2 * accepted).then_some(())
    })
    .await;
    assert_eq!(asked.count(), accepted, "none is asked twice");
    takes_events(&pelton).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_full_of_questions_whose_replies_have_no_room_gets_empty() {
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let spec = format!("filter: {{attributes: {{type: question}}}}, {RETRIES}");
    let yaml = BROKER.to_owned() + &trigger("asks", "", &subscriber.url("/"), &spec);
    let site = Site::new(&yaml);
    let pelton = site.start().await;
    let accepted = fill(&pelton, 100_000).await;
    subscriber.behave(|receipt| replies(receipt, 900_000));
    eventually("every question has an end", async || {
        let ended = pelton.ended("asks", "delivered").await + pelton.ended("asks", "kept").await;
        (ended == accepted as u64).then_some(())
    })
    .await;
    takes_events(&pelton).await;
}
