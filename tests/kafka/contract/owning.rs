//! Ownership and the progress that goes with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_event_log::{
    AppendError, Epoch, EventLog, LaneProgress, Offset, OwnershipChange, Progress, TopicName,
};

use super::{
    NO_WAIT, Place, append_numbers, batch, gain_all, next, on_both_engines, read_all, record, row, save,
};

on_both_engines![
    all_partitions_are_gained_and_nothing_is_saved_at_first,
    saved_progress_is_found_again,
    a_later_start_fences_the_saves_of_an_earlier_one,
    a_save_goes_with_its_records,
    a_save_whose_record_fails_changes_nothing,
    many_rows_are_found_again,
];

fn progress<'a>(head: Offset, lanes: impl IntoIterator<Item = (&'a str, Arc<LaneProgress>)>) -> Progress {
    Progress { head, lanes: lanes.into_iter().map(|(name, row)| (Arc::from(name), row)).collect() }
}

async fn saved(log: &dyn EventLog, topic: &TopicName, partition: u32) -> Progress {
    log.progress(topic, partition).await.unwrap()
}

/// Ends a log and opens it again; answers it with the epochs of its partitions.
async fn reopened(place: &Place, log: Arc<dyn EventLog>, partitions: u32) -> (Arc<dyn EventLog>, Vec<Epoch>) {
    log.close().await.unwrap();
    drop(log);
    let log = place.open_with(partitions).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, partitions).await;
    // It stays the owner as long as somebody listens.
    tokio::spawn(async move { while ownership.next().await.is_some() {} });
    (log, epochs)
}

async fn all_partitions_are_gained_and_nothing_is_saved_at_first(place: Place) {
    let log = place.open_with(5).await;
    let mut ownership = log.ownership(place.events());
    gain_all(&mut ownership, 5).await;
    for topic in [place.events(), place.retry()] {
        for partition in 0..5 {
            assert_eq!(saved(&*log, topic, partition).await, Progress::default());
        }
    }
}

async fn saved_progress_is_found_again(place: Place) {
    let log = place.open_filled(3, 20).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, 3).await;
    let (events, retry) = (place.events(), place.retry());
    let (first, second) = (("ns/a", Some(row(Some(3), "open 3"))), ("ns/b", Some(row(None, ""))));
    log.append(save(events, 1, epochs[1], Some(7), &[first.clone(), second.clone()])).await.unwrap();
    log.append(save(events, 1, epochs[1], Some(9), &[("ns/b", None), ("ns/never", None)])).await.unwrap();
    log.append(save(retry, 1, epochs[1], Some(2), &[("ns/a", Some(row(Some(1), "due")))])).await.unwrap();
    log.append(save(events, 2, epochs[2], None, &[("ns/c", Some(row(None, "no head")))])).await.unwrap();
    let mut both = save(events, 0, epochs[0], Some(1), &[("ns/a", Some(row(None, "x")))]);
    both.progress.extend(save(retry, 0, epochs[0], Some(5), &[]).progress);
    log.append(both).await.unwrap();

    let check = async |log: &dyn EventLog| {
        assert_eq!(saved(log, events, 1).await, progress(9, [("ns/a", row(Some(3), "open 3"))]));
        assert_eq!(saved(log, retry, 1).await, progress(2, [("ns/a", row(Some(1), "due"))]));
        assert_eq!(saved(log, events, 2).await, progress(0, [("ns/c", row(None, "no head"))]));
        assert_eq!(saved(log, retry, 2).await, Progress::default());
        assert_eq!(saved(log, events, 0).await, progress(1, [("ns/a", row(None, "x"))]));
        assert_eq!(saved(log, retry, 0).await, progress(5, []));
    };
    check(&*log).await;
    drop(ownership);
    let (log, _) = reopened(&place, log, 3).await;
    check(&*log).await;
    // Once more, over what the start before has rewritten.
    let (log, epochs) = reopened(&place, log, 3).await;
    check(&*log).await;
    log.append(save(events, 1, epochs[1], Some(20), &[("ns/a", None)])).await.unwrap();
    let (log, _) = reopened(&place, log, 3).await;
    assert_eq!(saved(&*log, events, 1).await, progress(20, []));
}

async fn a_later_start_fences_the_saves_of_an_earlier_one(place: Place) {
    let log = place.open_filled(2, 20).await;
    let mut ownership = log.ownership(place.events());
    let old = gain_all(&mut ownership, 2).await;
    log.append(save(place.events(), 1, old[1], Some(7), &[("ns/a", Some(row(Some(3), "x")))])).await.unwrap();
    drop(ownership);
    let (log, new) = reopened(&place, log, 2).await;
    assert!(new[1] > old[1]);
    for topic in [place.events(), place.retry()] {
        let refused = log.append(save(topic, 1, old[1], Some(99), &[("ns/a", None)])).await;
        assert_eq!(refused, Err(AppendError::Fenced(topic.clone(), 1)));
    }
    assert_eq!(saved(&*log, place.events(), 1).await, progress(7, [("ns/a", row(Some(3), "x"))]));
    log.append(save(place.events(), 1, new[1], Some(8), &[])).await.unwrap();
    assert_eq!(saved(&*log, place.events(), 1).await.head, 8);
}

