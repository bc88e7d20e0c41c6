//! That the harness itself does what tests rely on.

use pelton_tests::eventually;
use pelton_tests::kafka::{self, End, Form, GroupRow, Kafka, Options, Record};

const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";
const GROUP_COMMAND: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

fn stdout(output: &std::process::Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn events_are_written_and_read_as_knative_does() {
    let Some(kafka) = kafka::shared().await else { return };
    kafka.create_topic("knative", 3, &[("retention.ms", "600000")]).await;
    let keyed = kafka.partition_of("a key", 3).await;
    let other = (keyed + 1) % 3;
    let records = [
        Record::new("binary").keyed("a key").typed("order").with("color", "blue"),
        Record::new("structured").form(Form::Structured).to_partition(keyed),
        Record::new("raw").form(Form::Raw).data([0xff, 0x00]).to_partition(keyed),
        Record::new("null").form(Form::Null).to_partition(other),
    ];
    let written = kafka.produce("knative", &records).await;
    let places: Vec<_> =
        written.iter().map(|place| (place.id.as_str(), place.partition, place.offset)).collect();
    let expected = [("binary", keyed, 0), ("structured", keyed, 1), ("raw", keyed, 2), ("null", other, 0)];
    assert_eq!(places, expected);

    let read = kafka.consume("readers", "knative", 4).await;
    let at = |partition, offset| {
        read.iter().find(|record| (record.partition, record.offset) == (partition, offset)).unwrap()
    };
    let binary = at(keyed, 0);
    assert_eq!(binary.key.as_deref(), Some(b"a key".as_slice()));
    let attributes =
        [("ce_id", "binary"), ("ce_type", "order"), ("ce_partitionkey", "a key"), ("ce_color", "blue")];
    for (name, value) in attributes {
        assert_eq!(binary.header(name), Some(value), "{name}");
    }
    let structured: serde_json::Value = serde_json::from_slice(at(keyed, 1).value.as_ref().unwrap()).unwrap();
    assert_eq!((&structured["id"], &structured["data"]["id"]), (&"structured".into(), &"structured".into()));
    assert_eq!(
        (at(keyed, 2).value.as_deref(), at(keyed, 2).headers.len()),
        (Some([0xff, 0x00].as_slice()), 0)
    );
    assert_eq!((at(other, 0).value.as_deref(), at(other, 0).header("ce_id")), (None, Some("null")));
}

#[tokio::test]
async fn groups_have_offsets_and_members() {
    let Some(kafka) = kafka::shared().await else { return };
    kafka.create_topic("grouped", 2, &[]).await;
    assert_eq!(kafka.describe_group("nobody").await, []);
    let records: Vec<_> = (0..5).map(|number| Record::new(&number.to_string()).to_partition(1)).collect();
    kafka.produce("grouped", &records).await;
    kafka.commit("grouped-readers", "grouped", &[(0, 0), (1, 2)]).await;
    let row = |partition, current, end, lag| GroupRow {
        topic: "grouped".to_owned(),
        partition,
        current: Some(current),
        metadata: String::new(),
        end: Some(end),
        lag: Some(lag),
        member: None,
    };
    let rows = [row(0, 0, 0, 0), row(1, 2, 5, 3)];
    assert_eq!(kafka.describe_group("grouped-readers").await, rows);

    let member = kafka.hold("grouped-readers", "grouped", &[]).await;
    assert_eq!(member.partitions, [0, 1]);
    assert!(kafka.describe_group("grouped-readers").await.iter().all(|row| row.member.is_some()));
    member.release().await;
    assert_eq!(kafka.describe_group("grouped-readers").await, rows);

    // A member that goes silent is a member until its session ends.
    let session = [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "1000")];
    kafka.hold("grouped-readers", "grouped", &session).await.abandon().await;
    eventually("the silent member is given up", async || {
        (kafka.describe_group("grouped-readers").await == rows).then_some(())
    })
    .await;
    assert_eq!(kafka.consume("grouped-readers", "grouped", 3).await[0].offset, 2);
}

