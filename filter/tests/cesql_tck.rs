//! The CESQL technology compatibility kit of the CloudEvents project, read from `$PELTON_TESTDATA/cesql-tck/*.yaml`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;

use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::cesql::{Cesql, Value};
use serde::Deserialize;

const CASES: usize = 275;

#[derive(Deserialize)]
struct File {
    name: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    expression: String,
    result: Option<Scalar>,
    error: Option<String>,
    event: Option<BTreeMap<String, Scalar>>,
    event_overrides: Option<BTreeMap<String, Scalar>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i32),
    String(String),
}

impl From<Value<'_>> for Scalar {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Boolean(boolean) => Self::Boolean(boolean),
            Value::Integer(number) => Self::Integer(number),
            Value::String(text) => Self::String(text.into_owned()),
        }
    }
}

fn event(case: &Case) -> Event {
    let mut attributes = BTreeMap::new();
    if let Some(whole) = &case.event {
        attributes.extend(whole.clone());
    } else {
        for (name, value) in [("id", "1"), ("source", "urn:test"), ("type", "test"), ("specversion", "1.0")] {
            attributes.insert(name.to_owned(), Scalar::String(value.to_owned()));
        }
    }
    attributes.extend(case.event_overrides.clone().unwrap_or_default());
    assert_eq!(attributes.remove("specversion"), Some(Scalar::String("1.0".to_owned())));
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in attributes {
        match value {
            Scalar::Boolean(boolean) => builder.attribute(name, boolean.to_string(), Kind::Boolean),
            Scalar::Integer(number) => builder.attribute(name, number.to_string(), Kind::Integer),
            Scalar::String(text) => builder.attribute(name, text, Kind::String),
        }
        .unwrap();
    }
    builder.build(None).unwrap()
}

/// What we do with a case: the value, if there is one, and the error's kind.
fn run(case: &Case) -> (Option<Scalar>, Option<String>) {
    let event = event(case);
    match Cesql::parse(&case.expression) {
        // An expression that cannot be read has no value; the suite writes `false` or nothing.
        Err(_) => {
            (case.result.clone().filter(|value| *value == Scalar::Boolean(false)), Some("parse".to_owned()))
        }
        Ok(expression) => {
            let evaluated = expression.evaluate(&event);
            (Some(evaluated.value.into()), evaluated.error.map(|error| error.to_string()))
        }
    }
}

#[test]
fn every_case_gives_the_value_and_the_error_it_asks_for() {
    let Ok(directory) = std::env::var("PELTON_TESTDATA") else {
        eprintln!("skipped: PELTON_TESTDATA is not set, so there is no cesql-tck to read");
        return;
    };
    let mut cases = 0;
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(Path::new(&directory).join("cesql-tck")).unwrap() {
        let file: File =
            serde_saphyr::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for case in &file.tests {
            cases += 1;
            let got = run(case);
            if got != (case.result.clone(), case.error.clone()) {
                failures.push(format!(
                    "{} / {}: {}: wanted {:?} {:?}, got {got:?}",
                    file.name, case.name, case.expression, case.result, case.error
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cases, CASES, "the suite has another number of cases than this test knows");
}
