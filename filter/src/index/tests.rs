//! The index must find exactly what evaluating every filter finds.

use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use proptest::prelude::*;

use super::{FilterIndex, Matches};
use crate::{Conditions, Expression, Filter};

/// Short texts over few letters, so that filters and events meet often; with numbers and words that casts read.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ab]{1,6}",
        2 => "[abé]{1,4}",
        1 => "(0|1|01|12|-1|true|TRUE|false)",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("type"),
        3 => Just("source"),
        2 => Just("id"),
        2 => Just("x"),
        2 => Just("y"),
        1 => Just("specversion"),
    ]
    .prop_map(str::to_owned)
}

fn pairs() -> impl Strategy<Value = Conditions> {
    prop::collection::btree_map(name(), text(), 1..3).prop_map(|map| map.into_iter().collect())
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn cesql() -> impl Strategy<Value = String> {
    let set = prop::collection::vec(text(), 1..4)
        .prop_map(|set| set.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "));
    let leaf = prop_oneof![
        4 => (name(), text()).prop_map(|(name, text)| format!("{name} = {}", quoted(&text))),
        1 => (name(), text()).prop_map(|(name, text)| format!("{} = {name}", quoted(&text))),
        1 => (name(), text()).prop_map(|(name, text)| format!("{name} != {}", quoted(&text))),
        4 => (name(), "[ab%_]{1,6}").prop_map(|(name, text)| format!("{name} LIKE {}", quoted(&text))),
        1 => (name(), "[ab%_]{1,6}").prop_map(|(name, text)| format!("{name} NOT LIKE {}", quoted(&text))),
        2 => (name(), set).prop_map(|(name, set)| format!("{name} IN ({set})")),
        1 => (name(), name()).prop_map(|(left, right)| format!("{left} = {right}")),
        1 => (name(), -1i32..13).prop_map(|(name, number)| format!("{name} IN ({number}, TRUE)")),
        1 => (name(), -1i32..13).prop_map(|(name, number)| format!("{name} <= {number}")),
        1 => name().prop_map(|name| format!("EXISTS {name}")),
        1 => name(),
        1 => name().prop_map(|name| format!("LENGTH({name}) < 3")),
        1 => Just("1 / 0 = 1".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let operator = prop_oneof![3 => Just("AND"), 3 => Just("OR"), 1 => Just("XOR")];
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
            1 => inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        2 => pairs().prop_map(Expression::Exact),
        2 => pairs().prop_map(Expression::Prefix),
        2 => pairs().prop_map(Expression::Suffix),
        1 => prop::collection::btree_map(name(), prop_oneof![text(), Just(String::new())], 1..3)
            .prop_map(|map| Expression::Attributes(map.into_iter().collect())),
        4 => cesql().prop_map(Expression::Cesql),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::Any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

prop_compose! {
    fn event()(
        id in text(),
        source in text(),
        event_type in text(),
        x in prop::option::of(text()),
        y in prop::option::of(prop_oneof![
            text().prop_map(|text| (text, Kind::String)),
            (-1i32..13).prop_map(|number| (number.to_string(), Kind::Integer)),
            any::<bool>().prop_map(|boolean| (boolean.to_string(), Kind::Boolean)),
        ]),
    ) -> Option<Event> {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", Some(id)), ("source", Some(source)), ("type", Some(event_type)), ("x", x)] {
            if let Some(value) = value {
                builder.attribute(name, value, Kind::String).ok()?;
            }
        }
        if let Some((text, kind)) = y {
            builder.attribute("y", text, kind).ok()?;
        }
        builder.build(None).ok()
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_evaluating_each_filter_finds(
        expressions in prop::collection::vec(expression(), 0..24),
        events in prop::collection::vec(event(), 1..8),
    ) {
        let filters: Vec<Filter> = expressions.iter().map(|e| Filter::compile(e).unwrap()).collect();
        let index = FilterIndex::build(filters.iter().cloned().enumerate().map(|(at, f)| (at as u32, f)));
        let mut matches = Matches::default();
        // Some texts are not valid in some attributes; such events do not come to be.
        for event in events.into_iter().flatten() {
            index.matches(&event, &mut matches);
            let mut found = matches.ids().to_vec();
            found.sort_unstable();
            let wanted: Vec<u32> =
                (0u32..).zip(&filters).filter(|(_, filter)| filter.matches(&event)).map(|(id, _)| id).collect();
            prop_assert_eq!(&found, &wanted, "{:?}\n{:#?}", event, expressions);
        }
    }
}

fn order(event_type: &str, source: &str) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", "1"), ("source", source), ("type", event_type)] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    builder.build(None).unwrap()
}

fn one(name: &str, value: &str) -> Conditions {
    [(name.to_owned(), value.to_owned())].into()
}

fn build(expressions: &[Expression]) -> FilterIndex {
    FilterIndex::build((0..).zip(expressions.iter().map(|expression| Filter::compile(expression).unwrap())))
}

#[test]
fn an_empty_index_finds_nothing_and_a_filter_without_conditions_everything() {
    let event = order("order.created", "/shop");
    let mut matches = Matches::default();
    FilterIndex::default().matches(&event, &mut matches);
    assert!(matches.ids().is_empty());
    FilterIndex::build([(7, Filter::everything())]).matches(&event, &mut matches);
    assert_eq!(matches.ids(), [7]);
}

#[test]
fn equal_filters_are_one_entry_and_keep_their_ids() {
    let index = build(&[
        Expression::Exact(one("type", "a")),
        Expression::Exact(one("type", "b")),
        Expression::Exact(one("type", "a")),
    ]);
    assert_eq!((index.len(), index.entries.len()), (3, 2));
    let mut matches = Matches::default();
    index.matches(&order("a", "/shop"), &mut matches);
    assert_eq!(matches.ids(), [0, 2]);
}

#[test]
fn a_filter_with_several_keys_is_found_once() {
    let keys = vec![Expression::Prefix(one("type", "order")), Expression::Suffix(one("type", "created"))];
    let index = build(&[Expression::Any(keys), Expression::Cesql("type LIKE '%rorrorror%'".to_owned())]);
    let mut matches = Matches::default();
    for _ in 0..2 {
        index.matches(&order("order.created", "/shop"), &mut matches);
        assert_eq!(matches.ids(), [0]);
    }
}

#[test]
fn only_filters_without_a_key_are_scanned() {
    let index = build(&[
        Expression::Exact(one("type", "a")),
        Expression::Prefix(one("type", "a")),
        Expression::Suffix(one("type", "a")),
        Expression::Attributes(one("subject", "")),
        Expression::Cesql("type LIKE '%abc%'".to_owned()),
        Expression::Cesql("type IN ('a', 'b') AND hop < 5".to_owned()),
        Expression::Cesql("sequence = 5".to_owned()),
        Expression::Not(Box::new(Expression::Exact(one("type", "a")))),
        Expression::Cesql("NOT EXISTS subject".to_owned()),
    ]);
    assert_eq!(index.scanned(), 2);
}

#[test]
fn the_rarest_key_of_a_filter_is_taken() {
    let filter = |source: &str| {
        Expression::Exact(Box::new([
            ("type".to_owned(), "order".to_owned()),
            ("source".to_owned(), source.to_owned()),
        ]))
    };
    let index = build(&[filter("/a"), filter("/b"), filter("/c")]);
    assert!(index.attributes.contains_key("source"));
    assert!(!index.attributes.contains_key("type"));
}

#[test]
fn errors_of_evaluated_filters_are_counted() {
    let index = build(&[
        Expression::Cesql("type = 'a' AND hop < 5".to_owned()),
        Expression::Cesql("INT(type) < 5".to_owned()),
        Expression::Cesql("FROBNICATE(type)".to_owned()),
    ]);
    let mut matches = Matches::default();
    index.matches(&order("a", "/shop"), &mut matches);
    assert_eq!((matches.ids(), matches.errors()), (&[][..], 3));
    // Now the first is ruled out by its type.
    index.matches(&order("b", "/shop"), &mut matches);
    assert_eq!((matches.ids(), matches.errors()), (&[][..], 2));
}
