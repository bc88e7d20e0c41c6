//! CESQL cases of our own, beside the specification's test suite in `tests/cesql_tck.rs`.

use std::borrow::Cow;

use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use proptest::prelude::*;

use super::like::{Pattern, Shape};
use super::{Cesql, CesqlError, Value};
use crate::error::Warning;

fn event() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value, kind) in [
        ("id", "1", Kind::String),
        ("source", "/orders", Kind::String),
        ("type", "order.created", Kind::String),
        ("text", "Grüße 👋", Kind::String),
        ("number", "7", Kind::Integer),
        ("odd", "007", Kind::String),
        ("flag", "true", Kind::Boolean),
    ] {
        builder.attribute(name, value, kind).unwrap();
    }
    builder.build(None).unwrap()
}

fn string(text: &'static str) -> Value<'static> {
    Value::String(Cow::Borrowed(text))
}

fn check(expression: &str, value: &Value<'_>, error: Option<CesqlError>) {
    let event = event();
    let parsed = Cesql::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let evaluated = parsed.evaluate(&event);
    assert_eq!((&evaluated.value, evaluated.error), (value, error), "{expression}");
}

fn check_all<'v>(cases: impl IntoIterator<Item = (&'static str, Value<'v>)>) {
    cases.into_iter().for_each(|(expression, value)| check(expression, &value, None));
}

use CesqlError::{Cast, FunctionEvaluation, Math, MissingAttribute, MissingFunction};
use Value::{Boolean, Integer};

#[test]
fn operators_bind_as_the_specification_orders_them() {
    check_all([
        ("2 + 3 * 4", Integer(14)),
        ("20 / 2 / 5", Integer(2)),
        ("10 - 4 - 3", Integer(3)),
        ("10 -4", Integer(6)),
        ("-2 * -3", Integer(6)),
        ("1 + 1 = 2", Boolean(true)),
        ("1 < 2 = TRUE", Boolean(true)),
        // One precedence for all three, from the left.
        ("TRUE OR TRUE AND FALSE", Boolean(false)),
        ("FALSE AND TRUE OR TRUE", Boolean(true)),
        ("TRUE XOR TRUE OR TRUE", Boolean(true)),
        ("TRUE OR (TRUE AND FALSE)", Boolean(true)),
        // NOT binds tighter than LIKE: this asks whether "false" is like "tr%".
        ("NOT flag LIKE 'tr%'", Boolean(false)),
        ("NOT (type LIKE 'tr%')", Boolean(true)),
        ("type LIKE 'order.%' IN (TRUE)", Boolean(true)),
        ("5 IN (4 + 1) AND NOT EXISTS absent", Boolean(true)),
    ]);
}

#[test]
fn attributes_have_the_type_they_came_with() {
    check_all([
        ("number", Integer(7)),
        ("flag", Boolean(true)),
        ("odd", string("007")),
        ("odd = 7", Boolean(true)),
        ("odd = '7'", Boolean(false)),
        ("number = '7'", Boolean(true)),
        ("number = '07'", Boolean(false)),
        ("'07' = number", Boolean(true)),
        ("number LIKE '_'", Boolean(true)),
        ("specversion", string("1.0")),
        ("TYPE", string("order.created")),
        ("EXISTS Number", Boolean(true)),
    ]);
}

#[test]
fn casts_go_both_ways() {
    check_all([
        ("INT('+5')", Integer(5)),
        ("'+5' = 5", Boolean(true)),
        ("BOOL('tRuE')", Boolean(true)),
        ("1 = TRUE", Boolean(true)),
        ("0 AND TRUE", Boolean(false)),
        ("TRUE + TRUE", Integer(2)),
        ("3 IN ('3')", Boolean(true)),
    ]);
    check("INT('2147483648')", &Integer(0), Some(Cast));
    check("INT(' 5')", &Integer(0), Some(Cast));
    check("type < 5", &Boolean(false), Some(Cast));
    check("'x' AND TRUE", &Boolean(false), Some(Cast));
    check("NOT 'x'", &Boolean(true), Some(Cast));
    check("-'x'", &Integer(0), Some(Cast));
    check("1 IN ('x', '1')", &Boolean(false), Some(Cast));
}

#[test]
fn integers_stay_in_32_bits() {
    check_all([
        ("-2147483648", Integer(i32::MIN)),
        ("-2147483648 % -1", Integer(0)),
        ("-7 / 2", Integer(-3)),
        ("-7 % 2", Integer(-1)),
        ("7 % -2", Integer(1)),
    ]);
    for expression in [
        "2147483647 + 1",
        "-2147483648 - 1",
        "65536 * 65536",
        "-2147483648 / -1",
        "-(-2147483648)",
        "1 % 0",
        "1 / 0 + 5",
    ] {
        check(expression, &Integer(0), Some(Math));
    }
    check("ABS(-2147483648)", &Integer(i32::MAX), Some(Math));
    check("ABS(-2147483648) + 0", &Integer(0), Some(Math));
}

