//! Topics that somebody deletes and makes anew: they begin at offset 0 again, and no event of the new one passes for one of
//! the old one.

use std::time::Duration;

use hyper::Method;
use pelton_tests::fleet::Fleet;
use pelton_tests::kafka;
use pelton_tests::pelton::Pelton;
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};
use pelton_tests::{eventually, http};

use crate::book::{Book, PARTITIONS, accepts};
use crate::faults::{answered, deleted};

fn partitions() -> u32 {
    u32::try_from(PARTITIONS).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_topic_made_anew_are_delivered() {
    let Some(kafka) = kafka::shared().await else { return };
    let (book, process, topic) = deleted(kafka, "anew").await;
    answered(&process, "anew", 503).await;
    kafka.create_topic(&topic, partitions(), &[]).await;
    answered(&process, "anew", 202).await;
    eventually("the event is delivered", async || book.has("x-0").then_some(())).await;
}

/// The new topic is there before anybody has missed the old one, and soon longer than that was.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_replaced_behind_the_back_of_all_loses_nothing() {
    let Some(kafka) = kafka::shared().await else { return };
    let mut book = Book::new("replaced", |_| Behaviour::Status(204)).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let broker = fleet.start("broker").await;
    let _two = [fleet.start("dispatcher").await, fleet.start("dispatcher").await];
    let mut sent = 200;
    for _ in 0..2 {
        let load = book.load(broker.pelton.ingress);
        accepts(&load, sent).await;
        book.close(load).await;
        book.settled().await;
        kafka.delete_topic("knative-broker-default-replaced").await;
        kafka.create_topic("knative-broker-default-replaced", partitions(), &[]).await;
        sent *= 4;
    }
    let load = book.load(broker.pelton.ingress);
    accepts(&load, sent).await;
    book.close(load).await;
    // Until it is noticed, the readers go on where they were: the order of keys is not kept, nothing is left out.
    book.settled().await;
}

async fn post(pelton: &Pelton, id: &str) {
    let headers = [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", "t")];
    eventually(&format!("{id} is accepted"), async || {
        let answer = http::request(pelton.ingress, Method::POST, "/default/waiting", &headers, "").await;
        (answer.status == 202).then_some(())
    })
    .await;
}

/// An entry of the retry topic stands for the event at an offset of the old topic. It keeps none of the new topic from being
/// delivered, and is delivered itself.
#[tokio::test(flavor = "multi_thread")]
async fn retries_outlive_their_topic_and_hide_no_event_of_the_new_one() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let url = subscriber.url("/");
    let fleet = Fleet::new(
        &format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: waiting}}\ndata: {{default.topic.partitions: \"1\"}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: waiting}}\n\
             spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: waiting}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: waiting}}\nspec:\n  broker: waiting\n  \
             subscriber: {{uri: \"{url}\"}}\n  delivery: {{retry: 20, backoffPolicy: linear, backoffDelay: PT10S}}\n"
        ),
        &kafka.bootstrap(),
    );
    let process = fleet.start("run").await;
    let old = ["old-0", "old-1", "old-2"];
    for id in old {
        post(&process.pelton, id).await;
    }
    let topic = "knative-broker-default-waiting";
    kafka.consume("waiting-readers", &format!("{topic}_retry"), old.len()).await;
    process.pelton.kill().await;
    kafka.delete_topic(topic).await;
    kafka.create_topic(topic, 1, &[]).await;
    subscriber.behave(|_| Behaviour::Status(204));
    let process = fleet.start("run").await;
    let new = ["new-0", "new-1", "new-2"];
    for id in new {
        post(&process.pelton, id).await;
    }
    for id in old.iter().chain(&new) {
        let taken = |receipt: &Receipt| receipt.id() == *id && receipt.answered == 204;
        eventually(&format!("{id} is delivered"), async || {
            subscriber.receipts().iter().any(taken).then_some(())
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = subscriber.receipts().iter().filter(|receipt| receipt.answered == 204).count();
    assert_eq!(taken, old.len() + new.len(), "each was delivered once");
}
