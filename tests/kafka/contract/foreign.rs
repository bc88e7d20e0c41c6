//! What others write to the topics: transactions, events in other forms, no events at all; and beginnings that are gone.

use std::time::Duration;

use bytes::Bytes;
use pelton_event_log::{AppendError, Batch, Bounds, Content, EventLog, LogError, TopicName};
use pelton_tests::kafka::{self, End, Form, Kafka, Record};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::{NO_WAIT, Place, WAIT, append_numbers, batch, ids, large, read_all, shown, spec};

/// A place on the shared Kafka, and that Kafka.
async fn place() -> Option<(Place, &'static Kafka)> {
    Some((Place::on_kafka().await?, kafka::shared().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_transactions_leave_gaps_that_are_passed() {
    let Some((place, kafka)) = place().await else { return };
    let log = place.open_with(1).await;
    let topic = place.events();
    let transaction = async |end, id: &str| {
        kafka.produce_in_transaction(topic.as_str(), topic.as_str(), end, &[Record::new(id)]).await;
    };
    log.append(batch(topic, 0, ["before"])).await.unwrap();
    transaction(End::Abort, "aborted").await;
    transaction(End::Commit, "committed").await;
    log.append(batch(topic, 0, ["after"])).await.unwrap();
    let expected = vec!["before".to_owned(), "committed".to_owned(), "after".to_owned()];
    assert_eq!(
        read_all(&*log, topic, 0, 0, NO_WAIT).await,
        (expected, 6),
        "two records of the six are markers"
    );

    // At the end there is nothing but gaps; whoever waits there is told of what comes, and of nothing else.
    transaction(End::Abort, "aborted too").await;
    assert_eq!(log.bounds(topic, 0).await.unwrap(), Bounds { start: 0, end: 8 });
    assert_eq!(read_all(&*log, topic, 0, 6, NO_WAIT).await, (vec![], 8));
    for (from, expected) in [(2, "committed after"), (4, "after"), (5, "after"), (6, ""), (7, ""), (8, "")] {
        let (found, end) = read_all(&*log, topic, 0, from, NO_WAIT).await;
        assert_eq!((found.join(" ").as_str(), end), (expected, 8), "from {from}");
    }
    let (found, ()) = tokio::join!(waited_for(&*log, topic, 6, 1), async {
        transaction(End::Commit, "at last").await;
    });
    assert_eq!(found, ["at last"]);
    assert_eq!(read_all(&*log, topic, 0, 0, NO_WAIT).await.1, 10, "the marker behind it is passed");
}

/// Reads and waits until so many entries came.
async fn waited_for(log: &dyn EventLog, topic: &TopicName, from: u64, count: usize) -> Vec<String> {
    let (mut found, mut from) = (Vec::new(), from);
    while found.len() < count {
        let read = tokio::time::timeout(pelton_tests::PATIENCE, log.read(topic, 0, from, WAIT)).await;
        let chunk = read.expect("the reader does not stall").unwrap();
        found.extend(ids(&chunk));
        from = chunk.next;
    }
    found
}

/// A producer in a transaction that has written an event.
fn open_transaction(kafka: &Kafka, topic: &TopicName, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", format!("{topic}-open"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    let value = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/other","type":"test"}}"#);
    let headers = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
        key: "content-type",
        value: Some("application/cloudevents+json"),
    });
    let record = BaseRecord::<(), str>::to(topic.as_str()).partition(0).payload(&value).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_transaction_wrote_comes_once_it_commits() {
    let Some((place, kafka)) = place().await else { return };
    let log = place.open_with(1).await;
    let topic = place.events();
    log.append(batch(topic, 0, ["before"])).await.unwrap();
    let transaction = tokio::task::block_in_place(|| open_transaction(kafka, topic, "open"));
    log.append(batch(topic, 0, ["behind"])).await.unwrap();
    assert_eq!(read_all(&*log, topic, 0, 0, NO_WAIT).await, (vec!["before".into()], 1));
    assert_eq!(log.bounds(topic, 0).await.unwrap(), Bounds { start: 0, end: 1 });
    let (found, ()) = tokio::join!(waited_for(&*log, topic, 0, 3), async {
        // The reader comes to the last stable offset and waits there, whichever is first.
        let commit = move || transaction.commit_transaction(Duration::from_secs(30)).unwrap();
        tokio::task::spawn_blocking(commit).await.unwrap();
    });
    assert_eq!(found, ["before", "open", "behind"]);
    assert_eq!(read_all(&*log, topic, 0, 1, NO_WAIT).await, (vec!["open".into(), "behind".into()], 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_that_is_aborted_holds_nothing_back() {
    let Some((place, kafka)) = place().await else { return };
    let log = place.open_with(1).await;
    let topic = place.events();
    let transaction = tokio::task::block_in_place(|| open_transaction(kafka, topic, "open"));
    log.append(batch(topic, 0, ["behind"])).await.unwrap();
    assert_eq!(read_all(&*log, topic, 0, 0, NO_WAIT).await, (vec![], 0));
    let (found, ()) = tokio::join!(waited_for(&*log, topic, 0, 1), async {
        let abort = move || transaction.abort_transaction(Duration::from_secs(30)).unwrap();
        tokio::task::spawn_blocking(abort).await.unwrap();
    });
    assert_eq!(found, ["behind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_others_are_read_in_every_form() {
    let Some((place, kafka)) = place().await else { return };
    let log = place.open_with(1).await;
    let records = [
        Record::new("binary").keyed("a key").with("color", "blue"),
        Record::new("structured").form(Form::Structured).typed("order"),
        Record::new("raw").form(Form::Raw).data([0xff, 0x00]),
        Record::new("null").form(Form::Null),
    ];
    kafka.produce(place.events().as_str(), &records).await;
    let chunk = log.read(place.events(), 0, 0, NO_WAIT).await.unwrap();
    assert_eq!(ids(&chunk), ["binary", "structured", "undecodable", "null"]);
    let event = |index: usize| match &chunk.entries[index].content {
        Content::Record(record) => (record.envelope.clone(), record.event.clone().unwrap()),
        Content::Undecodable { reason, .. } => panic!("{reason}"),
    };
    let (envelope, binary) = event(0);
    assert_eq!(envelope.key.as_deref(), Some(b"a key".as_slice()));
    assert_eq!(binary.attribute("color").map(|value| value.text), Some("blue"));
    let (envelope, structured) = event(1);
    assert_eq!((structured.event_type(), structured.source()), ("order", "/knative"));
    assert_eq!(structured.data().map(|data| &data[..]), Some(br#"{"id":"structured"}"#.as_slice()));
    assert!(envelope.time.as_millis() > 0, "Kafka's own time");
    let Content::Undecodable { reason, bytes } = &chunk.entries[2].content else { panic!("{chunk:?}") };
    assert_eq!(*bytes, Bytes::from_static(&[0xff, 0x00]));
    assert!(!reason.is_empty());
    assert_eq!(event(3).1.data(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_is_gone_is_passed() {
    let Some((place, kafka)) = place().await else { return };
    let log = place.open_with(2).await;
    let topic = place.events();
    append_numbers(&*log, topic, 0, 10).await;
    // Readers stand in what goes, one of each kind.
    for limit in [NO_WAIT, WAIT] {
        let limit = super::ReadLimit { entries: 2, ..limit };
        assert_eq!(ids(&log.read(topic, 0, 0, limit).await.unwrap()), ["0", "1"]);
    }
    kafka.delete_records(topic.as_str(), 0, 7).await;
    assert_eq!(log.bounds(topic, 0).await.unwrap(), Bounds { start: 7, end: 10 });
    for limit in [NO_WAIT, WAIT] {
        for from in [0, 4, 7] {
            let chunk = log.read(topic, 0, from, limit).await.unwrap();
            assert_eq!(shown(&chunk), [(7, "7".into()), (8, "8".into()), (9, "9".into())], "from {from}");
        }
    }
    kafka.delete_records(topic.as_str(), 0, 10).await;
    assert_eq!(read_all(&*log, topic, 0, 0, NO_WAIT).await, (vec![], 10));
    let (found, ()) = tokio::join!(waited_for(&*log, topic, 0, 1), async {
        log.append(batch(topic, 0, ["new"])).await.unwrap();
    });
    assert_eq!(found, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_topic_is_told() {
    let Some((place, kafka)) = place().await else { return };
    kafka.create_topic(place.events().as_str(), 1, &[("max.message.bytes", "10000")]).await;
    let log = place.open_with(1).await;
    let send = async |bytes| {
        let records = vec![(place.events().clone(), 0, large("large", bytes))];
        log.append(Batch { records, ..Batch::default() }).await
    };
    let refused = send(20_000).await;
    assert!(
        matches!(refused, Err(AppendError::TooLarge { bytes: 20_000..21_000, max: Some(10_000) })),
        "{refused:?}"
    );
    send(9_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_that_kafka_would_delete_is_refused() {
    let Some(kafka) = pelton_tests::kafka::shared().await else { return };
    let place = Place::on(kafka);
    let progress = format!("{}_progress", place.events());
    kafka.create_topic(&progress, 1, &[("cleanup.policy", "delete")]).await;
    let made = place.open().ensure_topic(&spec(place.events(), 1)).await;
    let Err(LogError::Topic(topic, why)) = &made else { panic!("{made:?}") };
    assert!(topic.as_str() == progress && why.contains("cleanup.policy=compact"), "{topic}: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_kafka_does_not_take_is_named() {
    let Some((place, _)) = place().await else { return };
    let mut wanted = spec(place.events(), 1);
    wanted.kafka.config.insert("cleanup.policy".into(), "shred".into());
    let made = place.open().ensure_topic(&wanted).await;
    let Err(LogError::Topic(topic, why)) = &made else { panic!("{made:?}") };
    assert!(topic == place.events() && why.contains("cleanup.policy=shred"), "{topic}: {why}");
}
