//! Small texts with a meaning: durations, amounts of bytes, instants, names.
//!
//! Each reader answers the value or what would be right, as the second half of a sentence.

use std::time::Duration;

use jiff::fmt::temporal::SpanParser;
use pelton_event::Timestamp;

use super::delivery::one_of;
use crate::limits;

const SECONDS_PER_DAY: u64 = 24 * 3600;

/// Reads an ISO-8601 duration (`PT0.2S`). A day is 24 hours; months and years have no fixed length and are refused.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const RIGHT: &str = "write an ISO-8601 duration such as PT0.5S, PT10M or P7D";
    static PARSER: SpanParser = SpanParser::new();
    let span = PARSER.parse_span(text).map_err(|_| format!("is not a duration; {RIGHT}"))?;
    if span.is_negative() {
        return Err(format!("is negative; {RIGHT}"));
    }
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("has years or months, whose length varies; write days (P30D)".into());
    }
    let days = u64::from(span.get_weeks().unsigned_abs()) * 7 + u64::from(span.get_days().unsigned_abs());
    let clock_span = span.weeks(0).days(0);
    let clock =
        jiff::SignedDuration::try_from(clock_span).ok().and_then(|time| Duration::try_from(time).ok());
    let total = clock.and_then(|clock| Duration::from_secs(days * SECONDS_PER_DAY).checked_add(clock));
    total.filter(|total| *total <= limits::DURATION_MAX).ok_or_else(|| "is longer than ten years".into())
}

/// Reads a duration as Go writes them, and so Knative's annotations (`1m30s`, `0.5h`): <https://pkg.go.dev/time#ParseDuration>.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    const RIGHT: &str = "write one such as 30s, 1m30s or 1h";
    if text.starts_with('-') {
        return Err(format!("is negative; {RIGHT}"));
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("is not a duration; {RIGHT}");
    let (mut total, mut rest) = (Duration::ZERO, unsigned);
    while !rest.is_empty() || unsigned.is_empty() {
        let (part, behind) = go_part(rest).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = behind;
    }
    if total > limits::DURATION_MAX { Err("is longer than ten years".into()) } else { Ok(total) }
}

/// Reads a number with its unit from the start of `text`; answers what is behind it as well.
fn go_part(text: &str) -> Option<(Duration, &str)> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, behind) = text.split_at(digits(text));
    let (fraction, behind) = match behind.strip_prefix('.') {
        Some(behind) => behind.split_at(digits(behind)),
        None => ("", behind),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (name, unit) = UNITS.into_iter().find(|(name, _)| behind.starts_with(name))?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Beyond nanoseconds of an hour no digit changes anything.
    let fraction = &fraction[..fraction.len().min(15)];
    let part = match fraction.parse::<u128>() {
        Ok(digits) => digits * u128::from(unit) / 10_u128.pow(u32::try_from(fraction.len()).ok()?),
        Err(_) => 0,
    };
    let nanoseconds = whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)?;
    Some((Duration::from_nanos(nanoseconds), &behind[name.len()..]))
}

/// A duration, if it is one from `min` to `max`.
pub(crate) fn within(duration: Duration, min: Duration, max: Duration) -> Result<Duration, String> {
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("is out of range; write {} to {}", shown(min), shown(max)))
}

/// A bound in its largest whole unit.
fn shown(bound: Duration) -> String {
    match (bound.as_secs(), bound.subsec_millis()) {
        (0, milliseconds) if milliseconds > 0 => format!("{milliseconds}ms"),
        (seconds, _) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, _) if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, _) => format!("{seconds}s"),
    }
}

/// Checks that a duration has no fractions of seconds.
pub(crate) fn whole_seconds(duration: Duration) -> Result<(), String> {
    if duration.subsec_nanos() == 0 {
        Ok(())
    } else {
        Err("has fractions of a second; write whole seconds".into())
    }
}

/// Reads an amount of bytes as Kubernetes writes quantities: `500M`, `10Gi`, `1048576`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
        .unwrap_or((text, 1));
    let amount = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    amount.ok_or_else(|| {
        "is not an amount of bytes; write a whole number with a unit, such as 500Mi or 10Gi".into()
    })
}

/// Reads a boolean of an annotation.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(one_of(other, &["true", "false"])),
    }
}

/// Reads an RFC 3339 instant.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let right = || "is not a point in time; write RFC 3339, such as 2026-05-01T12:00:00Z".to_owned();
    let instant: jiff::Timestamp = text.parse().map_err(|_| right())?;
    u64::try_from(instant.as_millisecond()).map(Timestamp::from_millis).map_err(|_| right())
}

