//! Producers, subscribers and dead letter sinks of the simulation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use pelton_event::{Envelope, Event, EventBuilder, Kind, Record, SpecVersion, Timestamp};
use pelton_event_log::Content;
use pelton_filter::{Expression, Filter};
use pelton_resources::contracts::{Outcome, Response};
use pelton_resources::{
    BackoffPolicy, DeliveryFormat, DeliveryPolicy, Destination, NamespacedName, Order, Readiness, Start,
    Trigger,
};

/// How somebody answers for a while.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Works,
    Replies,
    Flaky,
    Fails,
    Overloaded,
    Hangs,
}

/// How somebody answers over time; works once the script is over.
#[derive(Debug, Clone)]
pub(super) struct Script {
    parts: Vec<(u64, Mode)>,
    /// Afterwards.
    last: Mode,
    /// One in so many events is refused for ever; 0: none.
    poison: u64,
    latency: u64,
}

impl Script {
    pub(super) fn random(rng: &mut Rng, until: u64, replies: bool) -> Self {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < until && rng.u8(..4) > 0 {
            at += rng.u64(1..=until / 2);
            let modes = [Mode::Works, Mode::Flaky, Mode::Fails, Mode::Overloaded, Mode::Hangs, Mode::Replies];
            parts.push((at.min(until), modes[rng.usize(..if replies { 6 } else { 5 })]));
        }
        let last = if replies && rng.bool() { Mode::Replies } else { Mode::Works };
        Self { parts, last, poison: [0, 0, 7, 13][rng.usize(..4)], latency: [1, 5, 50, 400][rng.usize(..4)] }
    }

    /// How long an attempt at `now` takes, and what comes of it.
    pub(super) fn answer(&self, now: u64, event: &Event, timeout: Duration, rng: &mut Rng) -> (u64, Outcome) {
        let mode = self.parts.iter().find(|(until, _)| now < *until).map_or(self.last, |(_, mode)| *mode);
        let latency = rng.u64(..=self.latency);
        let response = |status| Response {
            status,
            retry_after: None,
            reply: Ok(None),
            body: Bytes::from_static(b"said"),
        };
        let number: u64 =
            event.id().bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        if self.poison > 0 && number.is_multiple_of(self.poison) {
            return (latency, Outcome::Response(response(400)));
        }
        let retry_after = Some(Duration::from_millis(rng.u64(..20_000)));
        let outcome = match mode {
            Mode::Works => Outcome::Response(response([200, 202, 204][rng.usize(..3)])),
            Mode::Replies if rng.u8(..20) == 0 => {
                Outcome::Response(Response { reply: Err("no id".into()), ..response(200) })
            }
            Mode::Replies => {
                Outcome::Response(Response { reply: Ok(Some(reply(event, rng))), ..response(200) })
            }
            Mode::Flaky if rng.bool() => Outcome::Response(response(200)),
            Mode::Flaky => Outcome::Response(response(500)),
            Mode::Fails => match rng.u8(..3) {
                0 => Outcome::Unreachable { message: "refused".into() },
                1 => Outcome::Response(response(404)),
                _ => Outcome::Response(response(500)),
            },
            Mode::Overloaded => {
                Outcome::Response(Response { retry_after, ..response([429, 503][rng.usize(..2)]) })
            }
            Mode::Hangs => return (u64::try_from(timeout.as_millis()).unwrap(), Outcome::TimedOut),
        };
        (latency, outcome)
    }
}

fn reply(to: &Event, rng: &mut Rng) -> Event {
    let id = format!("{}-{}", to.id(), rng.u32(..1_000_000));
    let key = ["k0", "k1", "k2", ""][rng.usize(..4)];
    // One in a while is larger than the log takes.
    let size = if rng.u8(..40) == 0 { super::world::RECORD_BYTES_MAX } else { 5 };
    event(&id, "b", key, size)
}

pub(super) fn event(id: &str, of_type: &str, key: &str, size: usize) -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", id), ("source", "/s"), ("type", of_type)] {
        builder.attribute(name, value, Kind::String).unwrap();
    }
    if !key.is_empty() {
        builder.attribute("partitionkey", key, Kind::String).unwrap();
    }
    builder.build(Some(Bytes::from(vec![1; size]))).unwrap()
}

/// What somebody publishes.
pub(super) fn content(number: u64, now: Timestamp, rng: &mut Rng) -> Content {
    if rng.u8(..50) == 0 {
        return Content::Undecodable { reason: "damaged".into(), bytes: Bytes::from_static(b"xyz") };
    }
    let key = ["k0", "k1", "k2", ""][rng.usize(..4)];
    let size = if rng.u8(..8) == 0 { 3_000 } else { 10 };
    let event = event(&format!("e{number}"), ["a", "b"][rng.usize(..2)], key, size);
    let envelope = Envelope::of_event(&event, now, None).with_hops(rng.u8(1..4));
    Content::Record(Record::new(envelope, event))
}

pub(super) fn policy(rng: &mut Rng) -> DeliveryPolicy {
    let sink = rng.bool().then(|| Destination::Uri("http://sink/".into()));
    DeliveryPolicy {
        retry: rng.u32(..5),
        backoff_policy: [BackoffPolicy::Linear, BackoffPolicy::Exponential][rng.usize(..2)],
        backoff_delay: Duration::from_millis([0, 50, 500, 4_000][rng.usize(..4)]),
        backoff_max: Duration::from_secs(10),
        retry_after_max: Duration::from_secs([0, 15][rng.usize(..2)]),
        timeout: Duration::from_millis(rng.u64(100..8_000)),
        format: DeliveryFormat::Binary,
        dead_letter_sink: sink,
    }
}

pub(super) fn trigger(number: usize, rng: &mut Rng) -> Trigger {
    let only = |of_type: &str| {
        let exact = Expression::Exact([("type".to_owned(), of_type.to_owned())].into_iter().collect());
        Filter::compile(&exact).unwrap()
    };
    let filter = match rng.u8(..3) {
        0 => only("a"),
        1 => only("b"),
        _ => Filter::everything(),
    };
    let subscriber = match rng.u8(..4) {
        0 => Destination::Service { name: NamespacedName::new("ns", "service"), path: "/".into() },
        _ => Destination::Uri("http://subscriber/".into()),
    };
    Trigger {
        name: NamespacedName::new("ns", &format!("t{number}")),
        broker: NamespacedName::new("ns", "b"),
        group: format!("knative-trigger-ns-t{number}"),
        filter: Arc::new(filter),
        expression: None,
        subscriber: Some(subscriber),
        delivery: policy(rng),
        order: [Order::Unordered, Order::Ordered, Order::Keyed][rng.usize(..3)],
        max_concurrency: [None, None, Some(1), Some(3)][rng.usize(..4)],
        max_rate: [None, None, None, Some(20.0)][rng.usize(..4)],
        start: [Start::Latest, Start::Earliest][rng.usize(..2)],
        start_text: String::new(),
        paused: false,
        readiness: Readiness::Ready,
    }
}
