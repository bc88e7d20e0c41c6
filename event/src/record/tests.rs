use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::event::{EventBuilder, Kind, SpecVersion};

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let required = ("[!-~]{1,20}", "[a-z/:.-]{1,20}", "[ -~é€😀]{1,20}").prop_filter(
        "a source is a URI-reference",
        |(_, source, _)| {
            crate::validate::attribute(SpecVersion::V1_0, "source", source, Kind::String).is_ok()
        },
    );
    let extensions = vec(("x[a-z0-9]{1,8}", any_value()), 0..8);
    let version = prop_oneof![Just(SpecVersion::V1_0), Just(SpecVersion::V0_3)];
    let data = option::of(vec(any::<u8>(), 0..200));
    (version, required, extensions, data).prop_map(|(version, (id, source, event_type), extensions, data)| {
        let mut builder = EventBuilder::new(version);
        builder.attribute("id", id, Kind::String).unwrap();
        builder.attribute("source", source, Kind::String).unwrap();
        builder.attribute("type", event_type, Kind::String).unwrap();
        for (name, (text, kind)) in extensions {
            // A name drawn twice is refused: the first stays.
            drop(builder.attribute(name, text, kind));
        }
        builder.build(data.map(Bytes::from)).unwrap()
    })
}

fn any_value() -> impl Strategy<Value = (String, Kind)> {
    prop_oneof![
        "[ -~é€😀%\"]{0,20}".prop_map(|text| (text, Kind::String)),
        any::<i32>().prop_map(|number| (number.to_string(), Kind::Integer)),
        any::<bool>().prop_map(|truth| (truth.to_string(), Kind::Boolean)),
    ]
}

fn any_text() -> impl Strategy<Value = Box<str>> {
    "[ -~é€😀]{0,40}".prop_map(String::into_boxed_str)
}

fn any_failure() -> impl Strategy<Value = Box<Failure>> {
    let reason = proptest::sample::select(DeadLetterReason::ALL.to_vec());
    (reason, any_text(), any::<u16>(), any_text(), vec(any::<u8>(), 0..40)).prop_map(
        |(reason, destination, status, message, body)| {
            Box::new(Failure { reason, destination, status, message, body: Bytes::from(body) })
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Reply),
        (any::<u32>(), any::<u64>(), option::of(any_failure())).prop_map(|(attempts, due, failure)| {
            Step::Retry { attempts, due: Timestamp::from_millis(due), failure }
        }),
        (any::<u32>(), any_failure()).prop_map(|(attempts, failure)| Step::DeadLetter { attempts, failure }),
        any::<u64>().prop_map(|of| Step::Discarded { of }),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(id, from, to)| Step::Replay { id, from, to }),
    ]
}

pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let trace =
        option::of(("[0-9a-f]{32}", "[0-9a-f]{16}", "[a-z=,]{0,30}").prop_filter_map(
            "ids of zeros are no trace",
            |(trace_id, parent_id, state)| {
                TraceContext::parse(&format!("00-{trace_id}-{parent_id}-01"), &state)
            },
        ));
    let trace =
        (trace, "([a-z]=[0-9])?").prop_map(|(trace, baggage)| TraceContext::with_baggage(trace, &baggage));
    let origin = option::of((any_text(), any::<u32>(), any::<u64>(), any_step())).prop_map(|origin| {
        origin.map(|(trigger, partition, offset, step)| Origin { trigger, partition, offset, step })
    });
    let key = option::of(vec(any::<u8>(), 0..40)).prop_map(|key| key.map(Bytes::from));
    (key, any::<u64>(), trace, any::<u8>(), origin, option::of(any_event())).prop_map(
        |(key, time, trace, hops, origin, event)| Record {
            envelope: Envelope { key, time: Timestamp::from_millis(time), trace, hops, origin },
            event,
        },
    )
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut buffer = Vec::new();
    record.encode(&mut buffer);
    buffer
}

fn sample() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    builder.attribute("id", "1", Kind::String).unwrap();
    builder.attribute("source", "/s", Kind::String).unwrap();
    builder.attribute("type", "t", Kind::String).unwrap();
    builder.attribute("partitionkey", "k", Kind::String).unwrap();
    builder.build(Some(Bytes::from_static(b"{}"))).unwrap()
}

