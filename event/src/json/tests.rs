use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::error::{DecodeError, EventError};
use crate::event::{Event, EventBuilder, Kind, SpecVersion};
use crate::limits;
use crate::record::tests::any_event;

fn read(document: &str) -> Result<Event, DecodeError> {
    decode(&Bytes::copy_from_slice(document.as_bytes()))
}

/// A valid document with `members` added, as they are written.
fn document(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
}

fn old_document(members: &str) -> String {
    document(members).replace("1.0", "0.3")
}

fn data_of(members: &str) -> Option<Bytes> {
    read(&document(members)).unwrap().data().cloned()
}

fn written(event: &Event) -> Json {
    serde_json::from_slice(&encode(event)).unwrap()
}

#[test]
fn attributes_keep_text_type_and_order() {
    let event = read(
        &document(r#","z":"\u00e9\n","n":-7,"b":true,"time":"2018-04-05T18:31:00.10+01:00""#)
            .replace("\\n", ""),
    )
    .unwrap();
    assert_eq!(event.spec_version(), SpecVersion::V1_0);
    let attributes: Vec<_> = event
        .attributes()
        .map(|attribute| (attribute.name, attribute.value.text, attribute.value.kind))
        .collect();
    assert_eq!(
        attributes,
        [
            ("id", "1", Kind::String),
            ("source", "/s", Kind::String),
            ("type", "t", Kind::String),
            ("z", "é", Kind::String),
            ("n", "-7", Kind::Integer),
            ("b", "true", Kind::Boolean),
            ("time", "2018-04-05T18:31:00.10+01:00", Kind::String),
        ]
    );
}

#[test]
fn members_come_in_any_order() {
    let event = read(
        r#" {"data":"a","datacontenttype":"text/plain","type":"t","x":1,"source":"/s","dataschema":"/a","id":"1",
            "specversion":"0.3"} "#,
    )
    .unwrap();
    assert_eq!((event.id(), event.source(), event.event_type()), ("1", "/s", "t"));
    assert_eq!(event.data().unwrap(), "a");
    assert_eq!(event.attribute("dataschema").unwrap().text, "/a", "an extension in 0.3");
}

