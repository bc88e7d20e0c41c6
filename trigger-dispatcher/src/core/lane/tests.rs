//! Order, turns and places of a single lane.

use pelton_event::{Envelope, EventBuilder, Kind, SpecVersion};

use super::*;
use crate::core::action::TriggerId;
use crate::core::open::End;
use crate::judge::Signal;

fn lane(order: Order) -> Lane {
    Lane::new(LaneKey { trigger: TriggerId(0), replay: None }, order, Sizes::default(), 8)
}

fn record(key: &str) -> Record {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    if !key.is_empty() {
        builder.attribute("partitionkey", key.to_owned(), Kind::String).unwrap();
    }
    Record::new(Envelope::new(Timestamp::from_millis(5)), builder.build(None).unwrap())
}

fn take(lane: &mut Lane, keys: &[&str]) {
    for (offset, key) in (0..).zip(keys) {
        lane.take(offset, &record(key), None);
    }
}

/// Starts everything that may start at `now`; answers what.
fn start_all(lane: &mut Lane, now: u64) -> Vec<Offset> {
    let mut started = Vec::new();
    while let Choice::Start(source, offset) = lane.choose(Timestamp::from_millis(now), 100) {
        lane.used[0] += 1;
        lane.get_mut(source, offset).unwrap().state = State::Sent { sequence: 1, started: true };
        started.push(offset);
    }
    started.sort_unstable();
    started
}

fn end(lane: &mut Lane, offset: Offset, recorded: bool) {
    lane.used[0] -= 1;
    assert!(lane.end(Source::Events, offset, End::Delivered, recorded));
}

fn fail(lane: &mut Lane, offset: Offset, due: u64) {
    lane.used[0] -= 1;
    lane.get_mut(Source::Events, offset).unwrap().attempts += 1;
    lane.wait(Source::Events, offset, Timestamp::from_millis(due));
}

#[test]
fn each_key_is_in_order_and_events_without_one_are_free() {
    let mut lane = lane(Order::Keyed);
    take(&mut lane, &["a", "b", "a", "", "b", "a", ""]);
    assert_eq!(start_all(&mut lane, 0), [0, 1, 3, 6]);
    end(&mut lane, 0, false);
    assert_eq!(start_all(&mut lane, 0), [2]);
    fail(&mut lane, 2, 100);
    assert_eq!(start_all(&mut lane, 99), [0_u64; 0], "a blocked head blocks its key only");
    end(&mut lane, 1, false);
    assert_eq!(start_all(&mut lane, 99), [4]);
    assert_eq!(start_all(&mut lane, 100), [2]);
    end(&mut lane, 2, false);
    assert_eq!(start_all(&mut lane, 100), [5]);
}

#[test]
fn an_end_with_a_record_lets_the_next_start_once_it_is_durable() {
    let mut lane = lane(Order::Ordered);
    take(&mut lane, &["", ""]);
    assert_eq!(start_all(&mut lane, 0), [0]);
    end(&mut lane, 0, true);
    assert_eq!(start_all(&mut lane, 0), [0_u64; 0]);
    lane.events.enter_save_with_record(0, 7);
    lane.forget_saved(7, |_, _| {});
    assert_eq!(start_all(&mut lane, 0), [1]);
}

#[test]
fn a_change_of_order_holds_for_what_has_not_started() {
    let mut lane = lane(Order::Unordered);
    take(&mut lane, &["a", "a", "b", "b", "a"]);
    lane.health.learn(Signal::Overloaded, 0, 1);
    lane.health.learn(Signal::Overloaded, 1, 2);
    assert_eq!(start_all(&mut lane, 0), [0, 1]);
    // Their keys were not kept, so all stay in order until they are known.
    lane.rebuild(Order::Keyed);
    end(&mut lane, 1, false);
    assert_eq!(start_all(&mut lane, 0), [0_u64; 0], "0 has no end yet");
    end(&mut lane, 0, false);
    assert_eq!(start_all(&mut lane, 0), [2]);
    for offset in 2..5 {
        lane.learn_key(offset, &record(if offset < 4 { "b" } else { "a" }));
    }
    assert_eq!(start_all(&mut lane, 0), [4], "another key is free now");
    lane.rebuild(Order::Unordered);
    assert_eq!(start_all(&mut lane, 0), [0_u64; 0], "the limit of deliveries at a time");
    end(&mut lane, 4, false);
    assert_eq!(start_all(&mut lane, 0), [3]);
}

