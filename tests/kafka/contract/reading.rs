//! Reading a partition: from anywhere, with any limit, at the end, many at once.

use pelton_event::Timestamp;
use pelton_event_log::{Batch, Bounds, LogError, ReadLimit};
use pelton_tests::PATIENCE;

use super::{
    NO_WAIT, Place, WAIT, append_numbers, batch, ids, large, now, on_both_engines, read_all, record_at, shown,
};

on_both_engines![
    reads_begin_anywhere,
    limits_hold,
    a_read_at_the_end_is_empty_and_sees_what_comes_later,
    a_waiting_read_wakes_for_its_own_partition,
    readers_at_several_positions_do_not_disturb_each_other,
    many_readers_wait_at_one_end,
    a_dropped_read_loses_nothing,
    large_records_come_whole,
    offsets_are_found_by_time,
    closing_ends_a_waiting_read,
];

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn reads_begin_anywhere(place: Place) {
    const COUNT: usize = 12;
    let log = place.open_with(1).await;
    let offsets = append_numbers(&*log, place.events(), 0, COUNT).await;
    assert_eq!(log.bounds(place.events(), 0).await.unwrap(), Bounds { start: 0, end: COUNT as u64 });
    // Backwards too: each read begins anew there.
    for first in (0..COUNT).chain((0..COUNT).rev()) {
        let (found, end) = read_all(&*log, place.events(), 0, offsets[first], NO_WAIT).await;
        assert_eq!((found, end), (numbers(first..COUNT), COUNT as u64));
    }
    let wait = ReadLimit { entries: 1, ..WAIT };
    for first in (0..COUNT).rev() {
        let chunk = log.read(place.events(), 0, offsets[first], wait).await.unwrap();
        assert_eq!(shown(&chunk), [(offsets[first], first.to_string())]);
        assert_eq!(chunk.next, offsets[first] + 1);
    }
}

async fn limits_hold(place: Place) {
    const COUNT: usize = 60;
    let log = place.open_with(1).await;
    let records =
        (0..COUNT).map(|number| (place.events().clone(), 0, large(&number.to_string(), 1000))).collect();
    log.append(Batch { records, ..Batch::default() }).await.unwrap();
    for (bytes, entries, most) in
        [(1, 1000, 1), (5000, 1000, 5), (1 << 20, 7, 7), (1 << 20, 1, 1), (1 << 20, 1000, COUNT)]
    {
        for wait in [false, true] {
            let limit = ReadLimit { bytes, entries, wait };
            let (mut found, mut from) = (Vec::new(), 0);
            while found.len() < COUNT {
                let chunk = log.read(place.events(), 0, from, limit).await.unwrap();
                assert!((1..=most).contains(&chunk.entries.len()), "{} of {limit:?}", chunk.entries.len());
                found.extend(ids(&chunk));
                from = chunk.next;
            }
            assert_eq!(found, numbers(0..COUNT), "{limit:?}");
        }
    }
}

async fn a_read_at_the_end_is_empty_and_sees_what_comes_later(place: Place) {
    let log = place.open_with(1).await;
    for round in 0..5 {
        let end = log.read(place.events(), 0, round, NO_WAIT).await.unwrap();
        assert_eq!((shown(&end), end.next), (vec![], round));
        log.append(batch(place.events(), 0, [round.to_string().as_str()])).await.unwrap();
        let chunk = log.read(place.events(), 0, round, NO_WAIT).await.unwrap();
        assert_eq!((shown(&chunk), chunk.next), (vec![(round, round.to_string())], round + 1));
    }
}

async fn a_waiting_read_wakes_for_its_own_partition(place: Place) {
    let log = place.open_with(2).await;
    for round in 0..3 {
        let (chunk, ()) = tokio::join!(log.read(place.events(), 1, round, WAIT), async {
            log.append(batch(place.events(), 0, ["other"])).await.unwrap();
            log.append(batch(place.events(), 1, ["mine"])).await.unwrap();
        });
        let chunk = chunk.unwrap();
        assert_eq!((shown(&chunk), chunk.next), (vec![(round, "mine".to_owned())], round + 1));
    }
}