#[test]
fn json_data_keeps_its_bytes() {
    for json in
        [r#"{ "b" : 1.50, "a":[1e400, "\u00e9"], "b":2 }"#, "\"text\"", "12345678901234567890", "null", "[]"]
    {
        assert_eq!(data_of(&format!(r#","data": {json} "#)).unwrap(), json);
        assert_eq!(
            data_of(&format!(r#","data":{json},"datacontenttype":"Application/X+JSON""#)).unwrap(),
            json
        );
    }
}

#[test]
fn data_is_a_slice_of_the_document() {
    for members in [r#","data":{"a":1}"#, r#","datacontenttype":"text/plain","data":"text""#] {
        let body = Bytes::from(document(members));
        let event = decode(&body).unwrap();
        assert!(body.as_ptr_range().contains(&event.data().unwrap().as_ptr()));
    }
}

#[test]
fn the_content_type_that_the_format_implies_is_made_explicit() {
    let content_type = |members| read(&document(members)).unwrap().data_content_type().map(str::to_owned);
    assert_eq!(content_type(r#","data":1"#).as_deref(), Some("application/json"));
    assert_eq!(content_type(r#","data":1,"datacontenttype":null"#).as_deref(), Some("application/json"));
    assert_eq!(content_type(r#","data_base64":"AA==""#), None);
    assert_eq!(content_type(""), None);
}

#[test]
fn text_data_is_unescaped_and_base64_decoded() {
    let text = |json: &str| data_of(&format!(r#","datacontenttype":"text/plain","data":{json}"#));
    assert_eq!(text(r#""a\"\u00e9\n\\""#).unwrap(), "a\"é\n\\");
    assert_eq!(text(r#""""#).unwrap(), "");
    assert_eq!(text("null"), None);
    assert_eq!(data_of(r#","data_base64":"AP8=""#).unwrap(), &[0, 255][..]);
    assert_eq!(data_of(r#","data_base64":"AP8""#).unwrap(), &[0, 255][..], "padding is optional");
    assert_eq!(data_of(r#","data_base64":"""#).unwrap(), "");
    assert_eq!(data_of(r#","data_base64":null"#), None);
    assert_eq!(data_of(""), None);
}

#[test]
fn base64_of_0_3_is_an_encoding_of_data() {
    let event = read(&old_document(r#","data":"AP8=","datacontentencoding":"Base64","x":"y""#)).unwrap();
    assert_eq!(event.data().unwrap(), &[0, 255][..]);
    assert!(event.attribute("datacontentencoding").is_none());
    let document = written(&event);
    assert_eq!(
        document,
        json!({"specversion": "0.3", "id": "1", "source": "/s", "type": "t", "x": "y",
               "datacontentencoding": "base64", "data": "AP8="})
    );
    assert_eq!(read(&document.to_string()), Ok(event));
    for members in [
        r#","data":"a","datacontentencoding":"8bit""#,
        r#","data":1,"datacontentencoding":"base64""#,
        r#","data":"?","datacontentencoding":"base64""#,
        r#","data_base64":"AA==""#,
    ] {
        assert!(read(&old_document(members)).is_err(), "{members}");
    }
}

#[test]
fn refusals_name_attribute_and_rule() {
    let breaks_its_rule = |error: &DecodeError, attribute: &str| match error {
        DecodeError::Event(EventError::Value { name, .. }) => name == attribute,
        _ => false,
    };
    for json in
        ["1.5", "{}", "[]", "2147483648", "-2147483649", "18446744073709551615", "1e3", r#"{"a":{"b":[]}}"#]
    {
        let error = read(&document(&format!(r#","x":{json}"#))).unwrap_err();
        assert!(breaks_its_rule(&error, "x"), "{json}: {error:?}");
    }
    for json in ["25", "{}", "true"] {
        let error = read(&document("").replace(r#""1","#, &format!("{json},"))).unwrap_err();
        assert!(breaks_its_rule(&error, "id"), "{json}: {error:?}");
    }
    let duplicate = |name: &str| Err(DecodeError::Event(EventError::Duplicate(name.to_owned())));
    for (members, name) in [
        (r#","x":1,"x":1"#, "x"),
        (r#","x":null,"x":1"#, "x"),
        (r#","x":1,"x":null"#, "x"),
        (r#","x":null,"x":null"#, "x"),
        (r#","id":null"#, "id"),
        (r#","\u0069d":"1""#, "id"),
        (r#","specversion":"1.0""#, "specversion"),
        (r#","specversion":null"#, "specversion"),
        (r#","data":1,"data":1"#, "data"),
        (r#","data_base64":"","data_base64":"""#, "data_base64"),
        (r#","data_base64":"","data_base64":null"#, "data_base64"),
    ] {
        assert_eq!(read(&document(members)), duplicate(name), "{members}");
    }
    for name in ["MyExtension", "my.extension", "my_extension", ""] {
        for json in ["1", "null"] {
            let error = read(&document(&format!(r#","{name}":{json}"#)));
            assert_eq!(error, Err(EventError::Name(name.to_owned()).into()), "{name}: {json}");
        }
    }
    for members in [
        r#","data":1,"data_base64":"AA==""#,
        r#","data_base64":"!""#,
        r#","data_base64":1"#,
        r#","datacontenttype":"text/plain","data":{}"#,
        r#","datacontenttype":"text/plain","data":"\ud800""#,
        r#","x":"\ud800""#,
        r#","x":"\u0000""#,
    ] {
        assert!(read(&document(members)).is_err(), "{members}");
    }
}

/// `count` members with names of their own.
fn members(count: usize, value: &str) -> String {
    (0..count).map(|number| format!(r#","a{number}":{value}"#)).collect()
}

/// Each is compared with those before it: a document full of them would keep a core busy for minutes.
#[test]
fn members_that_are_null_are_bounded_as_attributes_are() {
    assert_eq!(read(&document(&members(limits::ATTRIBUTES_MAX, "null"))).unwrap().attributes().count(), 3);
    let error = read(&document(&members(limits::ATTRIBUTES_MAX + 1, "null")));
    assert_eq!(error, Err(EventError::TooManyAttributes.into()));
}

#[test]
fn members_before_the_version_are_bounded_as_attributes_are() {
    let early = |count| read(&format!("{{{}}}", &members(count, "1")[1..]));
    assert_eq!(early(limits::ATTRIBUTES_MAX), Err(EventError::Missing("specversion").into()));
    assert_eq!(early(limits::ATTRIBUTES_MAX + 1), Err(EventError::TooManyAttributes.into()));
}

#[test]
fn a_document_is_one_json_object() {
    for text in ["", "[]", "1", "\"a\"", "null", "{", "{}x", "{\"a\"}", "{\"a\":1,}"] {
        assert!(read(text).is_err(), "{text}");
    }
    assert_eq!(read("{}"), Err(EventError::Missing("specversion").into()));
    let error = read(&format!("{} x", document(""))).unwrap_err();
    assert!(error.to_string().contains("trailing characters at line 1"), "{error}");
    let secret = decode(&Bytes::from_static(b"\"secret\"")).unwrap_err();
    assert!(!secret.to_string().contains("secret"), "{secret}");
    let invalid = decode(&Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err();
    assert!(invalid.to_string().contains("byte 6"), "{invalid}");
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(data_of(&format!(r#","data":{deep}"#)).unwrap().len(), deep.len());
    assert!(read(&document(&format!(r#","x":{deep}"#))).is_err());
    assert!(read(&deep).is_err());
    assert!(decode_batch(&Bytes::from(deep)).is_err());
}

#[test]
fn a_batch_is_valid_as_a_whole() {
    let batch = |text: &str| decode_batch(&Bytes::copy_from_slice(text.as_bytes()));
    assert_eq!(batch("[]"), Ok(vec![]));
    let (one, other) = (document(""), old_document(r#","data":"x""#));
    let events = batch(&format!("[{one} , {other}]")).unwrap();
    assert_eq!(events, [read(&one).unwrap(), read(&other).unwrap()]);
    assert_eq!(batch(std::str::from_utf8(&encode_batch(&events)).unwrap()), Ok(events));

    for (text, index) in [
        (format!(r#"[{one},{{"specversion":"0.9"}}]"#), 1),
        (format!(r#"["text",{one}]"#), 0),
        (format!(r#"[{one},{one},{{}}]"#), 2),
        (format!("[{one},{one},]"), 2),
    ] {
        let error = batch(&text).unwrap_err();
        assert!(matches!(error, DecodeError::Batch { index: i, .. } if i == index), "{text}: {error:?}");
    }
    for text in ["", "{}", "1", "[] x", &format!("[{one}] x"), &one] {
        let error = batch(text).unwrap_err();
        assert!(matches!(error, DecodeError::Json(_)), "{text}: {error:?}");
    }
}

fn event_with(version: SpecVersion, content_type: Option<&str>, data: &'static [u8]) -> Event {
    let mut builder = EventBuilder::new(version);
    for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    if let Some(content_type) = content_type {
        builder.attribute("datacontenttype", content_type, Kind::String).unwrap();
    }
    builder.build(Some(Bytes::from_static(data))).unwrap()
}

#[test]
fn data_is_written_as_its_content_type_says() {
    for (content_type, data, member, value) in [
        (Some("application/json"), &b" {\"a\": 1.50} "[..], "data", json!({"a": 1.5})),
        (None, b"[1]", "data", json!([1])),
        (None, b"text", "data_base64", json!("dGV4dA==")),
        (Some("application/json"), b"{", "data_base64", json!("ew==")),
        (Some("application/json"), b"1 2", "data_base64", json!("MSAy")),
        (Some("application/json"), b"\"\xff\"", "data_base64", json!("Iv8i")),
        (Some("application/json"), b"", "data_base64", json!("")),
        (Some("text/plain"), b"a\"\n\xc3\xa9", "data", json!("a\"\né")),
        (Some("text/plain"), b"", "data", json!("")),
        (Some("text/plain"), b"\xff", "data_base64", json!("/w==")),
        (Some("text/plain; charset=iso-8859-1"), b"a", "data_base64", json!("YQ==")),
        (Some("application/xml"), b"<a/>", "data", json!("<a/>")),
        (Some("application/octet-stream"), b"a", "data_base64", json!("YQ==")),
    ] {
        let event = event_with(SpecVersion::V1_0, content_type, data);
        let document = written(&event);
        assert_eq!(document.get(member), Some(&value), "{content_type:?}: {document}");
        assert_eq!(
            document.as_object().unwrap().keys().filter(|key| key.starts_with("data")).count(),
            1 + usize::from(content_type.is_some())
        );
    }
    let raw = encode(&event_with(SpecVersion::V1_0, Some("application/json"), b"{\"a\": 1.50}"));
    assert!(String::from_utf8(raw).unwrap().ends_with(r#""data":{"a": 1.50}}"#));
}

#[test]
fn data_that_a_0_3_sender_encoded_stays_as_it_is() {
    let event = event_with(SpecVersion::V0_3, Some("application/json"), b"AP8=");
    let encoded = event.with(&[("datacontentencoding", Some("base64"))]).unwrap();
    let document = written(&encoded);
    assert_eq!(document["data"], json!("AP8="));
    assert_eq!(document["datacontentencoding"], json!("base64"));
    assert_eq!(read(&document.to_string()).unwrap().data().unwrap(), &[0, 255][..]);
}

proptest! {
    #[test]
    fn an_event_survives_json(event in any_event()) {
        let decoded = decode(&Bytes::from(encode(&event))).unwrap();
        prop_assert_eq!(decoded.data(), event.data());
        let implied = event.data_content_type().is_none() && decoded.data_content_type() == Some("application/json");
        let decoded = if implied { decoded.with(&[("datacontenttype", None)]).unwrap() } else { decoded };
        prop_assert_eq!(decoded, event);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let mut mutated = document(r#","x":null,"n":-1,"data":{"a":["b",1.5,null]}"#).into_bytes();
        let at = cut.index(mutated.len());
        mutated.splice(at..(at + 1), bytes.iter().copied().take(2));
        for body in [Bytes::from(bytes), Bytes::from(mutated)] {
            drop(decode(&body));
            drop(decode_batch(&body));
        }
    }
}

/// The cases of the CloudEvents project: 43 documents and batches, valid and not.
#[test]
fn conformance_data_of_the_json_format() {
    let Some(folder) = std::env::var_os("PELTON_TESTDATA") else {
        let mut stderr = std::io::stderr();
        drop(std::io::Write::write_all(&mut stderr, b"skipped: PELTON_TESTDATA is not set\n"));
        return;
    };
    let folder = PathBuf::from(folder).join("cloudevents-format");
    let mut count = 0;
    for (file, member, valid) in [
        ("valid-events.json", "event", true),
        ("invalid-events.json", "event", false),
        ("valid-batches.json", "batch", true),
        ("invalid-batches.json", "batch", false),
    ] {
        let suite: Json = serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        for case in suite["tests"].as_array().unwrap() {
            let body = Bytes::from(case[member].to_string());
            let events =
                if member == "batch" { decode_batch(&body) } else { decode(&body).map(|event| vec![event]) };
            assert_eq!(events.is_ok(), valid, "{}: {events:?}", case["id"]);
            for event in events.unwrap_or_default() {
                assert_eq!(decode(&Bytes::from(encode(&event))), Ok(event));
            }
            count += 1;
        }
    }
    assert_eq!(count, 43);
}
