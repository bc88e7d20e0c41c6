//! What is appended is where the answer says; topics are as they are asked for.

use pelton_event_log::{AppendError, Batch, LogError};

use super::{NO_WAIT, Place, batch, ids, on_both_engines, read_all, record, spec};

on_both_engines![
    records_are_where_the_answer_says,
    an_empty_batch_is_stored,
    many_appends_at_once_keep_the_order_of_each_caller,
    an_append_to_a_partition_that_is_not_there_is_refused,
    topics_are_made_once_and_grow,
    a_deleted_topic_is_gone,
    a_closed_log_takes_and_gives_nothing,
];

async fn records_are_where_the_answer_says(place: Place) {
    let log = place.open_with(2).await;
    let (events, retry, letters) = (place.events(), place.retry(), &place.topics.dead_letter);
    let stored = log.append(batch(events, 1, ["one"])).await.unwrap();
    assert_eq!(stored.positions, [(1, 0)]);
    let places = [
        (events, 0, "a"),
        (events, 1, "b"),
        (retry, 1, "c"),
        (letters, 0, "d"),
        (events, 1, "e"),
        (retry, 1, "f"),
    ];
    let records = places.iter().map(|(topic, partition, id)| ((*topic).clone(), *partition, record(id)));
    let stored = log.append(Batch { records: records.collect(), ..Batch::default() }).await.unwrap();
    assert_eq!(stored.positions, [(0, 0), (1, 1), (1, 0), (0, 0), (1, 2), (1, 1)]);
    for ((topic, _, id), (partition, offset)) in places.iter().zip(stored.positions) {
        let chunk = log.read(topic, partition, offset, NO_WAIT).await.unwrap();
        assert_eq!((chunk.entries[0].offset, ids(&chunk)[0].as_str()), (offset, *id));
    }
    assert_eq!(read_all(&*log, events, 1, 0, NO_WAIT).await, (vec!["one".into(), "b".into(), "e".into()], 3));
    log.close().await.unwrap();
    drop(log);
    let log = place.open();
    assert_eq!(read_all(&*log, retry, 1, 0, NO_WAIT).await, (vec!["c".into(), "f".into()], 2));
}

async fn an_empty_batch_is_stored(place: Place) {
    let log = place.open();
    assert_eq!(log.append(Batch::default()).await.unwrap().positions, [], "without any topic");
    let log = if place.is_kafka() { place.open_with(1).await } else { log };
    assert_eq!(log.append(Batch::default()).await.unwrap().positions, []);
    assert_eq!(log.status().unavailable, None);
}

async fn many_appends_at_once_keep_the_order_of_each_caller(place: Place) {
    const CALLERS: usize = 8;
    const EACH: usize = 50;
    let log = place.open_with(1).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (log, events) = (log.clone(), place.events().clone());
        callers.spawn(async move {
            // Not awaited one by one: the order of calls counts, not that of answers.
            let appends: Vec<_> = (0..EACH)
                .map(|number| log.append(batch(&events, 0, [format!("{caller}-{number}").as_str()])))
                .collect();
            let mut offsets = Vec::new();
            for append in appends {
                offsets.push(append.await.unwrap().positions[0].1);
            }
            offsets
        });
    }
    let offsets = callers.join_all().await;
    assert!(offsets.iter().all(|offsets| offsets.is_sorted()), "{offsets:?}");
    let (found, end) = read_all(&*log, place.events(), 0, 0, NO_WAIT).await;
    assert_eq!((found.len(), end), (CALLERS * EACH, (CALLERS * EACH) as u64));
    for caller in 0..CALLERS {
        let own = found.iter().filter_map(|id| id.strip_prefix(&format!("{caller}-")));
        let own: Vec<usize> = own.map(|number| number.parse().unwrap()).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>());
    }
}

async fn an_append_to_a_partition_that_is_not_there_is_refused(place: Place) {
    let log = place.open_with(2).await;
    let refused = log.append(batch(place.events(), 2, ["x"])).await;
    assert_eq!(refused, Err(AppendError::NoSuchPartition(place.events().clone(), 2)));
    assert_eq!(read_all(&*log, place.events(), 0, 0, NO_WAIT).await, (vec![], 0));
}

async fn topics_are_made_once_and_grow(place: Place) {
    let log = place.open_with(2).await;
    log.append(batch(place.retry(), 1, ["kept"])).await.unwrap();
    let partitions = async |topic, wanted| log.ensure_topic(&spec(topic, wanted)).await.unwrap().partitions;
    for topic in [place.events(), place.retry()] {
        assert_eq!(partitions(topic, 2).await, 2, "as it is");
        assert_eq!(partitions(topic, 1).await, 2, "never fewer");
    }
    assert_eq!(partitions(place.retry(), 3).await, 3);
    // On Kafka the events topic keeps its partitions: somebody else may have chosen them, and keys would move.
    assert_eq!(partitions(place.events(), 3).await, if place.is_kafka() { 2 } else { 3 });
    assert_eq!(log.append(batch(place.retry(), 2, ["new"])).await.unwrap().positions, [(2, 0)]);
    assert_eq!(read_all(&*log, place.retry(), 1, 0, NO_WAIT).await.0, ["kept"]);
    assert_eq!(read_all(&*log, place.retry(), 2, 0, NO_WAIT).await.0, ["new"]);
    let topics = log.topics().await.unwrap();
    let found = topics.iter().find(|topic| topic.name == *place.retry()).map(|topic| topic.partitions);
    assert_eq!(found, Some(3));
    // Kafka deletes what is owed, too.
    let lifetime = async |topic| log.topic(topic).await.unwrap().unwrap().lifetime;
    let kept = place.is_kafka().then(|| spec(place.events(), 1).retention.age);
    assert_eq!((lifetime(place.events()).await, lifetime(place.retry()).await), (kept, None));
}

async fn a_deleted_topic_is_gone(place: Place) {
    let log = place.open_with(1).await;
    log.append(batch(place.events(), 0, ["gone"])).await.unwrap();
    for topic in [&place.topics.retry, &place.topics.dead_letter, &place.topics.events] {
        log.delete_topic(topic).await.unwrap();
        log.delete_topic(topic).await.unwrap();
    }
    pelton_tests::eventually("no topic is left", async || {
        let topics = log.topics().await.unwrap();
        (!topics.iter().any(|topic| topic.name.as_str().starts_with(place.events().as_str()))).then_some(())
    })
    .await;
    assert!(log.read(place.events(), 0, 0, NO_WAIT).await.is_err());
}

async fn a_closed_log_takes_and_gives_nothing(place: Place) {
    let log = place.open_with(1).await;
    let mut ownership = log.ownership(place.events());
    super::gain_all(&mut ownership, 1).await;
    let append = log.append(batch(place.events(), 0, ["under way"]));
    log.close().await.unwrap();
    assert_eq!(append.await.unwrap().positions, [(0, 0)], "what was under way is finished");
    assert_eq!(log.append(batch(place.events(), 0, ["late"])).await, Err(AppendError::Closed));
    assert!(matches!(log.read(place.events(), 0, 0, NO_WAIT).await, Err(LogError::Closed)));
    assert!(matches!(log.ensure_topic(&spec(place.events(), 1)).await, Err(LogError::Closed)));
    while ownership.next().await.is_some() {}
    log.close().await.unwrap();
    drop(log);
    assert_eq!(read_all(&*place.open(), place.events(), 0, 0, NO_WAIT).await.0, ["under way"]);
}
