//! The dialects, rule by rule.

use pelton_event::{Event, EventBuilder, Kind, SpecVersion};

use crate::cesql::CesqlError;
use crate::{Conditions, Evaluation, Expression, Filter, FilterError, limits};

fn map(pairs: &[(&str, &str)]) -> Conditions {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn exact(pairs: &[(&str, &str)]) -> Expression {
    Expression::Exact(map(pairs))
}

fn prefix(pairs: &[(&str, &str)]) -> Expression {
    Expression::Prefix(map(pairs))
}

fn suffix(pairs: &[(&str, &str)]) -> Expression {
    Expression::Suffix(map(pairs))
}

fn not(expression: Expression) -> Expression {
    Expression::Not(Box::new(expression))
}

fn cesql(text: &str) -> Expression {
    Expression::Cesql(text.to_owned())
}

fn event() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value, kind) in [
        ("id", "1", Kind::String),
        ("source", "/orders/eu", Kind::String),
        ("type", "order.created", Kind::String),
        ("time", "2026-11-24T04:00:00.000+02:00", Kind::String),
        ("priority", "5", Kind::Integer),
        ("flag", "true", Kind::Boolean),
        ("word", "true", Kind::String),
    ] {
        builder.attribute(name, value, kind).unwrap();
    }
    builder.build(None).unwrap()
}

fn evaluate(expression: &Expression) -> Evaluation {
    Filter::compile(expression).unwrap().evaluate(&event())
}

#[test]
fn each_dialect_passes_what_it_says() {
    for (expression, passes) in [
        (exact(&[("type", "order.created")]), true),
        (exact(&[("type", "order.Created")]), false),
        (exact(&[("type", "order.created"), ("source", "/orders/us")]), false),
        (exact(&[("specversion", "1.0")]), true),
        (exact(&[("priority", "5"), ("flag", "true")]), true),
        // The sender's text is compared, not an instant.
        (exact(&[("time", "2026-11-24T04:00:00.000+02:00")]), true),
        (exact(&[("time", "2026-11-24T02:00:00Z")]), false),
        (prefix(&[("type", "order."), ("source", "/orders")]), true),
        (prefix(&[("type", "order."), ("source", "/carts")]), false),
        (suffix(&[("type", ".created")]), true),
        (suffix(&[("type", ".create")]), false),
        (Expression::All(vec![exact(&[("id", "1")]), prefix(&[("type", "order")])]), true),
        (Expression::All(vec![exact(&[("id", "1")]), prefix(&[("type", "cart")])]), false),
        (Expression::Any(vec![exact(&[("id", "2")]), prefix(&[("type", "order")])]), true),
        (Expression::Any(vec![exact(&[("id", "2")]), prefix(&[("type", "cart")])]), false),
        (not(exact(&[("id", "1")])), false),
        (not(not(exact(&[("id", "1")]))), true),
        (Expression::Attributes(map(&[("type", "order.created"), ("priority", "")])), true),
        (Expression::Attributes(map(&[("type", "order.created"), ("subject", "")])), false),
        (Expression::Attributes(map(&[("type", "cart.created"), ("priority", "")])), false),
        (cesql("type = 'order.created' AND priority > 3"), true),
    ] {
        assert_eq!(evaluate(&expression), Evaluation { matches: passes, error: None }, "{expression:?}");
    }
}

#[test]
fn an_absent_attribute_meets_no_condition_and_its_negation_passes() {
    for absent in [exact(&[("subject", "a")]), prefix(&[("subject", "a")]), suffix(&[("subject", "a")])] {
        assert!(!evaluate(&absent).matches, "{absent:?}");
        assert!(evaluate(&Expression::Any(vec![absent.clone(), exact(&[("id", "1")])])).matches);
        assert!(evaluate(&not(absent.clone())).matches, "{absent:?}");
    }
}

#[test]
fn only_a_boolean_true_without_an_error_passes_cesql() {
    for (text, matches, error) in [
        ("flag", true, None),
        ("NOT flag", false, None),
        ("word", false, None),
        ("BOOL(word)", true, None),
        ("1", false, None),
        ("'true'", false, None),
        ("subject = 'a'", false, Some(CesqlError::MissingAttribute)),
        ("NOT 10", false, Some(CesqlError::Cast)),
        ("NOPE()", false, Some(CesqlError::MissingFunction)),
    ] {
        assert_eq!(evaluate(&cesql(text)), Evaluation { matches, error }, "{text}");
    }
    // The expression does not pass, so its negation does; the error is still reported.
    let negated = evaluate(&not(cesql("subject = 'a'")));
    assert_eq!(negated, Evaluation { matches: true, error: Some(CesqlError::MissingAttribute) });
}

