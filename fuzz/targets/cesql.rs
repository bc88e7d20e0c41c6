//! A CESQL expression and an event: the expression, an empty line, attributes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::cesql::{Cesql, Evaluated, Value};
use pelton_filter::{Expression, Filter};
use pelton_fuzz::lines_and_body;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (expression, attributes) = text.split_once("\n\n").unwrap_or((text, ""));
    let parsed = match Cesql::parse(expression) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(error.column <= expression.chars().count() + 1, "{error}");
            return assert!((1..2_000).contains(&error.message.len()), "{error}");
        }
    };
    for typed in [false, true] {
        let event = event(attributes, typed);
        let result = parsed.evaluate(&event);
        assert_eq!(parsed.evaluate(&event), result);
        check_in_parentheses(expression, &event, &result);
        check_as_filter(expression, &event, &result);
    }
});

/// An event with the attributes as texts, or where it can be as the other types that JSON has.
fn event(attributes: &str, typed: bool) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", "1"), ("source", "/orders/ä"), ("type", "order.created")] {
        builder.attribute(name, value, Kind::String).expect("valid");
    }
    for (name, value) in lines_and_body(attributes.as_bytes()).0 {
        let text = |bytes| std::str::from_utf8(bytes).expect("cut at an ASCII character");
        let (name, value) = (text(name), text(value.unwrap_or_default()));
        // What is no attribute is left out.
        if typed {
            let boolean = builder.attribute(name, value, Kind::Boolean);
            let _ = boolean.or_else(|_| builder.attribute(name, value, Kind::Integer));
        }
        let _ = builder.attribute(name, value, Kind::String);
    }
    builder.build(None).expect("the required attributes are there")
}

/// Parentheses change nothing, and neither do the neutral elements of an operator.
fn check_in_parentheses(expression: &str, event: &Event, result: &Evaluated<'_>) {
    // Nesting and length have limits.
    let Ok(inner) = Cesql::parse(&format!(" \n( {expression}\t)")) else { return };
    assert_eq!(inner.evaluate(event), *result);
    let Ok(twice) = Cesql::parse(&format!("({expression}) = ({expression})")) else { return };
    let same = twice.evaluate(event);
    assert_eq!(same.error, result.error);
    assert!(result.error.is_some() || same.value == Value::Boolean(true));
    if let (Ok(not), Evaluated { value: Value::Boolean(value), error: None }) =
        (Cesql::parse(&format!("NOT ({expression})")), result)
    {
        assert_eq!(not.evaluate(event), Evaluated { value: Value::Boolean(!value), error: None });
    }
}

fn check_as_filter(expression: &str, event: &Event, result: &Evaluated<'_>) {
    let Ok(filter) = Filter::compile(&Expression::Cesql(expression.to_owned())) else { return };
    let evaluation = filter.evaluate(event);
    assert_eq!(evaluation.error, result.error);
    let passes = result.error.is_none() && result.value == Value::Boolean(true);
    assert_eq!(evaluation.matches, passes);
}
