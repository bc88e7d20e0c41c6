//! Decode, match and append, each alone.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pelton_event::http::{Options, decode};
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::{Expression, Filter, FilterIndex, Matches};

use crate::report::Report;

/// Nanoseconds of one call, the best of several rounds: the one that was disturbed least.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..15 {
        let mut calls = 0_u32;
        let start = Instant::now();
        while start.elapsed().as_millis() < 20 {
            for _ in 0..64 {
                call();
            }
            calls += 64;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

/// Measures the stages.
pub fn measure(report: &mut Report) {
    decoding(report);
    matching(report);
    crate::append::measure(report);
}

fn headers(structured: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if structured {
        headers.insert("content-type", HeaderValue::from_static("application/cloudevents+json"));
        return headers;
    }
    let values = [
        ("ce-specversion", "1.0"),
        ("ce-id", "0123456789abcdef"),
        ("ce-source", "/bench/source"),
        ("ce-type", "bench.event"),
        ("ce-subject", "subject"),
        ("ce-time", "2026-01-02T03:04:05.678Z"),
        ("ce-partitionkey", "key-17"),
        ("content-type", "application/json"),
        ("host", "127.0.0.1:8080"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
        ("content-length", "1024"),
    ];
    for (name, value) in values {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn decoding(report: &mut Report) {
    let data = format!("{{\"some\":\"{}\"}}", "x".repeat(1013));
    let structured = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef\",\"source\":\"/bench/source\",\"type\":\"bench.event\",\
         \"subject\":\"subject\",\"time\":\"2026-01-02T03:04:05.678Z\",\"partitionkey\":\"key-17\",\
         \"datacontenttype\":\"application/json\",\"data\":{data}}}"
    );
    for (name, headers, body) in [("binary", headers(false), data), ("structured", headers(true), structured)]
    {
        let body = Bytes::from(body);
        let ours = nanoseconds(|| {
            let _ = black_box(decode(black_box(&headers), body.clone(), Options::default()));
        });
        let sdk = nanoseconds(|| {
            let _ = black_box(cloudevents::binding::http::to_event(black_box(&headers), body.to_vec()));
        });
        report.line(
            &format!("decode, {name}, 1 KiB: time per event"),
            format!("{ours:.0} ns"),
            format!("cloudevents-sdk {sdk:.0} ns, {:.1}x", sdk / ours),
            "",
            None,
        );
    }
}

fn event() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [
        ("id", "0123456789abcdef"),
        ("source", "/tenants/7/orders"),
        ("type", "com.example.type-4"),
        ("subject", "subject"),
        ("time", "2026-01-02T03:04:05.678Z"),
        ("datacontenttype", "application/json"),
    ] {
        builder.attribute(name, value, Kind::String).expect("the attributes of a bench are valid");
    }
    builder.build(None).expect("the event of a bench is valid")
}

/// `count` filters, half of them without any equality; 5 match the event (2 of 10).
fn filters(count: u32) -> Vec<(u32, Filter)> {
    let map = |name: &str, value: String| [(name.to_owned(), value)].into_iter().collect();
    (0..count)
        .map(|number| {
            let expression = match number % 4 {
                0 => Expression::Exact(map("type", format!("com.example.type-{number}"))),
                1 => Expression::Prefix(map("source", format!("/other/{number}/"))),
                2 => Expression::Exact(map("type", format!("com.example.other-{number}"))),
                _ => Expression::Cesql(format!("source LIKE '/tenants/{number}/%'")),
            };
            let expression = match number {
                5 => Expression::Prefix(map("source", "/tenants/7/".to_owned())),
                6 if count > 10 => Expression::Suffix(map("source", "/orders".to_owned())),
                9 if count > 10 => Expression::Cesql("subject LIKE 'sub%'".to_owned()),
                _ => expression,
            };
            (number, Filter::compile(&expression).expect("the filters of a bench are valid"))
        })
        .collect()
}

fn matching(report: &mut Report) {
    let event = event();
    for (count, goal_ns) in [(10, 500.0), (10_000, 2_000.0)] {
        let index = FilterIndex::build(filters(count));
        let mut matches = Matches::default();
        let took = nanoseconds(|| index.matches(black_box(&event), &mut matches));
        report.line(
            &format!("match, {count} triggers, half without any equality: time per event"),
            format!("{took:.0} ns"),
            format!("{} match", matches.ids().len()),
            if count == 10 { "under 0.5 us" } else { "under 2 us" },
            Some(took < goal_ns),
        );
    }
}
