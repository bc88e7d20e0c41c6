use proptest::prelude::*;

use super::*;
use crate::record::tests::any_event;

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

/// What senders and subscribers do that know nothing of percent-encoding.
const RAW: Options = Options { percent_encoded: false };

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

fn with_required(pairs: &[(&str, &str)]) -> HeaderMap {
    headers(&[&REQUIRED, pairs].concat())
}

fn one(headers: &HeaderMap, body: &'static [u8]) -> Result<Event, DecodeError> {
    match decode(headers, Bytes::from_static(body), Options::default())? {
        Received::One(event) => Ok(event),
        Received::Batch(events) => panic!("a batch: {events:?}"),
    }
}

fn value(text: &str, options: Options) -> Result<String, DecodeError> {
    match decode(&with_required(&[("ce-x", text)]), Bytes::new(), options)? {
        Received::One(event) => Ok(event.attribute("x").unwrap().text.to_owned()),
        Received::Batch(_) => unreachable!(),
    }
}

/// An event whose data is another event.
const NESTED: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"outer","datacontenttype":"TYPE",
    "data":{"specversion":"1.0","id":"2","source":"x","type":"inner"}}"#;

#[test]
fn an_event_within_an_event_stays_inside() {
    for content_type in ["application/cloudevents+json", "Application/CloudEvents-Batch+JSON"] {
        let event = crate::json::decode(&Bytes::from(NESTED.replace("TYPE", content_type))).unwrap();
        let mut headers = HeaderMap::new();
        let body = encode(&event, Mode::Binary, Options::default(), &mut headers);
        assert_eq!(decode(&headers, body, Options::default()), Ok(Received::One(event)), "{content_type}");
    }
}

#[test]
fn binary_headers_are_attributes_and_the_body_is_the_data() {
    let body = Bytes::from_static(b"<a/>");
    let headers = with_required(&[
        ("host", "example.com"),
        ("Content-Type", "text/xml; charset=utf-8"),
        ("CE-Time", "2018-04-05T03:56:24+01:00"),
        ("ce-partitionkey", "k"),
    ]);
    let Ok(Received::One(event)) = decode(&headers, body.clone(), Options::default()) else { panic!() };
    assert_eq!((event.id(), event.source(), event.event_type()), ("1", "/s", "t"));
    assert_eq!(event.data_content_type(), Some("text/xml; charset=utf-8"));
    assert_eq!(event.attribute("time").unwrap().text, "2018-04-05T03:56:24+01:00");
    assert_eq!(event.attributes().count(), 6);
    assert_eq!(event.data().unwrap().as_ptr(), body.as_ptr());
    assert_eq!(event.partition_key().unwrap(), "k");
}

#[test]
fn the_content_type_tells_empty_data_from_none() {
    assert_eq!(one(&with_required(&[]), b"").unwrap().data(), None);
    assert_eq!(one(&with_required(&[("content-type", "text/plain")]), b"").unwrap().data().unwrap(), "");
    assert_eq!(one(&with_required(&[]), b"x").unwrap().data().unwrap(), "x");
}

#[test]
fn binary_refusals_name_the_attribute() {
    for missing in 0..4 {
        let mut pairs = REQUIRED.to_vec();
        let (name, _) = pairs.remove(missing);
        let error = one(&headers(&pairs), b"").unwrap_err();
        assert!(
            matches!(error, DecodeError::Event(EventError::Missing(n)) if name == format!("ce-{n}")),
            "{error:?}"
        );
    }
    let duplicate = |pairs| one(&with_required(pairs), b"").unwrap_err();
    assert_eq!(duplicate(&[("ce-id", "2")]), EventError::Duplicate("id".into()).into());
    assert_eq!(duplicate(&[("ce-specversion", "1.0")]), EventError::Duplicate("specversion".into()).into());
    assert_eq!(
        duplicate(&[("content-type", "a/b"), ("content-type", "a/b")]),
        EventError::Duplicate("datacontenttype".into()).into()
    );
    for pair in [
        ("ce-datacontenttype", "text/plain"),
        ("ce-my_extension", "a"),
        ("ce-", "a"),
        ("ce-data", "a"),
        ("ce-time", "noon"),
        ("ce-subject", ""),
        ("content-type", "json"),
        ("ce-x", "%00"),
        ("ce-x", "a\tb"),
        ("ce-x", "%ff"),
    ] {
        assert!(one(&with_required(&[pair]), b"").is_err(), "{pair:?}");
    }
    let unknown = headers(&[&[("ce-specversion", "19.0")], &REQUIRED[1..]].concat());
    assert_eq!(one(&unknown, b""), Err(EventError::SpecVersion("19.0".into()).into()));
    assert_eq!(one(&headers(&[("content-type", "text/plain")]), b"x"), Err(DecodeError::NotCloudEvent));
    assert_eq!(one(&headers(&[]), b""), Err(DecodeError::NotCloudEvent));
}

