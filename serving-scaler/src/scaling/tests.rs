//! A revision in a closed loop, second by second: what it decides changes what it measures.

use std::collections::BTreeMap;

use pelton_resources::{Autoscaling, Policy, ScaleBounds, ScalingSettings};
use proptest::prelude::*;

use super::*;
use crate::decision::combined::Events;
use crate::fixtures::{document, name, services};
use crate::replicas::{News, Order, Phase, ReplicaId};

const START: u64 = 1_700_000_000;
const DRAIN: Duration = Duration::from_secs(300);

#[test]
fn panic_windows_are_whole_seconds() {
    let rows = [(10, 10.0, 1), (600, 10.0, 60), (60, 50.0, 30), (60, 51.0, 31), (6, 1.0, 1)];
    for (stable, percentage, expected) in rows {
        let found = panic_window(Duration::from_secs(stable), percentage);
        assert_eq!(found, Duration::from_secs(expected), "{stable} s, {percentage} %");
    }
}

/// A revision and the world around it. Times are in seconds since its beginning.
struct World {
    scaling: Scaling,
    now: u64,
    /// How long a replica takes to get ready; `None`: for ever.
    start: Option<u64>,
    next: u64,
    starting: BTreeMap<u64, ReplicaId>,
    /// Requests at a time that clients keep up.
    requests: f64,
    /// Events that wait, and what one takes of a replica, in seconds.
    events: f64,
    service_time: f64,
    most: u32,
}

