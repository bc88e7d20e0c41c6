use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::error::{DecodeError, EventError};
use crate::event::{Event, Kind};
use crate::limits;
use crate::record::tests::any_record;
use crate::record::{Record, Step};

fn header<'a>(name: &'a str, value: &'a str) -> KafkaHeader<'a> {
    KafkaHeader { name, value: Some(value.as_bytes()) }
}

fn required<'a>() -> Vec<KafkaHeader<'a>> {
    vec![
        header("ce_specversion", "1.0"),
        header("ce_id", "1"),
        header("ce_source", "/s"),
        header("ce_type", "t"),
    ]
}

fn read(headers: &[KafkaHeader<'_>], value: Option<&[u8]>) -> Result<Record, DecodeError> {
    decode(KafkaRecord { key: None, value, headers, timestamp: Some(Timestamp::from_millis(7)) })
}

fn read_event(more: &[KafkaHeader<'_>], value: Option<&[u8]>) -> Result<Event, DecodeError> {
    let headers = [required(), more.to_vec()].concat();
    read(&headers, value).map(|record| record.event.unwrap())
}

fn with_borrowed<T>(record: &OwnedKafkaRecord, use_it: impl FnOnce(KafkaRecord<'_>) -> T) -> T {
    let headers: Vec<_> =
        record.headers.iter().map(|(name, value)| KafkaHeader { name, value: Some(value) }).collect();
    use_it(KafkaRecord {
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        timestamp: Some(record.timestamp),
    })
}

#[test]
fn an_event_within_an_event_stays_inside() {
    let json = r#"{"specversion":"1.0","id":"1","source":"s","type":"outer",
        "datacontenttype":"application/cloudevents+json",
        "data":{"specversion":"1.0","id":"2","source":"x","type":"inner"}}"#;
    let event = crate::json::decode(&bytes::Bytes::from(json)).unwrap();
    let record = Record::new(crate::record::Envelope::new(Timestamp::from_millis(7)), event.clone());
    let read = with_borrowed(&encode(&record), decode).unwrap();
    assert_eq!(read.event, Some(event));
}

#[test]
fn a_foreign_event_has_a_plain_envelope() {
    let value = br#"{"a":1}"#;
    let mut headers = required();
    headers.extend([
        header("content-type", "application/json"),
        header("ce_subject", "Euro € 100%20"),
        header("ce_partitionkey", "k"),
        header("ce_knativebrokerttl", "5"),
        header("other", "ignored"),
        header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        KafkaHeader { name: "ce_nothing", value: None },
        KafkaHeader { name: "other", value: None },
    ]);
    let record = read(&headers, Some(value)).unwrap();
    let event = record.event.unwrap();
    assert_eq!(event.attribute("subject").unwrap().text, "Euro € 100%20", "no percent-encoding in Kafka");
    assert_eq!(event.data_content_type(), Some("application/json"));
    assert_eq!(event.data().unwrap(), &value[..]);
    assert_eq!(event.attributes().count(), 6, "null headers and hops are no attributes");
    assert_eq!(record.envelope.hops, 5);
    assert_eq!(record.envelope.time, Timestamp::from_millis(7));
    assert_eq!(record.envelope.key.as_deref(), Some(&b"k"[..]));
    assert!(record.envelope.trace.is_some());
    assert_eq!(record.envelope.origin, None);
}

#[test]
fn a_null_value_is_no_data() {
    assert_eq!(read_event(&[], None).unwrap().data(), None);
    assert_eq!(read_event(&[], Some(b"")).unwrap().data().unwrap(), "");
}

#[test]
fn structured_records_are_read_too() {
    let document = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":1}"#;
    let content_type = header("Content-Type", "application/cloudevents+json; charset=UTF-8");
    let record = read(&[content_type], Some(document)).unwrap();
    assert_eq!(record.event.unwrap().attribute("n").unwrap().kind, Kind::Integer);
    assert_eq!(record.envelope.hops, limits::HOPS_DEFAULT);
    assert!(matches!(read(&[content_type], None), Err(DecodeError::Json(_))));
    for format in ["application/cloudevents+avro", "application/cloudevents-batch+json"] {
        assert_eq!(
            read(&[header("content-type", format)], Some(b"[]")),
            Err(DecodeError::Format(format.into()))
        );
    }
}

#[test]
fn kinds_are_kept_beside_the_attributes() {
    let types = header("pelton_types", "n=integer,b=boolean");
    let event =
        read_event(&[header("ce_n", "1"), header("ce_b", "true"), header("ce_s", "2"), types], None).unwrap();
    let kinds: Vec<_> = event.attributes().skip(3).map(|attribute| attribute.value.kind).collect();
    assert_eq!(kinds, [Kind::Integer, Kind::Boolean, Kind::String]);
    let broken = read_event(&[header("ce_n", "x"), header("pelton_types", "n=integer")], None);
    assert!(matches!(broken, Err(DecodeError::Event(EventError::Value { .. }))));
}

#[test]
fn refusals_name_the_header() {
    assert_eq!(read(&[], None), Err(DecodeError::NotCloudEvent));
    assert_eq!(read(&[header("content-type", "text/plain")], Some(b"x")), Err(DecodeError::NotCloudEvent));
    assert_eq!(read(&required()[1..], None), Err(EventError::Missing("specversion").into()));
    assert_eq!(read_event(&[header("ce_id", "2")], None), Err(EventError::Duplicate("id".into()).into()));
    assert_eq!(
        read_event(&[header("ce_specversion", "1.0")], None),
        Err(EventError::Duplicate("specversion".into()).into())
    );
    let step = header("pelton_step", "retry");
    let origin = [
        header("pelton_trigger", "a/b"),
        header("pelton_partition", "1"),
        header("pelton_offset", "2"),
        header("pelton_attempts", "3"),
        header("pelton_due", "4"),
    ];
    let complete = [&[step][..], &origin].concat();
    assert!(matches!(read(&complete, None).unwrap().envelope.step(), Some(Step::Retry { attempts: 3, .. })));
    for missing in &origin {
        let headers: Vec<_> = complete.iter().copied().filter(|header| header.name != missing.name).collect();
        assert_eq!(read(&headers, None), Err(DecodeError::header(missing.name, "it is missing")));
    }
    for bad in [
        header("pelton_step", "leap"),
        header("pelton_time", "noon"),
        header("pelton_hops", "256"),
        header("pelton_types", "n"),
        header("pelton_types", "n=float"),
        KafkaHeader { name: "pelton_types", value: Some(b"\xff") },
        KafkaHeader { name: "ce_x", value: Some(b"\xff") },
    ] {
        let error = read_event(&[bad], None).unwrap_err();
        assert!(matches!(&error, DecodeError::Header { name, .. } if name == bad.name), "{error:?}");
    }
}

proptest! {
    #[test]
    fn a_record_survives_kafka(record in any_record()) {
        prop_assume!(record.event.is_some() || record.envelope.origin.is_some());
        let encoded = encode(&record);
        prop_assert_eq!(with_borrowed(&encoded, decode), Ok(record));
    }

    #[test]
    fn no_record_makes_it_panic(
        headers in vec(("ce_(id|type|specversion|[a-z]{1,3})|content-type|pelton_(step|types|time|hops|trigger|reason|partition)|traceparent",
            option::of(prop_oneof![vec(any::<u8>(), 0..20), "1\\.0|1|retry|dead-letter|application/cloudevents\\+json".prop_map(String::into_bytes)])), 0..10),
        key in option::of(vec(any::<u8>(), 0..10)),
        value in option::of(vec(any::<u8>(), 0..20)),
    ) {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| KafkaHeader { name, value: value.as_deref() }).collect();
        drop(decode(KafkaRecord { key: key.as_deref(), value: value.as_deref(), headers: &headers, timestamp: None }));
    }
}
