//! Every example of `docs/filters.md` does what its comments say.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::{Expression, Filter};
use serde::Deserialize;

const GUIDE: &str = include_str!("../../docs/filters.md");

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    filter: Option<Older>,
    #[serde(default)]
    filters: Vec<Dialect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dialect {
    Exact(BTreeMap<String, String>),
    Prefix(BTreeMap<String, String>),
    Suffix(BTreeMap<String, String>),
    All(Vec<Dialect>),
    Any(Vec<Dialect>),
    Not(Box<Dialect>),
    Cesql(String),
}

impl From<Dialect> for Expression {
    fn from(dialect: Dialect) -> Self {
        let each = |list: Vec<Dialect>| list.into_iter().map(Self::from).collect();
        match dialect {
            Dialect::Exact(map) => Self::Exact(map.into_iter().collect()),
            Dialect::Prefix(map) => Self::Prefix(map.into_iter().collect()),
            Dialect::Suffix(map) => Self::Suffix(map.into_iter().collect()),
            Dialect::All(list) => Self::All(each(list)),
            Dialect::Any(list) => Self::Any(each(list)),
            Dialect::Not(inner) => Self::Not(Box::new(Self::from(*inner))),
            Dialect::Cesql(text) => Self::Cesql(text),
        }
    }
}

fn compile(yaml: &str) -> Filter {
    let has_content = yaml.lines().any(|line| !line.starts_with('#'));
    let trigger: Trigger =
        if has_content { serde_saphyr::from_str(yaml).unwrap() } else { Trigger::default() };
    let older = trigger.filter.map(|filter| Expression::Attributes(filter.attributes.into_iter().collect()));
    let expressions: Vec<Expression> =
        trigger.filters.into_iter().map(Expression::from).chain(older).collect();
    Filter::compile_all(&expressions).unwrap()
}

/// An event from `type=order.created subject=4711`.
fn event(text: &str) -> Event {
    let mut attributes = BTreeMap::from([("id", "1"), ("source", "/")]);
    attributes.extend(text.split_whitespace().map(|pair| pair.split_once('=').unwrap()));
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in attributes {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    builder.build(None).unwrap()
}

#[test]
fn the_examples_pass_and_stop_what_they_say() {
    let mut events = 0;
    for block in GUIDE.split("```yaml\n").skip(1) {
        let yaml = block.split("```").next().unwrap();
        let filter = compile(yaml);
        assert_eq!(filter.warnings(), [], "{yaml}");
        for line in yaml.lines() {
            let (passes, text) = match (line.strip_prefix("# passes: "), line.strip_prefix("# stopped: ")) {
                (Some(text), _) => (true, text),
                (_, Some(text)) => (false, text),
                _ => continue,
            };
            events += 1;
            assert_eq!(filter.matches(&event(text)), passes, "{line}\n{yaml}");
        }
    }
    assert!(events > 20, "only {events} events found in the guide");
}

#[test]
fn the_limits_are_the_ones_in_the_guide() {
    use pelton_filter::limits;
    for (limit, row) in [
        (limits::NESTING_MAX, "| 16 levels |"),
        (limits::NODES_MAX, "| 1,000 |"),
        (limits::VALUE_BYTES_MAX, "| 4,096 bytes |"),
        (limits::CESQL_BYTES_MAX, "| 8,192 bytes, "),
        (limits::CESQL_NESTING_MAX, ", 128 levels"),
        (limits::LIKE_SEARCHED_GAPPED_MAX, "`_` among them, in one expression | 256 |"),
        (limits::CESQL_STRING_BYTES_MAX / 1024, "| 256 KiB, "),
    ] {
        let digits: String = row.chars().filter(char::is_ascii_digit).collect();
        assert!(GUIDE.contains(row), "the guide has no row `{row}`");
        assert_eq!(digits, limit.to_string(), "{row}");
    }
}
