//! Topics that somebody deletes and makes anew: they begin at offset 0 again, and no event of the new one passes for one of
//! the old one.

use hyper::Method;
use pelton_tests::fleet::{Fleet, Process};
use pelton_tests::kafka::{self, Kafka, Options};
use pelton_tests::pelton::Pelton;
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};
use pelton_tests::{eventually, http};

use crate::book::{Book, PARTITIONS, accepts};
use crate::faults::{EVENT, answered, deleted};

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

/// The ingress uses the partitions that there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_with_fewer_partitions_is_used_as_it_is() {
    let Some(kafka) = kafka::shared().await else { return };
    let (book, process, topic) = deleted(kafka, "fewer").await;
    kafka.create_topic(&topic, 1, &[]).await;
    eventually("many events in a row are accepted", async || {
        for _ in 0..partitions() * 8 {
            let path = "/default/fewer";
            let answer = http::request(process.pelton.ingress, Method::POST, path, &EVENT, "").await;
            if answer.status != 202 {
                return None;
            }
        }
        Some(())
    })
    .await;
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

async fn post(pelton: &Pelton, broker: &str, id: &str) {
    let headers = [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", "t")];
    eventually(&format!("{id} is accepted"), async || {
        let path = format!("/default/{broker}");
        let answer = http::request(pelton.ingress, Method::POST, &path, &headers, "").await;
        (answer.status == 202).then_some(())
    })
    .await;
}

/// A broker of one partition, with a trigger of the same name.
fn small(name: &str, subscriber: &Subscriber, backoff: &str) -> String {
    let url = subscriber.url("/");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{default.topic.partitions: \"1\"}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n\
         spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: {name}}}}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: {name}\n  \
         subscriber: {{uri: \"{url}\"}}\n  delivery: {{retry: 50, backoffPolicy: linear, backoffDelay: {backoff}}}\n"
    )
}

async fn taken(subscriber: &Subscriber, id: &str) {
    eventually(&format!("{id} is delivered"), async || {
        let of_it = |receipt: &Receipt| receipt.id() == id && receipt.answered == 204;
        subscriber.receipts().iter().any(of_it).then_some(())
    })
    .await;
}

/// An entry of the retry topic stands for the event at an offset of the old topic. It keeps none of the new topic from being
/// delivered, and is delivered itself.
#[tokio::test(flavor = "multi_thread")]
async fn retries_outlive_their_topic_and_hide_no_event_of_the_new_one() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let fleet = Fleet::new(&small("waiting", &subscriber, "PT10S"), &kafka.bootstrap());
    let process = fleet.start("run").await;
    let old = ["old-0", "old-1", "old-2"];
    for id in old {
        post(&process.pelton, "waiting", id).await;
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
        post(&process.pelton, "waiting", id).await;
    }
    for id in old.iter().chain(&new) {
        taken(&subscriber, id).await;
    }
    described(&process, "waiting", &["Backlog: 0"]).await;
    let count = subscriber.receipts().iter().filter(|receipt| receipt.answered == 204).count();
    assert_eq!(count, old.len() + new.len(), "each was delivered once");
}

/// Waits until `pelton describe trigger` says all of `words`, blanks aside.
async fn described(process: &Process, trigger: &str, words: &[&str]) {
    eventually(&format!("`pelton describe trigger {trigger}` says {words:?}"), async || {
        let (_, out, _) = process.pelton.tool(&["describe", "trigger", trigger]).await;
        let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().all(|word| out.contains(word)).then_some(())
    })
    .await;
}

/// Kafka deletes by its own retention: what is lost is told by its offsets.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_kafka_deletes_before_their_end_are_told() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(204)).await;
    let process = Fleet::new(&small("expiring", &subscriber, "PT1S"), &kafka.bootstrap()).start("run").await;
    process.pelton.tool(&["pause", "trigger", "expiring"]).await;
    for number in 0..20 {
        post(&process.pelton, "expiring", &format!("e-{number}")).await;
    }
    described(&process, "expiring", &["Backlog: 20"]).await;
    kafka.delete_records("knative-broker-default-expiring", 0, 15).await;
    process.pelton.tool(&["resume", "trigger", "expiring"]).await;
    described(&process, "expiring", &["Expired: 15", "Expired offsets: partition 0, 0 to 14"]).await;
    taken(&subscriber, "e-19").await;
    assert_eq!(subscriber.count(), 5);
}

/// It is warned of while there is time.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_kafka_is_about_to_delete_are_warned_of() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(204)).await;
    let yaml = small("ageing", &subscriber, "PT1S");
    let retention = "default.topic.partitions: \"1\", default.topic.config.retention.ms: \"10000\"";
    let yaml = yaml.replace("default.topic.partitions: \"1\"", retention);
    let process = Fleet::new(&yaml, &kafka.bootstrap()).start("run").await;
    process.pelton.tool(&["pause", "trigger", "ageing"]).await;
    post(&process.pelton, "ageing", "old").await;
    described(&process, "ageing", &["About to expire:", "the log keeps events for 10 s"]).await;
}

/// Somebody deletes the progress topic: whoever owns its partitions writes it again from memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_progress_topic_that_is_deleted_is_written_again() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let fleet = Fleet::new(&small("owing", &subscriber, "PT1S"), &kafka.bootstrap());
    let process = fleet.start("run").await;
    post(&process.pelton, "owing", "owed").await;
    eventually("it is tried", async || (subscriber.count() > 0).then_some(())).await;
    let topic = "knative-broker-default-owing_progress";
    kafka.delete_topic(topic).await;
    eventually("the topic is there again", async || {
        kafka.topic_names().await.iter().any(|name| name == topic).then_some(())
    })
    .await;
    // The claim, the row of the trigger, two heads, and that they are complete.
    kafka.consume("owing-readers", topic, 5).await;
    process.pelton.kill().await;
    subscriber.behave(|_| Behaviour::Status(204));
    let process = fleet.start("run").await;
    taken(&subscriber, "owed").await;
    post(&process.pelton, "owing", "new").await;
    taken(&subscriber, "new").await;
}

/// Hand-back deletes topics and its return makes them anew, also for clients that have lost their connections in between.
#[tokio::test(flavor = "multi_thread")]
async fn topics_made_anew_are_found_after_kafka_came_back() {
    let Some(kafka) = Kafka::start(Options::new()).await else { return };
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(204)).await;
    let yaml = small("back", &subscriber, "PT1S");
    let name = "kind: Broker\nmetadata: {name: back";
    let yaml = yaml.replace(name, &format!("{name}, annotations: {{kafka.pelton.dev/take-over: \"true\"}}"));
    let process = Fleet::new(&yaml, &kafka.bootstrap()).start("run").await;
    post(&process.pelton, "back", "before").await;
    taken(&subscriber, "before").await;
    kafka.kill(1);
    kafka.restart(1).await;
    post(&process.pelton, "back", "after").await;
    taken(&subscriber, "after").await;
    for round in 0..3 {
        for arguments in [&["hand-back", "back"][..], &["hand-back", "back", "--undo"]] {
            let (succeeded, out, error) = process.pelton.tool(arguments).await;
            assert!(succeeded, "{arguments:?}: {out}{error}");
        }
        let id = format!("round-{round}");
        post(&process.pelton, "back", &id).await;
        taken(&subscriber, &id).await;
    }
}
