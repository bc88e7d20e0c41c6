//! Replies: events that a subscriber answers with, taken into the same broker.

use pelton_event::{DeadLetterReason, Envelope, Event, Failure, Record, Step, Timestamp};
use pelton_event_log::{Partition, partition_of};
use pelton_resources::Destination;

use crate::dead_letter::Place;
use crate::judge::address;

/// The attribute of Knative's loop guard. Pelton counts hops in the envelope; what a subscriber says about them is not heeded.
pub(crate) const HOPS_ATTRIBUTE: &str = "knativebrokerttl";

/// The record of `reply` to the event with the envelope `origin`, and its partition: by its key, else `random` modulo the
/// number of partitions. `None` if it has no hops left.
pub(crate) fn record(
    reply: &Event,
    origin: &Envelope,
    place: Place<'_>,
    now: Timestamp,
    partitions: u32,
    random: u32,
) -> Option<(Partition, Record)> {
    let hops = origin.hops.checked_sub(1).filter(|hops| *hops > 0)?;
    let event = match reply.attribute(HOPS_ATTRIBUTE) {
        // Taking an attribute away cannot make an event invalid.
        Some(_) => reply.with(&[(HOPS_ATTRIBUTE, None)]).unwrap_or_else(|_| reply.clone()),
        None => reply.clone(),
    };
    let mut envelope =
        Envelope::of_event(&event, now, None).with_hops(hops).with_origin(place.origin(Step::Reply));
    if envelope.trace.is_none() {
        envelope.trace.clone_from(&origin.trace);
    }
    let partition = match &envelope.key {
        Some(key) => partition_of(key, partitions),
        None => random % partitions.max(1),
    };
    Some((partition, Record::new(envelope, event)))
}

/// Why the event is a dead letter whose reply has no hops left.
pub(crate) fn loop_failure(destination: &Destination) -> Box<Failure> {
    failure(destination, 200, "the reply has no hops left: replies go round in a loop")
}

/// Why the event is a dead letter that would go to another broker and has no hops left.
pub(crate) fn forward_loop_failure(destination: &Destination) -> Box<Failure> {
    failure(destination, 0, "the event has no hops left: brokers send it round in a loop")
}

fn failure(destination: &Destination, status: u16, message: &str) -> Box<Failure> {
    Box::new(Failure {
        reason: DeadLetterReason::Loop,
        destination: address(destination).into(),
        status,
        message: message.into(),
        body: bytes::Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pelton_event::{EventBuilder, Kind, SpecVersion, TraceContext};

    use super::*;

    const PLACE: Place<'static> = Place { trigger: "ns/t", partition: 2, offset: 9 };

    fn event(more: &[(&str, &str)]) -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")].iter().chain(more) {
            builder.attribute(*name, *value, Kind::String).unwrap();
        }
        builder.build(None).unwrap()
    }

    fn envelope(hops: u8) -> Envelope {
        let trace = TraceContext { parent: "00-origin".into(), ..TraceContext::default() };
        Envelope { trace: Some(trace), hops, ..Envelope::new(Timestamp::from_millis(1)) }
    }

    #[test]
    fn each_reply_has_one_hop_less_and_none_is_a_loop() {
        for (before, after) in [(32, Some(31)), (2, Some(1)), (1, None), (0, None)] {
            let made = record(&event(&[]), &envelope(before), PLACE, Timestamp::from_millis(7), 4, 6);
            assert_eq!(made.map(|(_, record)| record.envelope.hops), after, "{before} hops before");
        }
    }

    #[test]
    fn what_the_subscriber_says_about_hops_is_taken_away() {
        let (_, record) = record(
            &event(&[("knativebrokerttl", "200"), ("x", "y")]),
            &envelope(5),
            PLACE,
            Timestamp::EPOCH,
            4,
            0,
        )
        .unwrap();
        let event = record.event.unwrap();
        assert_eq!(event.attribute("knativebrokerttl"), None);
        assert_eq!(event.attribute("x").unwrap().text, "y");
        assert_eq!(record.envelope.hops, 4);
    }

    #[test]
    fn partition_by_key_else_at_random() {
        let keyed = event(&[("partitionkey", "k1")]);
        let (partition, made) = record(&keyed, &envelope(5), PLACE, Timestamp::EPOCH, 10, 3).unwrap();
        assert_eq!(partition, partition_of(b"k1", 10));
        assert_eq!(made.envelope.key, Some(Bytes::from_static(b"k1")));
        let (partition, made) = record(&event(&[]), &envelope(5), PLACE, Timestamp::EPOCH, 10, 13).unwrap();
        assert_eq!((partition, made.envelope.key), (3, None));
    }

    #[test]
    fn the_trace_goes_on() {
        let (_, made) = record(&event(&[]), &envelope(5), PLACE, Timestamp::EPOCH, 1, 0).unwrap();
        assert_eq!(made.envelope.trace.unwrap().parent, "00-origin".into());
        assert!(matches!(made.envelope.origin.unwrap().step, Step::Reply));
    }
}
