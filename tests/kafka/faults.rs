//! Kafka that dies, freezes or loses a node, and processes of Pelton that are killed, all under load.

use std::time::Duration;

use hyper::Method;
use pelton_tests::fleet::Process;
use pelton_tests::http;
use pelton_tests::kafka::{self, Kafka, Options};
use pelton_tests::subscriber::{Behaviour, Receipt};
use pelton_tests::{eventually, pelton::Pelton};

use crate::book::{Book, PARTITIONS, WINDOW, accepts, setting};

fn slow(_: &Receipt) -> Behaviour {
    Behaviour::Slow(204, Duration::from_millis(fastrand::u64(1..10)))
}

/// The answer to `/readyz`.
async fn readiness(pelton: &Pelton) -> (u16, String) {
    let answer = http::get(pelton.admin, "/readyz").await;
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

/// Waits until `pelton describe broker` says all of `words`.
async fn described(process: &Process, broker: &str, words: &[&str]) -> String {
    let said = std::sync::Mutex::new(String::new());
    let what = format!("`pelton describe broker {broker}` says {words:?}");
    let found = eventually(&what, async || {
        let (_, out, error) = process.pelton.tool(&["describe", "broker", broker]).await;
        let found = words.iter().all(|word| out.contains(word));
        *said.lock().unwrap() = format!("{out}{error}");
        found.then_some(out)
    });
    match tokio::time::timeout(pelton_tests::PATIENCE / 2, found).await {
        Ok(found) => found,
        Err(_) => panic!("gave up waiting until {what}:\n{}", said.lock().unwrap()),
    }
}

/// The one node is killed and comes back, then it freezes for ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_dies_and_comes_back_under_load() {
    let Some(kafka) = Kafka::start(Options::new()).await else { return };
    let mut book = Book::new("restart", slow).await;
    // Short, so that some events get their 503 and not a long wait for the 202.
    let fleet = book.fleet(&kafka.bootstrap(), "").with("PELTON__KAFKA__DELIVERY_TIMEOUT", "3s");
    let broker = fleet.start("broker").await;
    let _two = [fleet.start("dispatcher").await, fleet.start("dispatcher").await];
    let load = book.load(broker.pelton.ingress);
    let kills = setting("PELTON_KAFKA_RESTARTS", 1);
    for _ in 0..kills {
        accepts(&load, 500).await;
        kafka.kill(1);
        eventually("/readyz says that Kafka cannot be reached", async || {
            let (status, body) = readiness(&broker.pelton).await;
            (status == 503 && body.contains("Kafka")).then_some(())
        })
        .await;
        eventually("an event is refused", async || (load.refused() > 0).then_some(())).await;
        // Longer than Pelton waits for an answer: what was asked for when the node died has been given up.
        tokio::time::sleep(Duration::from_secs(12)).await;
        kafka.restart(1).await;
        accepts(&load, 500).await;
    }
    kafka.pause(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    kafka.resume(1);
    accepts(&load, 500).await;
    book.close(load).await;
    book.settled().await;
    let repeated = book.judge(&format!("Kafka killed {kills} times and frozen once"));
    // What is in flight when Kafka is gone ends, but its end cannot be saved before the partitions are lost.
    let bound = (kills + 1) * PARTITIONS * WINDOW + book.doubts();
    assert!(repeated.iter().all(|&times| times <= bound), "{repeated:?} repeated, more than {bound}");
}

/// With three copies of which two must have an event, a node that dies is not noticed.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_three_dies_under_load() {
    let Some(kafka) = Kafka::start(Options::new().nodes(3)).await else { return };
    let mut book = Book::new("three", slow).await;
    let copies = ", default.topic.replication.factor: \"3\", \
                  default.topic.config.min.insync.replicas: \"2\"";
    let fleet = book.fleet(&kafka.bootstrap(), copies);
    let broker = fleet.start("broker").await;
    let _two = [fleet.start("dispatcher").await, fleet.start("dispatcher").await];
    let load = book.load(broker.pelton.ingress);
    let kills = setting("PELTON_KAFKA_NODES_KILLED", 1);
    for node in (1..=3).cycle().take(usize::try_from(kills).unwrap()) {
        accepts(&load, 300).await;
        kafka.kill(node);
        accepts(&load, 300).await;
        kafka.restart(node).await;
        in_sync(&kafka, "knative-broker-default-three").await;
    }
    book.close(load).await;
    book.settled().await;
    let repeated = book.judge(&format!("one node of three killed, {kills} times"));
    let bound = kills * PARTITIONS * WINDOW + book.doubts();
    assert!(repeated.iter().all(|&times| times <= bound), "{repeated:?} repeated, more than {bound}");
}