#[tokio::test]
async fn transactions_commit_and_abort() {
    let Some(kafka) = kafka::shared().await else { return };
    kafka.create_topic("transactions", 1, &[]).await;
    for (id, end) in [("open", End::Open), ("aborted", End::Abort), ("committed", End::Commit)] {
        kafka.produce_in_transaction("transactions", "writer", end, &[Record::new(id)]).await;
    }
    let read = kafka.consume("transactions-readers", "transactions", 1).await;
    assert_eq!(read[0].header("ce_id"), Some("committed"));
    assert!(read[0].offset >= 4, "two records and two markers lie before it");
}

#[tokio::test]
async fn topics_come_and_go_and_lose_their_beginning() {
    let Some(kafka) = kafka::shared().await else { return };
    kafka.create_topic("short-lived", 1, &[]).await;
    assert!(kafka.topic_names().await.contains(&"short-lived".to_owned()));
    kafka.produce("short-lived", &[Record::new("old"), Record::new("young")]).await;
    kafka.delete_records("short-lived", 0, 1).await;
    assert_eq!(kafka.consume("short-lived-readers", "short-lived", 1).await[0].offset, 1);
    kafka.delete_topic("short-lived").await;
    assert!(!kafka.topic_names().await.contains(&"short-lived".to_owned()));
}

/// Kafka's own tools, through every listener and mechanism.
#[tokio::test]
async fn tools_reach_every_listener() {
    let Some(kafka) = kafka::shared().await else { return };
    kafka.create_topic("seen-by-tools", 1, &[]).await;
    kafka.commit("tools", "seen-by-tools", &[(0, 0)]).await;
    let bootstrap = kafka.bootstrap();
    let plain = ["--bootstrap-server", &bootstrap, "--describe", "--group", "tools"];
    let group = stdout(&kafka.tool(GROUP_COMMAND, &plain).await);
    assert!(group.contains("seen-by-tools"), "{group}");

    let mechanisms = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];
    let users =
        mechanisms.map(|mechanism| (kafka.bootstrap_sasl_ssl(), kafka.sasl_ssl_properties(mechanism)));
    let certificate = (kafka.bootstrap_ssl(), kafka.ssl_properties());
    for (bootstrap, properties) in users.into_iter().chain([certificate]) {
        let properties = properties.to_str().unwrap();
        let list = ["--bootstrap-server", &bootstrap, "--list", "--command-config", properties];
        let topics = stdout(&kafka.tool(TOPIC_COMMAND, &list).await);
        assert!(topics.contains("seen-by-tools"), "{properties}: {topics}");
    }
}

#[tokio::test]
async fn a_killed_node_comes_back_with_its_data() {
    let Some(kafka) = Kafka::start(Options::new().with("num.io.threads", "3")).await else { return };
    let bootstrap = kafka.bootstrap();
    kafka.create_topic("kept", 1, &[]).await;
    kafka.produce("kept", &[Record::new("kept")]).await;
    kafka.kill(1);
    kafka.restart(1).await;
    assert_eq!(kafka.bootstrap(), bootstrap);
    kafka.pause(1);
    let (read, ()) = tokio::join!(kafka.consume("kept-readers", "kept", 1), async { kafka.resume(1) });
    assert_eq!(read[0].header("ce_id"), Some("kept"));
    kafka.stop_node(1).await;
    kafka.restart(1).await;
    assert_eq!(kafka.describe_group("kept-readers").await[0].current, Some(1));
}

#[tokio::test]
async fn three_nodes_live_on_as_two() {
    let Some(kafka) = Kafka::start(Options::new().nodes(3)).await else { return };
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    kafka.create_topic("copied", 3, &[]).await;
    let records = |from: u32| -> Vec<Record> {
        (from..from + 6).map(|number| Record::new(&number.to_string()).to_partition(number % 3)).collect()
    };
    kafka.produce("copied", &records(0)).await;
    kafka.kill(2);
    kafka.produce("copied", &records(6)).await;
    assert_eq!(kafka.consume("copied-readers", "copied", 12).await.len(), 12);
}
