//! What was saved meets a log that holds less.

use pelton_event_log::LaneProgress;

use super::*;
use crate::core::open::{Key, Open};
use crate::core::progress;

impl Bench {
    /// The trigger `t` has an open entry at `offset` of the retry topic, whose saved head is behind that.
    fn owes_retry(&mut self, offset: Offset, bounds: Bounds) {
        let open = Open::fresh(offset, Timestamp::from_millis(self.now), Key::None, None);
        let (_, row) = progress::encode_retry(bounds.end, [open].iter());
        self.retry = Progress { head: bounds.end, ..Progress::default() };
        self.retry.lanes.insert("default/t".into(), Arc::<LaneProgress>::new(row));
        self.retry_bounds = bounds;
    }

    /// Events that expired, and that were kept.
    fn ends(&self) -> (i64, i64) {
        let expired = self.count("t", |counters| counters.expired.load(Relaxed).cast_signed());
        (expired, self.count("t", |counters| counters.kept.load(Relaxed).cast_signed()))
    }
}

#[test]
fn retries_that_the_log_let_go_keep_no_partition_from_its_work() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    bench.owes_retry(3, Bounds { start: 5, end: 5 });
    bench.restart();
    bench.arrive([event(1, "a", 10)]);
    assert_eq!(bench.attempts.len(), 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.ends(), (1, 0));
    assert!(bench.retry.lanes.is_empty(), "{:?}", bench.retry.lanes);
}

#[test]
fn offsets_that_a_log_gives_a_second_time_are_new_events() {
    let ends_early = || {
        let mut bench = Bench::new(vec![trigger("t")]);
        bench.arrive((0..10).map(|id| event(id, "a", 10)));
        let attempts: Vec<_> = bench.attempts.drain(..).collect();
        attempts.iter().for_each(|attempt| bench.end(attempt, status(200)));
        bench.pass(Duration::from_secs(1));
        bench.log.truncate(5);
        bench
    };
    let mut bench = ends_early();
    bench.events.head = 5;
    bench.restart();
    bench.arrive([event(10, "a", 10)]);
    assert_eq!(bench.attempts.iter().map(|attempt| attempt.event.id()).collect::<Vec<_>>(), ["10"]);
    // Not even its head is to be trusted.
    let mut bench = ends_early();
    bench.restart();
    bench.arrive([event(10, "a", 10)]);
    assert_eq!(bench.attempts.len(), 1);
}

#[test]
fn an_open_retry_that_is_damaged_when_somebody_takes_over_is_a_dead_letter_of_its_trigger() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    bench.owes_retry(3, Bounds { start: 0, end: 5 });
    bench.restart();
    let damaged = |offset| Entry {
        offset,
        content: Content::Undecodable { reason: "spoilt".into(), bytes: Bytes::new() },
    };
    let chunk = Chunk::new(vec![damaged(2), damaged(3)], 5);
    bench.turn(|core, turn| core.retry_read(0, chunk, turn));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.ends(), (0, 1));
    assert_eq!(bench.dead_letters_of, ["default/t".into()]);
    assert!(bench.retry.lanes.is_empty(), "{:?}", bench.retry.lanes);
}

fn expired(trigger: Option<&str>, offsets: std::ops::Range<Offset>) -> Expired {
    Expired { trigger: trigger.map(|name| NamespacedName::new("default", name)), partition: 0, offsets }
}

#[test]
fn what_the_log_let_go_is_told_by_its_offsets() {
    let sizes = Sizes { window: 4, ..Sizes::default() };
    let mut bench = Bench::with(vec![trigger("t")], 1 << 20, sizes);
    bench.arrive((0..20).map(|id| event(id, "a", 10)));
    bench.store();
    bench.kept_from = 15;
    while let Some(attempt) = bench.attempts.pop_front() {
        bench.end(&attempt, status(200));
        bench.store();
    }
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.expired, [expired(Some("t"), 4..15)]);
    assert_eq!(bench.ends(), (11, 0), "each of them is counted");

    // Before anybody has read them.
    bench.expired.clear();
    bench.publish((20..30).map(|id| event(id, "a", 10)));
    bench.kept_from = 23;
    bench.arrive([]);
    assert_eq!(bench.expired, [expired(None, 20..23)]);
    bench.expired.clear();
    bench.pass(Duration::from_secs(1));
    bench.publish((30..40).map(|id| event(id, "a", 10)));
    bench.kept_from = 35;
    bench.restart();
    let saved = bench.events.head;
    assert_eq!(bench.expired.first(), Some(&expired(None, saved..35)));
}

/// One that is there already, by the row of its trigger.
#[test]
fn an_open_event_that_the_log_let_go_is_told() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.arrive([event(0, "a", 10), event(1, "a", 10)]);
    bench.pass(Duration::from_secs(1));
    bench.kept_from = 1;
    bench.restart();
    bench.arrive([]);
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.expired.clone(), bench.ends()), (vec![expired(Some("t"), 0..1)], (1, 0)));
    assert_eq!(bench.attempts.len(), 1);
}

#[test]
fn a_head_beyond_the_end_of_the_log_is_brought_back_for_good() {
    let mut bench = Bench::new(vec![trigger("t")]);
    let deliver_all = |bench: &mut Bench| {
        let attempts: Vec<_> = bench.attempts.drain(..).collect();
        attempts.iter().for_each(|attempt| bench.end(attempt, status(200)));
        bench.pass(Duration::from_secs(1));
    };
    bench.arrive((0..10).map(|id| event(id, "a", 10)));
    deliver_all(&mut bench);
    bench.log.truncate(5);
    bench.restart();
    bench.arrive([event(10, "a", 10)]);
    deliver_all(&mut bench);
    // The process dies; meanwhile the log grows beyond what was saved first.
    bench.publish((11..17).map(|id| event(id, "a", 10)));
    bench.restart();
    bench.arrive([]);
    let ids: Vec<_> = bench.attempts.iter().map(|attempt| attempt.event.id().to_owned()).collect();
    assert_eq!(ids, ["11", "12", "13", "14", "15", "16"]);
}

#[test]
fn open_events_that_a_log_has_lost_are_expired_and_hide_no_new_ones() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.arrive((0..3).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(1));
    bench.log.truncate(1);
    bench.restart();
    bench.arrive([event(3, "a", 10)]);
    bench.pass(Duration::from_secs(1));
    let ids: Vec<_> = bench.attempts.iter().map(|attempt| attempt.event.id().to_owned()).collect();
    assert_eq!((ids, bench.ends()), (vec!["0".to_owned(), "3".to_owned()], (2, 0)));
}

#[test]
fn a_retry_head_beyond_the_end_is_brought_back() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    bench.retry = Progress { head: 100, ..Progress::default() };
    bench.retry_bounds = Bounds { start: 0, end: 50 };
    bench.restart();
    assert_eq!(bench.core.partitions[&0].retry_head, 50);
}
