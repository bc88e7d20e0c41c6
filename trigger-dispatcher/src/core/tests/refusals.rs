//! A log that does not take everything.

use pelton_event::Origin;

use super::*;
use crate::core::action::Target;
use crate::core::progress;

fn bytes(batch: &Batch) -> usize {
    batch.records.iter().map(|(_, _, record)| record.event.as_ref().map_or(0, Event::size)).sum()
}

fn full() -> AppendError {
    AppendError::Full { account: "b".into(), bytes: 1, holder: "somebody".into() }
}

fn too_large() -> AppendError {
    AppendError::TooLarge { bytes: 2, max: Some(1) }
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
fn giving_way_goes_on_where_it_stood_while_few_replies_wait_at_a_time() {
    let mut bench = Bench::new(vec![trigger("t")]);
    bench.store();
    bench.refuse = Box::new(|batch| (bytes(batch) > 5_000).then(full));
    bench.arrive((0..200).map(|id| event(id, "a", 10)));
    // A few megabytes of replies may wait.
    for _ in 0..15 {
        bench.end_all("t", &reply(1_000_000));
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!((bench.count("t", kept), bench.count("t", owed), bench.low("default/t")), (200, 0, None));
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

#[test]
fn an_entry_of_the_retry_topic_goes_to_the_sink_though_there_is_no_room_for_another_one() {
    let sink = Some(Destination::Uri("http://sink/".into()));
    let delivery = DeliveryPolicy { retry: 1, dead_letter_sink: sink, ..DeliveryPolicy::default() };
    let mut bench = Bench::new(vec![Trigger { delivery, ..trigger("t") }]);
    bench.store();
    bench.arrive([event(0, "a", 10)]);
    bench.attempts.clear();
    let step = Step::Retry { attempts: 1, due: Timestamp::EPOCH, failure: None };
    let origin = Origin { trigger: "default/t".into(), partition: 0, offset: 7, step };
    let envelope = Envelope::new(Timestamp::from_millis(bench.now)).with_origin(origin);
    let record = Record::new(envelope, event(7, "a", 10));
    let chunk = Chunk::new(vec![Entry { offset: 0, content: Content::Record(record) }], 1);
    bench.turn(|core, turn| core.retry_read(0, chunk, turn));
    bench.arrive((1..9).map(|id| event(id, "b", 10)));
    bench.refuse = Box::new(|batch| (!batch.records.is_empty()).then(full));
    let of_entry = bench.attempts.iter().position(|attempt| attempt.attempts == 1).unwrap();
    let attempt = bench.attempts.remove(of_entry).unwrap();
    bench.attempts.clear();
    bench.end(&attempt, status(500));
    bench.pass(Duration::from_secs(10));
    let [attempt] = &bench.attempts.make_contiguous() else { panic!("not one attempt") };
    assert_eq!((attempt.destination, attempt.attempts), (Target::DeadLetterSink, 0));
    let row = progress::decode_retry(&bench.retry.lanes["default/t"].state).unwrap();
    assert_eq!(
        row.opens.iter().map(|open| (open.0, open.1)).collect::<Vec<_>>(),
        [(0, 1)],
        "one is repeated"
    );
    let attempt = bench.attempts.pop_front().unwrap();
    bench.end(&attempt, status(200));
    bench.pass(Duration::from_secs(1));
    assert!(bench.retry.lanes.is_empty());
}

#[test]
fn replies_give_way_in_a_lane_that_stands_still_because_of_others() {
    let sizes = Sizes { window: 8, ..Sizes::default() };
    let mut bench = Bench::with(vec![trigger("hangs"), trigger("replies")], 1 << 20, sizes);
    bench.store();
    bench.refuse = Box::new(|batch| (bytes(batch) > 5_000).then(full));
    bench.arrive((0..20).map(|id| event(id, "a", 10)));
    for _ in 0..60 {
        bench.end_all("replies", &reply(50_000));
        bench.pass(Duration::from_secs(5));
    }
    assert!(bench.count("replies", kept) >= 10, "{}", bench.count("replies", kept));
    assert_eq!(bench.count("hangs", kept), 0);
}
