//! The event as a dead letter sink gets it: the original and why it failed, in the words of Knative.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::error::EventError;
use crate::event::Event;
use crate::limits;
use crate::record::Failure;

/// The destination that failed; always there.
const DESTINATION: &str = "knativeerrordest";
/// The status of its last response; absent without one.
const CODE: &str = "knativeerrorcode";
/// The first 1024 bytes of that response in base64; absent without any.
const DATA: &str = "knativeerrordata";

impl Event {
    /// This event with the extensions that tell a dead letter sink why it failed: `knativeerrordest`, and where there was a
    /// response `knativeerrorcode` and `knativeerrordata`. What an earlier failure left in them is replaced.
    ///
    /// # Errors
    /// [`EventError`] if the event has no room for them, or the destination is no attribute value.
    pub fn dead_letter(&self, failure: &Failure) -> Result<Self, EventError> {
        let code = (failure.status != 0).then(|| failure.status.to_string());
        let body = &failure.body[..failure.body.len().min(limits::FAILURE_BODY_BYTES_MAX)];
        let data = (!body.is_empty()).then(|| BASE64_STANDARD.encode(body));
        self.with(&[
            (DESTINATION, Some(&failure.destination)),
            (CODE, code.as_deref()),
            (DATA, data.as_deref()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{EventBuilder, Kind, SpecVersion};
    use crate::record::DeadLetterReason;

    fn event() -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "1"), ("source", "s"), ("type", "t"), (CODE, "418")] {
            builder.attribute(name, value, Kind::String).unwrap();
        }
        builder.build(Some(Bytes::from_static(b"data"))).unwrap()
    }

    fn extensions(status: u16, body: &[u8]) -> Vec<(String, String)> {
        let failure = Failure {
            reason: DeadLetterReason::Exhausted,
            destination: "http://sink/".into(),
            status,
            message: "".into(),
            body: Bytes::copy_from_slice(body),
        };
        let letter = event().dead_letter(&failure).unwrap();
        assert_eq!(letter.data(), event().data());
        letter.attributes().skip(3).map(|a| (a.name.to_owned(), a.value.text.to_owned())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn unreachable_has_a_destination_only() {
        assert_eq!(extensions(0, b""), pairs(&[(DESTINATION, "http://sink/")]));
    }

    #[test]
    fn a_response_without_a_body_adds_the_code() {
        assert_eq!(extensions(422, b""), pairs(&[(CODE, "422"), (DESTINATION, "http://sink/")]));
    }

    #[test]
    fn a_response_with_a_body_adds_its_first_bytes() {
        assert_eq!(
            extensions(422, b"no"),
            pairs(&[(CODE, "422"), (DESTINATION, "http://sink/"), (DATA, "bm8=")])
        );
        let long = extensions(500, &[7; 2000]);
        assert_eq!(BASE64_STANDARD.decode(&long[2].1).unwrap(), [7; limits::FAILURE_BODY_BYTES_MAX]);
    }
}
