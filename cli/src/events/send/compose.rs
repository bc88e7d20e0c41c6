//! The events to send: from flags, or from a file with what it leaves out filled in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use bytes::Bytes;
use pelton_event::{Event, EventBuilder, EventError, Kind, SpecVersion, json};
use serde_json::value::RawValue;

use super::Arguments;
use crate::failure::Failure;

/// What flags say about events.
#[derive(Debug)]
pub(super) struct Template {
    id: Option<String>,
    /// `source`, `type` and further attributes.
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
    data: Option<Bytes>,
}

impl Template {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let data = arguments.data.as_deref().map(read_data).transpose()?;
        let mut attributes = vec![
            ("source".to_owned(), arguments.source.clone()),
            ("type".to_owned(), arguments.kind.clone()),
        ];
        for text in &arguments.attributes {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Failure::usage(Some("PEL-1708"), format!("--attribute {text}: write it like subject=a"))
            })?;
            attributes.push((name.to_owned(), value.to_owned()));
        }
        let content_type = data.as_ref().map(|data| match &arguments.content_type {
            Some(given) => given.clone(),
            None if serde_json::from_slice::<&RawValue>(data).is_ok() => "application/json".to_owned(),
            None => "text/plain".to_owned(),
        });
        let template = Self { id: arguments.id.clone(), attributes, content_type, data };
        // A mistake in the flags shows before anything is sent.
        template.event().map_err(|error| Failure::usage(Some("PEL-1708"), error.to_string()))?;
        Ok(template)
    }

    fn event(&self) -> Result<Event, EventError> {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        builder.attribute("id", self.id.clone().unwrap_or_else(random_id), Kind::String)?;
        for (name, value) in &self.attributes {
            builder.attribute(name.as_str(), value.as_str(), Kind::String)?;
        }
        if let Some(content_type) = &self.content_type {
            builder.attribute("datacontenttype", content_type.as_str(), Kind::String)?;
        }
        builder.build(self.data.clone())
    }

    /// The event of one line: what it leaves out comes from the flags. An error goes on where the line's number ends.
    fn event_of_line(&self, line: &str) -> Result<Event, String> {
        let object: BTreeMap<String, &RawValue> =
            serde_json::from_str(line).map_err(|error| not_an_object(&error))?;
        let id = random_id();
        let given = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let given: BTreeMap<_, _> = [("specversion", "1.0"), ("id", &id)].into_iter().chain(given).collect();
        let missing: BTreeMap<_, _> =
            given.into_iter().filter(|(name, _)| !object.contains_key(*name)).collect();
        if missing.is_empty() {
            return json::decode(&Bytes::from(line.to_owned())).map_err(|error| format!(": {error}"));
        }
        // What is there stays the text that it is: what is missing goes before it.
        let mut text = serde_json::to_string(&missing).map_err(|error| format!(": {error}"))?;
        text.pop();
        if !object.is_empty() {
            text.push(',');
        }
        text.push_str(line.trim_start().trim_start_matches('{'));
        json::decode(&Bytes::from(text)).map_err(|error| format!(": {error}"))
    }
}

fn not_an_object(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => ": not a JSON object".to_owned(),
        _ => format!(", column {}: not JSON", error.column()),
    }
}

/// The data itself, or with `@` in front the file it is in.
fn read_data(text: &str) -> Result<Bytes, Failure> {
    let Some(path) = text.strip_prefix('@').map(Path::new) else { return Ok(Bytes::from(text.to_owned())) };
    std::fs::read(path).map(Bytes::from).map_err(|error| Failure::file(path, &error))
}

/// 128 random bits: an id must differ from every other of the same source.
fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// There is no next event, and there should be one.
#[derive(Debug)]
pub(super) struct SourceError {
    pub(super) message: String,
    /// The line that is wrong.
    pub(super) line: Option<u64>,
}

/// One event after the other.
pub(super) struct Source {
    template: Template,
    from: From,
}

enum From {
    Flags {
        left: u64,
    },
    /// `is_input`: of standard input, which may not end.
    Lines {
        name: String,
        is_input: bool,
        lines: Lines<Box<dyn BufRead + Send>>,
        number: u64,
    },
}