#[test]
fn a_broken_subscriber_gets_the_lowest_due_event_only() {
    let mut lane = lane(Order::Unordered);
    take(&mut lane, &["", "", ""]);
    for sequence in 0..5 {
        lane.health.learn(Signal::Fails, sequence, sequence);
    }
    assert_eq!(start_all(&mut lane, 0), [0]);
    fail(&mut lane, 0, 500);
    assert_eq!(lane.choose(Timestamp::from_millis(400), 100), Choice::Wait(Timestamp::from_millis(500)));
    assert_eq!(start_all(&mut lane, 500), [0], "the probe is driven through its policy");
    end(&mut lane, 0, false);
    assert_eq!(start_all(&mut lane, 500), [1], "and then the next is");
}

#[test]
fn a_hanging_sink_does_not_keep_the_subscriber_from_its_events() {
    let mut lane = lane(Order::Unordered);
    take(&mut lane, &[""; 3]);
    assert_eq!(start_all(&mut lane, 0), [0, 1, 2]);
    lane.used[0] -= 1;
    lane.turn_to_sink(Source::Events, 0, Timestamp::from_millis(1));
    assert_eq!(lane.sink_pending, 1);
    assert_eq!(lane.choose(Timestamp::from_millis(1), 100), Choice::Start(Source::Events, 0));
    lane.used[1] = limits::SINK_CONCURRENCY_MAX;
    assert_eq!(lane.choose(Timestamp::from_millis(1), 100), Choice::Nothing);
    lane.take(3, &record(""), None);
    assert_eq!(lane.choose(Timestamp::from_millis(1), 100), Choice::Start(Source::Events, 3));
}

#[test]
fn too_many_events_for_the_sink_hold_new_ones_back() {
    let mut lane = lane(Order::Unordered);
    lane.take(0, &record(""), None);
    lane.sink_pending = limits::SINK_PENDING_MAX;
    assert_eq!(lane.choose(Timestamp::EPOCH, 100), Choice::Nothing);
    lane.sink_pending -= 1;
    assert_eq!(lane.choose(Timestamp::EPOCH, 100), Choice::Start(Source::Events, 0));
}

#[test]
fn no_place_is_before_what_an_earlier_process_considered() {
    let mut lane = lane(Order::Unordered);
    lane.considered = 12;
    lane.detach(9, Some(Behind { count: 0, counted_to: 9, oldest: Timestamp::EPOCH }));
    assert_eq!(lane.next, Some(12));
    assert_eq!(lane.behind.map(|behind| behind.counted_to), Some(12));
}

#[test]
fn an_event_is_taken_once() {
    let mut lane = lane(Order::Keyed);
    take(&mut lane, &["a"]);
    take(&mut lane, &["a"]);
    assert_eq!(lane.events.len(), 1);
    assert_eq!(start_all(&mut lane, 0), [0]);
}

#[test]
fn a_change_of_order_finds_another_probe() {
    let mut lane = lane(Order::Keyed);
    take(&mut lane, &["a"]);
    assert_eq!(start_all(&mut lane, 0), [0]);
    lane.take(1, &record("a"), None);
    lane.take(2, &record("b"), None);
    for sequence in 0..5 {
        lane.health.learn(Signal::Fails, sequence, sequence);
    }
    end(&mut lane, 0, false);
    assert_eq!(lane.choose(Timestamp::EPOCH, 100), Choice::Start(Source::Events, 2));
    // It got no permit. Now it has to wait for another event, which nobody would look at while it is the probe.
    lane.rebuild(Order::Ordered);
    assert_eq!(lane.choose(Timestamp::EPOCH, 100), Choice::Start(Source::Events, 1));
}
