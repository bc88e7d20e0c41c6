//! Event to JSON document.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::value::RawValue;

use crate::event::{Event, Kind, SpecVersion};
use crate::validate::{MediaType, is_integer};

/// The event as one JSON document.
#[must_use]
pub fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.size() + event.size() / 4 + 128);
    push_event(&mut out, event);
    out
}

/// The events as a JSON array.
pub fn encode_batch<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, event) in events.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_event(&mut out, event);
    }
    out.push(b']');
    out
}

fn push_event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"specversion\":");
    push_string(out, event.spec_version().as_str());
    let data = event.data().map(|data| Data::of(event, data));
    let base64_text = event.spec_version() == SpecVersion::V0_3 && matches!(data, Some(Data::Binary(_)));
    for attribute in event.attributes() {
        if base64_text && attribute.name == "datacontentencoding" {
            continue;
        }
        push_member(out, attribute.name);
        let text = attribute.value.text;
        match attribute.value.kind {
            Kind::Integer if is_integer(text) => out.extend_from_slice(text.as_bytes()),
            Kind::Boolean if matches!(text, "true" | "false") => out.extend_from_slice(text.as_bytes()),
            _ => push_string(out, text),
        }
    }
    if base64_text {
        push_member(out, "datacontentencoding");
        push_string(out, "base64");
    }
    match data {
        None => {}
        Some(Data::Json(json)) => {
            push_member(out, "data");
            out.extend_from_slice(json);
        }
        Some(Data::Text(text)) => {
            push_member(out, "data");
            push_string(out, text);
        }
        Some(Data::Binary(bytes)) => {
            push_member(out, if base64_text { "data" } else { "data_base64" });
            push_string(out, &BASE64_STANDARD.encode(bytes));
        }
    }
    out.push(b'}');
}

/// How data is written; the rules are in the module doc of `json`.
enum Data<'a> {
    Json(&'a [u8]),
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Data<'a> {
    fn of(event: &Event, bytes: &'a [u8]) -> Self {
        // A 0.3 event that came in binary mode may hold data that its sender encoded: text, which stays as it is.
        if event.spec_version() == SpecVersion::V0_3 && event.attribute("datacontentencoding").is_some() {
            return std::str::from_utf8(bytes).map_or(Self::Binary(bytes), Self::Text);
        }
        let media_type = event.data_content_type().map(MediaType::parse);
        match media_type {
            None => Self::json(bytes),
            Some(Some(media_type)) if media_type.is_json() => Self::json(bytes),
            Some(Some(media_type)) if media_type.is_utf8_text() => {
                std::str::from_utf8(bytes).map_or(Self::Binary(bytes), Self::Text)
            }
            Some(_) => Self::Binary(bytes),
        }
    }

    fn json(bytes: &'a [u8]) -> Self {
        let valid = serde_json::from_slice::<&RawValue>(bytes).is_ok();
        if valid { Self::Json(bytes) } else { Self::Binary(bytes) }
    }
}

fn push_member(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and a Vec takes every write");
}