async fn readers_at_several_positions_do_not_disturb_each_other(place: Place) {
    const COUNT: usize = 400;
    let log = place.open_with(1).await;
    let offsets = append_numbers(&*log, place.events(), 0, COUNT).await;
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..8 {
        let (log, topic, first) = (log.clone(), place.events().clone(), reader * 47);
        let (mut from, entries) = (offsets[first], 1 + reader * 3);
        readers.spawn(async move {
            let limit = ReadLimit { entries, wait: reader % 2 == 0, ..NO_WAIT };
            let mut found = Vec::new();
            while found.len() < COUNT - first {
                let chunk = log.read(&topic, 0, from, limit).await.unwrap();
                found.extend(ids(&chunk));
                from = chunk.next;
            }
            assert_eq!(found, numbers(first..COUNT), "reader {reader}");
        });
    }
    readers.join_all().await;
}

async fn many_readers_wait_at_one_end(place: Place) {
    let log = place.open_with(1).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (log, topic) = (log.clone(), place.events().clone());
        readers.spawn(async move {
            let (mut found, mut from) = (Vec::new(), 0);
            while found.len() < 5 {
                let chunk = log.read(&topic, 0, from, WAIT).await.unwrap();
                found.extend(ids(&chunk));
                from = chunk.next;
            }
            assert_eq!(found, numbers(0..5));
        });
    }
    for number in 0..5 {
        log.append(batch(place.events(), 0, [number.to_string().as_str()])).await.unwrap();
    }
    readers.join_all().await;
}

async fn a_dropped_read_loses_nothing(place: Place) {
    const COUNT: usize = 40;
    let log = place.open_with(1).await;
    let (mut found, mut from) = (Vec::new(), 0);
    for number in 0..COUNT {
        // The append ends first or the read does; in the first case the read is dropped with whatever it has.
        tokio::select! {
            chunk = log.read(place.events(), 0, from, WAIT) => {
                let chunk = chunk.unwrap();
                found.extend(ids(&chunk));
                from = chunk.next;
                log.append(batch(place.events(), 0, [number.to_string().as_str()])).await.unwrap();
            }
            stored = log.append(batch(place.events(), 0, [number.to_string().as_str()])) => drop(stored.unwrap()),
        }
    }
    // An append whose answer was dropped may be stored all the same, so that a number may be there twice.
    let (rest, _) = read_all(&*log, place.events(), 0, from, NO_WAIT).await;
    found.extend(rest);
    let (all, _) = read_all(&*log, place.events(), 0, 0, NO_WAIT).await;
    assert_eq!(found, all);
    let mut once = all;
    once.dedup();
    assert_eq!(once, numbers(0..COUNT));
}

async fn large_records_come_whole(place: Place) {
    const BYTES: usize = 900_000;
    let log = place.open_with(1).await;
    for number in 0..4 {
        let records = vec![(place.events().clone(), 0, large(&number.to_string(), BYTES))];
        log.append(Batch { records, ..Batch::default() }).await.unwrap();
    }
    for wait in [false, true] {
        let limit = ReadLimit { bytes: 1000, entries: 10, wait };
        for from in 0..4 {
            let chunk = log.read(place.events(), 0, from, limit).await.unwrap();
            assert_eq!(shown(&chunk), [(from, from.to_string())]);
        }
    }
    assert_eq!(read_all(&*log, place.events(), 0, 0, NO_WAIT).await.0, numbers(0..4));
}

async fn offsets_are_found_by_time(place: Place) {
    let log = place.open_with(2).await;
    let first = now() - 60_000;
    for number in 0..5_u64 {
        let record = record_at(&number.to_string(), first + number * 1000);
        let records = vec![(place.events().clone(), 1, record)];
        log.append(Batch { records, ..Batch::default() }).await.unwrap();
    }
    let at = async |partition, time| {
        log.offset_at(place.events(), partition, Timestamp::from_millis(time)).await.unwrap()
    };
    for (time, expected) in
        [(0, 0), (first, 0), (first + 1, 1), (first + 2000, 2), (first + 4000, 4), (first + 4001, 5)]
    {
        assert_eq!(at(1, time).await, expected, "{} ms after the first", time.wrapping_sub(first));
    }
    assert_eq!(at(0, first).await, 0, "nothing is there");
}

async fn closing_ends_a_waiting_read(place: Place) {
    let log = place.open_with(1).await;
    let read = tokio::time::timeout(PATIENCE, log.read(place.events(), 0, 0, WAIT));
    let (read, closed) = tokio::join!(read, log.close());
    closed.unwrap();
    assert!(matches!(read, Ok(Err(LogError::Closed))), "{read:?}");
}
