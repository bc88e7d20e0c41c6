use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::format::ProgressRecord;
use super::*;
use crate::kafka::incarnation::Identities;
use crate::{Epoch, LaneProgress, Progress, ProgressUpdate};

/// A compacted partition: of each key the last record, in the order of writing.
#[derive(Default)]
struct Topic(Vec<ProgressRecord>);

impl Topic {
    fn write(&mut self, records: impl IntoIterator<Item = ProgressRecord>) {
        self.0.extend(records);
    }

    fn write_all(&mut self, changed: Changed) {
        self.write(changed.rows);
        self.write(changed.heads);
    }

    fn write_first(&mut self, book: &Book) {
        self.write_all(book.snapshot());
        self.write([book.completion()]);
    }

    fn compact(&mut self) {
        let mut kept: Vec<ProgressRecord> = Vec::new();
        for record in self.0.drain(..).rev() {
            if !kept.iter().any(|later| later.key == record.key) {
                kept.push(record);
            }
        }
        kept.reverse();
        // Tombstones go in the end, too.
        kept.retain(|record| record.value.is_some());
        self.0 = kept;
    }

    fn load(&self) -> Loaded {
        let mut loader = Loader::default();
        for record in &self.0 {
            loader.record(Some(record.key.as_bytes()), record.value.as_deref()).unwrap();
        }
        loader.finish()
    }
}

fn row(low: Option<u64>, state: &'static [u8]) -> Option<Arc<LaneProgress>> {
    Some(Arc::new(LaneProgress { low, state: Bytes::from_static(state) }))
}

fn update(head: Option<u64>, lanes: &[(&str, Option<Arc<LaneProgress>>)]) -> ProgressUpdate {
    let lanes = lanes.iter().map(|(name, row)| ((*name).into(), row.clone())).collect();
    ProgressUpdate { topic: TopicName::new("t"), partition: 0, epoch: Epoch(0), head, lanes }
}

fn apply(book: &mut Book, of: Of, update: ProgressUpdate) -> Changed {
    let mut changed = Changed::default();
    book.apply(of, update, &mut changed);
    changed
}

#[test]
fn topics_belong_to_their_events_topic() {
    let (events, of) = Of::topic(&TopicName::new("a_retry"));
    assert_eq!((events.as_str(), of), ("a", Of::Retry));
    assert_eq!(Of::topic(&TopicName::new("a")).1, Of::Events);
}

#[test]
fn a_new_owner_finds_what_the_last_one_saved() {
    let mut topic = Topic::default();
    let mut book = Book::new(Epoch(7), &topic.load());
    topic.write_first(&book);
    topic.write_all(apply(
        &mut book,
        Of::Events,
        update(Some(5), &[("a/x", row(Some(3), b"s")), ("a/y", row(None, b""))]),
    ));
    topic.write_all(apply(&mut book, Of::Retry, update(Some(2), &[("a/x", row(Some(1), b"r"))])));
    topic.write_all(apply(&mut book, Of::Events, update(None, &[("a/y", None)])));
    let loaded = topic.load();
    assert_eq!(loaded.events, book.progress(Of::Events));
    assert_eq!((loaded.events.head, loaded.events.lanes.len(), loaded.retry.head), (5, 1, 2));

    let next = Book::new(Epoch(20), &loaded);
    topic.write_first(&next);
    topic.write(loaded.removals);
    topic.compact();
    assert_eq!(topic.load().events, book.progress(Of::Events));
    assert!(topic.0.iter().all(|record| record.key.starts_with("20/")), "nothing is left of the first epoch");
}

/// A process that was stopped wakes up and writes as if it still owned the partition.
#[test]
fn what_an_earlier_owner_writes_late_never_counts() {
    let mut topic = Topic::default();
    let mut old = Book::new(Epoch(1), &topic.load());
    topic.write_first(&old);
    topic.write_all(apply(&mut old, Of::Events, update(Some(10), &[("a/x", row(Some(4), b"open 4"))])));

    let loaded = topic.load();
    let mut new = Book::new(Epoch(9), &loaded);
    topic.write_first(&new);
    topic.write(loaded.removals);
    topic.write_all(apply(&mut new, Of::Events, update(Some(12), &[("a/x", row(Some(11), b"open 11"))])));
    topic.write_all(apply(&mut old, Of::Events, update(Some(99), &[("a/x", row(None, b"nothing open"))])));

    for compacted in [false, true] {
        if compacted {
            topic.compact();
        }
        let found = topic.load();
        assert_eq!(found.events, new.progress(Of::Events), "compacted: {compacted}");
    }
}

#[test]
fn what_others_had_before_is_passed_until_somebody_takes_the_partition() {
    let mut topic = Topic::default();
    topic.write(Book::adopted(10, &Identities::default()));
    let loaded = topic.load();
    assert_eq!((loaded.events.head, loaded.events.lanes.len(), loaded.retry.head), (10, 0, 0));
    let mut book = Book::new(Epoch(5), &loaded);
    topic.write_first(&book);
    topic.write_all(apply(&mut book, Of::Events, update(Some(12), &[])));
    // Another process that adopts it late changes nothing, not even for the very first claim.
    assert!(Book::epoch_of_claim(0) > Epoch(0));
    topic.write(Book::adopted(99, &Identities::default()));
    assert_eq!(topic.load().events.head, 12);
}

