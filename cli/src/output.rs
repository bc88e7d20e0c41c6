//! What commands print: data on standard output, messages on standard error.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document, or one a line where events are printed as they come
    Json,
    /// YAML
    Yaml,
}

/// Prints text as it is, and a line end.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(()),
        // Whoever read our output has seen enough (`pelton tail … | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::failed(None, format!("standard output: {error}"))),
    }
}

/// Says something that is no data.
#[allow(clippy::print_stderr, reason = "messages to people go to standard error")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a value for programs.
pub(crate) fn document(format: Format, value: &impl Serialize) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(None, format!("the answer cannot be written: {error}"))
    };
    match format {
        Format::Table | Format::Json => {
            line(&serde_json::to_string_pretty(value).map_err(|error| failed(&error))?)
        }
        Format::Yaml => {
            let text = serde_saphyr::to_string(value).map_err(|error| failed(&error))?;
            line(text.trim_end())
        }
    }
}

/// A value of an answer in a cell of a table.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// YAML whose member `event` is the text of its JSON, which is YAML as well: the data of an event is never written anew.
pub(crate) fn yaml_with_event(mut value: Value, event: Option<&RawValue>) -> Result<String, Failure> {
    if let (Value::Object(members), Some(_)) = (&mut value, event) {
        members.remove("event");
    }
    let yaml = serde_saphyr::to_string(&value)
        .map_err(|error| Failure::failed(None, format!("the answer cannot be written: {error}")))?;
    Ok(match event {
        Some(event) => format!("{}\nevent: {}", yaml.trim_end(), event.get().replace(['\n', '\r'], " ")),
        None => yaml.trim_end().to_owned(),
    })
}

/// JSON with line ends and indentation, and every key, text and number as it was written.
pub(crate) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut characters = json.trim().chars().filter(|c| !matches!(c, '\n' | '\r')).peekable();
    while let Some(c) = characters.next() {
        if in_text {
            out.push(c);
            in_text = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\t' => {}
            '{' | '[' => {
                out.push(c);
                while characters.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Rows under a header, aligned, without lines between: easy to read, and to `grep`.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(Cell::new));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table.to_string())
}

/// Labels and values, one a line, values aligned; an empty value has no line.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts = facts.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
    sections(vec![(String::new(), facts)])
}

/// A title, and labels with their values under it.
pub(crate) type Section = (String, Vec<(String, String)>);

/// Facts under titles, all values aligned; a section without a title is not indented, one without a value is left out.
pub(crate) fn sections(sections: Vec<Section>) -> String {
    let indent = |title: &str| if title.is_empty() { "" } else { "  " };
    let mut lines: Vec<(String, String)> = Vec::new();
    for (title, facts) in sections {
        let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let mut facts = facts.map(|(label, value)| (format!("{}{label}:", indent(&title)), value)).peekable();
        if facts.peek().is_some() && !title.is_empty() {
            lines.push((format!("{title}:"), String::new()));
        }
        lines.extend(facts);
    }
    let labels = lines.iter().filter(|(_, value)| !value.is_empty()).map(|(label, _)| label.chars().count());
    let width = labels.max().unwrap_or(0) + 2;
    let continued = format!("\n{:width$}", "");
    let line =
        |(label, value): &(String, String)| format!("{label:width$}{}", value.replace('\n', &continued));
    trimmed(&lines.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A time that passed, for people: its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let parts =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let first = parts.iter().position(|(_, amount)| *amount > 0).unwrap_or(parts.len() - 1);
    let shown = parts[first..].iter().take(2).filter(|(_, amount)| *amount > 0 || first == parts.len() - 1);
    shown.map(|(unit, amount)| format!("{amount}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_without_trailing_blanks() {
        let rows = [["orders".to_owned(), "true".to_owned()], ["b".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "READY"], rows), "NAME    READY\norders  true\nb");
    }

    #[test]
    fn json_is_indented_and_not_written_anew() {
        let json = r#"{"n":12345678901234567890123, "b":[1.0,{}, [ ]],"a":"x\" {,\\","a":2}"#;
        let lines = [
            r#"{"#,
            r#"  "n": 12345678901234567890123,"#,
            r#"  "b": ["#,
            r#"    1.0,"#,
            r#"    {},"#,
            r#"    []"#,
            r#"  ],"#,
            r#"  "a": "x\" {,\\","#,
            r#"  "a": 2"#,
            r#"}"#,
        ];
        assert_eq!(indented(json), lines.join("\n"));
        let event = RawValue::from_string(json.to_owned()).unwrap();
        let yaml = yaml_with_event(serde_json::json!({"offset": 1, "event": {}}), Some(&event)).unwrap();
        assert_eq!(yaml, format!("offset: 1\nevent: {json}"));
    }

    #[test]
    fn facts_are_aligned_and_continued_under_their_value() {
        let text =
            facts([("Name", "a".to_owned()), ("Nothing", String::new()), ("Last error", "x\ny".to_owned())]);
        assert_eq!(text, "Name:        a\nLast error:  x\n             y");
    }

    #[test]
    fn sections_share_their_alignment() {
        let of = |title: &str, facts: &[(&str, &str)]| {
            let facts = facts.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
            (title.to_owned(), facts.collect::<Vec<_>>())
        };
        let text = sections(vec![
            of("", &[("Name", "a")]),
            of("Since a very long time ago", &[("Delivered", "1\n2")]),
            of("Nothing", &[("None", "")]),
        ]);
        assert_eq!(text, "Name:         a\nSince a very long time ago:\n  Delivered:  1\n              2");
    }

    #[test]
    fn times_for_people() {
        assert_eq!([0, 59, 60, 61, 3_600, 90_061].map(duration), ["0s", "59s", "1m", "1m1s", "1h", "1d1h"]);
    }
}
