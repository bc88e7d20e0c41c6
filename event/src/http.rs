//! The HTTP form of an event (CloudEvents HTTP protocol binding 1.0.2), both ways, as pure functions over headers and body.
//!
//! The content type tells the mode, in any case: `application/cloudevents-batch…` is a batch, `application/cloudevents…` a
//! structured event, everything else binary: attributes in `ce-*` headers, the body is the data.
//!
//! HTTP cannot tell absent data from empty data. An empty body without a content type is no data; with one it is empty data.

use std::borrow::Cow;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::content_mode::ContentMode;
use crate::error::{DecodeError, EventError};
use crate::event::{Event, EventBuilder, Kind, SpecVersion};
use crate::json;
use crate::trace::TraceContext;

mod encode;

#[cfg(test)]
mod tests;

pub use encode::{Mode, encode};

const PREFIX: &str = "ce-";
const NOT_UTF8: &str = "it must be UTF-8 once percent-decoded";
const CONTENT_TYPE_TWICE: &str = "the content type of the data goes into `content-type`";
static SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// How both sides write header values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether `ce-*` values are percent-encoded, as the specification asks (section 3.1.3.2): encoded when written, unquoted
    /// and decoded when read. Switch it off among senders and subscribers that do neither (sdk-go and sdk-java among them): a
    /// literal `%41` of theirs then stays what it is.
    pub percent_encoded: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { percent_encoded: true }
    }
}

/// What a request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// One event, binary or structured.
    One(Event),
    /// A batch, possibly empty; each event is valid.
    Batch(Vec<Event>),
}

/// Reads a request.
///
/// Data is a slice of `body` wherever that holds it as it is.
///
/// # Errors
/// [`DecodeError`], naming the attribute and the rule; in a batch the index as well.
pub fn decode(headers: &HeaderMap, body: Bytes, options: Options) -> Result<Received, DecodeError> {
    match mode(headers)? {
        ContentMode::Batch => json::decode_batch(&body).map(Received::Batch),
        ContentMode::Structured => json::decode(&body).map(Received::One),
        ContentMode::Binary => decode_binary(headers, body, options).map(Received::One),
    }
}

/// Reads the response of a subscriber: `None` is no reply.
///
/// An empty body without `ce-*` headers is no reply, whatever the content type.
///
/// # Errors
/// [`DecodeError`] for a body that is not an event, and for a batch.
pub fn decode_reply(
    headers: &HeaderMap,
    body: Bytes,
    options: Options,
) -> Result<Option<Event>, DecodeError> {
    if body.is_empty() && !has_event_headers(headers) {
        return Ok(None);
    }
    match mode(headers)? {
        ContentMode::Batch => Err(DecodeError::BatchReply),
        ContentMode::Structured => json::decode(&body).map(Some),
        ContentMode::Binary => decode_binary(headers, body, options).map(Some),
    }
}

/// The trace context in the headers `traceparent`, `tracestate` and `baggage`. Several of the last two are one list (W3C
/// Trace Context, section 3.3.1.1; W3C Baggage, section 3.3).
#[must_use]
pub fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(&TRACEPARENT).iter();
    let context = match (parents.next(), parents.next()) {
        (Some(parent), None) => parent
            .to_str()
            .ok()
            .and_then(|parent| TraceContext::parse(parent, &list_of(headers, &TRACESTATE))),
        _ => None,
    };
    TraceContext::with_baggage(context, &list_of(headers, &BAGGAGE))
}

/// The values of all headers `name`, with commas between them.
fn list_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = values.next().unwrap_or_default();
    values.fold(Cow::Borrowed(first), |list, value| Cow::Owned(format!("{list},{value}")))
}

fn mode(headers: &HeaderMap) -> Result<ContentMode, DecodeError> {
    headers.get(CONTENT_TYPE).map_or(Ok(ContentMode::Binary), |value| ContentMode::of(value.as_bytes()))
}

fn has_event_headers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

fn decode_binary(headers: &HeaderMap, body: Bytes, options: Options) -> Result<Event, DecodeError> {
    let version = spec_version(headers)?;
    let mut builder = EventBuilder::new(version);
    let mut has_data = !body.is_empty();
    for (name, value) in headers {
        if let Some(attribute) = name.as_str().strip_prefix(PREFIX) {
            match attribute {
                "specversion" => {}
                "datacontenttype" => return Err(DecodeError::header(name.as_str(), CONTENT_TYPE_TWICE)),
                _ => builder.attribute(attribute, attribute_value(name, value, options)?, Kind::String)?,
            }
        } else if name == CONTENT_TYPE {
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| DecodeError::header(name.as_str(), NOT_UTF8))?;
            builder.attribute("datacontenttype", text, Kind::String)?;
            has_data = true;
        }
    }
    Ok(builder.build(has_data.then_some(body))?)
}

fn spec_version(headers: &HeaderMap) -> Result<SpecVersion, DecodeError> {
    let mut values = headers.get_all(&SPECVERSION).iter();
    let Some(value) = values.next() else {
        let event = has_event_headers(headers);
        return Err(if event {
            EventError::Missing("specversion").into()
        } else {
            DecodeError::NotCloudEvent
        });
    };
    if values.next().is_some() {
        return Err(EventError::Duplicate("specversion".to_owned()).into());
    }
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| DecodeError::header(SPECVERSION.as_str(), NOT_UTF8))?;
    Ok(SpecVersion::parse(text)?)
}

/// The attribute value in a header; borrowed unless something in it is encoded.
fn attribute_value<'a>(
    name: &HeaderName,
    value: &'a HeaderValue,
    options: Options,
) -> Result<Cow<'a, str>, DecodeError> {
    let bytes = value.as_bytes();
    let encoded = bytes.iter().fold(false, |encoded, byte| encoded | matches!(byte, b'%' | b'"'));
    if !encoded || !options.percent_encoded {
        return std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| DecodeError::header(name.as_str(), NOT_UTF8));
    }
    let unquoted = unquoted(bytes);
    // A `%` without two hex digits behind it stays.
    let decoded = percent_decode(&unquoted).collect::<Vec<u8>>();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| DecodeError::header(name.as_str(), NOT_UTF8))
}

/// The content of an RFC 7230 quoted-string; a value that is not one from end to end stays.
fn unquoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(bytes);
    };
    let mut content = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'"' => return Cow::Borrowed(bytes),
            b'\\' => match rest.next() {
                Some(&escaped) => content.push(escaped),
                None => return Cow::Borrowed(bytes),
            },
            _ => content.push(byte),
        }
    }
    Cow::Owned(content)
}
