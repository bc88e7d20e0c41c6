//! Events that cannot be read (any more).

use super::*;

fn paused(name: &str) -> Trigger {
    Trigger { paused: true, ..trigger(name) }
}

#[test]
fn what_is_spoilt_while_lanes_are_behind_is_one_dead_letter_before_any_passes_it() {
    let mut bench = Bench::new(vec![paused("a"), paused("b")]);
    bench.arrive((0..3).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(1));
    bench.damaged.insert(1);
    // Who takes over has never read it.
    bench.restart();
    bench.store();
    bench.refuse = Box::new(|batch| (!batch.records.is_empty()).then_some(AppendError::DiskFull));
    bench.set_triggers(vec![trigger("a"), trigger("b")]);
    bench.pass(Duration::from_secs(10));
    let ids = |bench: &Bench| -> Vec<String> {
        bench.attempts.iter().map(|attempt| attempt.event.id().to_owned()).collect()
    };
    assert_eq!(ids(&bench), ["0", "0"], "the dead letter is not durable");
    bench.refuse = Box::new(|_| None);
    bench.pass(Duration::from_secs(10));
    assert_eq!(ids(&bench), ["0", "0", "2", "2"]);
    assert_eq!(bench.dead_letters, 1);
}

#[test]
fn what_was_kept_once_is_not_kept_again_by_who_takes_over() {
    let mut bench = Bench::new(vec![paused("t")]);
    bench.damaged.extend([1, 2]);
    bench.arrive((0..4).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.dead_letters, 2);
    // The trigger is behind, and this one cannot be read any more.
    bench.damaged.insert(3);
    for kept in [3, 3] {
        bench.restart();
        bench.set_triggers(vec![trigger("t")]);
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.dead_letters, kept);
        assert_eq!(bench.attempts.len(), 1);
    }
}

#[test]
fn a_lost_stretch_of_the_log_is_passed_in_large_steps() {
    let mut bench = Bench::new(vec![paused("t")]);
    bench.arrive((0..2_000).map(|id| event(id, "a", 10)));
    bench.pass(Duration::from_secs(1));
    bench.damaged.extend(0..1_999);
    // Who takes over has nothing of it in memory.
    bench.events.lanes.clear();
    bench.restart();
    bench.store();
    let saves = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = saves.clone();
    bench.refuse = Box::new(move |batch| {
        counted.set(counted.get() + usize::from(!batch.records.is_empty()));
        None
    });
    let earliest = Trigger { start: Start::Earliest, start_text: "earliest".into(), ..trigger("t") };
    bench.set_triggers(vec![earliest]);
    bench.pass(Duration::from_secs(2));
    assert_eq!((bench.dead_letters, bench.attempts.len()), (1_999, 1));
    assert!(saves.get() < 50, "{} saves", saves.get());
}
