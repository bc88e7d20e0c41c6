use super::*;
use crate::signals::{Aggregation, Window};

const START: Duration = Duration::from_secs(1_700_000_000);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The settings of the tables: the total is the target by 0.75, everything may grow and shrink tenfold.
fn spec(target: f64, target_burst_capacity: f64) -> Spec {
    Spec {
        target,
        total: target / 0.75,
        target_burst_capacity,
        max_scale_up_rate: 10.0,
        max_scale_down_rate: 10.0,
        ..Spec::default()
    }
}

fn observed(stable: f64, panic: f64, ready: u32) -> Observed {
    Observed { stable, panic, ready }
}

fn decider(spec: Spec) -> Decider {
    Decider::new(spec, 1, START)
}

#[test]
fn single_decisions() {
    let slow_up = Spec { max_scale_up_rate: 1.1, ..spec(1.0, 1982.0) };
    let slow_down = Spec { max_scale_down_rate: 1.1, ..spec(10.0, 1982.0) };
    let unreachable = Spec { reachable: false, ..slow_down.clone() };
    let rows = [
        (spec(10.0, 100.0), observed(0.0, 0.0, 1), 0, -87),
        (spec(181.0, -1.0), observed(21.0, 26.0, 1), 1, -1),
        (spec(10.0, 0.0), observed(50.0, 49.0, 1), 5, 0),
        (spec(10.0, 100.0), observed(50.0, 50.0, 1), 5, -137),
        (spec(10.0, 100.0), observed(50.0, 50.0, 5), 5, -84),
        (slow_up, observed(3.0, 3.1, 2), 3, -1983),
        (slow_down, observed(1.0, 1.0, 100), 90, -650),
        (unreachable, observed(1.0, 1.0, 100), 1, -650),
        (spec(10.0, 84.0), observed(50.0, 100.0, 1), 10, -171),
        (spec(10.0, 81.0), observed(1000.0, 888.0, 0), 10, -969),
    ];
    for (spec, observed, desired, excess) in rows {
        let decision = decider(spec.clone()).decide(observed, START);
        assert_eq!(decision.desired, desired, "{spec:?} {observed:?}");
        assert!((decision.excess_burst_capacity - excess).abs() <= 1, "{spec:?} {observed:?}: {decision:?}");
    }
}

/// Decisions one after the other: (seconds, stable, panic, ready) and the number that is wanted.
fn follow(decider: &mut Decider, rows: &[(u64, f64, f64, u32, i32)]) {
    for &(after, stable, panic, ready, desired) in rows {
        let decision = decider.decide(observed(stable, panic, ready), START + seconds(after));
        assert_eq!(decision.desired, desired, "after {after} s, {stable}, {panic}, {ready} ready");
    }
}

#[test]
fn panic_only_goes_up_and_ends_a_stable_window_after_its_last_sign() {
    for (stable, panic, desired) in [(50.0, 30.0, 50), (20.0, 30.0, 30)] {
        let mut decider = Decider::new(spec(1.0, 100.0), 5, START);
        assert_eq!(decider.decide(observed(stable, panic, 5), START + seconds(5)).desired, desired);
    }
    follow(
        &mut decider(spec(10.0, 93.0)),
        &[
            (0, 100.0, 100.0, 1, 10),
            (0, 1000.0, 1000.0, 10, 100),
            (30, 1.0, 1.0, 100, 100),
            (61, 1.0, 1.0, 100, 10),
        ],
    );
    // The sign of panic was in the first row only.
    follow(
        &mut decider(spec(1.0, 98.0)),
        &[(0, 11.0, 25.0, 10, 25), (30, 30.0, 41.0, 40, 41), (62, 50.0, 56.0, 55, 50)],
    );
    let mut extended = Decider::new(spec(1.0, 0.0), 40, START);
    assert!(extended.decide(observed(30.0, 80.0, 40), START + seconds(30)).is_panicking);
    assert!(extended.decide(observed(30.0, 30.0, 80), START + seconds(90)).is_panicking);
    assert!(!extended.decide(observed(30.0, 30.0, 80), START + seconds(91)).is_panicking);
}

