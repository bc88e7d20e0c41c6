//! Taking over from Knative's Kafka broker, and handing back: topics, groups and commits as its Java clients write them.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};
use pelton_tests::kafka::{Kafka, Record, shared};
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::subscriber::{Behaviour, Subscriber};
use pelton_tests::{eventually, http};

const PARTITIONS: u32 = 4;

/// A broker of its own name, its topic as Knative left it, and a trigger `t` on it.
struct Scene {
    kafka: &'static Kafka,
    name: &'static str,
    topic: String,
    group: String,
    subscriber: Subscriber,
    site: Site,
}

impl Scene {
    async fn new(name: &'static str, annotations: &str) -> Option<Self> {
        let kafka = shared().await?;
        let (topic, group) =
            (format!("knative-broker-default-{name}"), format!("knative-trigger-default-{name}"));
        kafka.create_topic(&topic, PARTITIONS, &[]).await;
        let subscriber = Subscriber::start().await;
        let url = subscriber.url("/");
        let yaml = format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\n\
             spec: {{broker: {name}, subscriber: {{uri: \"{url}\"}}}}\n"
        );
        let site = Site::new(&yaml).with("PELTON__KAFKA__SERVERS", &kafka.bootstrap());
        let site = site.with("PELTON__KAFKA__SESSION_TIMEOUT", "6s");
        Some(Self { kafka, name, topic, group, subscriber, site })
    }

    /// Events that Knative's receiver has stored, ten in each partition: `0-0` is the first of partition 0.
    async fn knative_stored(&self) {
        let record = |number: u32| {
            let (partition, index) = (number % PARTITIONS, number / PARTITIONS);
            Record::new(&format!("{partition}-{index}")).to_partition(partition)
        };
        self.kafka.produce(&self.topic, &(0..40).map(record).collect::<Vec<_>>()).await;
    }

    fn delivered(&self) -> BTreeSet<String> {
        self.subscriber.receipts().iter().map(|receipt| receipt.id().to_owned()).collect()
    }

    async fn all_delivered(&self, expected: &BTreeSet<String>) {
        eventually("everything that was open is delivered", async || {
            expected.is_subset(&self.delivered()).then_some(())
        })
        .await;
        assert_eq!(self.delivered(), *expected, "and nothing else");
    }

    async fn send(&self, pelton: &Pelton, id: &str) {
        self.send_with(pelton, id, &[]).await;
    }

    /// Sends an event with further headers.
    async fn send_with(&self, pelton: &Pelton, id: &str, more: &[(&str, &str)]) {
        let headers = [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", "t")];
        let (headers, path) = ([&headers[..], more].concat(), format!("/default/{}", self.name));
        let answer = http::request(pelton.ingress, Method::POST, &path, &headers, "data").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// Gives the broker back, or takes it again; answers what the command printed.
    async fn hand_back(&self, pelton: &Pelton, how: &[&str]) -> String {
        let (success, out, err) = pelton.tool(&[&["hand-back", self.name], how].concat()).await;
        assert!(success, "{out}{err}");
        out
    }

    /// Waits until the trigger is not ready for that reason; answers the message.
    async fn waits_for(&self, pelton: &Pelton, reason: &str) -> String {
        let path = format!("/api/v1/triggers/default/{}", self.name);
        eventually(reason, async || {
            let trigger = pelton.api(&path).await;
            (trigger["reason"] == reason).then(|| trigger["message"].to_string())
        })
        .await
    }

    async fn is_ready(&self, pelton: &Pelton) {
        let path = format!("/api/v1/triggers/default/{}", self.name);
        eventually("the trigger is ready", async || (pelton.api(&path).await["ready"] == true).then_some(()))
            .await;
    }

    /// The committed offset of each partition.
    async fn committed(&self) -> Vec<Option<u64>> {
        let mut rows = self.kafka.describe_group(&self.group).await;
        rows.retain(|row| row.topic == self.topic);
        rows.sort_by_key(|row| row.partition);
        rows.into_iter().map(|row| row.current).collect()
    }
}

/// The ids of `Scene::knative_stored` from these offsets on.
fn from(offsets: [u64; PARTITIONS as usize]) -> BTreeSet<String> {
    let of = |(partition, first): (usize, u64)| (first..10).map(move |index| format!("{partition}-{index}"));
    offsets.into_iter().enumerate().flat_map(of).collect()
}

const TAKE_OVER: &str = "kafka.pelton.dev/take-over: \"true\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_knative_left_is_continued_without_loss() {
    let Some(scene) = Scene::new("tk-continue", TAKE_OVER).await else { return };
    scene.knative_stored().await;
    // A real consumer, as Knative's dispatcher is, for some; then offsets as they may stand after that.
    scene.kafka.consume(&scene.group, &scene.topic, 5).await;
    scene.kafka.commit(&scene.group, &scene.topic, &[(0, 3), (1, 10), (2, 0), (3, 7)]).await;
    let pelton = scene.site.start().await;
    scene.all_delivered(&from([3, 10, 0, 7])).await;
    // The groups follow, and tell the lag.
    eventually("the group is where the trigger is", async || {
        (scene.committed().await == [Some(10); 4]).then_some(())
    })
    .await;
    // Keys land where Java clients put them.
    for key in ["a", "key-17", "Zurich"] {
        let expected = scene.kafka.partition_of(key, PARTITIONS).await;
        let end = async || {
            let rows = scene.kafka.describe_group(&scene.group).await;
            rows.into_iter().find(|row| row.partition == expected).and_then(|row| row.end)
        };
        let before = end().await;
        scene.send_with(&pelton, key, &[("ce-partitionkey", key)]).await;
        assert_eq!(end().await, before.map(|end| end + 1), "{key} belongs into partition {expected}");
    }
    assert!(pelton.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_asked_a_group_of_others_is_left_alone() {
    let Some(scene) = Scene::new("tk-alone", "").await else { return };
    scene.knative_stored().await;
    scene.kafka.commit(&scene.group, &scene.topic, &[(0, 3), (1, 3), (2, 3), (3, 3)]).await;
    let pelton = scene.site.start().await;
    scene.send(&pelton, "new").await;
    eventually("it is delivered", async || (scene.subscriber.count() == 1).then_some(())).await;
    assert_eq!(scene.delivered(), BTreeSet::from(["new".to_owned()]));
    eventually("the log says so", async || {
        pelton.log().iter().any(|line| line.contains("left alone")).then_some(())
    })
    .await;
    assert_eq!(scene.committed().await, [Some(3); 4]);
    assert!(pelton.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_members_is_waited_for_at_the_start_and_later() {
    let Some(scene) = Scene::new("tk-members", TAKE_OVER).await else { return };
    scene.knative_stored().await;
    scene.kafka.commit(&scene.group, &scene.topic, &[(0, 8), (1, 8), (2, 8), (3, 8)]).await;
    let member = scene.kafka.hold(&scene.group, &scene.topic, &[]).await;
    let pelton = scene.site.launch().await;
    let told = scene.waits_for(&pelton, "GroupInUse").await;
    assert!(told.contains(&scene.group) && told.contains("127.0.0.1"), "{told}");
    assert_eq!(scene.subscriber.count(), 0);
    member.release().await;
    scene.all_delivered(&from([8, 8, 8, 8])).await;
    scene.is_ready(&pelton).await;
    eventually("the group follows", async || (scene.committed().await == [Some(10); 4]).then_some(())).await;

    // Knative's dispatcher is back.
    let member = scene.kafka.hold(&scene.group, &scene.topic, &[]).await;
    scene.send(&pelton, "while-others-are-there").await;
    scene.waits_for(&pelton, "GroupInUse").await;
    let before = scene.subscriber.count();
    scene.send(&pelton, "held").await;
    member.release().await;
    scene.is_ready(&pelton).await;
    eventually("what was held is delivered", async || scene.delivered().contains("held").then_some(())).await;
    assert!(scene.subscriber.count() > before);
    assert!(pelton.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_back_to_knative_and_comes_again_without_loss() {
    let Some(scene) = Scene::new("tk-back", TAKE_OVER).await else { return };
    scene.knative_stored().await;
    scene.kafka.commit(&scene.group, &scene.topic, &[(0, 0), (1, 0), (2, 0), (3, 0)]).await;
    // Two events fail for long, one of them so long that it waits in the retry topic.
    scene.subscriber.behave(|receipt| match receipt.id() {
        "1-4" | "2-6" => Behaviour::Status(503),
        _ => Behaviour::Status(204),
    });
    let pelton = scene.site.start().await;
    eventually("the others are delivered", async || {
        let delivered = scene.subscriber.receipts().iter().filter(|receipt| receipt.answered == 204).count();
        (delivered >= 38).then_some(())
    })
    .await;
    let out = scene.hand_back(&pelton, &[]).await;
    assert!(out.contains(&format!("{}  0=10 1=4 2=6 3=10", scene.group)), "{out}");
    assert_eq!(scene.committed().await, [Some(10), Some(4), Some(6), Some(10)]);
    // Nor are its topics made again by the next start.
    assert!(pelton.stop().await);
    let pelton = scene.site.start().await;
    let topics = scene.kafka.topic_names().await;
    for gone in ["_progress", "_retry"] {
        assert!(!topics.contains(&format!("{}{gone}", scene.topic)), "{topics:?}");
    }

    // Given again it finds nothing to do, and nothing of what is Knative's is touched: not even while Knative is there.
    let member = scene.kafka.hold(&scene.group, &scene.topic, &[]).await;
    let out = scene.hand_back(&pelton, &[]).await;
    assert!(out.contains("has been handed back"), "{out}");
    member.release().await;
    assert_eq!(scene.committed().await, [Some(10), Some(4), Some(6), Some(10)]);
    // The same if the last time ended half-way.
    scene.kafka.create_topic(&format!("{}_progress", scene.topic), PARTITIONS, &[]).await;
    let out = scene.hand_back(&pelton, &[]).await;
    assert!(out.contains("has been handed back"), "{out}");
    assert_eq!(scene.committed().await, [Some(10), Some(4), Some(6), Some(10)]);

    // Knative goes on; events still come in here.
    scene.send(&pelton, "meanwhile").await;
    let consumed = scene.kafka.consume(&scene.group, &scene.topic, 6).await;
    assert_eq!(consumed.len(), 6);
    scene.subscriber.behave(|_| Behaviour::Status(204));
    let before = scene.subscriber.count();
    scene.hand_back(&pelton, &["--undo"]).await;
    scene.send(&pelton, "after").await;
    eventually("Pelton goes on", async || scene.delivered().contains("after").then_some(())).await;
    // Of eleven that were open Knative took six.
    eventually("what Knative left is delivered", async || {
        (scene.subscriber.count() > before + 11 - 6).then_some(())
    })
    .await;
    assert!(pelton.stop().await);
}
