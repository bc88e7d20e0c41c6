//! Tables of each rule, and what holds of all rollouts.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
/// A time at which rollouts of the tests are under way.
const NOW: u64 = 1_700_000_000_000;

type Shares<'a> = &'a [(&'a str, u8)];

/// A rollout whose next step, of `step_size`, is due at `NOW`, or none if there is but one share.
fn spread(shares: Shares<'_>, step_size: u8) -> Rollout {
    let pace = Pace { next_step: NOW, step_duration: 5_000, step_size };
    let moving = (shares.len() > 1).then_some(Moving { started: NOW - 10_000, pace: Some(pace) });
    let percent = shares.iter().map(|(_, percent)| percent).sum();
    let shares = shares.iter().map(|(revision, percent)| Share::new(revision, *percent)).collect();
    Rollout { percent, shares, moving }
}

fn found(rollout: &Rollout) -> Vec<(&str, u8)> {
    rollout.shares().iter().map(|share| (share.revision.as_str(), share.percent)).collect()
}

#[test]
fn a_new_revision_gets_one_percent() {
    let rows: &[(&str, Shares<'_>, u8, Shares<'_>)] = &[
        ("one before", &[("a", 100)], 100, &[("a", 99), ("n", 1)]),
        ("a part of the traffic", &[("a", 70)], 70, &[("a", 69), ("n", 1)]),
        ("the smallest that can be split", &[("a", 2)], 2, &[("a", 1), ("n", 1)]),
        ("another under way", &[("a", 95), ("b", 5)], 100, &[("a", 95), ("b", 4), ("n", 1)]),
        ("another that has just begun", &[("a", 99), ("b", 1)], 100, &[("a", 99), ("n", 1)]),
        ("several under way", &[("a", 50), ("b", 49), ("c", 1)], 100, &[("a", 50), ("b", 49), ("n", 1)]),
        ("with less traffic", &[("a", 11), ("b", 31)], 33, &[("a", 2), ("b", 30), ("n", 1)]),
        ("without the oldest", &[("a", 11), ("b", 31)], 31, &[("b", 30), ("n", 1)]),
        ("with a part of the newest", &[("a", 11), ("b", 31)], 5, &[("b", 4), ("n", 1)]),
        ("with more traffic", &[("a", 11), ("b", 14)], 75, &[("a", 11), ("b", 63), ("n", 1)]),
        ("one percent cannot be split", &[("a", 1)], 1, &[("n", 1)]),
        ("down to one percent", &[("a", 60), ("b", 40)], 1, &[("n", 1)]),
        ("up from one percent", &[("a", 1)], 50, &[("a", 49), ("n", 1)]),
        ("down to nothing", &[("a", 100)], 0, &[("n", 0)]),
        ("up from nothing", &[("a", 0)], 50, &[("n", 50)]),
        ("the first there is", &[], 100, &[("n", 100)]),
    ];
    for (what, before, percent, expected) in rows {
        let mut rollout = spread(before, 3);
        rollout.advance(*percent, "n", MINUTE, NOW);
        assert_eq!(found(&rollout), *expected, "{what}");
        assert_eq!(rollout.is_moving(), expected.len() > 1, "{what}");
        assert_eq!(rollout.next_at(), None, "{what}: it is not in force yet");
        assert!(rollout.is_sound(), "{what}: {rollout:?}");
    }
}

#[test]
fn steps_go_from_the_newest_but_one_backwards() {
    let rows: &[(&str, Shares<'_>, u8, u8, Shares<'_>)] = &[
        ("a step", &[("a", 99), ("n", 1)], 9, 100, &[("a", 90), ("n", 10)]),
        ("the newer first", &[("a", 50), ("b", 30), ("n", 20)], 10, 100, &[("a", 50), ("b", 20), ("n", 30)]),
        ("exactly all of it", &[("a", 50), ("b", 30), ("n", 20)], 30, 100, &[("a", 50), ("n", 50)]),
        ("over two", &[("a", 50), ("b", 4), ("n", 46)], 10, 100, &[("a", 44), ("n", 56)]),
        ("over three", &[("a", 50), ("b", 4), ("c", 3), ("n", 43)], 10, 100, &[("a", 47), ("n", 53)]),
        ("the last", &[("a", 10), ("n", 90)], 10, 100, &[("n", 100)]),
        ("more than is left", &[("a", 4), ("n", 96)], 10, 100, &[("n", 100)]),
        ("with less traffic", &[("a", 40), ("b", 10), ("n", 10)], 10, 25, &[("a", 5), ("n", 20)]),
        ("a step above all there is", &[("a", 40), ("n", 10)], 10, 15, &[("n", 15)]),
        ("only the newest is left", &[("a", 40), ("n", 10)], 10, 10, &[("n", 10)]),
        ("with more traffic", &[("a", 10), ("n", 10)], 5, 50, &[("a", 5), ("n", 45)]),
        ("one percent cannot be split", &[("a", 10), ("n", 10)], 5, 1, &[("n", 1)]),
        ("no traffic", &[("a", 10), ("n", 10)], 5, 0, &[("n", 0)]),
    ];
    for (what, before, step_size, percent, expected) in rows {
        let mut rollout = spread(before, *step_size);
        rollout.advance(*percent, "n", MINUTE, NOW);
        assert_eq!(found(&rollout), *expected, "{what}");
        assert_eq!(rollout.next_at(), (expected.len() > 1).then_some(NOW + 5_000), "{what}");
        assert!(rollout.is_sound(), "{what}: {rollout:?}");
    }
}

#[test]
fn before_its_time_only_percentages_change() {
    let rows: &[(u8, Shares<'_>)] = &[
        (100, &[("a", 60), ("b", 30), ("n", 10)]),
        (50, &[("a", 10), ("b", 30), ("n", 10)]),
        (35, &[("b", 25), ("n", 10)]),
    ];
    for (percent, expected) in rows {
        let mut rollout = spread(&[("a", 60), ("b", 30), ("n", 10)], 5);
        rollout.advance(*percent, "n", MINUTE, NOW - 1);
        assert_eq!((found(&rollout), rollout.next_at()), (expected.to_vec(), Some(NOW)));
    }
}

#[test]
fn without_a_duration_all_goes_at_once() {
    for before in [&[("a", 100)][..], &[("a", 60), ("n", 40)], &[("a", 60), ("b", 40)]] {
        let mut rollout = spread(before, 5);
        rollout.advance(100, "n", Duration::ZERO, NOW - 1);
        assert_eq!(rollout, Rollout::at_once("n", 100), "{before:?}");
    }
}

#[test]
fn back_to_an_older_revision_all_goes_at_once() {
    let mut rollout = spread(&[("a", 60), ("b", 30), ("n", 10)], 5);
    rollout.advance(80, "b", MINUTE, NOW - 1);
    assert_eq!(rollout, Rollout::at_once("b", 80));
}

#[test]
fn what_a_missing_revision_had_goes_to_the_newest() {
    let rows: &[(&str, Shares<'_>)] = &[
        ("a", &[("b", 30), ("n", 70)]),
        ("n", &[("a", 60), ("b", 40)]),
        ("", &[("a", 60), ("b", 30), ("n", 10)]),
    ];
    for (missing, expected) in rows {
        let mut rollout = spread(&[("a", 60), ("b", 30), ("n", 10)], 5);
        rollout.drop_missing(|revision| revision != *missing);
        assert_eq!(found(&rollout), *expected, "{missing}");
    }
    let mut rollout = spread(&[("a", 60), ("n", 40)], 5);
    rollout.drop_missing(|_| false);
    rollout.advance(100, "z", MINUTE, NOW);
    assert_eq!(rollout, Rollout::at_once("z", 100));
}

#[test]
fn the_pace_follows_from_how_long_the_first_percent_took() {
    // Percent, duration in seconds, milliseconds to the first percent; size of a step, its duration in milliseconds.
    let rows = [
        (100, 120, 0, (1, 1_202)),
        (100, 120, 1_000, (1, 1_202)),
        (100, 120, 1_001, (2, 2_000)),
        (100, 120, 10_000, (9, 10_000)),
        (100, 120, 9_500, (9, 10_000)),
        (100, 60, 7_000, (13, 7_000)),
        // The whole duration, and more, is over: all that is left in one step.
        (100, 120, 119_000, (99, 1_000)),
        (100, 120, 120_000, (99, 1_000)),
        (100, 120, 400_000, (99, 1_000)),
        (100, 1, 0, (99, 1_000)),
        (100, 3, 0, (50, 1_000)),
        // Steps are whole percents.
        (10, 120, 0, (1, 13_222)),
        (2, 120, 0, (1, 119_000)),
        (100, 3_600, 0, (1, 36_353)),
        (3, 4, 1_000, (1, 1_500)),
    ];
    for row @ (percent, seconds, first, (step_size, step_duration)) in rows {
        let mut rollout = Rollout::at_once("a", percent);
        rollout.advance(percent, "n", Duration::from_secs(seconds), NOW);
        rollout.in_force(Duration::from_secs(seconds), NOW + first);
        let expected = Pace { next_step: NOW + first + step_duration, step_duration, step_size };
        assert_eq!(rollout.moving, Some(Moving { started: NOW, pace: Some(expected) }), "{row:?}");
        let before = rollout.clone();
        rollout.in_force(Duration::from_secs(seconds), NOW + first + 50);
        assert_eq!(rollout, before, "{row:?}: it is told once");
    }
}

#[test]
fn the_longest_duration_is_no_trouble() {
    let mut rollout = Rollout::at_once("a", 2);
    rollout.advance(2, "n", Duration::MAX, NOW);
    rollout.in_force(Duration::MAX, NOW);
    assert_eq!(rollout.next_at(), Some(u64::MAX));
    rollout.in_force(Duration::MAX, 0);
    rollout.advance(2, "n", Duration::MAX, u64::MAX);
    assert_eq!(found(&rollout), [("n", 2)]);
}

#[test]
fn a_rollout_is_taken_up_after_a_restart() {
    let begun = {
        let mut rollout = Rollout::at_once("a", 100);
        rollout.advance(100, "n", MINUTE, NOW);
        rollout
    };
    for rollout in [Rollout::at_once("a", 30), begun, spread(&[("a", 60), ("n", 40)], 5)] {
        let text = serde_json::to_string(&rollout).unwrap();
        assert_eq!(serde_json::from_str::<Rollout>(&text).unwrap(), rollout, "{text}");
    }
}

#[test]
fn what_was_never_written_is_not_sound() {
    let sound = spread(&[("a", 60), ("n", 40)], 5);
    assert!(sound.is_sound() && Rollout::default().is_sound() && Rollout::at_once("a", 0).is_sound());
    let pace = |pace| Some(Moving { started: NOW, pace: Some(pace) });
    let wrong = [
        Rollout { percent: 90, ..sound.clone() },
        Rollout { percent: 200, shares: vec![Share::new("a", 200)], moving: None },
        Rollout { moving: None, ..sound.clone() },
        Rollout { shares: vec![Share::new("a", 100)], ..sound.clone() },
        Rollout { shares: vec![Share::new("a", 100), Share::new("n", 0)], ..sound.clone() },
        Rollout { moving: pace(Pace { next_step: NOW, step_duration: 5, step_size: 0 }), ..sound.clone() },
        Rollout { moving: pace(Pace { next_step: NOW, step_duration: 0, step_size: 5 }), ..sound },
    ];
    for rollout in wrong {
        assert!(!rollout.is_sound(), "{rollout:?}");
    }
}

/// What may happen to a rollout.
#[derive(Debug, Clone, Copy)]
enum Event {
    Wait(u64),
    InForce,
    NewRevision,
    Percent(u8),
    BackTo(u8),
    Duration(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..20_000).prop_map(Event::Wait),
        4 => Just(Event::InForce),
        2 => Just(Event::NewRevision),
        2 => (0_u8..=100).prop_map(Event::Percent),
        1 => (0_u8..10).prop_map(Event::BackTo),
        1 => (0_u64..300).prop_map(Event::Duration),
    ]
}

proptest! {
    #[test]
    fn shares_add_up_whatever_happens(events in proptest::collection::vec(event(), 1..60)) {
        let (mut now, mut percent, mut latest, mut last, mut duration) = (NOW, 100, 0_u32, 0_u32, 60);
        let mut rollout = Rollout::default();
        for event in events {
            match event {
                Event::Wait(time) => now += time,
                Event::InForce => rollout.in_force(Duration::from_secs(duration), now),
                Event::NewRevision => (last, latest) = (last + 1, last + 1),
                Event::Percent(other) => percent = other,
                Event::BackTo(steps) => latest = latest.saturating_sub(u32::from(steps)),
                Event::Duration(other) => duration = other,
            }
            rollout.advance(percent, &latest.to_string(), Duration::from_secs(duration), now);
            prop_assert!(rollout.is_sound(), "{rollout:?}");
            let sum: u32 = rollout.shares().iter().map(|share| u32::from(share.percent)).sum();
            prop_assert_eq!(sum, u32::from(percent));
            prop_assert_eq!(&rollout.shares().last().unwrap().revision, &latest.to_string());
            let mut names: Vec<_> = rollout.shares().iter().map(|share| &share.revision).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), rollout.shares().len(), "no revision is there twice");
        }
    }

    #[test]
    fn a_rollout_that_is_left_alone_ends(
        percent in 2_u8..=100,
        older in proptest::collection::vec(1_u8..=100, 1..5),
        seconds in 1_u64..4_000,
        first in 0_u64..100_000,
    ) {
        let duration = Duration::from_secs(seconds);
        let mut rollout = Rollout::default();
        for (index, percent) in older.iter().enumerate() {
            rollout.advance(*percent, &format!("old-{index}"), duration, NOW);
        }
        rollout.advance(percent, "new", duration, NOW);
        let mut now = NOW + first;
        rollout.in_force(duration, now);
        let mut before = rollout.clone();
        let mut steps = 0;
        while let Some(next) = rollout.next_at() {
            prop_assert!(next > now, "it moves on");
            now = next;
            rollout.advance(percent, "new", duration, now);
            // The newest only gains, all others only lose.
            let newest = |rollout: &Rollout| rollout.shares().last().unwrap().percent;
            prop_assert!(newest(&rollout) > newest(&before), "{before:?} {rollout:?}");
            let others = &rollout.shares()[..rollout.shares().len() - 1];
            for share in others {
                let had = before.shares().iter().find(|had| had.revision == share.revision).unwrap();
                prop_assert!(share.percent <= had.percent);
            }
            before = rollout.clone();
            steps += 1;
            prop_assert!(steps < 100);
        }
        prop_assert_eq!(rollout, Rollout::at_once("new", percent));
        // Rounding a step makes the rollout longer or shorter, by half of it at most.
        let took = now - NOW;
        let planned = (seconds * 1000).max(first + 1_000);
        prop_assert!(took <= planned * 3 / 2 + 2_000, "{took} of {planned} ms");
    }
}
