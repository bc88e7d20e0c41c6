//! `pelton match`: filters against events, one case a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use pelton_event::{Event, json};
use pelton_filter::cesql::CesqlError;
use pelton_filter::{Conditions, Expression, Filter, FilterError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = r#"Example:
  echo '{"dialect":"prefix","filter":{"type":"order."},"event":{"specversion":"1.0","id":"1","source":"/s","type":"order.placed"}}' \
    | pelton match --cases -

Each line is {"dialect": D, "expression"|"filter": F, "event": E}: D is the key in a Trigger's YAML (exact, prefix, suffix,
all, any, not, cesql, attributes), F the value under it, E a CloudEvent as JSON or a string that holds JSON. For each
there is one line {"matches": true|false}, or {"error": "…"} where the filter or the event is not valid. Where a CESQL
expression fails, `matches` is false and an `error` is beside it that starts with the kind of error and a colon."#)]
pub(crate) struct Arguments {
    /// File with one case a line; `-` is standard input
    #[arg(long, value_name = "FILE.jsonl")]
    cases: PathBuf,
}

/// Bytes of one line; a filter and an event are far smaller.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    dialect: String,
    expression: Option<Value>,
    filter: Option<Value>,
    /// Of the dialects `aws` and `alibaba`.
    #[serde(rename = "pattern")]
    _pattern: Option<Value>,
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Result<(), Failure> {
    if format == Format::Yaml {
        return Err(Failure::usage(
            Some("PEL-1708"),
            "`pelton match` answers one JSON document a line; leave -o off",
        ));
    }
    let mut input: Box<dyn BufRead> = if arguments.cases.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(&arguments.cases).map_err(|error| Failure::file(&arguments.cases, &error))?;
        Box::new(BufReader::new(file))
    };
    while let Some(line) =
        next_line(&mut input, LINE_BYTES_MAX).map_err(|error| Failure::file(&arguments.cases, &error))?
    {
        let answer = match line.as_deref().map(<[u8]>::trim_ascii) {
            Some([]) => continue,
            Some(text) => answer(text),
            None => Err(format!("the line is longer than {LINE_BYTES_MAX} bytes")),
        };
        let answer = answer.unwrap_or_else(|error| Answer { error: Some(error), matches: None });
        let answer = serde_json::to_string(&answer);
        output::line(&answer.map_err(|error| Failure::failed(None, error.to_string()))?)?;
    }
    Ok(())
}

/// The next line, `Some(None)` for one that is longer than `bytes_max`, `None` at the end. A long line is read to its end, so
/// that each line has one answer.
fn next_line(input: &mut impl BufRead, bytes_max: u64) -> std::io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    if input.by_ref().take(bytes_max).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") || (line.len() as u64) < bytes_max {
        return Ok(Some(Some(line)));
    }
    input.skip_until(b'\n')?;
    Ok(Some(None))
}

fn answer(line: &[u8]) -> Result<Answer, String> {
    let case: Case<'_> =
        serde_json::from_slice(line).map_err(|error| format!("the line is not a case: {error}"))?;
    if matches!(case.dialect.as_str(), "aws" | "alibaba") {
        return Err(format!("the dialect `{}` is not served yet", case.dialect));
    }
    let value = match (&case.filter, &case.expression) {
        (Some(value), None) => value,
        (None, Some(value)) if case.dialect == "cesql" => value,
        (None, Some(_)) => {
            return Err("`expression` goes with the dialect `cesql`; write `filter`".to_owned());
        }
        _ => return Err("a case has one of `filter` and `expression`".to_owned()),
    };
    let filter = Filter::compile(&expression(&case.dialect, value)?).map_err(|error| filter_error(&error))?;
    let evaluation = filter.evaluate(&event(case.event)?);
    Ok(Answer { matches: Some(evaluation.matches), error: evaluation.error.map(cesql_error) })
}

/// The filter of a dialect from the JSON value under its key.
fn expression(dialect: &str, value: &Value) -> Result<Expression, String> {
    Ok(match dialect {
        "exact" => Expression::Exact(conditions(dialect, value)?),
        "prefix" => Expression::Prefix(conditions(dialect, value)?),
        "suffix" => Expression::Suffix(conditions(dialect, value)?),
        "attributes" => Expression::Attributes(conditions(dialect, value)?),
        "all" => Expression::All(expressions(dialect, value)?),
        "any" => Expression::Any(expressions(dialect, value)?),
        "not" => Expression::Not(Box::new(nested(dialect, value)?)),
        "cesql" => Expression::Cesql(value.as_str().ok_or("`cesql` is a string")?.to_owned()),
        other => {
            return Err(format!(
                "there is no dialect `{other}`; there are exact, prefix, suffix, all, any, not, cesql and attributes"
            ));
        }
    })
}

fn conditions(dialect: &str, value: &Value) -> Result<Conditions, String> {
    let wrong = || format!("`{dialect}` is an object of attribute names and string values");
    let entries = value.as_object().ok_or_else(wrong)?.iter();
    entries.map(|(name, value)| Ok((name.clone(), value.as_str().ok_or_else(wrong)?.to_owned()))).collect()
}

fn expressions(dialect: &str, value: &Value) -> Result<Vec<Expression>, String> {
    let list = value.as_array().ok_or_else(|| format!("`{dialect}` is a list of filters"))?;
    list.iter().map(|value| nested(dialect, value)).collect()
}

