//! `pelton tail`.

use bytes::Bytes;
use clap::Args;
use pelton_filter::{Expression, Filter};
use pelton_resources::Kind;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::show;
use crate::api::admin::{Api, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resources::name;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton tail shop
  pelton tail shop --from earliest --max 10 -o json
  pelton tail shop --filter \"type LIKE 'order.%' AND amount > 100\"")]
pub(crate) struct Arguments {
    /// The broker: NAME or NAMESPACE/NAME
    broker: String,
    /// Where to start: latest, earliest, a time or an offset
    #[arg(long, value_name = "FROM")]
    from: Option<String>,
    /// A CESQL expression; only events that pass are shown
    #[arg(long, value_name = "CESQL")]
    filter: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    max: Option<u64>,
    /// End at the end of the log instead of waiting for more
    #[arg(long)]
    no_follow: bool,
}

/// One line of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    partition: u32,
    /// Not of a partition whose reading failed.
    offset: Option<u64>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    reply_of: Option<String>,
    /// Why the entry cannot be read.
    undecodable: Option<String>,
    /// Why nothing more comes from the partition.
    error: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let broker = name::name(&arguments.broker, &global.namespace)?;
    arguments
        .filter
        .as_deref()
        .map_or_else(Vec::new, warnings)
        .iter()
        .for_each(|warning| output::say(warning));
    let max = arguments.max.map(|max| max.to_string());
    let path = with_query(
        &format!("{}/tail", name::path(Kind::Broker, &broker)),
        &[
            ("from", arguments.from.as_deref()),
            ("filter", arguments.filter.as_deref()),
            ("max", max.as_deref()),
            ("follow", arguments.no_follow.then_some("false")),
        ],
    );
    let mut lines = Api::from_environment()?.lines(&path).await?;
    while let Some(line) = lines.next().await? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        output::line(&shown(global.output, &line)?)?;
    }
    Ok(())
}

/// Attributes of the specification; none is ever a Boolean.
const ATTRIBUTES: [&str; 8] =
    ["id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema"];

/// What is doubtful about a filter. What is wrong with it the server says.
fn warnings(filter: &str) -> Vec<String> {
    if let Some(name) = ATTRIBUTES.iter().find(|name| **name == filter.trim()) {
        let meant = format!(
            "no event passes: `{name}` alone is neither true nor false; write it like {name} = 'value'"
        );
        return vec![format!("warning: --filter: {meant}")];
    }
    let compiled = Filter::compile(&Expression::Cesql(filter.to_owned()));
    let warnings = compiled.iter().flat_map(Filter::warnings);
    warnings.map(|warning| format!("warning: --filter: {warning}")).collect()
}

fn shown(format: Format, line: &[u8]) -> Result<String, Failure> {
    let strange = |what: String| {
        Failure::failed(Some("PEL-1703"), format!("a line of the tail cannot be read: {what}"))
    };
    match format {
        Format::Json => Ok(String::from_utf8_lossy(line).into_owned()),
        Format::Yaml => {
            let value: Value = serde_json::from_slice(line).map_err(|error| strange(error.to_string()))?;
            let event =
                serde_json::from_slice::<Line<'_>>(line).map_err(|error| strange(error.to_string()))?.event;
            Ok(format!("---\n{}", output::yaml_with_event(value, event)?))
        }
        Format::Table => {
            let line: Line<'_> = serde_json::from_slice(line).map_err(|error| strange(error.to_string()))?;
            let place = line.offset.map_or_else(String::new, |offset| format!("/{offset}"));
            let mut note = format!("[{}{place}]", line.partition);
            if let Some(error) = line.error {
                return Ok(format!("{note} nothing more comes from this partition: {error}"));
            }
            if let Some(reason) = line.undecodable {
                return Ok(format!("{note} cannot be decoded: {reason}"));
            }
            if let Some(trigger) = line.reply_of {
                note.push_str(&format!(" reply of {trigger}"));
            }
            let Some(event) = line.event else { return Ok(format!("{note} no event")) };
            let event = pelton_event::json::decode(&Bytes::copy_from_slice(event.get().as_bytes()));
            Ok(show::pretty(&event.map_err(|error| strange(error.to_string()))?, &note))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"partition":3,"offset":4711,"time":"2026-05-01T12:00:00Z","replyOf":"default/paid","event":{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}}"#;

    #[test]
    fn a_filter_that_lets_nothing_pass_is_told() {
        assert!(warnings("type")[0].contains("no event passes"));
        assert_eq!(warnings("1 + 2").len(), 1);
        assert_eq!(warnings("paid"), [""; 0]);
        assert_eq!(warnings("type = 'a'"), [""; 0]);
        assert_eq!(warnings("type ="), [""; 0]);
    }

    #[test]
    fn a_line_in_every_form() {
        let table = shown(Format::Table, LINE.as_bytes()).unwrap();
        assert!(table.starts_with("t  /s  id 1  [3/4711] reply of default/paid\n"), "{table}");
        assert_eq!(shown(Format::Json, LINE.as_bytes()).unwrap(), LINE);
        assert!(shown(Format::Yaml, LINE.as_bytes()).unwrap().contains("offset: 4711"));
        assert!(shown(Format::Table, b"<html>").is_err());
        let odd = LINE.replace(r#"{"a":1}"#, r#"{"n":12345678901234567890123,"a":1.0}"#);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            let shown = shown(format, odd.as_bytes()).unwrap();
            assert!(shown.contains("12345678901234567890123") && shown.contains("1.0"), "{shown}");
        }
    }

    #[test]
    fn a_line_without_an_event_says_why() {
        let failed =
            shown(Format::Table, br#"{"partition":3,"error":"it is gone","code":"PEL-1207"}"#).unwrap();
        assert_eq!(failed, "[3] nothing more comes from this partition: it is gone");
        let spoilt = shown(Format::Table, br#"{"partition":3,"offset":7,"undecodable":"bad sum"}"#).unwrap();
        assert_eq!(spoilt, "[3/7] cannot be decoded: bad sum");
    }
}
