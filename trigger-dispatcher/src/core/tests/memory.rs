//! What waits is bounded: bodies, open events, records that the log does not take.

use super::*;

fn used(bench: &Bench) -> usize {
    bench.core.shared.config.budget.used()
}

#[test]
fn bodies_stay_within_the_budget() {
    let budget = 100_000;
    let mut bench = Bench::with_budget(vec![trigger("hangs"), trigger("works")], budget);
    for id in 0..200 {
        bench.now += 100;
        bench.arrive([event(id, "a", 5_000)]);
        for attempt in std::mem::take(&mut bench.attempts) {
            if attempt.trigger.name.name() == "works" {
                bench.end(&attempt, status(200));
            }
        }
        bench.pass(Duration::from_millis(200));
        let lanes = 2;
        assert!(used(&bench) <= budget + lanes * 5_300, "{}", used(&bench));
    }
    assert_eq!(bench.count("works", delivered), 200);
    assert_eq!(bench.count("hangs", owed), 200);
}

#[test]
fn a_lane_that_hangs_has_no_more_bodies_on_their_way_than_fit() {
    let mut bench = Bench::with_budget(vec![trigger("t")], 100_000);
    bench.arrive((0..50).map(|id| event(id, "a", 30_000)));
    assert_eq!(bench.attempts.len(), 3);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.attempts.len(), 3);
    assert!(used(&bench) <= 100_000, "{}", used(&bench));
    let mut ended = 0;
    while let Some(attempt) = bench.attempts.pop_front() {
        bench.end(&attempt, status(200));
        bench.pass(Duration::from_millis(200));
        ended += 1;
    }
    assert_eq!((ended, bench.count("t", delivered)), (50, 50));
    // One goes however large it is.
    bench.arrive((50..52).map(|id| event(id, "a", 200_000)));
    assert_eq!(bench.attempts.len(), 1);
}

#[test]
fn a_broken_subscriber_holds_few_events_that_were_not_tried() {
    for order in [Order::Unordered, Order::Keyed, Order::Ordered] {
        let delay = Duration::from_secs(1);
        let delivery =
            DeliveryPolicy { backoff_delay: delay, backoff_max: delay, ..DeliveryPolicy::default() };
        let mut bench = Bench::new(vec![Trigger { delivery, order, ..trigger("t") }]);
        bench.store();
        bench.arrive((0..900).map(|id| event(id, "a", 10)));
        let mut tried = BTreeSet::new();
        while bench.count("t", |counters| counters.probed.load(Relaxed)) == 0 {
            let attempt = bench.attempts.pop_front().expect("no attempt");
            tried.insert(attempt.event.id().to_owned());
            bench.end(&attempt, status(500));
            bench.pass(Duration::from_secs(2));
        }
        // All that was on its way ends.
        while let Some(attempt) = bench.attempts.pop_front() {
            tried.insert(attempt.event.id().to_owned());
            bench.end(&attempt, status(500));
        }
        let held = bench.core.partitions[&0].lanes.values().next().unwrap().events.len();
        assert!(held <= limits::WINDOW_PROBED + tried.len(), "{order:?} holds {held}, {} tried", tried.len());
        assert_eq!(bench.count("t", owed), 900, "{order:?}");
        bench.pass(Duration::from_secs(1));
        assert!(bench.events.lanes["default/t"].state.len() < 600, "the row is as small");
        // It comes back.
        let mut taken = Vec::new();
        for _ in 0..10_000 {
            match bench.attempts.pop_front() {
                Some(attempt) => {
                    taken.push(attempt.event.id().parse::<u64>().unwrap());
                    bench.end(&attempt, status(200));
                }
                None if taken.len() >= 900 => break,
                None => bench.pass(Duration::from_secs(1)),
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..900).collect::<Vec<_>>(), "{order:?}: each once");
    }
}

#[test]
fn a_lane_stops_while_the_log_takes_none_of_its_records() {
    for (budget, sizes) in
        [(1 << 24, Sizes { records_waiting_bytes: 50_000, ..Sizes::default() }), (50_000, Sizes::default())]
    {
        let mut bench = Bench::with(vec![only("a", "refused"), only("a", "works")], budget, sizes);
        bench.store();
        bench.refuse = Box::new(|batch| (!batch.records.is_empty()).then_some(AppendError::DiskFull));
        for id in 0..300 {
            bench.arrive([event(id, "a", 5_000)]);
            for attempt in std::mem::take(&mut bench.attempts) {
                let answer = if attempt.trigger.name.name() == "works" { 200 } else { 400 };
                bench.end(&attempt, status(answer));
            }
            bench.pass(Duration::from_millis(200));
        }
        let waiting = bench.core.partitions[&0].saver.bytes_waiting();
        assert!(waiting <= 50_000 + 20 * 5_300, "{waiting} bytes wait for the log");
        assert_eq!(bench.count("works", delivered), 300, "nobody else waits");
        bench.refuse = Box::new(|_| None);
        for _ in 0..300 {
            bench.pass(Duration::from_secs(1));
            for attempt in std::mem::take(&mut bench.attempts) {
                bench.end(&attempt, status(400));
            }
        }
        assert_eq!(bench.dead_letters, 300);
    }
}