#[test]
fn an_epoch_that_was_not_completed_does_not_count() {
    let mut topic = Topic::default();
    let mut old = Book::new(Epoch(1), &topic.load());
    topic.write_first(&old);
    topic.write_all(apply(&mut old, Of::Events, update(Some(10), &[("a/x", row(Some(4), b"open 4"))])));
    // It crashed before the mark was written.
    topic.write_all(Book::new(Epoch(9), &topic.load()).snapshot());
    assert_eq!(topic.load().events, old.progress(Of::Events));
}

#[test]
fn progress_knows_which_topics_it_is_of() {
    let mut topic = Topic::default();
    assert_eq!(topic.load().identities, Identities::default());
    let of = |text| Identities::parse(text).unwrap();
    topic.write(Book::adopted(9, &of("0:first 0:")));
    assert_eq!(topic.load().identities, of("0:first 0:"));
    let loaded = Loaded { identities: of("1:second 0:retry"), ..topic.load() };
    let book = Book::new(Epoch(4), &loaded);
    topic.write_all(book.snapshot());
    assert_eq!(topic.load().identities, of("0:first 0:"), "the new epoch does not count yet");
    topic.write([book.completion()]);
    assert_eq!(topic.load().identities, of("1:second 0:retry"));
}

#[test]
fn damage_is_told_and_foreign_keys_are_passed() {
    let mut loader = Loader::default();
    for key in [&b"claim"[..], b"\xff", b"x/y/z", b"1/rows/events", b"1/rows/other/00", b"1/head/x"] {
        assert_eq!(loader.record(Some(key), Some(b"\xff")), Ok(()), "{key:?}");
    }
    assert_eq!(loader.record(None, None), Ok(()));
    assert!(
        loader.record(Some(b"1/rows/events/00"), Some(b"\x02")).unwrap_err().contains("1/rows/events/00")
    );
    assert!(loader.record(Some(b"1/head/events"), Some(b"x")).is_err());
    assert!(loader.record(Some(b"1/complete"), Some(b"yes")).is_err());
}

/// A row as it is saved, or taken away.
type SomeRow = Option<(Option<u64>, Vec<u8>)>;

fn lanes() -> impl Strategy<Value = Vec<(String, SomeRow)>> {
    let row = proptest::option::of((
        proptest::option::of(0_u64..1000),
        proptest::collection::vec(any::<u8>(), 0..9),
    ));
    proptest::collection::vec(("[a-f]", row), 0..6)
}

proptest! {
    /// Whatever of a save reaches Kafka, the head never passes a row that is not there.
    #[test]
    fn any_part_of_a_save_is_sound(
        saves in proptest::collection::vec((any::<bool>(), proptest::option::of(0_u64..1000), lanes()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut topic = Topic::default();
        let mut book = Book::new(Epoch(3), &Loaded::default());
        topic.write_first(&book);
        let mut states = vec![(topic.0.len(), book.progress(Of::Events), book.progress(Of::Retry))];
        for (retry, head, lanes) in saves {
            let lanes = lanes.into_iter().map(|(name, row)| {
                (name.into(), row.map(|(low, state)| Arc::new(LaneProgress { low, state: state.into() })))
            });
            let of = if retry { Of::Retry } else { Of::Events };
            let update = ProgressUpdate { head, lanes: lanes.collect(), ..update(None, &[]) };
            topic.write_all(apply(&mut book, of, update));
            states.push((topic.0.len(), book.progress(Of::Events), book.progress(Of::Retry)));
        }
        let found = topic.load();
        prop_assert_eq!(&found.events, &book.progress(Of::Events));
        prop_assert_eq!(&found.retry, &book.progress(Of::Retry));
        // Cut anywhere: the heads are those of the last save that is there as a whole.
        let length = states[0].0 + cut.index(topic.0.len() - states[0].0 + 1);
        topic.0.truncate(length);
        let found = topic.load();
        let whole = states.iter().rev().find(|(end, ..)| *end <= length).unwrap();
        prop_assert_eq!(found.events.head, whole.1.head);
        prop_assert_eq!(found.retry.head, whole.2.head);
    }

    #[test]
    fn progress_of_any_bytes_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        drop(format::decode(&bytes));
        let mut versioned = vec![1];
        versioned.extend(bytes);
        drop(format::decode(&versioned));
    }
}

#[test]
fn the_form_stays() {
    let mut book = Book::new(
        Epoch(7),
        &Loaded { events: Progress { head: 3, ..Progress::default() }, ..Loaded::default() },
    );
    let changed = apply(&mut book, Of::Events, update(Some(4), &[("a/x", row(Some(2), b"s"))]));
    let head = &changed.heads[0];
    assert_eq!((head.key.as_str(), head.value.as_deref()), ("7/head/events", Some(&b"4"[..])));
    assert_eq!(changed.rows[0].value.as_deref().unwrap(), b"\x01\x00\x03a/x\0\0\0\0\0\0\0\x02\0\0\0\x01s");
    assert!(changed.rows[0].key.starts_with("7/rows/events/"));
}
