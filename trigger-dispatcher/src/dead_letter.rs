//! The event as the dead letter sink gets it, and the record as the dead-letter topic keeps it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pelton_event::{DeadLetterReason, Envelope, Event, Failure, Origin, Record, Step, Timestamp};
use pelton_event_log::{Offset, Partition};

/// Which delivery a record comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The trigger, as `namespace/name`; empty where none is concerned.
    pub trigger: &'a str,
    /// Partition of the events topic.
    pub partition: Partition,
    /// Offset in it.
    pub offset: Offset,
}

impl Place<'_> {
    /// The origin of a record that says `step` about this delivery.
    pub(crate) fn origin(self, step: Step) -> Origin {
        Origin { trigger: self.trigger.into(), partition: self.partition, offset: self.offset, step }
    }
}

/// The event with Knative's extensions that tell why it was not delivered: `knativeerrordest` always, `knativeerrorcode` if
/// there was a response, `knativeerrordata` (base64) if it had a body. Where they do not fit into the event they are left
/// out, the largest first: the event itself always goes.
pub(crate) fn for_sink(event: &Event, failure: &Failure) -> Event {
    let code = (failure.status > 0).then(|| failure.status.to_string());
    let data = (!failure.body.is_empty()).then(|| STANDARD.encode(&failure.body));
    let changes = [
        ("knativeerrordest", Some(&*failure.destination)),
        ("knativeerrorcode", code.as_deref()),
        ("knativeerrordata", data.as_deref()),
    ];
    (1..=changes.len())
        .rev()
        .find_map(|fitting| event.with(&changes[..fitting]).ok())
        .unwrap_or_else(|| event.clone())
}

/// What a dead letter says whose failure nobody remembers.
pub(crate) fn unknown_failure() -> Failure {
    Failure {
        reason: DeadLetterReason::Exhausted,
        destination: "".into(),
        status: 0,
        message: "why it failed is not known any more".into(),
        body: Bytes::new(),
    }
}

/// The record that keeps what nobody took.
pub(crate) fn kept(
    record: &Record,
    place: Place<'_>,
    attempts: u32,
    failure: Box<Failure>,
    now: Timestamp,
) -> Record {
    let step = Step::DeadLetter { attempts, failure };
    Record {
        envelope: Envelope { time: now, origin: Some(place.origin(step)), ..record.envelope.clone() },
        event: record.event.clone(),
    }
}

/// The record that keeps what could not be decoded; where no trigger is concerned, the trigger is empty.
pub(crate) fn undecodable(
    place: Place<'_>,
    topic: &str,
    reason: &str,
    bytes: &Bytes,
    now: Timestamp,
) -> Record {
    let kept = bytes.get(..pelton_event::limits::FAILURE_BODY_BYTES_MAX).unwrap_or(bytes);
    let failure = Failure {
        reason: DeadLetterReason::Undecodable,
        destination: "".into(),
        status: 0,
        message: format!("offset {} of partition {} of {topic}: {reason}", place.offset, place.partition)
            .into(),
        body: Bytes::copy_from_slice(kept),
    };
    let step = Step::DeadLetter { attempts: 0, failure: Box::new(failure) };
    Record::command(Envelope::new(now).with_origin(place.origin(step)))
}

/// The record of a delivery that waits in the retry topic.
pub(crate) fn waiting(
    record: &Record,
    place: Place<'_>,
    attempts: u32,
    due: Timestamp,
    failure: Option<Box<Failure>>,
) -> Record {
    let step = Step::Retry { attempts, due, failure };
    Record {
        envelope: Envelope { origin: Some(place.origin(step)), ..record.envelope.clone() },
        event: record.event.clone(),
    }
}

#[cfg(test)]
mod tests {
    use pelton_event::{EventBuilder, Kind, SpecVersion};

    use super::*;

    fn event(attributes: usize) -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        builder.attribute("id", "1", Kind::String).unwrap();
        builder.attribute("source", "/s", Kind::String).unwrap();
        builder.attribute("type", "t", Kind::String).unwrap();
        for index in 3..attributes {
            builder.attribute(format!("a{index}"), "v", Kind::String).unwrap();
        }
        builder.build(Some(Bytes::from_static(b"data"))).unwrap()
    }

    fn failure(status: u16, body: &'static [u8]) -> Failure {
        Failure {
            reason: DeadLetterReason::Exhausted,
            destination: "http://there/".into(),
            status,
            message: "broken".into(),
            body: Bytes::from_static(body),
        }
    }

    /// The three cases of Knative's own conformance tests.
    #[test]
    fn extensions_tell_what_is_known() {
        let cases = [
            (failure(0, b""), None, None),
            (failure(422, b""), Some("422"), None),
            (failure(422, b"no"), Some("422"), Some("bm8=")),
        ];
        for (failure, code, data) in cases {
            let event = for_sink(&event(3), &failure);
            let text = |name| event.attribute(name).map(|value| value.text);
            assert_eq!(text("knativeerrordest"), Some("http://there/"));
            assert_eq!(text("knativeerrorcode"), code);
            assert_eq!(text("knativeerrordata"), data);
            assert_eq!(event.data().unwrap(), "data");
        }
    }

    #[test]
    fn an_event_without_room_still_goes() {
        let max = pelton_event::limits::ATTRIBUTES_MAX;
        for (attributes, added) in [(max - 3, 3), (max - 2, 2), (max - 1, 1), (max, 0)] {
            let event = for_sink(&event(attributes), &failure(500, b"body"));
            assert_eq!(event.attributes().count(), attributes + added);
        }
    }

    #[test]
    fn a_second_failure_replaces_the_first() {
        let once = for_sink(&event(3), &failure(422, b"no"));
        let twice = for_sink(&once, &failure(0, b""));
        assert_eq!(twice.attribute("knativeerrorcode"), None);
        assert_eq!(twice.attribute("knativeerrordata"), None);
    }

    #[test]
    fn records_name_their_origin() {
        let place = Place { trigger: "ns/t", partition: 3, offset: 7 };
        let record = Record::new(Envelope::new(Timestamp::from_millis(5)), event(3));
        let kept = kept(&record, place, 4, Box::new(failure(500, b"")), Timestamp::from_millis(9));
        assert_eq!(kept.envelope.time, Timestamp::from_millis(9));
        let origin = kept.envelope.origin.unwrap();
        assert_eq!((&*origin.trigger, origin.partition, origin.offset), ("ns/t", 3, 7));
        assert!(matches!(origin.step, Step::DeadLetter { attempts: 4, .. }));
        let waiting = waiting(&record, place, 2, Timestamp::from_millis(50), None);
        assert_eq!(waiting.envelope.time, Timestamp::from_millis(5));
        assert!(matches!(waiting.envelope.step(), Some(Step::Retry { attempts: 2, failure: None, .. })));
        assert_eq!(waiting.event, record.event);
    }
}
