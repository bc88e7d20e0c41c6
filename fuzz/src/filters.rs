//! Filters and events over few names and texts, so that they meet often; and what a filter says, told once more and slowly.

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::{Conditions, Expression};
use pelton_filter::cesql::{Cesql, Value};

const NAMES: [&str; 8] = ["id", "source", "type", "specversion", "subject", "x", "y", "9"];
const TEXTS: [&str; 16] =
    ["", "a", "b", "ab", "ba", "aba", "abab", "é", "aéa", "0", "1", "01", "-1", "true", "FALSE", "1.0"];
const PATTERNS: [&str; 10] = ["%", "a%", "%a", "%ab%", "a_a", "_", "%aba%b%", "", "ab", "a\\%b"];

/// An expression of any dialect.
#[derive(Debug)]
pub struct AnyExpression(pub Expression);

impl<'a> Arbitrary<'a> for AnyExpression {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        expression(u, 3).map(Self)
    }
}

/// An event.
#[derive(Debug)]
pub struct AnyEvent(pub Event);

impl<'a> Arbitrary<'a> for AnyEvent {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let version = if u.ratio(1, 8)? { SpecVersion::V0_3 } else { SpecVersion::V1_0 };
        let mut builder = EventBuilder::new(version);
        for name in ["id", "source", "type"] {
            let given = text(u)?;
            if builder.attribute(name, given, Kind::String).is_err() {
                builder.attribute(name, "a", Kind::String).expect("valid");
            }
        }
        for name in &NAMES[4..] {
            let (kind, given) = match u.int_in_range(0..=3)? {
                0 => (Kind::Integer, u.int_in_range(-1..=2)?.to_string()),
                1 => (Kind::Boolean, bool::arbitrary(u)?.to_string()),
                _ => (Kind::String, text(u)?),
            };
            // What is no attribute is left out.
            let _ = builder.attribute(*name, given, kind);
        }
        Ok(Self(builder.build(None).expect("the required attributes are there")))
    }
}

fn name(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&NAMES).copied()
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(1, 8)? { String::arbitrary(u) } else { Ok((*u.choose(&TEXTS)?).to_owned()) }
}

fn pairs(u: &mut Unstructured<'_>) -> Result<Conditions> {
    let each_once: BTreeMap<_, _> =
        (0..u.int_in_range(0..=2)?).map(|_| Ok((name(u)?.to_owned(), text(u)?))).collect::<Result<_>>()?;
    Ok(each_once.into_iter().collect())
}

fn expression(u: &mut Unstructured<'_>, depth: usize) -> Result<Expression> {
    let list = |u: &mut Unstructured<'_>| -> Result<Vec<Expression>> {
        (0..u.int_in_range(0..=3)?).map(|_| expression(u, depth - 1)).collect()
    };
    Ok(match u.int_in_range(0..=if depth == 0 { 5 } else { 8 })? {
        0 => Expression::Exact(pairs(u)?),
        1 => Expression::Prefix(pairs(u)?),
        2 => Expression::Suffix(pairs(u)?),
        3 => Expression::Attributes(pairs(u)?),
        4 | 5 => Expression::Cesql(cesql(u, 3)?),
        6 => Expression::All(list(u)?),
        7 => Expression::Any(list(u)?),
        _ => Expression::Not(Box::new(expression(u, depth - 1)?)),
    })
}

fn literal(u: &mut Unstructured<'_>) -> Result<String> {
    let text = text(u)?;
    let quoted = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    Ok(match u.int_in_range(0..=5)? {
        0 => u.int_in_range(-1..=2)?.to_string(),
        1 => (*u.choose(&["TRUE", "false"])?).to_owned(),
        _ => quoted,
    })
}

fn cesql(u: &mut Unstructured<'_>, depth: usize) -> Result<String> {
    let operand = if depth == 0 { u.int_in_range(0..=1)? } else { u.int_in_range(0..=13)? };
    let inner = |u: &mut Unstructured<'_>| cesql(u, depth.saturating_sub(1));
    Ok(match operand {
        0 => name(u)?.to_owned(),
        1 => literal(u)?,
        2 => format!("{} = {}", name(u)?, literal(u)?),
        3 => format!("{} = {}", literal(u)?, u.choose(&NAMES[4..])?),
        4 => {
            format!("({}) {} ({})", inner(u)?, u.choose(&["=", "!=", "<>", "<", "<=", ">", ">="])?, inner(u)?)
        }
        5 | 6 => format!("({}) {} ({})", inner(u)?, u.choose(&["AND", "OR", "XOR"])?, inner(u)?),
        7 => format!("NOT ({})", inner(u)?),
        8 => format!("EXISTS {}", name(u)?),
        9 => format!("{} {}LIKE '{}'", name(u)?, u.choose(&["", "NOT "])?, u.choose(&PATTERNS)?),
        10 => {
            let last = if bool::arbitrary(u)? { literal(u)? } else { inner(u)? };
            format!("{} {}IN ({}, {last})", name(u)?, u.choose(&["", "NOT "])?, literal(u)?)
        }
        11 => format!("({}) {} ({})", inner(u)?, u.choose(&["+", "-", "*", "/", "%"])?, inner(u)?),
        12 => {
            let function =
                u.choose(&["LENGTH", "UPPER", "LOWER", "TRIM", "ABS", "INT", "BOOL", "STRING", "NONE"])?;
            format!("{function}({})", inner(u)?)
        }
        _ => {
            let function = u.choose(&["CONCAT", "CONCAT_WS", "LEFT", "RIGHT", "SUBSTRING"])?;
            format!("{function}({}, {})", inner(u)?, inner(u)?)
        }
    })
}

/// Whether `event` passes `expression`, word for word as the dialects are defined; `expression` is one that compiles.
#[must_use]
pub fn passes(expression: &Expression, event: &Event) -> bool {
    let every = |map: &Conditions, holds: fn(&str, &str) -> bool| {
        map.iter().all(|(name, text)| event.attribute(name).is_some_and(|value| holds(value.text, text)))
    };
    match expression {
        Expression::All(list) => list.iter().all(|inner| passes(inner, event)),
        Expression::Any(list) => list.iter().any(|inner| passes(inner, event)),
        Expression::Not(inner) => !passes(inner, event),
        Expression::Exact(map) => every(map, |value, text| value == text),
        Expression::Prefix(map) => every(map, |value, text| value.starts_with(text)),
        Expression::Suffix(map) => every(map, |value, text| value.ends_with(text)),
        Expression::Attributes(map) => every(map, |value, text| text.is_empty() || value == text),
        Expression::Cesql(text) => {
            let parsed = Cesql::parse(text).expect("the filter compiles");
            let result = parsed.evaluate(event);
            result.error.is_none() && result.value == Value::Boolean(true)
        }
        other => panic!("a dialect that this oracle does not know: {other:?}"),
    }
}