#[test]
fn the_first_error_ends_the_evaluation() {
    check("absent", &Boolean(false), Some(MissingAttribute));
    check("absent LIKE '%'", &Boolean(false), Some(MissingAttribute));
    check("absent IN ('a')", &Boolean(false), Some(MissingAttribute));
    check("'a' IN (absent, 'a')", &Boolean(false), Some(MissingAttribute));
    check("'a' IN ('a', absent)", &Boolean(true), None);
    check("absent = 1 OR TRUE", &Boolean(false), Some(MissingAttribute));
    check("TRUE OR absent = 1", &Boolean(true), None);
    check("LENGTH(absent)", &Integer(0), Some(MissingAttribute));
    check("UPPER(absent)", &string(""), Some(MissingAttribute));
    check("1 / 0 = absent", &Boolean(false), Some(Math));
    check("NOPE(absent)", &Boolean(false), Some(MissingFunction));
    check("LENGTH()", &Boolean(false), Some(MissingFunction));
    check("LEFT('a')", &Boolean(false), Some(MissingFunction));
}

#[test]
fn characters_are_code_points() {
    check_all([
        ("LENGTH(text)", Integer(7)),
        ("LEFT(text, 4)", string("Grüß")),
        ("RIGHT(text, 1)", string("👋")),
        ("RIGHT(text, 0)", string("")),
        ("SUBSTRING(text, 3, 2)", string("üß")),
        ("SUBSTRING(text, -1)", string("👋")),
        ("SUBSTRING(text, -7, 2)", string("Gr")),
        ("SUBSTRING(text, 7, 99)", string("👋")),
        ("UPPER(text)", string("GRÜSSE 👋")),
        ("LOWER('ÄB')", string("äb")),
        ("TRIM('\u{2003}a b\u{a0}')", string("a b")),
        ("text LIKE 'Gr__e _'", Boolean(true)),
        ("text LIKE '_%👋'", Boolean(true)),
        ("text LIKE '________'", Boolean(false)),
    ]);
    check("SUBSTRING(text, 1, -1)", &string(""), Some(FunctionEvaluation));
    check("SUBSTRING('', 1)", &string(""), Some(FunctionEvaluation));
    check("RIGHT(CONCAT('a', 'b'), -1)", &string("ab"), Some(FunctionEvaluation));
}

#[test]
fn an_evaluation_builds_a_bounded_amount_of_text() {
    let long = "x".repeat(20_000);
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", "1"), ("source", "/"), ("type", "t"), ("long", &long)] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    let event = builder.build(None).unwrap();
    let expression = Cesql::parse(&format!("CONCAT({})", vec!["long"; 100].join(","))).unwrap();
    assert_eq!(expression.evaluate(&event).error, Some(FunctionEvaluation));
}

#[test]
fn what_cannot_be_read_says_where_and_why() {
    for (expression, column, message) in [
        ("", 1, "expected a value, found the end"),
        ("type =", 7, "expected a value, found the end"),
        ("type == 'a'", 6, "`==` is not an operator; write `=`"),
        ("a && b", 3, "`&` is not an operator; write `AND`"),
        ("!a", 1, "`!` is not an operator; write `NOT`"),
        ("'ü' = 'a", 7, "the string is not closed"),
        ("'it''s'", 5, "write a quote inside a string as `\\'`"),
        ("(a", 3, "expected `)`"),
        ("a)", 2, "this `)` closes nothing"),
        ("a IN ()", 7, "expected a value, found `)`"),
        ("a IN 'b'", 6, "expected `(` and a list"),
        ("a LIKE b", 8, "expected a quoted pattern after `LIKE`"),
        ("a NOT = b", 7, "expected `LIKE` or `IN` after `NOT`"),
        ("EXISTS (a)", 8, "expected an attribute name after `EXISTS`"),
        ("EXISTS 'a'", 8, "expected an attribute name after `EXISTS`"),
        ("my_attribute = 1", 1, "is not an attribute name"),
        ("f1(a)", 1, "is not a function name"),
        ("2147483648", 1, "is no Integer"),
        ("+ 5", 1, "`+` needs a value on its left"),
        ("AND a", 1, "expected a value before `AND`"),
        ("a b", 3, "expected an operator or the end"),
        ("a # b", 3, "`#` has no meaning here"),
        ("UPPER(a,)", 9, "expected a value, found `)`"),
    ] {
        let error = Cesql::parse(expression).unwrap_err();
        assert_eq!(error.column, column, "{expression}: {error}");
        assert!(error.message.contains(message), "{expression}: {error}");
    }
}