/// Waits until all copies of a topic are up to date, so that the next node may die.
async fn in_sync(kafka: &Kafka, topic: &str) {
    let bootstrap = kafka.bootstrap();
    let arguments =
        ["--bootstrap-server", &bootstrap, "--describe", "--under-replicated-partitions", "--topic", topic];
    eventually("all copies are up to date", async || {
        let output = kafka.tool("org.apache.kafka.tools.TopicCommand", &arguments).await;
        (output.status.success() && output.stdout.is_empty()).then_some(())
    })
    .await;
}

/// `kill -9` of the process that takes events and of one that delivers them, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn processes_are_killed_under_load() {
    let Some(kafka) = kafka::shared().await else { return };
    let crashes = setting("PELTON_KAFKA_CRASHES", 2);
    let mut book = Book::new("crash", slow).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let mut broker = fleet.start("broker").await;
    let mut dispatchers =
        std::collections::VecDeque::from([fleet.start("dispatcher").await, fleet.start("dispatcher").await]);
    for _ in 0..crashes {
        let load = book.load(broker.pelton.ingress);
        accepts(&load, 500).await;
        let dispatcher = dispatchers.pop_front().unwrap();
        dispatcher.pelton.kill().await;
        dispatchers.push_back(fleet.start("dispatcher").await);
        accepts(&load, 200).await;
        broker.pelton.kill().await;
        book.close(load).await;
        broker = fleet.start("broker").await;
        book.settled().await;
    }
    let repeated = book.judge(&format!("{crashes} kills of a broker and of a dispatcher"));
    let bound = crashes * PARTITIONS * WINDOW + book.doubts();
    assert!(
        repeated.iter().all(|&times| times <= bound),
        "{repeated:?} repeated, more than a window per lane and kill ({bound})"
    );
}

pub(crate) const EVENT: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "x-0"), ("ce-source", "/test"), ("ce-type", "load")];

/// Sends an event until it is answered as `wanted`; answers the body.
pub(crate) async fn answered(process: &Process, broker: &str, wanted: u16) -> String {
    let path = format!("/default/{broker}");
    eventually(&format!("an event is answered {wanted}"), async || {
        let answer = http::request(process.pelton.ingress, Method::POST, &path, &EVENT, "").await;
        (answer.status == wanted).then(|| String::from_utf8_lossy(&answer.body).into_owned())
    })
    .await
}

/// A Pelton that works, whose events topic somebody deletes.
pub(crate) async fn deleted(kafka: &Kafka, name: &'static str) -> (Book, Process, String) {
    let mut book = Book::new(name, slow).await;
    let process = book.fleet(&kafka.bootstrap(), "").start("run").await;
    let load = book.load(process.pelton.ingress);
    accepts(&load, 200).await;
    book.close(load).await;
    book.settled().await;
    let topic = format!("knative-broker-default-{name}");
    kafka.delete_topic(&topic).await;
    (book, process, topic)
}

/// Events are refused with the reason, the Broker says so, and in the end Pelton makes the topic again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_told_of_and_made_again() {
    let Some(kafka) = kafka::shared().await else { return };
    let (book, process, topic) = deleted(kafka, "told").await;
    // What was on its way when the topic went times out first, which says less.
    eventually("events are refused with the topic's name", async || {
        answered(&process, "told", 503).await.contains(&topic).then_some(())
    })
    .await;
    described(&process, "told", &["no, TopicsNotReady", &topic]).await;
    answered(&process, "told", 202).await;
    described(&process, "told", &["yes"]).await;
    eventually("the event is delivered", async || book.has("x-0").then_some(())).await;
}

/// The cluster is not there at the start, and appears later.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_yet_is_waited_for() {
    let Some(kafka) = Kafka::start(Options::new()).await else { return };
    kafka.kill(1);
    let mut book = Book::new("late", slow).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let broker = fleet.launch("broker").await;
    let dispatcher = fleet.launch("dispatcher").await;
    for process in [&broker, &dispatcher] {
        eventually("/readyz says which Kafka cannot be reached", async || {
            let (status, body) = readiness(&process.pelton).await;
            (status == 503 && body.contains("Kafka") && body.contains("reached")).then_some(())
        })
        .await;
        described(process, "late", &["no, TopicsNotReady", "Kafka cannot be reached", "efused"]).await;
    }
    kafka.restart(1).await;
    for process in [&broker, &dispatcher] {
        eventually("it is ready by itself", async || process.pelton.is_ready().await.then_some(())).await;
    }
    let load = book.load(broker.pelton.ingress);
    accepts(&load, 50).await;
    book.close(load).await;
    book.settled().await;
    book.judge("Kafka came after Pelton");
}
