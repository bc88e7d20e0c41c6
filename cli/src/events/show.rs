//! An event for people: one line of what it is, then what it carries.

use pelton_event::Event;
use serde_json::value::RawValue;

use crate::output;

/// Bytes of data that are shown; a terminal is no place for more.
const DATA_BYTES_MAX: usize = 2_000;

/// Several lines: type, source and id with `note` behind them, further attributes, the data.
pub(crate) fn pretty(event: &Event, note: &str) -> String {
    let mut text = format!("{}  {}  id {}", event.event_type(), event.source(), event.id());
    if !note.is_empty() {
        text.push_str("  ");
        text.push_str(note);
    }
    let others: Vec<_> = event
        .attributes()
        .skip(3)
        .map(|attribute| format!("{}={}", attribute.name, attribute.value.text))
        .collect();
    if !others.is_empty() {
        text.push_str("\n  ");
        text.push_str(&others.join("  "));
    }
    if let Some(data) = event.data().filter(|data| !data.is_empty()) {
        for line in data_text(event, data).lines() {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    printable(&text)
}

fn data_text(event: &Event, data: &[u8]) -> String {
    let is_json = event.data_content_type().is_none_or(|kind| kind.contains("json"));
    let json = is_json.then(|| serde_json::from_slice::<&RawValue>(data).ok()).flatten();
    let indented = json.map(|json| output::indented(json.get()));
    let text = match indented {
        Some(text) => text,
        None => match std::str::from_utf8(data) {
            Ok(text) => text.to_owned(),
            Err(_) => return format!("{} bytes that are not text", data.len()),
        },
    };
    match text.char_indices().find(|(index, _)| *index >= DATA_BYTES_MAX) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], data.len()),
    }
}

/// Without control characters: an event must not be able to move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The event as structured JSON on one line, its data as it is.
pub(crate) fn structured(event: &Event) -> Box<RawValue> {
    let document = String::from_utf8(pelton_event::json::encode(event)).unwrap_or_default();
    // A line end in JSON is always between two values.
    RawValue::from_string(document.replace(['\n', '\r'], " ")).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pelton_event::{EventBuilder, Kind, SpecVersion};

    use super::*;

    fn event(data: &'static [u8]) -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "7"), ("source", "/s"), ("type", "t"), ("subject", "ab")] {
            builder.attribute(name, value, Kind::String).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        builder.build(Some(Bytes::from_static(data))).unwrap()
    }

    #[test]
    fn an_event_is_shown_with_its_attributes_and_indented_data() {
        let shown = pretty(&event(br#"{"a":1}"#), "→ 204");
        assert!(shown.starts_with("t  /s  id 7  → 204\n  subject=a"), "{shown}");
        assert!(shown.ends_with("\n  {\n    \"a\": 1\n  }"), "{shown}");
        assert!(pretty(&event(&[0xff, 0]), "").ends_with("2 bytes that are not text"));
    }

    #[test]
    fn an_event_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\n");
    }
}