async fn a_save_goes_with_its_records(place: Place) {
    let log = place.open_with(2).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, 2).await;
    append_numbers(&*log, place.events(), 0, 4).await;
    let mut settled = save(place.events(), 0, epochs[0], Some(4), &[("ns/a", Some(row(Some(2), "x")))]);
    settled.records = vec![
        (place.retry().clone(), 0, record("later")),
        (place.topics.dead_letter.clone(), 0, record("dead")),
        (place.events().clone(), 1, record("reply")),
    ];
    assert_eq!(log.append(settled).await.unwrap().positions, [(0, 0), (0, 0), (1, 0)]);
    drop(ownership);
    let (log, _) = reopened(&place, log, 2).await;
    assert_eq!(saved(&*log, place.events(), 0).await, progress(4, [("ns/a", row(Some(2), "x"))]));
    for (topic, partition, id) in
        [(place.retry(), 0, "later"), (&place.topics.dead_letter, 0, "dead"), (place.events(), 1, "reply")]
    {
        assert_eq!(read_all(&*log, topic, partition, 0, NO_WAIT).await.0, [id]);
    }
}

async fn a_save_whose_record_fails_changes_nothing(place: Place) {
    let log = place.open_filled(2, 20).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, 2).await;
    log.append(save(place.events(), 0, epochs[0], Some(1), &[("ns/a", Some(row(None, "before")))]))
        .await
        .unwrap();
    let mut failing = save(place.events(), 0, epochs[0], Some(9), &[("ns/a", None)]);
    failing.records = vec![(place.retry().clone(), 7, record("nowhere"))];
    assert_eq!(log.append(failing).await, Err(AppendError::NoSuchPartition(place.retry().clone(), 7)));
    let before = progress(1, [("ns/a", row(None, "before"))]);
    assert_eq!(saved(&*log, place.events(), 0).await, before);
    // The owner goes on, and what it saves next does not bring the failed save along.
    log.append(save(place.events(), 0, epochs[0], None, &[("ns/b", Some(row(None, "after")))]))
        .await
        .unwrap();
    let after = progress(1, [("ns/a", row(None, "before")), ("ns/b", row(None, "after"))]);
    drop(ownership);
    let (log, _) = reopened(&place, log, 2).await;
    assert_eq!(saved(&*log, place.events(), 0).await, after);
    log.append(batch(place.retry(), 1, ["still"])).await.unwrap();
}

async fn many_rows_are_found_again(place: Place) {
    const ROWS: usize = 10_000;
    let log = place.open_filled(1, 20).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, 1).await;
    let names: Vec<String> = (0..ROWS).map(|number| format!("namespace-of-many/trigger-{number}")).collect();
    let mut expected = BTreeMap::new();
    for part in names.chunks(1000) {
        let rows: Vec<_> = part
            .iter()
            .map(|name| (name.as_str(), Some(row(Some(5), &format!("state of {name}")))))
            .collect();
        log.append(save(place.events(), 0, epochs[0], Some(6), &rows)).await.unwrap();
        expected.extend(rows.into_iter().map(|(name, row)| (Arc::from(name), row.unwrap())));
    }
    // One in three goes again, all in one save.
    let gone: Vec<_> = names.iter().step_by(3).map(|name| (name.as_str(), None)).collect();
    log.append(save(place.events(), 0, epochs[0], Some(7), &gone)).await.unwrap();
    gone.iter().for_each(|(name, _)| drop(expected.remove(*name)));
    let expected = Progress { head: 7, lanes: expected };
    assert!(saved(&*log, place.events(), 0).await == expected);
    drop(ownership);
    let (log, _) = reopened(&place, log, 1).await;
    assert!(saved(&*log, place.events(), 0).await == expected);
}

/// Kafka has lost the end of a topic: its progress is brought in line once, and what comes there is new.
#[tokio::test(flavor = "multi_thread")]
async fn progress_beyond_the_end_is_brought_back() {
    let Some(place) = Place::on_kafka().await else { return };
    let log = place.open_filled(1, 10).await;
    let mut ownership = log.ownership(place.events());
    let epoch = gain_all(&mut ownership, 1).await[0];
    for topic in [place.events(), place.retry()] {
        log.append(save(topic, 0, epoch, Some(100), &[])).await.unwrap();
    }
    assert!(log.read(place.retry(), 0, 100, NO_WAIT).await.is_err());
    assert!(matches!(next(&mut ownership).await, OwnershipChange::Lost { .. }));
    let again = gain_all(&mut ownership, 1).await[0];
    assert!(again > epoch);
    for topic in [place.events(), place.retry()] {
        assert_eq!(saved(&*log, topic, 0).await.head, 10);
    }
    assert!(log.read(place.retry(), 0, 10, NO_WAIT).await.unwrap().entries.is_empty());
    let more = tokio::time::timeout(std::time::Duration::from_secs(1), next(&mut ownership)).await;
    assert!(more.is_err(), "{more:?}");
}
