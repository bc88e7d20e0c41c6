//! Pelton on a real Kafka of one node, started here: ingress, reads, memory, and partitions that change hands.
//!
//! Kafka shares the second core with what drives and answers Pelton, so that rates are those of Kafka's half of it; CPU time
//! is the process's own all the same.

mod cluster;
mod fetches;
mod handover;
mod ingress;
mod memory;
mod producer;
mod subscriber;

pub use producer::run as produce;

use std::fmt::Write as _;

use cluster::Cluster;

use crate::report::Report;

/// Partitions of a Broker that does not say how many.
const PARTITIONS: u32 = 10;

/// What a part measures.
type Part = fn(&mut Report, &Cluster);

/// Measures everything on Kafka, or one part; without a Kafka, says so.
pub fn measure(report: &mut Report, only: Option<&str>) {
    let Some(cluster) = Cluster::start() else {
        let why = "there is no Kafka: PELTON_KAFKA_LIBS is not set (tests/kafka/fetch.sh)";
        for what in ["ingress", "fetches per event", "resident memory", "partitions that change hands"] {
            report.open(&format!("Kafka: {what}"), why);
        }
        return;
    };
    let parts: [(&str, Part); 4] = [
        ("ingress", ingress::measure),
        ("fetches", fetches::measure),
        ("memory", memory::measure),
        ("handover", handover::measure),
    ];
    for (_, measure) in parts.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        measure(report, &cluster);
    }
}

/// The events topic of a broker.
fn topic(broker: &str) -> String {
    format!("knative-broker-default-{broker}")
}

/// A broker with so many triggers, all to one subscriber: every other one takes the events of a type of its own
/// (`bench.type-0`, `bench.type-1`, …), those between match none of what is sent here.
fn resources(broker: &str, triggers: u32, subscriber: &str) -> String {
    let mut yaml =
        format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {broker}}}\n");
    for number in 0..triggers {
        let filter = match number % 2 {
            0 => format!("exact: {{type: bench.type-{}}}", number / 2),
            _ => format!("prefix: {{source: /tenants/{number}/}}"),
        };
        let _ = write!(
            yaml,
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: trigger-{number}}}\n\
             spec: {{broker: {broker}, filters: [{{{filter}}}], subscriber: {{uri: \"http://{subscriber}/{number}\"}}}}\n"
        );
    }
    yaml
}
