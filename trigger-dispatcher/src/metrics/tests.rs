use std::collections::HashSet;

use bytes::Bytes;
use pelton_resources::contracts::Response;

use super::*;
use crate::testing::{name, response};

fn metrics(registry: &Registry) -> (Metrics, Arc<Board>) {
    let board = Arc::new(Board::default());
    let (admission, budget) = (Admission::new(10), BodyBudget::new(1_000));
    let metrics =
        Metrics::register(registry, board.clone(), admission, budget, Clock::fixed(10_000)).unwrap();
    (metrics, board)
}

fn text(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

#[test]
fn every_outcome_has_its_label() {
    let bad_reply =
        Response { status: 200, retry_after: None, reply: Err("no event".into()), body: Bytes::new() };
    let cases = [
        (response(200), "2xx"),
        (response(202), "2xx"),
        (response(301), "3xx"),
        (response(404), "4xx"),
        (response(503), "5xx"),
        (response(100), "other"),
        (response(999), "other"),
        (Outcome::Response(bad_reply), "bad_reply"),
        (Outcome::TimedOut, "timeout"),
        (Outcome::Unreachable { message: "".into() }, "unreachable"),
        (Outcome::Forbidden { message: "".into() }, "forbidden"),
    ];
    for (outcome, label) in cases {
        assert_eq!(Class::of(&outcome).label(), label, "{outcome:?}");
    }
    let labels: HashSet<_> = Class::ALL.map(Class::label).into();
    assert_eq!(labels.len(), Class::ALL.len());
    for (index, class) in Class::ALL.iter().enumerate() {
        assert_eq!(*class as usize, index, "the place of its counter");
    }
}

#[test]
fn a_trigger_has_series_from_its_first_match_on() {
    let registry = Registry::new();
    let (_metrics, board) = metrics(&registry);
    let counters = Arc::new(TriggerCounters::default());
    board.broker(&name("main")).set_triggers(vec![(name("a"), counters.clone())]);
    assert!(!text(&registry).contains("trigger="));
    counters.matched.store(3, Relaxed);
    counters.owed.store(2, Relaxed);
    counters.kept.store(1, Relaxed);
    counters.oldest.store(7_500, Relaxed);
    let labels = r#"broker="main",namespace="default",trigger="a""#;
    for line in [
        format!("pelton_trigger_matched_total{{{labels}}} 3"),
        format!("pelton_trigger_backlog_events{{{labels}}} 2"),
        format!("pelton_trigger_oldest_age_seconds{{{labels}}} 2.5"),
        r#"pelton_trigger_ended_total{broker="main",end="kept",namespace="default",trigger="a"} 1"#
            .to_owned(),
    ] {
        let text = text(&registry);
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
    counters.uncertain.store(1, Relaxed);
    assert!(!text(&registry).contains("pelton_trigger_backlog_events"), "what is not known has no value");
}

#[test]
fn the_series_of_a_removed_broker_go() {
    let registry = Registry::new();
    let (metrics, _board) = metrics(&registry);
    let main = metrics.broker(&name("main"));
    main.attempted(&response(200), Duration::from_millis(3));
    main.no_slot();
    main.end_to_end.observe(1.0);
    main.select.observe(1.0);
    main.failed_saves.inc();
    assert!(text(&registry).contains(r#"outcome="no_slot"} 1"#));
    metrics.remove(&name("main"));
    assert!(!text(&registry).contains("main"));
}

#[test]
fn one_registry_has_one_dispatcher() {
    let registry = Registry::new();
    let (_metrics, board) = metrics(&registry);
    let again = Metrics::register(&registry, board, Admission::new(1), BodyBudget::new(1), Clock::fixed(0));
    assert!(again.is_err());
}

/// Every metric has a row in the table of `docs/metrics.md`.
#[test]
fn every_metric_is_documented() {
    let registry = Registry::new();
    let (metrics, board) = metrics(&registry);
    let counters = Arc::new(TriggerCounters::default());
    counters.matched.store(1, Relaxed);
    board.broker(&name("main")).set_triggers(vec![(name("a"), counters)]);
    metrics.broker(&name("main")).attempted(&response(200), Duration::ZERO);
    let docs = include_str!("../../../docs/metrics.md");
    for family in registry.gather() {
        let row = format!("| `{}` |", family.name());
        assert!(docs.contains(&row), "{row} is not in docs/metrics.md");
    }
}
