//! A structured event, against what `serde_json` says is in the document.
#![no_main]

use std::fmt;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pelton_event::json::decode;
use pelton_event::{DecodeError, Event};
use pelton_fuzz::check_event;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of an object, each as often as it is there.
struct Document<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Document<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Document(members))
    }
}

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
    let mut attributes = document.0.iter().filter(|(name, _)| name != "data");
    attributes.all(|(_, raw)| serde_json::from_str::<Value>(raw.get()).is_ok())
}

fn check_members(event: &Event, document: &Document<'_>) {
    let has = |wanted: &str| document.0.iter().any(|(name, _)| name == wanted);
    for (name, raw) in &document.0 {
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
        assert!(has(attribute.name), "{} comes from nowhere", attribute.name);
    }
    if !has("data") && !has("data_base64") {
        assert_eq!(event.data(), None);
    }
}