impl Source {
    pub(super) fn open(template: Template, file: Option<&Path>, count: u64) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self { template, from: From::Flags { left: count } }) };
        let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path).map_err(|error| Failure::file(path, &error))?))
        };
        let is_input = path.as_os_str() == "-";
        let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
        Ok(Self { template, from: From::Lines { name, is_input, lines: reader.lines(), number: 0 } })
    }

    /// How many events there are, where it is known.
    pub(super) fn total(&self) -> Option<u64> {
        match self.from {
            From::Flags { left } => Some(left),
            From::Lines { .. } => None,
        }
    }

    /// How many events are left, the rest of a file read through for it; not known of standard input.
    pub(super) fn left(self) -> Option<u64> {
        match self.from {
            From::Flags { left } => Some(left),
            From::Lines { is_input: true, .. } => None,
            From::Lines { lines, .. } => {
                let rest = lines.map_while(Result::ok).filter(|line| !line.trim().is_empty());
                u64::try_from(rest.count()).ok()
            }
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Event>, SourceError> {
        match &mut self.from {
            From::Flags { left: 0 } => Ok(None),
            From::Flags { left } => {
                *left -= 1;
                let event = self.template.event();
                event.map(Some).map_err(|error| SourceError { message: error.to_string(), line: None })
            }
            From::Lines { name, lines, number, .. } => loop {
                let Some(line) = lines.next() else { return Ok(None) };
                *number += 1;
                let wrong = |what: String| SourceError {
                    message: format!("{name}, line {number}{what}"),
                    line: Some(*number),
                };
                let line = line.map_err(|error| wrong(format!(": {error}")))?;
                if line.trim().is_empty() {
                    continue;
                }
                return self.template.event_of_line(&line).map(Some).map_err(wrong);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template {
            id: None,
            attributes: [("source", "/s"), ("type", "t")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            content_type: Some("application/json".to_owned()),
            data: Some(Bytes::from_static(b"{}")),
        }
    }

    #[test]
    fn every_event_of_a_template_has_its_own_id() {
        let mut source = Source::open(template(), None, 2).unwrap();
        assert_eq!(source.total(), Some(2));
        let (one, two) = (source.next().unwrap().unwrap(), source.next().unwrap().unwrap());
        assert_ne!(one.id(), two.id());
        assert_eq!((one.source(), one.event_type()), ("/s", "t"));
        assert_eq!(one.data_content_type(), Some("application/json"));
        assert!(source.next().unwrap().is_none());
    }

    #[test]
    fn a_line_goes_before_the_flags_and_they_before_the_defaults() {
        let event = template().event_of_line(r#"{"type":"mine","data":[1]}"#).unwrap();
        assert_eq!((event.event_type(), event.source(), event.id().len()), ("mine", "/s", 32));
        assert_eq!(event.data().unwrap(), "[1]");
        let odd = r#"{"n":12345678901234567890123, "b":1.0,"a":{},"a":2}"#;
        let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","#;
        for line in [format!(r#" {{"data":{odd}}}"#), format!(r#"{whole}"data":{odd}}}"#)] {
            assert_eq!(template().event_of_line(&line).unwrap().data().unwrap(), odd);
        }
        assert_eq!(template().event_of_line("{}").unwrap().data(), None);
        assert!(template().event_of_line("[]").is_err());
        assert!(template().event_of_line(r#"{"id":""}"#).is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "{}\n\n{\"id\":1}\n{nothing}\n[]\n{}\n\n{}\n").unwrap();
        let mut source = Source::open(template(), Some(&path), 1).unwrap();
        assert!(source.next().unwrap().is_some());
        for (line, says) in
            [(3, "line 3: "), (4, "line 4, column 2: not JSON"), (5, "line 5: not a JSON object")]
        {
            let error = source.next().unwrap_err();
            assert!(error.line == Some(line) && error.message.contains(says), "{error:?}");
        }
        assert!(source.next().unwrap().is_some());
        assert_eq!(source.left(), Some(1));
    }
}
