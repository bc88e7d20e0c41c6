//! An event to headers and body, as it is delivered.

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use smallvec::SmallVec;

use super::{Options, PREFIX, SPECVERSION};
use crate::content_mode::ContentMode;
use crate::event::Event;
use crate::json;

/// The form in which an event is delivered (`format` in a delivery spec).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Attributes in headers, data as the body.
    #[default]
    Binary,
    /// One JSON document.
    Structured,
}

/// Space, `"`, `%` and everything outside U+0021–U+007E (HTTP binding, section 3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

static STRUCTURED_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
static VERSIONS: [HeaderValue; 2] = [HeaderValue::from_static("1.0"), HeaderValue::from_static("0.3")];

/// Adds the headers of `event` to `headers` and answers the body.
///
/// Nothing is hidden and nothing rewritten: values are slices of the event's buffer unless they must be percent-encoded,
/// and a binary body is the event's data. Absent data is an empty body. With `options` that encode nothing, what a header
/// cannot hold is encoded all the same.
pub fn encode(event: &Event, mode: Mode, options: Options, headers: &mut HeaderMap) -> Bytes {
    match mode {
        // Binary mode cannot hold an event inside an event: its content type would say structured.
        Mode::Binary if !ContentMode::is_taken_by(event) => encode_binary(event, options, headers),
        Mode::Binary | Mode::Structured => {
            headers.insert(CONTENT_TYPE, STRUCTURED_CONTENT_TYPE.clone());
            Bytes::from(json::encode(event))
        }
    }
}

fn encode_binary(event: &Event, options: Options, headers: &mut HeaderMap) -> Bytes {
    headers.reserve(event.attributes().count() + 1);
    headers.insert(SPECVERSION.clone(), VERSIONS[event.spec_version() as usize].clone());
    for attribute in event.attributes() {
        let text = attribute.value.text.as_bytes();
        if attribute.name == "datacontenttype" {
            let value = header_value(event, text).unwrap_or_else(|| encoded_value(text));
            headers.insert(CONTENT_TYPE, value);
            continue;
        }
        let as_it_is = if options.percent_encoded { needs_no_encoding(text) } else { survives_raw(text) };
        let value = if as_it_is { header_value(event, text) } else { None };
        headers.insert(header_name(attribute.name), value.unwrap_or_else(|| encoded_value(text)));
    }
    event.data().cloned().unwrap_or_default()
}

fn needs_no_encoding(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b'!' | b'#'..=b'$' | b'&'..=b'~'))
}

/// Spaces around a header value belong to the header and not to the value.
fn survives_raw(text: &[u8]) -> bool {
    text.first() != Some(&b' ') && text.last() != Some(&b' ')
}

/// The value as a slice of the event's buffer; `None` if a header cannot hold it.
fn header_value(event: &Event, text: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(event.attribute_bytes().slice_ref(text)).ok()
}

fn encoded_value(text: &[u8]) -> HeaderValue {
    let encoded = percent_encode(text, ENCODED).to_string();
    HeaderValue::try_from(encoded).expect("percent-encoded text is visible ASCII")
}

/// Defines the header of each attribute that most events have, so that its name costs no allocation.
macro_rules! known_headers {
    ($($attribute:literal $constant:ident $header:literal),+ $(,)?) => {
        $(static $constant: HeaderName = HeaderName::from_static($header);)+

        fn known_header(attribute: &str) -> Option<&'static HeaderName> {
            match attribute {
                $($attribute => Some(&$constant),)+
                _ => None,
            }
        }
    };
}

known_headers! {
    "id" ID "ce-id",
    "source" SOURCE "ce-source",
    "type" TYPE "ce-type",
    "time" TIME "ce-time",
    "subject" SUBJECT "ce-subject",
    "dataschema" DATASCHEMA "ce-dataschema",
    "schemaurl" SCHEMAURL "ce-schemaurl",
    "partitionkey" PARTITIONKEY "ce-partitionkey",
    "sequence" SEQUENCE "ce-sequence",
    "traceparent" TRACEPARENT "ce-traceparent",
    "tracestate" TRACESTATE "ce-tracestate",
    "knativearrivaltime" KNATIVEARRIVALTIME "ce-knativearrivaltime",
    "knativebrokerttl" KNATIVEBROKERTTL "ce-knativebrokerttl",
    "knativeerrorcode" KNATIVEERRORCODE "ce-knativeerrorcode",
    "knativeerrordata" KNATIVEERRORDATA "ce-knativeerrordata",
    "knativeerrordest" KNATIVEERRORDEST "ce-knativeerrordest",
}

fn header_name(attribute: &str) -> HeaderName {
    if let Some(known) = known_header(attribute) {
        return known.clone();
    }
    let mut name = SmallVec::<[u8; 64]>::from_slice(PREFIX.as_bytes());
    name.extend_from_slice(attribute.as_bytes());
    HeaderName::from_bytes(&name).expect("attribute names are lower-case letters and digits, 255 at most")
}