impl World {
    fn new(rules: Rules, has_run: bool) -> Self {
        let scaling = Scaling::new(rules, has_run, Duration::from_secs(START));
        Self {
            scaling,
            now: 0,
            start: Some(2),
            next: 0,
            starting: BTreeMap::new(),
            requests: 0.0,
            events: 0.0,
            service_time: 1.0,
            most: 0,
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(START + self.now)
    }

    fn replicas(&self) -> u32 {
        self.scaling.replicas()
    }

    /// Does what the fleet asks for.
    fn step(&mut self) {
        let (now, next) = (self.time(), &mut self.next);
        let orders = self.scaling.fleet.step(
            now,
            DRAIN,
            |_| 0,
            || {
                *next += 1;
                ReplicaId(*next)
            },
        );
        for order in orders {
            match order {
                Order::Start(id) => {
                    if let Some(start) = self.start {
                        // More than one may get ready in a second.
                        self.starting.insert((self.now + start) * 100_000 + id.0, id);
                    }
                }
                Order::End(id) => {
                    self.scaling.fleet.hear(id, News::Ended("told to".into()), now);
                }
                Order::Admit(..) | Order::Withdraw(_) => {}
            }
        }
    }

    /// A second passes.
    fn second(&mut self) {
        let now = self.time();
        let later = self.starting.split_off(&((self.now + 1) * 100_000));
        for id in std::mem::replace(&mut self.starting, later).into_values() {
            self.scaling.fleet.hear(id, News::Ready(1), now);
        }
        let capacity = f64::from(self.scaling.fleet.ready()) * self.scaling.rules.kpa().total;
        let served = (capacity / self.service_time).min(self.events);
        self.events -= served;
        let second = Second { requests: self.requests, deliveries: served * self.service_time, count: 0.0 };
        self.scaling.record(now, second);
        if self.now.is_multiple_of(2) {
            let events = Events {
                in_flight: (served * self.service_time).min(capacity),
                due: self.events,
                rate: 0.0,
                allowed: None,
                service_time: Duration::from_secs_f64(self.service_time),
            };
            self.scaling.decide(now, Some(events));
        }
        self.step();
        self.most = self.most.max(self.replicas());
        self.now += 1;
    }

    fn seconds(&mut self, count: u64) {
        (0..count).for_each(|_| self.second());
    }

    /// Somebody comes while there is nothing.
    fn wake(&mut self) {
        let second = Second { requests: self.requests, deliveries: 0.0, count: 1.0 };
        assert!(self.scaling.poke(self.time(), second));
        let events = Events {
            in_flight: 0.0,
            due: self.events,
            rate: 0.0,
            allowed: None,
            service_time: Duration::from_secs_f64(self.service_time),
        };
        self.scaling.decide(self.time(), Some(events));
        self.step();
    }

    /// The second in which it is at zero.
    fn zero_at(&mut self, patience: u64) -> Option<u64> {
        (0..patience).find_map(|_| {
            self.second();
            (self.replicas() == 0).then_some(self.now - 1)
        })
    }
}

fn rules(policy: Policy, concurrency: u32, change: impl FnOnce(&mut Autoscaling)) -> Rules {
    let mut template =
        services(&[document("model", "", "example.com/app", "")])[&name("model")].template.clone();
    template.container_concurrency = concurrency;
    change(&mut template.autoscaling);
    let bounds = template.autoscaling.bounds;
    let settings = ScalingSettings { policy, ..ScalingSettings::default() };
    Rules::new(template, settings, bounds, Reachability::Reachable)
}

const POLICIES: [Policy; 2] = [Policy::Kpa, Policy::Combined];

#[test]
fn zero_comes_a_stable_window_after_the_last_busy_second() {
    for policy in POLICIES {
        for (window, retention) in [(60, 0), (6, 0), (60, 45), (6, 100)] {
            let mut world = World::new(
                rules(policy, 1, |autoscaling| {
                    autoscaling.window = Duration::from_secs(window);
                    autoscaling.scale_to_zero_pod_retention_period = Duration::from_secs(retention);
                }),
                false,
            );
            world.requests = 1.0;
            world.seconds(200);
            assert_eq!(world.replicas(), 2, "{policy:?}");
            world.requests = 0.0;
            let last_busy = world.now - 1;
            let zero = world.zero_at(1000).expect("it goes to zero");
            // Both policies may need some ticks to come down to one; the window runs meanwhile.
            let expected = last_busy + window + retention;
            assert!(
                (expected..=expected + 4).contains(&zero),
                "{policy:?} {window} {retention}: {zero}, not {expected}"
            );
        }
    }
}

#[test]
fn whoever_comes_at_zero_is_counted_at_once_and_once() {
    for policy in POLICIES {
        let mut world = World::new(rules(policy, 1, |_| {}), true);
        world.seconds(100);
        assert_eq!(world.replicas(), 0);
        world.requests = 1.0;
        world.wake();
        assert!(world.replicas() >= 1, "{policy:?}: in the same second");
        assert!(!world.scaling.poke(world.time(), Second::default()), "the second one is no news");
        world.seconds(100);
        assert_eq!(world.replicas(), 2, "{policy:?}: what was counted ahead is not counted again");
    }
}

/// The goal of the combined policy: a queue that stands before a Service at zero is worked off in the drain time.
#[test]
fn ten_thousand_events_at_zero_end_within_drain_time_and_start() {
    for (service_time, concurrency, start) in [(1.0, 1, 2), (0.2, 1, 10), (0.05, 10, 5), (1.0, 10, 20)] {
        let mut world = World::new(rules(Policy::Combined, concurrency, |_| {}), true);
        (world.events, world.service_time, world.start) = (10_000.0, service_time, Some(start));
        world.wake();
        let ended = (0..1000).find_map(|_| {
            world.second();
            (world.events < 1e-6).then_some(world.now)
        });
        let ended = ended.expect("all events end");
        let most = 1.1 * (30 + start) as f64;
        assert!(ended as f64 <= most, "{service_time} s, {concurrency}: {ended} s, at most {most}");
        let needed = (10_000.0 / 30.0 * service_time / f64::from(concurrency)).ceil();
        assert!(f64::from(world.most) <= 1.2 * needed + 1.0, "{} replicas, {needed} suffice", world.most);
        assert!(world.zero_at(300).is_some(), "and back to zero");
    }
}

#[test]
fn a_slow_start_is_no_reason_to_start_ever_more() {
    let mut world = World::new(rules(Policy::Combined, 1, |_| {}), true);
    world.start = Some(60);
    world.requests = 5.0;
    world.wake();
    world.seconds(59);
    // 5 / 0.7 are needed, whatever is ready yet.
    assert_eq!(world.most, 8);
    world.seconds(60);
    assert_eq!((world.replicas(), world.most), (8, 8));
}

#[test]
fn requests_and_deliveries_are_not_counted_twice() {
    let mut world = World::new(rules(Policy::Combined, 10, |_| {}), false);
    (world.requests, world.events, world.service_time) = (14.0, 1e9, 1.0);
    world.scaling.fleet.want(0);
    // A burst that would need far more is capped: what is measured is that requests and events add up, each once.
    let events =
        Events { in_flight: 20.0, due: 0.0, rate: 0.0, allowed: None, service_time: Duration::from_secs(1) };
    for second in 0..120 {
        let now = Duration::from_secs(START + second);
        world.scaling.record(now, Second { requests: 14.0, deliveries: 20.0, count: 0.0 });
        if second % 2 == 0 {
            world.scaling.decide(now, Some(events));
        }
    }
    assert_eq!(world.replicas(), 4, "14 / 7 for requests, 20 / 10 for deliveries");
}

#[test]
fn panic_is_met_at_once_and_never_scales_down() {
    let mut world = World::new(rules(Policy::Kpa, 1, |_| {}), false);
    world.requests = 1.0;
    world.seconds(120);
    assert_eq!(world.replicas(), 2);
    world.requests = 20.0;
    world.seconds(6);
    let Cause::Kpa { is_panicking } = world.scaling.explained().cause else { panic!("another policy") };
    assert!(is_panicking && world.replicas() >= 15, "{} after six seconds", world.replicas());
    let highest = world.replicas();
    world.requests = 1.0;
    world.seconds(50);
    assert!(world.replicas() >= highest, "within the window of the panic");
    world.seconds(70);
    assert_eq!(world.replicas(), 2);
}

#[test]
fn a_revision_begins_with_its_initial_scale_and_no_more_after_a_restart() {
    for policy in POLICIES {
        let initial = |autoscaling: &mut Autoscaling| autoscaling.initial_scale = 3;
        let mut world = World::new(rules(policy, 1, initial), false);
        world.second();
        assert_eq!(world.replicas(), 3);
        assert!(world.zero_at(300).is_some());
        let mut again = World::new(rules(policy, 1, initial), true);
        again.seconds(10);
        assert_eq!(again.most, 0);
    }
}

#[test]
fn bounds_hold_and_nothing_holds_what_nothing_leads_to() {
    for policy in POLICIES {
        let bounds = ScaleBounds { min: 2, max: Some(4) };
        let mut world = World::new(rules(policy, 1, |autoscaling| autoscaling.bounds = bounds), false);
        world.seconds(200);
        assert_eq!(world.replicas(), 2, "{policy:?}");
        world.requests = 50.0;
        world.seconds(60);
        assert_eq!(world.replicas(), 4, "{policy:?}");
        world.requests = 0.0;
        let mut rules = world.scaling.rules().clone();
        rules.reachability = Reachability::Unreachable;
        world.scaling.set_rules(rules, world.time());
        assert!(world.zero_at(300).is_some(), "{policy:?}");
    }
}

#[test]
fn replicas_that_do_not_get_ready_are_given_up() {
    for policy in POLICIES {
        let mut rules = rules(policy, 1, |_| {});
        rules.template.progress_deadline = Duration::from_secs(60);
        let mut world = World::new(rules, false);
        world.start = None;
        let given_up = (0..600).find(|_| {
            world.second();
            world.scaling.does_not_start(world.time())
        });
        assert!(given_up.is_some_and(|second| (60..=64).contains(&second)), "{policy:?}: {given_up:?}");
        // Nobody waits: the size is 0 half a minute later.
        world.seconds(36);
        assert_eq!((world.replicas(), world.scaling.fleet.members().len()), (0, 0));
    }
}

#[test]
fn a_paused_service_stays_as_it_is() {
    let mut world = World::new(rules(Policy::Combined, 1, |_| {}), false);
    world.requests = 3.0;
    world.seconds(30);
    let before = world.replicas();
    let mut rules = world.scaling.rules().clone();
    rules.settings.paused = true;
    world.scaling.set_rules(rules, world.time());
    world.requests = 50.0;
    world.seconds(100);
    assert_eq!((world.replicas(), world.scaling.explained().cause), (before, Cause::Paused));
}

#[test]
fn a_signal_that_is_not_known_holds() {
    let mut world = World::new(rules(Policy::Combined, 1, |_| {}), false);
    world.requests = 3.0;
    world.seconds(30);
    let before = world.replicas();
    for _ in 0..100 {
        world.scaling.record(world.time(), Second::default());
        world.scaling.decide(world.time(), None);
        world.now += 2;
    }
    assert_eq!(world.replicas(), before);
    let text = world.scaling.explained().to_string();
    assert!(text.contains("not known"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the load: bounds hold, and without load it ends at the least.
    #[test]
    fn bounds_hold_under_any_load(
        load in proptest::collection::vec((0_u32..200, 0_u32..500), 1..40),
        min in 0_u32..4,
        room in 0_u32..20,
        start in 0_u64..30,
        combined in any::<bool>(),
    ) {
        let policy = POLICIES[usize::from(combined)];
        let bounds = ScaleBounds { min, max: Some(min + room + 1) };
        let mut world = World::new(rules(policy, 2, |autoscaling| autoscaling.bounds = bounds), false);
        world.start = Some(start);
        for (requests, events) in load {
            world.requests = f64::from(requests);
            world.events += f64::from(events);
            world.seconds(7);
            prop_assert!((min..=min + room + 1).contains(&world.replicas()));
            let members = world.scaling.fleet.members().iter();
            let taking = members.filter(|member| matches!(member.phase, Phase::Ready { .. } | Phase::Starting)).count();
            prop_assert!(taking <= (min + room + 1) as usize);
        }
        world.requests = 0.0;
        world.events = 0.0;
        world.seconds(400);
        prop_assert_eq!(world.replicas(), min);
    }
}