#[test]
fn a_list_of_filters_passes_what_all_of_them_pass() {
    let passes = |list: &[Expression]| Filter::compile_all(list).unwrap().matches(&event());
    assert!(passes(&[]));
    assert!(passes(&[exact(&[("id", "1")]), cesql("priority = 5")]));
    assert!(!passes(&[exact(&[("id", "1")]), cesql("priority = 6")]));
    assert_eq!(Filter::compile_all(&[]).unwrap(), Filter::everything());
    assert_eq!(Filter::default(), Filter::everything());
}

#[test]
fn equal_filters_are_equal_whatever_made_them() {
    let compile = |expression: &Expression| Filter::compile(expression).unwrap();
    let attributes = Expression::Attributes(map(&[("type", "a")]));
    assert_eq!(compile(&exact(&[("type", "a")])), compile(&attributes));
    assert_ne!(compile(&exact(&[("type", "a")])), compile(&prefix(&[("type", "a")])));
    assert_ne!(compile(&cesql("type LIKE 'a%'")), compile(&cesql("type LIKE 'b%'")));
}

#[test]
fn a_broken_rule_is_named_with_its_place() {
    let nested = Expression::All(vec![exact(&[("id", "1")]), Expression::Any(vec![prefix(&[("type", "")])])]);
    for (expression, code, message) in [
        (exact(&[("Type", "a")]), "PEL-1101", "exact: `Type` is not an attribute name"),
        (exact(&[("", "a")]), "PEL-1101", "exact: `` is not an attribute name"),
        (exact(&[("1a", "a")]), "PEL-1101", "exact: `1a`"),
        (suffix(&[("my-ext", "a")]), "PEL-1101", "suffix: `my-ext`"),
        (Expression::Attributes(map(&[("a.b", "")])), "PEL-1101", "attributes: `a.b`"),
        (nested, "PEL-1102", "all[1].any[0].prefix.type: the value is empty; "),
        (exact(&[]), "PEL-1103", "exact: `exact` is empty"),
        (Expression::Attributes(map(&[])), "PEL-1103", "attributes: "),
        (not(Expression::All(vec![])), "PEL-1103", "not.all: `all` is empty"),
        (Expression::Any(vec![]), "PEL-1103", "any: `any` is empty"),
        (not(cesql("type = ")), "PEL-1104", "not.cesql: column 8: expected a value"),
        (exact(&[("id", &"x".repeat(5_000))]), "PEL-1105", "exact.id: 5000 bytes are too long"),
        (cesql(&" ".repeat(9_000)), "PEL-1105", "cesql: 9000 bytes"),
    ] {
        let error = Filter::compile(&expression).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let error = Filter::compile_all(&[exact(&[("id", "1")]), cesql("(")]).unwrap_err();
    assert!(error.to_string().starts_with("[1].cesql: column 2"), "{error}");
}

#[test]
fn size_and_nesting_are_bounded() {
    let nested = |levels| (0..levels).fold(exact(&[("id", "1")]), |inner, _| not(inner));
    assert!(Filter::compile(&nested(limits::NESTING_MAX)).is_ok());
    let deep = Filter::compile(&nested(limits::NESTING_MAX + 1));
    assert!(matches!(deep, Err(FilterError::TooDeep { .. })), "{deep:?}");
    let wide = |count| Expression::Any((0..count).map(|at| exact(&[("id", &at.to_string())])).collect());
    assert!(Filter::compile(&wide(limits::NODES_MAX / 2)).is_ok());
    assert_eq!(Filter::compile(&wide(limits::NODES_MAX)), Err(FilterError::TooManyConditions));
    let set = vec!["1"; limits::NODES_MAX].join(",");
    assert_eq!(Filter::compile(&cesql(&format!("1 IN ({set})"))), Err(FilterError::TooManyConditions));
}

#[test]
fn a_compiled_filter_keeps_its_warnings() {
    let filter = Filter::compile(&not(cesql("NOPE(1)"))).unwrap();
    let [warning] = filter.warnings() else { panic!("{:?}", filter.warnings()) };
    assert_eq!(warning.code(), "PEL-1111");
    assert!(warning.to_string().starts_with("not.cesql: there is no CESQL function `NOPE`"), "{warning}");
}