#[test]
fn depth_is_bounded_in_every_form() {
    for deep in [
        format!("{}1{}", "(".repeat(4_000), ")".repeat(4_000)),
        format!("{}TRUE", "NOT ".repeat(2_000)),
        format!("{}1", "-".repeat(8_000)),
        vec!["1"; 4_000].join("+"),
        format!("a{}", " NOT LIKE 'x'".repeat(600)),
        format!("{}1{}", "ABS(".repeat(1_500), ")".repeat(1_500)),
        format!("{}1{}", "1 IN (".repeat(1_000), ")".repeat(1_000)),
        vec!["a"; 1_000].join(" AND "),
    ] {
        let error = Cesql::parse(&deep).unwrap_err();
        assert!(error.message.contains("inside each other"), "{error}");
    }
    assert!(Cesql::parse(&" ".repeat(9_000)).unwrap_err().message.contains("bytes"));
    check(&vec!["TRUE"; 100].join(" AND "), &Boolean(true), None);
}

#[test]
fn warnings_name_what_is_probably_a_mistake() {
    let warnings = |text: &str| Cesql::parse(text).unwrap().warnings("cesql");
    let mixed = Warning::MixedLogic { path: "cesql".to_owned() };
    assert_eq!(warnings("type = 'a' AND x = 'b' OR y = 'c'"), [mixed]);
    assert_eq!(warnings("(type = 'a' AND x = 'b') OR y = 'c'"), []);
    assert_eq!(warnings("a AND b AND c"), []);
    assert!(
        matches!(&warnings("NOPE(1)")[..], [Warning::UnknownFunction { name, arguments: 1, .. }] if name == "NOPE")
    );
    assert!(matches!(&warnings("UPPER(type)")[..], [Warning::NotBoolean { kind: "a String", .. }]));
    assert!(matches!(&warnings("number + 1")[..], [Warning::NotBoolean { kind: "an Integer", .. }]));
    assert_eq!(warnings("flag"), []);
}

#[test]
fn the_shape_of_a_pattern_is_what_all_its_texts_share() {
    let open = |prefix, suffix, longest, sufficient| Shape::Open { prefix, suffix, longest, sufficient };
    for (pattern, shape) in [
        ("abc", Shape::Equal("abc")),
        ("", Shape::Equal("")),
        (r"a\%b", Shape::Equal("a%b")),
        ("abc%", open("abc", "", "abc", true)),
        ("%abc", open("", "abc", "abc", true)),
        ("a%bc", open("a", "bc", "bc", false)),
        ("%abc%", open("", "", "abc", false)),
        ("ab_cde", open("ab", "cde", "cde", false)),
        ("_ab", open("", "ab", "ab", false)),
        ("ab%_", open("ab", "", "ab", false)),
        ("%", open("", "", "", false)),
    ] {
        assert_eq!(Pattern::compile(pattern).shape(), shape, "{pattern}");
    }
    // Searched parts with gaps are bounded over the whole expression; anchored ones and those without gaps are not.
    let like = |pattern: String| format!("a LIKE '{pattern}'");
    let searched = |count: usize| like(format!("%_{}%", "b".repeat(count - 1)));
    assert!(Cesql::parse(&searched(256)).is_ok());
    assert!(Cesql::parse(&searched(257)).is_err());
    assert!(Cesql::parse(&format!("{} OR {}", searched(128), searched(128))).is_ok());
    assert!(Cesql::parse(&format!("{} OR {}", searched(128), searched(129))).is_err());
    assert!(Cesql::parse(&like(format!("{}_%_{}", "b".repeat(900), "b".repeat(900)))).is_ok());
    assert!(Cesql::parse(&like(format!("%{}%", "b".repeat(900)))).is_ok());
}

/// The definition of LIKE, with all the backtracking that the compiled form avoids.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| is_like(&text[at..], rest)),
        ['_', rest @ ..] => !text.is_empty() && is_like(&text[1..], rest),
        ['\\', escaped @ ('%' | '_'), rest @ ..] | [escaped, rest @ ..] => {
            text.first() == Some(escaped) && is_like(&text[1..], rest)
        }
    }
}

proptest! {
    #[test]
    fn a_compiled_pattern_matches_what_the_definition_matches(
        text in "[abé%_\\\\\n]{0,10}",
        pattern in "[abé%_\\\\\n]{0,8}",
    ) {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let wanted = is_like(&characters(&text), &characters(&pattern));
        prop_assert_eq!(Pattern::compile(&pattern).matches(&text), wanted);
    }

    #[test]
    fn no_text_makes_parsing_or_evaluation_panic(
        text in r#"((AND|OR|NOT|LIKE|IN|EXISTS|TRUE|LEFT|SUBSTRING|CONCAT_WS)|[a-z0-9'"(),=<>!+*/% \\_é-]){0,24}"#,
    ) {
        if let Ok(expression) = Cesql::parse(&text) {
            let _ = expression.evaluate(&event());
            let _ = expression.warnings("");
        }
    }
}