#[test]
fn rates_bound_each_step() {
    follow(&mut decider(spec(10.0, 61.0)), &[(0, 1000.0, 1001.0, 1, 10), (2, 1000.0, 1001.0, 10, 100)]);
    follow(&mut decider(spec(10.0, 61.0)), &[(0, 1.0, 1.0, 100, 10), (2, 1.0, 1.0, 10, 1)]);
    follow(
        &mut decider(spec(1.0, 101.0)),
        &[
            (0, 6.0, 6.0, 1, 6),
            (2, 36.0, 36.0, 6, 36),
            (4, 216.0, 216.0, 36, 216),
            (6, 1296.0, 1296.0, 216, 1296),
        ],
    );
}

#[test]
fn what_is_started_at_all_starts_with_the_activation_scale() {
    let activated = Spec { activation_scale: 2, ..spec(10.0, 0.0) };
    follow(&mut decider(activated), &[(0, 0.0, 0.0, 1, 0), (2, 1.0, 1.0, 1, 2)]);
}

#[test]
fn a_delay_keeps_the_highest_number_of_its_time() {
    let delayed = Spec { scale_down_delay: seconds(300), panic_threshold: 10.0, ..spec(10.0, 0.0) };
    let minutes = |count: u64| count * 60;
    follow(
        &mut decider(delayed.clone()),
        &[(2, 40.0, 40.0, 1, 4), (minutes(5), 0.0, 0.0, 1, 4), (minutes(5) + 2, 0.0, 0.0, 1, 0)],
    );
    follow(
        &mut decider(delayed.clone()),
        &[
            (minutes(9), 40.0, 40.0, 1, 4),
            (minutes(10), 30.0, 30.0, 1, 4),
            (minutes(11), 0.0, 0.0, 1, 4),
            (minutes(14), 0.0, 0.0, 1, 3),
            (minutes(15), 0.0, 0.0, 1, 0),
        ],
    );
    // Nobody waits for what no route leads to.
    let mut decider = decider(delayed.clone());
    follow(&mut decider, &[(0, 40.0, 40.0, 1, 4), (60, 0.0, 0.0, 1, 4)]);
    decider.set_spec(Spec { reachable: false, ..delayed });
    follow(&mut decider, &[(62, 0.0, 0.0, 1, 0)]);
}

#[test]
fn another_spec_keeps_what_was_seen() {
    let mut decider = decider(spec(10.0, 77.0));
    follow(&mut decider, &[(0, 100.0, 101.0, 1, 10)]);
    decider.set_spec(spec(1.0, 71.0));
    follow(&mut decider, &[(2, 100.0, 101.0, 10, 100)]);
}

#[test]
fn several_replicas_at_the_start_are_held_by_panic() {
    let starts_in_panic = |ready| {
        Decider::new(spec(10.0, 0.0), ready, START).decide(observed(0.0, 0.0, ready), START).is_panicking
    };
    assert_eq!([0, 1, 2].map(starts_in_panic), [false, false, true]);
}

/// What a closed loop shows at some second.
#[derive(Debug, PartialEq)]
struct Row {
    second: u64,
    stable: f64,
    panic: f64,
    ready: u32,
    decision: Decision,
}

/// A load of 1, 100, 10 and 0, for 30, 60, 60 s and the rest; replicas take 10 s to start and none to stop.
fn closed_loop(aggregation: Aggregation) -> Vec<Row> {
    let spec = Spec {
        target: 7.0,
        total: 10.0,
        target_burst_capacity: 211.0,
        max_scale_up_rate: 1000.0,
        max_scale_down_rate: 2.0,
        ..spec(7.0, 211.0)
    };
    let (mut stable, mut panic) =
        (Window::new(seconds(60), aggregation), Window::new(seconds(6), aggregation));
    let mut decider = Decider::new(spec, 1, START);
    let (mut ready, mut rows) = (1_u32, Vec::new());
    let mut starting = std::collections::VecDeque::<(u64, u32)>::new();
    for second in 1..=212 {
        let now = START + seconds(second);
        let load = match second {
            0..=30 => 1.0,
            31..=90 => 100.0,
            91..=150 => 10.0,
            _ => 0.0,
        };
        stable.record(now, load);
        panic.record(now, load);
        while let Some((_, replicas)) = starting.pop_front_if(|(at, _)| *at <= second) {
            ready = replicas;
        }
        if second % 2 != 0 {
            continue;
        }
        let (stable, panic) = (stable.average(now), panic.average(now));
        let decision = decider.decide(Observed { stable, panic, ready }, now);
        rows.push(Row { second, stable, panic, ready, decision });
        let desired = u32::try_from(decision.desired).unwrap();
        if desired < ready {
            ready = desired;
            starting.clear();
        } else if desired > starting.back().map_or(ready, |(_, replicas)| *replicas) {
            starting.push_back((second + 10, desired));
        }
    }
    rows
}

