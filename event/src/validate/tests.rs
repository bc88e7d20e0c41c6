use proptest::prelude::*;

use super::*;

fn check(name: &str, value: &str) -> Result<(), EventError> {
    attribute(SpecVersion::V1_0, name, value, Kind::String)
}

fn assert_all(name: &str, valid: &[&str], invalid: &[&str]) {
    for value in valid {
        assert_eq!(check(name, value), Ok(()), "{name}: {value:?}");
    }
    for value in invalid {
        assert!(check(name, value).is_err(), "{name}: {value:?}");
    }
}

#[test]
fn names_are_lower_case_letters_and_digits() {
    for name in ["a", "0", "x1y2", "subject2"] {
        assert_eq!(super::name(name), Ok(()), "{name}");
    }
    let long = "a".repeat(limits::ATTRIBUTE_NAME_BYTES_MAX + 1);
    for name in ["", "A", "a-b", "a_b", "a.b", "é", "specversion", "data", "data_base64", &long] {
        assert!(matches!(super::name(name), Err(EventError::Name(_))), "{name}");
    }
}

#[test]
fn core_attributes_are_non_empty_strings() {
    for name in ["id", "source", "type", "subject", "time", "dataschema", "datacontenttype"] {
        assert_eq!(check(name, ""), Err(EventError::Empty(name.to_owned())));
        let number = attribute(SpecVersion::V1_0, name, "1", Kind::Integer);
        assert_eq!(number, Err(EventError::Value { name: name.to_owned(), rule: NOT_STRING }));
    }
    assert_eq!(check("anything", ""), Ok(()));
}

#[test]
fn strings_have_no_control_characters_and_no_noncharacters() {
    let valid = ["a", " spaces stay ", "é€😀", "\u{FFFD}", "\u{A0}", "%41", "\"quoted\""];
    let invalid =
        ["\0", "a\nb", "\t", "\u{7F}", "\u{85}", "\u{9F}", "\u{FDD0}", "\u{FFFE}", "\u{1FFFF}", "\u{10FFFF}"];
    assert_all("id", &valid, &invalid);
    assert_all("anything", &valid, &invalid);
}

#[test]
fn integers_have_32_bits_and_booleans_two_values() {
    let extension = |value, kind| attribute(SpecVersion::V1_0, "x", value, kind).is_ok();
    for value in ["0", "10", "-1", "2147483647", "-2147483648"] {
        assert!(extension(value, Kind::Integer), "{value}");
    }
    for value in ["", "-", "+1", "01", "-01", "1.0", "1e3", " 1", "2147483648", "-2147483649"] {
        assert!(!extension(value, Kind::Integer), "{value}");
    }
    assert!(extension("true", Kind::Boolean) && extension("false", Kind::Boolean));
    assert!(!extension("TRUE", Kind::Boolean) && !extension("", Kind::Boolean));
}

#[test]
fn time_is_rfc_3339() {
    let valid = [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.000000000Z",
        "2018-04-05T17:31:00.1234567890123+23:59",
        "2018-04-05T18:31:00+01:00",
        "0000-01-01T00:00:00-00:00",
        "2024-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2017-01-01T05:29:60+05:30",
        "2016-12-31T15:59:60.5-08:00",
    ];
    let invalid = [
        "lunchtime",
        "2018-04-05",
        "2018-04-05T18:31Z",
        "2018-04-05T18:31:00",
        "2018-04-05T18:31:00X",
        "2018-04-05 18:31:00Z",
        "2018-04-05T18:31:00.Z",
        "2018-04-05T18:31:00,5Z",
        "2018-04-05T18:31:00+25:00",
        "2018-04-05T18:31:00+01:60",
        "2018-04-05T18:31:00+xx:00",
        "2018-04-05T18:31:00+05",
        "2018-04-05T18:31:00+0100",
        "2018-04-05T18:31:00+001:00",
        "2018-04-05T18:31:00+55555555555:00",
        "2018-04-05T24:00:00Z",
        "2018-04-05T18:60:00Z",
        "2018-04-05T18:31:60Z",
        "2016-12-31T23:59:60+01:00",
        "2018-00-05T18:31:00Z",
        "2018-13-05T18:31:00Z",
        "2018-04-31T18:31:00Z",
        "2018-04-00T18:31:00Z",
        "2023-02-29T18:31:00Z",
        "1900-02-29T18:31:00Z",
        "+018-04-05T18:31:00Z",
        "2018-4-05T18:31:00Z",
        "2018-04-05T18:31:00ZZ",
        " 2018-04-05T18:31:00Z",
        "２018-04-05T18:31:00Z",
    ];
    assert_all("time", &valid, &invalid);
}