#[test]
fn values_are_unquoted_then_percent_decoded_once() {
    for (text, expected) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%2541", "%41"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("\"a b\"", "a b"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        ("\"%41\"", "A"),
        ("\"a", "\"a"),
        ("a\"b", "a\"b"),
        ("\"a\" \"b\"", "\"a\" \"b\""),
        ("\"a\\\"", "\"a\\\""),
        ("\"", "\""),
        ("\"\"", ""),
        ("raw é€", "raw é€"),
    ] {
        assert_eq!(value(text, Options::default()).as_deref(), Ok(expected), "{text}");
        assert_eq!(value(text, RAW).as_deref(), Ok(text), "{text}");
    }
}

#[test]
fn modes_are_told_by_the_content_type_in_any_case() {
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    for content_type in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"] {
        assert_eq!(one(&headers(&[("content-type", content_type)]), event).unwrap().id(), "1");
    }
    for content_type in
        ["application/cloudevents-batch+json", "APPLICATION/cloudevents-BATCH+json;charset=utf-8"]
    {
        let received = decode(
            &headers(&[("content-type", content_type)]),
            Bytes::from_static(b"[]"),
            Options::default(),
        );
        assert_eq!(received, Ok(Received::Batch(vec![])));
    }
    for content_type in [
        "application/cloudevents",
        "application/cloudevents+xml",
        "application/cloudevents-batch",
        "application/cloudevents+jsonx",
        "application/cloudevents-batch+avro; a=b",
        "application/cloudeventsx",
    ] {
        let error = one(&headers(&[("content-type", content_type)]), event).unwrap_err();
        assert_eq!(error, DecodeError::Format(content_type.to_owned()));
    }
}

#[test]
fn a_reply_is_an_event_or_nothing() {
    let reply = |headers: &HeaderMap, body: &'static [u8]| {
        decode_reply(headers, Bytes::from_static(body), Options::default())
    };
    assert_eq!(reply(&headers(&[]), b""), Ok(None));
    assert_eq!(reply(&headers(&[("content-type", "text/plain")]), b""), Ok(None));
    assert_eq!(reply(&headers(&[("content-type", "application/cloudevents+json")]), b""), Ok(None));
    assert_eq!(reply(&with_required(&[]), b"").unwrap().unwrap().id(), "1");
    assert_eq!(reply(&headers(&[("content-type", "text/plain")]), b"ok"), Err(DecodeError::NotCloudEvent));
    assert_eq!(reply(&headers(&[("ce-id", "1")]), b""), Err(EventError::Missing("specversion").into()));
    assert_eq!(
        reply(&headers(&[("content-type", "application/cloudevents-batch+json")]), b"[]"),
        Err(DecodeError::BatchReply)
    );
    let structured = headers(&[("content-type", "application/cloudevents+json")]);
    assert!(matches!(reply(&structured, b"{}"), Err(DecodeError::Event(_))));
}

#[test]
fn the_trace_is_in_its_headers() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace =
        trace_context(&headers(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]));
    assert_eq!(trace, TraceContext::parse(PARENT, "a=1,b=2"));
    assert!(trace.is_some());
    assert_eq!(trace_context(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)])), None);
    assert_eq!(trace_context(&headers(&[("tracestate", "a=1")])), None);
    assert_eq!(trace_context(&headers(&[("traceparent", "é")])), None);
    let baggage = [("baggage", "a=1"), ("baggage", "b=2;c")];
    let alone = trace_context(&headers(&baggage));
    assert_eq!(alone, TraceContext::with_baggage(None, "a=1,b=2;c"));
    assert!(alone.is_some());
    let both = trace_context(&headers(&[("traceparent", PARENT), baggage[0]]));
    assert_eq!(both, TraceContext::with_baggage(TraceContext::parse(PARENT, ""), "a=1"));
}