/// Checks a namespace: a DNS-1123 label.
pub(crate) fn namespace(text: &str) -> Result<(), String> {
    if text.len() <= limits::NAMESPACE_MAX && is_label(text) {
        return Ok(());
    }
    Err("is not a namespace; use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends".into())
}

/// Checks the name of a resource: a DNS-1123 subdomain.
pub(crate) fn name(text: &str) -> Result<(), String> {
    if text.len() <= limits::NAME_MAX && text.split('.').all(is_label) {
        return Ok(());
    }
    Err("is not a name; use at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends".into())
}

/// Checks a name that becomes part of a host: a DNS-1035 label.
pub(crate) fn dns_1035(text: &str) -> Result<(), String> {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if begins && text.len() <= limits::LABEL_MAX && is_label(text) {
        return Ok(());
    }
    Err("is not a name; use at most 63 lower-case letters, digits and '-', with a letter at its start and none of '-' at its end"
        .into())
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_without_months() {
        let good = [
            ("PT0.2S", Duration::from_millis(200)),
            ("PT10M", Duration::from_secs(600)),
            ("PT1H30M", Duration::from_secs(5400)),
            ("P7D", Duration::from_secs(7 * 86_400)),
            ("P1W", Duration::from_secs(7 * 86_400)),
            ("P1DT1H", Duration::from_secs(90_000)),
            ("PT0S", Duration::ZERO),
            ("PT90S", Duration::from_secs(90)),
        ];
        for (text, value) in good {
            assert_eq!(duration(text), Ok(value), "{text}");
        }
        let bad = [
            ("10s", "is not a duration"),
            ("", "is not a duration"),
            ("PT", "is not a duration"),
            ("5", "is not a duration"),
            ("-PT5S", "is negative"),
            ("P1M", "has years or months"),
            ("P1Y", "has years or months"),
            ("P4000D", "longer than ten years"),
            ("PT999999999H", "is not a duration"),
        ];
        for (text, why) in bad {
            let error = duration(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn durations_of_knative_are_those_of_go() {
        let good = [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("+5s", Duration::from_secs(5)),
            ("90s", Duration::from_secs(90)),
            ("1m30s", Duration::from_secs(90)),
            ("1h", Duration::from_secs(3600)),
            ("1.5h", Duration::from_secs(5400)),
            (".5s", Duration::from_millis(500)),
            ("1.s", Duration::from_secs(1)),
            ("100ms", Duration::from_millis(100)),
            ("1us2\u{b5}s3\u{3bc}s4ns", Duration::from_nanos(6_004)),
            ("0.3333333333333333333h", Duration::from_nanos(1_199_999_999_999)),
            ("87600h", limits::DURATION_MAX),
        ];
        for (text, value) in good {
            assert_eq!(go_duration(text), Ok(value), "{text}");
        }
        let bad = [
            ("", "is not a duration"),
            ("+", "is not a duration"),
            ("-5s", "is negative"),
            ("5", "is not a duration"),
            ("s", "is not a duration"),
            (".s", "is not a duration"),
            ("5d", "is not a duration"),
            ("5 s", "is not a duration"),
            ("PT5S", "is not a duration"),
            ("5s ", "is not a duration"),
            ("5s-3s", "is not a duration"),
            ("99999999999999999999s", "is not a duration"),
            ("87600h1ns", "is longer than ten years"),
        ];
        for (text, why) in bad {
            let error = go_duration(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn amounts_of_bytes_are_kubernetes_quantities() {
        for (text, value) in
            [("1", 1), ("10Gi", 10 << 30), ("500M", 500_000_000), ("2k", 2_000), ("1Ki", 1024)]
        {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in ["", "Gi", "1.5Gi", "-1", "10GB", "99999999Pi", "1 Gi"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(instant("1970-01-01T00:00:01.5Z"), Ok(Timestamp::from_millis(1_500)));
        assert_eq!(instant("1970-01-01T01:00:00+01:00"), Ok(Timestamp::EPOCH));
        for text in ["yesterday", "2026-05-01", "2026-05-01T12:00:00", "1960-01-01T00:00:00Z"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_dns_1123() {
        for text in ["a", "a-b", "0", "a.b-c.d"] {
            assert!(name(text).is_ok(), "{text}");
        }
        for text in ["", "-a", "a-", "A", "a_b", "a..b", ".a", "a/b", &"a".repeat(254)] {
            assert!(name(text).is_err(), "{text}");
        }
        for text in ["a", "a-1", "z9", &"a".repeat(63)] {
            assert!(dns_1035(text).is_ok(), "{text}");
        }
        for text in ["", "1a", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(dns_1035(text).is_err(), "{text}");
        }
        assert!(namespace("a.b").is_err());
        assert!(namespace(&"a".repeat(63)).is_ok());
        assert!(namespace(&"a".repeat(64)).is_err());
    }
}