#[test]
fn a_closed_loop_goes_as_with_knative() {
    let rows = closed_loop(Aggregation::Linear);
    let expected = [
        (2, 1.0, 1.0, 1, 1, -202, false),
        (32, 7.1875, 34.0, 1, 5, -235, true),
        (34, 12.647_059, 67.0, 1, 10, -268, true),
        (36, 17.5, 100.0, 1, 15, -301, true),
        (42, 29.285_714, 100.0, 5, 15, -261, true),
        (46, 35.434_783, 100.0, 15, 15, -161, true),
        (92, 97.0, 70.0, 15, 15, -131, true),
        (96, 91.0, 10.0, 15, 15, -71, true),
        (104, 79.0, 10.0, 15, 12, -71, false),
        (106, 76.0, 10.0, 12, 11, -101, false),
        (120, 55.0, 10.0, 9, 8, -131, false),
        (148, 13.0, 10.0, 3, 2, -191, false),
        (152, 9.666_667, 6.666_667, 2, 2, -198, false),
        (168, 7.0, 0.0, 2, 1, -191, false),
        (208, 0.333_333, 0.0, 1, 1, -201, false),
        (210, 0.0, 0.0, 1, 0, -201, false),
    ];
    for (second, stable, panic, ready, desired, excess_burst_capacity, is_panicking) in expected {
        let decision = Decision { desired, excess_burst_capacity, is_panicking };
        let found = rows.iter().find(|row| row.second == second).unwrap();
        assert_eq!(*found, Row { second, stable, panic, ready, decision });
    }
}

#[test]
fn a_weighted_closed_loop_goes_as_with_knative() {
    let rows = closed_loop(Aggregation::Weighted);
    let at = |second| rows.iter().find(|row| row.second == second).unwrap();
    for (second, stable, panic) in
        [(2, 0.36, 0.953_584), (32, 36.639_208, 95.404_727), (34, 59.449_093, 99.786_611)]
    {
        let row = at(second);
        assert!((row.stable - stable).abs() < 1e-6 && (row.panic - panic).abs() < 1e-6, "{row:?}");
    }
    let desired = [(2, 1), (32, 14), (34, 15), (102, 7), (104, 3), (106, 2), (210, 0)];
    for (second, desired) in desired {
        assert_eq!(at(second).decision.desired, desired, "{:?}", at(second));
    }
    assert!(!at(102).decision.is_panicking);
}

proptest::proptest! {
    /// Rates bound every step, and panic never goes down.
    #[test]
    fn decisions_keep_to_their_bounds(
        rows in proptest::collection::vec((0.0_f64..500.0, 0.0_f64..500.0, 0_u32..60), 1..60), up in 11_u32..50, down in 11_u32..50,
    ) {
        let (up, down) = (f64::from(up) / 10.0, f64::from(down) / 10.0);
        let spec = Spec { max_scale_up_rate: up, max_scale_down_rate: down, ..spec(3.0, 0.0) };
        let mut decider = decider(spec);
        let mut before: Option<Decision> = None;
        for (step, (stable, panic, ready)) in rows.into_iter().enumerate() {
            let now = START + TICK * u32::try_from(step).unwrap();
            let decision = decider.decide(observed(stable, panic, ready), now);
            let counted = f64::from(ready.max(1));
            if !decision.is_panicking {
                let desired = f64::from(decision.desired);
                proptest::prop_assert!(desired <= (counted * up).ceil() && desired >= (counted / down).floor());
            }
            if let Some(before) = before.filter(|before| before.is_panicking && decision.is_panicking) {
                proptest::prop_assert!(decision.desired >= before.desired);
            }
            before = Some(decision);
        }
    }
}
