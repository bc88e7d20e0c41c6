//! Conversions to and from the event of `cloudevents-sdk`, for programs that already hold one (feature `sdk`).
//!
//! They go through the JSON format, which both know: right for the rim of a program, too slow for its hot path. What the
//! SDK cannot hold is lost on its side: the text of `time` and `dataschema` (it normalises them), the order of attributes,
//! the bytes of JSON data (it keeps the value).

use bytes::Bytes;

use crate::error::DecodeError;
use crate::event::Event;
use crate::json;

/// An event that `cloudevents-sdk` cannot hold: a relative 0.3 `schemaurl`, or JSON data that is nested too deeply.
#[derive(Debug, thiserror::Error)]
#[error("cloudevents-sdk cannot hold this event: {0}")]
pub struct SdkError(#[from] serde_json::Error);

impl TryFrom<&Event> for cloudevents::Event {
    type Error = SdkError;

    fn try_from(event: &Event) -> Result<Self, SdkError> {
        Ok(serde_json::from_slice(&json::encode(event))?)
    }
}

impl TryFrom<&cloudevents::Event> for Event {
    type Error = DecodeError;

    /// The SDK checks less than the specification asks, so that what it holds may be refused here.
    fn try_from(event: &cloudevents::Event) -> Result<Self, DecodeError> {
        let document = serde_json::to_vec(event).map_err(|error| DecodeError::Json(error.to_string()))?;
        json::decode(&Bytes::from(document))
    }
}

#[cfg(test)]
mod tests {
    use ::http::header::HeaderMap;
    use cloudevents::binding::http::to_event;
    use cloudevents::event::{ExtensionValue, SpecVersion as SdkSpecVersion};
    use cloudevents::{AttributesReader, Data, EventBuilder as _, EventBuilderV10};
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Kind, SpecVersion};
    use crate::http::{self, Mode, Options, Received};
    use crate::record::tests::any_event;

    fn data_bytes(data: Option<&Data>) -> Option<Vec<u8>> {
        data.map(|data| Vec::<u8>::try_from(data.clone()).unwrap())
    }

    fn text(value: &ExtensionValue) -> (String, Kind) {
        match value {
            ExtensionValue::String(text) => (text.clone(), Kind::String),
            ExtensionValue::Boolean(truth) => (truth.to_string(), Kind::Boolean),
            ExtensionValue::Integer(number) => (number.to_string(), Kind::Integer),
        }
    }

    /// Both read the same of an event; `kinds` where the form keeps them.
    fn assert_same(theirs: &cloudevents::Event, ours: &Event, kinds: bool) {
        let version = match theirs.specversion() {
            SdkSpecVersion::V10 => SpecVersion::V1_0,
            SdkSpecVersion::V03 => SpecVersion::V0_3,
        };
        assert_eq!(version, ours.spec_version());
        assert_eq!(
            (theirs.id(), &**theirs.source(), theirs.ty()),
            (ours.id(), ours.source(), ours.event_type())
        );
        assert_eq!(theirs.datacontenttype(), ours.data_content_type());
        let extensions = ours.attributes().skip(3).filter(|attribute| attribute.name != "datacontenttype");
        assert_eq!(extensions.clone().count(), theirs.iter_extensions().count());
        for attribute in extensions {
            let (value, kind) = text(theirs.extension(attribute.name).unwrap());
            assert_eq!(value, attribute.value.text);
            assert!(!kinds || kind == attribute.value.kind);
        }
        assert_eq!(data_bytes(theirs.data()), ours.data().map(|data| data.to_vec()));
    }

    /// The SDK neither percent-encodes nor takes a value beyond visible ASCII.
    fn is_plain(event: &Event) -> bool {
        let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'$' | b'&'..=b'~'));
        event.attributes().all(|attribute| plain(attribute.value.text))
    }

    proptest! {
        #[test]
        fn an_event_survives_the_sdk(event in any_event()) {
            // JSON data is compared as a value below; here the SDK would keep another text of it.
            let event = event.with(&[("datacontenttype", Some("application/octet-stream"))]).unwrap();
            let theirs = cloudevents::Event::try_from(&event).unwrap();
            assert_same(&theirs, &event, true);
            let back = Event::try_from(&theirs).unwrap();
            assert_same(&theirs, &back, true);
            prop_assert_eq!(back.data(), event.data());
        }

        #[test]
        fn both_read_binary_http_alike(event in any_event().prop_filter("what the SDK can read", is_plain)) {
            let mut headers = HeaderMap::new();
            let body = http::encode(&event, Mode::Binary, Options::default(), &mut headers);
            let theirs = to_event(&headers, body.to_vec()).unwrap();
            match http::decode(&headers, body, Options::default()) {
                Ok(Received::One(ours)) => assert_same(&theirs, &ours, false),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_event_of_the_sdk_comes_over() {
        let data = serde_json::json!({"a": [1, "b"]});
        let theirs = EventBuilderV10::new()
            .id("1")
            .source("https://example.com/s")
            .ty("t")
            .time("2026-01-31T12:00:00Z")
            .extension("count", 7_i64)
            .data("application/json", data.clone())
            .build()
            .unwrap();
        let ours = Event::try_from(&theirs).unwrap();
        assert_eq!(ours.attribute("count").unwrap().kind, Kind::Integer);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(ours.data().unwrap()).unwrap(), data);
        assert_eq!(cloudevents::Event::try_from(&ours).unwrap(), theirs);
    }

    #[test]
    fn what_the_sdk_lets_pass_may_be_refused() {
        let theirs = EventBuilderV10::new().id("").source("/s").ty("t").build().unwrap();
        assert!(Event::try_from(&theirs).is_err());
    }
}