#[test]
fn source_is_a_uri_reference() {
    let valid = [
        "https://cloudevents.io",
        "#fragment",
        "//authority/path",
        "/a/b?c=d&e#f",
        "mailto:a@b.c",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "1-555-123-4567",
        "aws.ec2",
        "http://user:pw@[::1]:8080/a",
        "http://host:/",
        "a/b:c",
        "./a:b",
        "/sensors/tn-1234567/alerts",
        "/é/%C3%A9",
        "file:///etc",
        "?q",
        "cloudevents/spec/pull/123",
    ];
    let invalid = [
        "a b",
        "a:b c",
        "1a:b",
        ":a",
        "/a%",
        "/a%4",
        "/a%zz",
        "a#b#c",
        "<a>",
        "{a}",
        "a|b",
        "a\\b",
        "a^b",
        "/[a]",
        "?[",
        "http://[::1",
        "http://[]/",
        "http://[::1]x/",
        "http://a[b]/",
        "http://a:b/",
        "http://a@b@c/",
        "/\u{85}",
        "/\u{FFFE}",
    ];
    assert_all("source", &valid, &invalid);
}

#[test]
fn dataschema_is_a_uri_and_in_0_3_schemaurl_a_reference() {
    assert_all("dataschema", &["https://a/b", "urn:a", "a:"], &["/a", "#b", "a", "1:b", "https://a b"]);
    let old = |name, value| attribute(SpecVersion::V0_3, name, value, Kind::String).is_ok();
    assert!(old("schemaurl", "/a") && old("schemaurl", "https://a/b"));
    assert!(!old("schemaurl", "") && !old("schemaurl", "a b"));
    assert!(old("dataschema", ""), "an extension like any other in 0.3");
    assert_eq!(check("schemaurl", ""), Ok(()), "an extension like any other in 1.0");
}

#[test]
fn datacontentencoding_is_a_token_in_0_3() {
    let old = |value| attribute(SpecVersion::V0_3, "datacontentencoding", value, Kind::String).is_ok();
    assert!(old("base64") && old("BASE64") && old("8bit"));
    assert!(!old("") && !old("base 64"));
    assert_eq!(check("datacontentencoding", "base 64"), Ok(()));
}

#[test]
fn datacontenttype_is_a_media_type() {
    let valid = [
        "application/json",
        "text/plain;charset=UTF-8",
        "text/xml; charset=\"utf-8\"; a=b",
        "application/vnd.a+json ; v=1",
        "multipart/form-data; boundary=\"a;b\\\"c\"",
        "a/b;",
        "a/b; ;c=d",
        "*/*",
    ];
    let invalid = [
        "xyz",
        "/",
        "a/",
        "/b",
        "a/b/c",
        "a b/c",
        "a/b; c",
        "a/b; c=",
        "a/b; =d",
        "a/b; c=\"d",
        "a/b; c=d e",
        "a/b,c/d",
        "é/b",
        "a/b; c=\"\u{1}\"",
    ];
    assert_all("datacontenttype", &valid, &invalid);
}

#[test]
fn media_types_declare_json_and_text() {
    let parse = |text| MediaType::parse(text).unwrap();
    for json in ["application/json", "text/JSON", "application/vnd.a+json; v=1", "application/problem+Json"] {
        assert!(parse(json).is_json(), "{json}");
    }
    for other in ["application/xml", "application/jsonl", "application/json+zip", "text/plain"] {
        assert!(!parse(other).is_json(), "{other}");
    }
    for text in
        ["text/plain", "Text/html; charset=UTF-8", "application/xml", "a/b+xml; x=y; charset=\"us-ascii\""]
    {
        assert!(parse(text).is_utf8_text(), "{text}");
    }
    for other in ["application/octet-stream", "text/plain; charset=iso-8859-1", "image/png"] {
        assert!(!parse(other).is_utf8_text(), "{other}");
    }
}

#[test]
fn a_value_has_a_largest_size() {
    let fits = "a".repeat(limits::ATTRIBUTE_VALUE_BYTES_MAX);
    assert_eq!(check("x", &fits), Ok(()));
    assert_eq!(check("x", &format!("{fits}a")), Err(EventError::TooLarge("x".to_owned())));
}

proptest! {
    #[test]
    fn no_text_makes_a_rule_panic(text in "\\PC*|[a-z:/?#%;=\"\\[\\]@0-9TZ+ .-]{0,60}|\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}.{0,8}") {
        for version in [SpecVersion::V1_0, SpecVersion::V0_3] {
            for name in ["id", "source", "time", "dataschema", "schemaurl", "datacontenttype", "datacontentencoding", "x"] {
                for kind in [Kind::String, Kind::Integer, Kind::Boolean] {
                    drop(attribute(version, name, &text, kind));
                }
            }
        }
        drop(super::name(&text));
    }

    #[test]
    fn every_real_instant_is_a_time(
        date in (0..10_000_u32, 1..13_u32, 1..29_u32),
        clock in (0..24_u32, 0..60_u32, 0..60_u32),
        fraction in "(\\.[0-9]{1,9})?",
        offset in "Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
    ) {
        let ((year, month, day), (hour, minute, second)) = (date, clock);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}");
        prop_assert!(time::is_rfc3339(&text), "{}", text);
    }
}