/// A filter inside another: an object with the dialect as its one key. serde_json bounds the depth.
fn nested(outer: &str, value: &Value) -> Result<Expression, String> {
    let object = value.as_object().filter(|object| object.len() == 1);
    let (dialect, value) = object
        .and_then(|object| object.iter().next())
        .ok_or_else(|| format!("a filter inside `{outer}` is an object with one key, its dialect"))?;
    expression(dialect, value)
}

/// The event as text, so that numbers and duplicate keys stay what they are.
fn event(raw: &RawValue) -> Result<Event, String> {
    let text = if raw.get().starts_with('"') {
        serde_json::from_str::<String>(raw.get()).map_err(|error| format!("event: {error}"))?
    } else {
        raw.get().to_owned()
    };
    json::decode(&Bytes::from(text)).map_err(|error| format!("event: {error}"))
}

/// A CESQL expression that cannot be read is a `parse` error of the TCK.
fn filter_error(error: &FilterError) -> String {
    match error {
        FilterError::Cesql { column, message, .. } => format!("parse: column {column}: {message}"),
        other => other.to_string(),
    }
}

/// The TCK's kind, a colon, and what it means.
fn cesql_error(error: CesqlError) -> String {
    let meaning = match error {
        CesqlError::Math => "a division by zero, or a result outside 32 bits",
        CesqlError::Cast => "a value cannot be cast to the type that is needed",
        CesqlError::MissingFunction => "there is no such function with this number of arguments",
        CesqlError::FunctionEvaluation => "a function refuses its arguments",
        CesqlError::MissingAttribute => "the event does not have the attribute",
        _ => "the expression cannot be evaluated",
    };
    format!("{error}: {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","n":3}"#;

    fn case(rest: &str) -> Result<Answer, String> {
        answer(format!(r#"{{{rest},"event":{EVENT}}}"#).as_bytes())
    }

    fn matches(rest: &str) -> bool {
        let answer = case(rest).unwrap();
        assert_eq!(answer.error, None, "{rest}");
        answer.matches.unwrap()
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line() {
        let mut input = &b"ab\nabcdefgh\n\nlast"[..];
        let mut next = || next_line(&mut input, 4).unwrap();
        assert_eq!(next(), Some(Some(b"ab\n".to_vec())));
        assert_eq!(next(), Some(None));
        assert_eq!(next(), Some(Some(b"\n".to_vec())));
        assert_eq!(next(), Some(None));
        assert_eq!(next(), None);
    }

    #[test]
    fn every_dialect_by_its_yaml_key() {
        for (rest, expected) in [
            (r#""dialect":"exact","filter":{"type":"order.placed"}"#, true),
            (r#""dialect":"exact","filter":{"type":"order"}"#, false),
            (r#""dialect":"prefix","filter":{"type":"order."}"#, true),
            (r#""dialect":"suffix","filter":{"source":"shop","type":"placed"}"#, true),
            (r#""dialect":"attributes","filter":{"type":"","source":"/shop"}"#, true),
            (r#""dialect":"all","filter":[{"prefix":{"type":"o"}},{"not":{"exact":{"id":"2"}}}]"#, true),
            (r#""dialect":"any","filter":[{"exact":{"id":"2"}},{"cesql":"n = 3"}]"#, true),
            (r#""dialect":"not","filter":{"cesql":"n > 2"}"#, false),
            (r#""dialect":"cesql","expression":"type LIKE 'order.%'""#, true),
            (r#""dialect":"cesql","filter":"EXISTS nothing""#, false),
        ] {
            assert_eq!(matches(rest), expected, "{rest}");
        }
    }

    #[test]
    fn an_event_may_be_a_string_of_json() {
        let line = r#"{"dialect":"exact","filter":{"id":"1"},"event":"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}"}"#;
        assert_eq!(answer(line.as_bytes()), Ok(Answer { matches: Some(true), error: None }));
    }

    #[test]
    fn a_cesql_error_starts_with_its_kind() {
        let failed = case(r#""dialect":"cesql","expression":"INT(type) = 1""#).unwrap();
        assert_eq!(failed.matches, Some(false));
        assert!(failed.error.unwrap().starts_with("cast: "));
        assert!(
            case(r#""dialect":"cesql","expression":"type = ""#).unwrap_err().starts_with("parse: column ")
        );
    }

    #[test]
    fn what_is_no_case_says_why() {
        for (rest, says) in [
            (r#""dialect":"aws","pattern":{"source":["a"]}"#, "not served yet"),
            (r#""dialect":"alibaba","pattern":"{}""#, "not served yet"),
            (r#""dialect":"regex","filter":"x""#, "there is no dialect `regex`"),
            (r#""dialect":"exact","filter":{"type":1}"#, "string values"),
            (r#""dialect":"all","filter":{"exact":{}}"#, "a list of filters"),
            (r#""dialect":"not","filter":{"exact":{"a":"b"},"prefix":{"a":"b"}}"#, "one key"),
            (r#""dialect":"exact""#, "one of `filter` and `expression`"),
            (r#""dialect":"exact","filter":{"type":"a"},"evnt":1"#, "evnt"),
        ] {
            let error = case(rest).unwrap_err();
            assert!(error.contains(says), "{rest}: {error}");
        }
        let no_event = answer(br#"{"dialect":"exact","filter":{"id":"1"},"event":{"id":"1"}}"#).unwrap_err();
        assert!(no_event.starts_with("event: "), "{no_event}");
    }
}