proptest! {
    #[test]
    fn a_record_survives_the_log(record in any_record()) {
        let bytes = encoded(&record);
        prop_assert_eq!(bytes.len(), record.encoded_len());
        prop_assert_eq!(Record::decode(Bytes::from(bytes)), Ok(record.clone()));
        prop_assert_eq!(record.detached(), record);
    }

    #[test]
    fn a_cut_record_is_an_error_unless_only_data_is_missing(record in any_record()) {
        let bytes = Bytes::from(encoded(&record));
        let data = record.event.as_ref().and_then(Event::data).map_or(0, Bytes::len);
        for end in 0..bytes.len() {
            let cut = Record::decode(bytes.slice(..end));
            prop_assert_eq!(cut.is_ok(), data > 0 && end >= bytes.len() - data, "{} of {}", end, bytes.len());
        }
    }

    #[test]
    fn a_flipped_bit_never_panics_and_has_one_form(record in any_record(), bit in any::<prop::sample::Index>()) {
        let mut bytes = encoded(&record);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Record::decode(Bytes::from(bytes.clone())) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(encoded(&other), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(mut bytes in vec(any::<u8>(), 0..300), version in 0..3_u8) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Ok(record) = Record::decode(Bytes::from(bytes.clone())) {
            prop_assert_eq!(encoded(&record), bytes);
        }
    }
}

#[test]
fn the_form_of_version_1_is_fixed() {
    let origin = Origin {
        trigger: "ns/t".into(),
        partition: 7,
        offset: 9,
        step: Step::Retry { attempts: 3, due: Timestamp::from_millis(5), failure: None },
    };
    let envelope = Envelope::of_event(&sample(), Timestamp::from_millis(258), None).with_origin(origin);
    #[rustfmt::skip]
    let expected: &[&[u8]] = &[
        &[1, flag::KEY | flag::ORIGIN | flag::EVENT | flag::DATA],
        &[2, 1, 0, 0, 0, 0, 0, 0], &[32],
        &[1, 0, 0, 0], b"k",
        &[4, 0, 0, 0], b"ns/t", &[7, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0],
        &[1, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
        &[46, 0, 0, 0, 0],
        &[0, 2, 1, 0], b"id1", &[0, 6, 2, 0], b"source/s", &[0, 4, 1, 0], b"typet", &[0, 12, 1, 0], b"partitionkeyk",
        b"{}",
    ];
    assert_eq!(encoded(&Record::new(envelope, sample())), expected.concat());
}

#[test]
fn decoding_copies_nothing() {
    let failure = Box::new(Failure {
        reason: DeadLetterReason::Rejected,
        destination: "http://sink/".into(),
        status: 400,
        message: "refused".into(),
        body: Bytes::from_static(b"no"),
    });
    let origin = Origin {
        trigger: "ns/t".into(),
        partition: 1,
        offset: 2,
        step: Step::DeadLetter { attempts: 1, failure },
    };
    let envelope = Envelope::of_event(&sample(), Timestamp::EPOCH, None).with_origin(origin);
    let bytes = Bytes::from(encoded(&Record::new(envelope, sample())));
    let record = Record::decode(bytes.clone()).unwrap();
    let range = bytes.as_ptr_range();
    for part in parts(&record) {
        assert!(range.contains(&part.as_ptr()));
    }
    let detached = record.detached();
    for part in parts(&detached) {
        assert!(!range.contains(&part.as_ptr()));
    }
}

fn parts(record: &Record) -> [&Bytes; 4] {
    let event = record.event.as_ref().unwrap();
    let failure = record.envelope.step().and_then(Step::failure).unwrap();
    [record.envelope.key.as_ref().unwrap(), event.attribute_bytes(), event.data().unwrap(), &failure.body]
}

#[test]
fn damage_is_named() {
    let bytes = encoded(&Record::command(Envelope::default()));
    let decode = |bytes: &[u8]| Record::decode(Bytes::copy_from_slice(bytes));
    assert_eq!(decode(&[]), Err(RecordError::Damaged(0)));
    assert_eq!(decode(&[2]), Err(RecordError::Version(2)));
    assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(RecordError::Damaged(bytes.len())));
    let with_flags = |flags: u8| [&[1, flags], &bytes[2..], &[255; 8]].concat();
    assert_eq!(decode(&with_flags(64)), Err(RecordError::Damaged(1)));
    assert_eq!(decode(&with_flags(flag::DATA)), Err(RecordError::Damaged(1)));
    assert_eq!(decode(&with_flags(flag::KEY)), Err(RecordError::Damaged(11)));
    for flag in [flag::TRACE, flag::BAGGAGE] {
        let empty = [&[1, flag], &bytes[2..], &[0; 8]].concat();
        assert_eq!(decode(&empty), Err(RecordError::Damaged(11)), "what is empty has no flag");
    }
}

#[test]
fn reasons_have_one_word_each() {
    for reason in DeadLetterReason::ALL {
        assert_eq!(DeadLetterReason::parse(reason.as_str()), Some(reason));
        assert_eq!(DeadLetterReason::from_byte(reason as u8), Some(reason));
    }
    assert_eq!(DeadLetterReason::parse("other"), None);
}
