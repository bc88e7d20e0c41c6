//! A structured event, against what `serde_json` says is in the document.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pelton_event::json::decode;
use pelton_event::{DecodeError, Event};
use pelton_fuzz::check_event;
use serde_json::Value;
use serde_json::value::RawValue;

type Document<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let document = serde_json::from_slice::<Document<'_>>(input).ok();
    match decode(&body) {
        Ok(event) => {
            check_members(&event, &document.expect("an event is a JSON object"));
            check_event(&event);
        }
        Err(DecodeError::Json(problem)) => {
            assert!(!document.is_some_and(|document| has_readable_attributes(&document)), "{problem}");
        }
        Err(_) => {}
    }
});

/// Attributes that JSON allows; `data` may hold what only its reader can judge, a number without bounds for instance.
fn has_readable_attributes(document: &Document<'_>) -> bool {
    let mut attributes = document.iter().filter(|(name, _)| *name != "data");
    attributes.all(|(_, raw)| serde_json::from_str::<Value>(raw.get()).is_ok())
}

fn check_members(event: &Event, document: &Document<'_>) {
    for (name, raw) in document {
        if matches!(name.as_str(), "data" | "data_base64" | "datacontentencoding") {
            continue;
        }
        let value: Value = serde_json::from_str(raw.get()).expect("an attribute is a JSON value");
        let text = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let implied = name == "datacontenttype" && text.is_none();
        assert!(implied || event.attribute(name).map(|value| value.text) == text.as_deref(), "{name}");
    }
    let known = event.attributes().filter(|attribute| attribute.name != "datacontenttype");
    for attribute in known {
        assert!(document.contains_key(attribute.name), "{} comes from nowhere", attribute.name);
    }
    if !document.contains_key("data") && !document.contains_key("data_base64") {
        assert_eq!(event.data(), None);
    }
}
