//! What matching costs: one event against 10 and 10,000 triggers, and building the index.
//!
//! `cargo bench -p pelton-filter`. Half of the triggers ask for an equality; the other half only for prefixes, suffixes and
//! `LIKE` patterns. Nothing is asserted about time.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use divan::{AllocProfiler, Bencher, black_box};
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_filter::{Conditions, Expression, Filter, FilterIndex, Matches};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn map(pairs: &[(&str, &str)]) -> Conditions {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The filter of trigger `at`. Teams share event types and differ in their part of the source, as in a large broker.
fn expression(at: usize) -> Expression {
    let (team, kind) = (at / 10, at % 7);
    let event_type = format!("com.example.team{team}.order.v{kind}");
    let source = format!("https://team{team}.example.com/orders/region{kind}");
    match at % 10 {
        0 => Expression::Exact(map(&[("type", &event_type)])),
        1 => Expression::Exact(map(&[("type", &event_type), ("source", &source)])),
        2 => Expression::Attributes(map(&[("type", &event_type), ("subject", "")])),
        3 => Expression::Cesql(format!("type = '{event_type}' AND sequence > 10")),
        4 => Expression::Any(vec![
            Expression::Exact(map(&[("type", &event_type)])),
            Expression::Exact(map(&[("type", &format!("{event_type}.retry"))])),
        ]),
        5 => Expression::Prefix(map(&[("type", &format!("com.example.team{team}."))])),
        6 => Expression::Suffix(map(&[("source", &format!("team{team}.example.com/orders/region{kind}"))])),
        7 => Expression::Cesql(format!("source LIKE 'https://team{team}.%' AND type LIKE '%.v{kind}'")),
        8 => Expression::Cesql(format!("source LIKE '%//team{team}.%/region%'")),
        _ => Expression::All(vec![
            Expression::Prefix(map(&[("subject", &format!("order-{team}-"))])),
            Expression::Not(Box::new(Expression::Suffix(map(&[("type", ".test")])))),
        ]),
    }
}

fn filters(count: usize) -> Vec<(u32, Filter)> {
    (0u32..).zip((0..count).map(|at| Filter::compile(&expression(at)).unwrap())).collect()
}

/// An event of team 0 that five triggers want, whatever their number.
fn event() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [
        ("id", "8f2a7c0e-5d1b-4f0e-9a75-0c6d3b1f6a11"),
        ("source", "https://team0.example.com/orders/region0"),
        ("type", "com.example.team0.order.v0"),
        ("time", "2026-11-24T04:00:00.123Z"),
        ("subject", "order-0-4711"),
        ("datacontenttype", "application/json"),
        ("sequence", "42"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    builder.build(None).unwrap()
}

#[divan::bench(args = [10, 1_000, 10_000])]
fn index_matches(bencher: Bencher<'_, '_>, count: usize) {
    let index = FilterIndex::build(filters(count));
    let event = event();
    let mut matches = Matches::default();
    index.matches(&event, &mut matches);
    println!("{count} triggers: {} match, {} scanned", matches.ids().len(), index.scanned());
    bencher.bench_local(|| {
        index.matches(black_box(&event), &mut matches);
        black_box(matches.ids().len())
    });
}

/// What the index saves: each filter by itself.
#[divan::bench(args = [10, 10_000])]
fn each_filter(bencher: Bencher<'_, '_>, count: usize) {
    let filters = filters(count);
    let event = event();
    bencher.bench_local(|| filters.iter().filter(|(_, filter)| filter.matches(black_box(&event))).count());
}

#[divan::bench(args = [10, 10_000])]
fn build_index(bencher: Bencher<'_, '_>, count: usize) {
    let filters = filters(count);
    bencher.bench_local(|| FilterIndex::build(black_box(&filters).iter().cloned()));
}

#[divan::bench(args = [10_000])]
fn compile_filters(bencher: Bencher<'_, '_>, count: usize) {
    let expressions: Vec<Expression> = (0..count).map(expression).collect();
    bencher.bench_local(|| {
        black_box(&expressions).iter().map(|e| Filter::compile(e).unwrap()).collect::<Vec<_>>()
    });
}

/// The part of matching that is reading the event.
#[divan::bench]
fn walk_attributes(bencher: Bencher<'_, '_>) {
    let event = event();
    bencher.bench_local(|| black_box(&event).attributes().map(|a| a.value.text.len()).sum::<usize>());
}