#[test]
fn values_are_percent_encoded_where_headers_need_it() {
    let event = one(
        &with_required(&[("ce-x", "Euro%20%E2%82%AC%22%25~!"), ("content-type", "a/b; c=\"d e\"")]),
        b"d",
    );
    let mut out = HeaderMap::new();
    let body = encode(&event.unwrap(), Mode::Binary, Options::default(), &mut out);
    assert_eq!(out["ce-x"], "Euro%20%E2%82%AC%22%25~!");
    assert_eq!(out["content-type"], "a/b; c=\"d e\"");
    assert_eq!(out["ce-specversion"], "1.0");
    assert_eq!((out.len(), body), (6, Bytes::from_static(b"d")));
}

#[test]
fn a_structured_delivery_is_one_document() {
    let mut out = HeaderMap::new();
    let event = one(&with_required(&[]), b"").unwrap();
    let body = encode(&event, Mode::Structured, Options::default(), &mut out);
    assert_eq!(body, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#);
    assert_eq!(out, headers(&[("content-type", "application/cloudevents+json")]));
}

/// What HTTP headers keep of an event: values as strings, and no difference between empty and absent data.
fn as_http_keeps_it(event: &Event) -> Event {
    let mut builder = EventBuilder::new(event.spec_version());
    for attribute in event.attributes() {
        builder.attribute(attribute.name, attribute.value.text, Kind::String).unwrap();
    }
    builder.build(event.data().filter(|data| !data.is_empty()).cloned()).unwrap()
}

#[test]
fn values_that_are_not_encoded_go_out_as_they_came() {
    for text in ["a%41b café", "100%", "\"quoted\"", "%2541", "€ and \"", "plain"] {
        let received = with_required(&[("ce-x", text)]);
        let Ok(Received::One(event)) = decode(&received, Bytes::new(), RAW) else { panic!("{text}") };
        let mut sent = HeaderMap::new();
        encode(&event, Mode::Binary, RAW, &mut sent);
        assert_eq!(sent["ce-x"], received["ce-x"], "{text}");
    }
}

#[test]
fn what_a_header_cannot_hold_is_encoded_in_any_case() {
    for (text, expected) in [(" a", "%20a"), ("a ", "a%20"), (" ", "%20")] {
        let event = crate::json::decode(&Bytes::from(
            NESTED
                .replace("TYPE", "application/json")
                .replace(r#""id":"1""#, &format!(r#""id":"1","x":"{text}""#)),
        ));
        let mut sent = HeaderMap::new();
        encode(&event.unwrap(), Mode::Binary, RAW, &mut sent);
        assert_eq!(sent["ce-x"], expected);
    }
}

proptest! {
    #[test]
    fn an_event_survives_binary_http(event in any_event()) {
        let mut headers = HeaderMap::new();
        let body = encode(&event, Mode::Binary, Options::default(), &mut headers);
        let mut received = match decode(&headers, body, Options::default()) {
            Ok(Received::One(event)) => event,
            other => panic!("{other:?}"),
        };
        let expected = as_http_keeps_it(&event);
        prop_assert_eq!(received.attributes().count(), expected.attributes().count());
        for attribute in expected.attributes() {
            prop_assert_eq!(received.attribute(attribute.name), Some(attribute.value));
        }
        prop_assert_eq!(received.data(), expected.data());
        received = received.detached();
        prop_assert_eq!(received.data(), expected.data());
    }

    #[test]
    fn no_header_or_body_makes_it_panic(
        pairs in proptest::collection::vec(("(ce-)?[a-z_-]{1,8}|ce-specversion|content-type|ce-time", "[ -~é%\"\\\\]{0,30}|1\\.0|application/cloudevents(-batch)?\\+json"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..40),
        percent_encoded in any::<bool>(),
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let (headers, body, options) = (headers(&pairs), Bytes::from(body), Options { percent_encoded });
        drop(decode(&headers, body.clone(), options));
        drop(decode_reply(&headers, body, options));
        drop(trace_context(&headers));
    }
}
