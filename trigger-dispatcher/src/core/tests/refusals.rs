//! A log that does not take everything.

use super::*;

fn bytes(batch: &Batch) -> usize {
    batch.records.iter().map(|(_, _, record)| record.event.as_ref().map_or(0, Event::size)).sum()
}

fn full() -> AppendError {
    AppendError::Full { account: "b".into(), bytes: 1, holder: "somebody".into() }
}

fn too_large() -> AppendError {
    AppendError::TooLarge { bytes: 2, max: 1 }
}

fn reply(size: usize) -> Outcome {
    let reply = Ok(Some(event(9, "reply", size)));
    Outcome::Response(Response { status: 200, retry_after: None, reply, body: Bytes::new() })
}

fn kept(counters: &super::super::TriggerCounters) -> i64 {
    counters.kept.load(Relaxed).cast_signed()
}

impl Bench {
    /// Ends all attempts of a trigger.
    fn end_all(&mut self, name: &str, outcome: &Outcome) {
        let all = std::mem::take(&mut self.attempts);
        for attempt in all {
            if attempt.trigger.name.name() == name {
                self.end(&attempt, outcome.clone());
            } else {
                self.attempts.push_back(attempt);
            }
        }
    }

    fn low(&self, lane: &str) -> Option<Offset> {
        self.events.lanes[lane].low
    }

    fn save_error(&self) -> Option<Box<str>> {
        self.core.partitions()[0].save_error.clone()
    }
}

#[test]
fn a_full_log_takes_progress_and_then_the_records_part_by_part() {
    let mut bench = Bench::new(vec![only("a", "replies"), only("a", "works")]);
    bench.store();
    bench.arrive((0..10).map(|id| event(id, "a", 10)));
    for error in [full(), AppendError::DiskFull] {
        bench.refuse = Box::new(move |batch| (!batch.records.is_empty()).then(|| error.clone()));
        bench.end_all("replies", &reply(50_000));
        bench.end_all("works", &status(200));
        bench.pass(Duration::from_secs(2));
        assert_eq!((bench.low("default/works"), bench.low("default/replies")), (None, Some(0)));
        assert!(bench.save_error().is_some());
    }
    bench.refuse = Box::new(|batch| (bytes(batch) > 120_000).then(full));
    bench.pass(Duration::from_secs(10));
    assert_eq!((bench.count("replies", delivered), bench.low("default/replies")), (10, None));
    assert_eq!(bench.save_error(), None);
}

#[test]
fn a_record_for_which_there_is_no_room_keeps_no_smaller_one_back() {
    for error in [full(), too_large()] {
        let delivery = DeliveryPolicy { retry: 0, ..DeliveryPolicy::default() };
        let triggers =
            ["large", "small"].map(|name| Trigger { delivery: delivery.clone(), ..only(name, name) });
        let mut bench = Bench::new(triggers.into());
        bench.store();
        let refused = error.clone();
        bench.refuse = Box::new(move |batch| (bytes(batch) > 5_000).then(|| refused.clone()));
        bench.arrive([event(0, "large", 9_000), event(1, "small", 10)]);
        bench.end_all("large", &status(400));
        bench.end_all("small", &status(400));
        bench.pass(Duration::from_secs(5));
        assert_eq!((bench.count("small", kept), bench.count("large", kept)), (1, 0), "{error:?}");
        assert_eq!((bench.low("default/small"), bench.low("default/large")), (None, Some(0)));
        assert_eq!(bench.save_error(), Some(error.to_string().into()));
        bench.arrive([event(2, "small", 10)]);
        bench.end_all("small", &status(400));
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.count("small", kept), 2, "nor one that comes later");
        bench.refuse = Box::new(|_| None);
        bench.pass(limits::SAVE_RETRY_MAX + limits::SAVE_INTERVAL);
        assert_eq!((bench.count("large", kept), bench.save_error()), (1, None));
        assert_eq!((bench.dead_letters, bench.events.head), (3, 3));
    }
}

#[test]
fn a_retry_for_which_there_is_no_room_waits_in_its_lane() {
    let delivery = DeliveryPolicy { backoff_delay: Duration::from_secs(60), ..DeliveryPolicy::default() };
    let mut bench = Bench::new(vec![Trigger { delivery, ..trigger("t") }]);
    bench.store();
    bench.refuse = Box::new(|batch| (!batch.records.is_empty()).then(full));
    bench.arrive([event(0, "a", 10), event(1, "a", 10)]);
    bench.end_all("t", &status(500));
    bench.pass(Duration::from_secs(30));
    assert_eq!((bench.count("t", owed), bench.attempts.len()), (2, 0));
    assert_eq!((bench.retry.head, bench.save_error()), (0, None));
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.attempts.iter().map(|attempt| attempt.attempts).collect::<Vec<_>>(), [1, 1]);
    bench.end_all("t", &status(200));
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.count("t", delivered), bench.low("default/t")), (2, None));
}

#[test]
fn a_log_that_is_full_because_of_what_its_replies_answer_gets_empty_again() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    // Dead letters have room, replies never.
    bench.refuse = Box::new(|batch| (bytes(batch) > 5_000).then(full));
    bench.arrive((0..10).map(|id| event(id, "a", 10)));
    bench.end_all("t", &reply(50_000));
    bench.pass(Duration::from_secs(60));
    assert_eq!((bench.count("t", kept), bench.count("t", owed), bench.low("default/t")), (10, 0, None));
}

#[test]
fn a_log_that_is_full_because_of_others_keeps_replies_waiting() {
    let mut bench = Bench::new(vec![trigger("hangs"), trigger("replies")]);
    bench.store();
    bench.refuse = Box::new(|batch| (bytes(batch) > 5_000).then(full));
    bench.arrive((0..10).map(|id| event(id, "a", 10)));
    bench.end_all("replies", &reply(50_000));
    bench.pass(Duration::from_secs(3_600));
    assert_eq!(bench.count("replies", kept), 0);
    bench.refuse = Box::new(|_| None);
    bench.pass(limits::SAVE_RETRY_MAX + limits::SAVE_INTERVAL);
    assert_eq!(bench.count("replies", delivered), 10);
}
