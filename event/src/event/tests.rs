use ::http::header::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::http::{self, Mode, Options};
use crate::record::tests::any_event;
use crate::{Envelope, Record, json, kafka};

fn builder() -> EventBuilder<'static> {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("type", "t"), ("x", "1"), ("source", "/s"), ("id", "i")] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    builder
}

fn pairs(event: &Event) -> Vec<(&str, &str, Kind)> {
    event.attributes().map(|attribute| (attribute.name, attribute.value.text, attribute.value.kind)).collect()
}

#[test]
fn required_attributes_come_first_whatever_their_order() {
    let event = builder().build(None).unwrap();
    let string = Kind::String;
    assert_eq!(
        pairs(&event),
        [("id", "i", string), ("source", "/s", string), ("type", "t", string), ("x", "1", string)]
    );
    assert_eq!(event.attribute("specversion").unwrap().text, "1.0");
    assert_eq!(event.attribute("y"), None);
}

#[test]
fn an_event_that_is_not_whole_is_refused() {
    for (index, name) in REQUIRED.into_iter().enumerate() {
        let mut builder = builder();
        builder.required[index] = None;
        assert_eq!(builder.build(None), Err(EventError::Missing(name)));
    }
    for name in ["id", "x"] {
        let twice = builder().attribute(name, "2", Kind::String);
        assert_eq!(twice, Err(EventError::Duplicate(name.to_owned())));
    }
    let mut many = builder();
    for index in 4..limits::ATTRIBUTES_MAX {
        many.attribute(format!("a{index}"), "", Kind::String).unwrap();
    }
    assert_eq!(many.attribute("last", "", Kind::String), Err(EventError::TooManyAttributes));
    let mut large = builder();
    for index in 0..limits::ATTRIBUTES_BYTES_MAX / limits::ATTRIBUTE_VALUE_BYTES_MAX {
        let value = "a".repeat(limits::ATTRIBUTE_VALUE_BYTES_MAX);
        large.attribute(format!("a{index}"), value, Kind::String).unwrap();
    }
    assert!(matches!(large.build(None), Err(EventError::TooLarge(name)) if name.starts_with('a')));
}

#[test]
fn changes_set_replace_and_remove() {
    let event = builder().build(Some(Bytes::from_static(b"data"))).unwrap();
    let changed = event.with(&[("x", Some("2")), ("y", Some("3")), ("z", None)]).unwrap();
    assert_eq!(pairs(&changed)[3..], [("x", "2", Kind::String), ("y", "3", Kind::String)]);
    assert_eq!(changed.with(&[("y", None), ("x", Some("1"))]).unwrap(), event);
    assert_eq!(event.with(&[("id", None)]), Err(EventError::Missing("id")));
    assert!(event.with(&[("time", Some("noon"))]).is_err());
}

#[test]
fn an_empty_partition_key_is_none() {
    let key = |text| builder().build(None).unwrap().with(&[("partitionkey", text)]).unwrap().partition_key();
    assert_eq!(key(None), None);
    assert_eq!(key(Some("")), None);
    assert_eq!(key(Some("k")).unwrap(), "k");
}

#[test]
fn data_is_not_printed() {
    let event = builder().build(Some(Bytes::from_static(b"secret"))).unwrap();
    let printed = format!("{event:?}");
    assert!(printed.contains("data_bytes: Some(6)") && !printed.contains("secret"), "{printed}");
}

#[test]
fn damaged_parts_are_no_event() {
    let event = builder().build(None).unwrap();
    let bytes = event.attribute_bytes();
    assert_eq!(Event::from_parts(bytes.clone(), None), Some(event.clone()));
    for end in 0..bytes.len() {
        // Cut after `type`, before `x`, it is whole again.
        let whole = end == bytes.len() - ENTRY_HEADER_BYTES - 2;
        assert_eq!(Event::from_parts(bytes.slice(..end), None).is_some(), whole, "{end}");
    }
    let at_name = bytes.len() - 2;
    for (at, byte) in [(0, 2), (1, 3), (at_name, b'X'), (at_name, b'"'), (at_name + 1, 0xFF)] {
        let mut damaged = bytes.to_vec();
        damaged[at] = byte;
        assert_eq!(Event::from_parts(Bytes::from(damaged), None), None, "{at}: {byte}");
    }
}

proptest! {
    #[test]
    fn whatever_is_an_event_can_be_written_in_every_form(
        event in any_event(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = event.attribute_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(event) = Event::from_parts(Bytes::from(bytes), event.data().cloned()) {
            let document = json::encode(&event);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&document).is_ok());
            http::encode(&event, Mode::Binary, Options::default(), &mut HeaderMap::new());
            drop(kafka::encode(&Record::new(Envelope::default(), event)));
        }
    }
}
