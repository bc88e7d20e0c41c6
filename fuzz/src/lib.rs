//! What several fuzz targets need: messages and events from bytes, and what must be equal of two events.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use pelton_event::http::{self as http_event, Mode, Options, Received};
use pelton_event::kafka::{self, KafkaHeader, KafkaRecord};
use pelton_event::{Envelope, Event, Kind, Record, SpecVersion, Timestamp, json};
use serde_json::value::RawValue;

pub mod filters;

/// A message written as HTTP/1 writes it: lines `name: value`, an empty line, the body. Lines that are no header are left
/// out, and white space around values falls away, as on the way through a connection.
#[must_use]
pub fn message(input: &[u8]) -> (HeaderMap, Bytes) {
    let (lines, body) = lines_and_body(input);
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = value.map(|value| HeaderValue::from_bytes(value.trim_ascii()));
        if let (Ok(name), Some(Ok(value))) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    (headers, Bytes::copy_from_slice(body))
}

/// A name, and the bytes behind the colon if there is one.
pub type Line<'a> = (&'a [u8], Option<&'a [u8]>);

/// The lines before the first empty one, and everything behind that.
#[must_use]
pub fn lines_and_body(mut input: &[u8]) -> (Vec<Line<'_>>, &[u8]) {
    let mut lines = Vec::new();
    while !input.is_empty() {
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (line, rest) = (&input[..end], input.get(end + 1..).unwrap_or_default());
        input = rest;
        if line.is_empty() {
            break;
        }
        lines.push(match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], Some(&line[colon + 1..])),
            None => (line, None),
        });
    }
    (lines, input)
}

/// The headers as a connection hands them to the other side: without white space around values.
#[must_use]
pub fn through_a_connection(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes().trim_ascii());
            (name.clone(), value.expect("part of a header value is one"))
        })
        .collect()
}

/// Everything an event says, its optional attributes by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    version: SpecVersion,
    attributes: Vec<(String, String, Kind)>,
    data: Option<Bytes>,
}

impl Said {
    /// All of it.
    #[must_use]
    pub fn by(event: &Event) -> Self {
        let mut attributes: Vec<_> = event
            .attributes()
            .map(|attribute| {
                (attribute.name.to_owned(), attribute.value.text.to_owned(), attribute.value.kind)
            })
            .collect();
        attributes.sort_by(|left, right| left.0.cmp(&right.0));
        Self { version: event.spec_version(), attributes, data: event.data().cloned() }
    }

    /// What HTTP headers can hold of it: texts only, no white space around a content type (other values are encoded), and
    /// data is absent exactly where it is empty without a content type.
    #[must_use]
    pub fn in_http(mut self) -> Self {
        for (name, text, kind) in &mut self.attributes {
            *kind = Kind::String;
            if name == "datacontenttype" {
                *text = text.trim_ascii().to_owned();
            }
        }
        let data = self.data.take().unwrap_or_default();
        let has_type = self.has("datacontenttype");
        self.data = (has_type || !data.is_empty()).then_some(data);
        self
    }

    /// What a JSON document holds of it: JSON data without white space around it, and with the content type that the format
    /// implies.
    #[must_use]
    pub fn in_json(mut self) -> Self {
        let Some(data) = &self.data else { return self };
        let is_json = serde_json::from_slice::<&RawValue>(data).is_ok();
        if !self.has("datacontenttype") && is_json {
            let implied = ("datacontenttype".to_owned(), "application/json".to_owned(), Kind::String);
            self.attributes.push(implied);
            self.attributes.sort_by(|left, right| left.0.cmp(&right.0));
        }
        if is_json && self.is_under_json() {
            let trimmed = data.trim_ascii();
            self.data = Some(data.slice_ref(trimmed));
        }
        self
    }

    fn has(&self, wanted: &str) -> bool {
        self.attributes.iter().any(|(name, ..)| name == wanted)
    }

    fn is_under_json(&self) -> bool {
        self.attributes.iter().any(|(name, text, _)| {
            let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            name == "datacontenttype" && (essence.ends_with("/json") || essence.ends_with("+json"))
        })
    }
}

/// Whether the event is in version 0.3 and says that its data is encoded: such data is decoded where JSON is read and kept
/// where it came in binary mode, so that the two forms differ on purpose.
#[must_use]
pub fn is_encoded_0_3(event: &Event) -> bool {
    event.spec_version() == SpecVersion::V0_3 && event.attribute("datacontentencoding").is_some()
}

/// Checks what holds for every event that Pelton took, whichever way it came: it stays itself in each form that Pelton
/// writes.
pub fn check_event(event: &Event) {
    assert_eq!(
        Event::from_parts(event.attribute_bytes().clone(), event.data().cloned()).as_ref(),
        Some(event)
    );
    assert_eq!(event.detached(), *event);
    for name in ["id", "source", "type", "specversion"] {
        assert!(event.attribute(name).is_some_and(|value| !value.text.is_empty()), "{name}");
    }
    check_http_binary(event);
    check_json(event);
    check_kafka(event);
}

fn check_http_binary(event: &Event) {
    let mut headers = HeaderMap::new();
    let body = http_event::encode(event, Mode::Binary, Options::default(), &mut headers);
    let headers = through_a_connection(&headers);
    let Ok(Received::One(back)) = http_event::decode(&headers, body, Options::default()) else {
        panic!("not one event: {headers:?}");
    };
    assert_eq!(Said::by(&back).in_http(), Said::by(event).in_http());
}

fn check_json(event: &Event) {
    if is_encoded_0_3(event) {
        return;
    }
    let document = Bytes::from(json::encode(event));
    let back = json::decode(&document).expect("what is written can be read");
    assert_eq!(Said::by(&back), Said::by(event).in_json());
    // From then on it stays the same, byte for byte.
    let document = Bytes::from(json::encode(&back));
    assert_eq!(json::decode(&document).as_ref(), Ok(&back));
}

fn check_kafka(event: &Event) {
    let envelope = Envelope::of_event(event, Timestamp::from_millis(7), None).with_hops(3);
    check_record(&Record::new(envelope, event.clone()));
}

/// Checks that a record is the same once it was written to the log or to Kafka and read back.
pub fn check_record(record: &Record) {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(Record::decode(Bytes::from(bytes)).as_ref(), Ok(record));

    let written = kafka::encode(record);
    let headers: Vec<_> =
        written.headers.iter().map(|(name, value)| KafkaHeader { name, value: Some(value) }).collect();
    let read = kafka::decode(KafkaRecord {
        key: written.key.as_deref(),
        value: written.value.as_deref(),
        headers: &headers,
        timestamp: Some(written.timestamp),
    });
    let read = read.unwrap_or_else(|error| panic!("{error}: {written:?}"));
    assert_eq!(read.envelope, record.envelope);
    // The content type is read last, wherever it stood.
    assert_eq!(read.event.as_ref().map(Said::by), record.event.as_ref().map(Said::by));
}
