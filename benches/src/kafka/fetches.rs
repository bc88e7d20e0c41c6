//! How often an event is read from Kafka, as Kafka counts it: bytes of the events topic that went out, by bytes that came in.
//!
//! Events are written straight to Kafka at a rate that a dispatcher on one core takes easily. One of ten is of a type that a
//! trigger wants, and is delivered.

use super::cluster::Cluster;
use super::producer::Load;
use super::subscriber::Subscriber;
use super::{resources, topic};
use crate::process::{Core, Launch, Pelton, wait};
use crate::report::Report;

const EVENTS: u64 = 100_000;
const RATE: u64 = 10_000;
const ONE_IN: u64 = 10;
/// More than this is more than one read: Kafka's answers end in the middle of a batch now and then.
const MORE_THAN_ONCE: f64 = 1.05;

/// Measures reads with few and with many triggers.
pub(super) fn measure(report: &mut Report, cluster: &Cluster) {
    for triggers in [1, 100, 1000] {
        reads(report, cluster, triggers);
    }
}

fn reads(report: &mut Report, cluster: &Cluster, triggers: u32) {
    let broker = format!("read-by-{triggers}");
    let topic = topic(&broker);
    let subscriber = Subscriber::start();
    let yaml = resources(&broker, triggers, &subscriber.address);
    let pelton = Pelton::launch(&Launch { role: "dispatcher", yaml: &yaml, kafka: Some(&cluster.servers) });
    let load = Load {
        servers: &cluster.servers,
        topic: &topic,
        events: EVENTS,
        in_flight: 10_000,
        rate: RATE,
        one_in: ONE_IN,
        types: u64::from(triggers.div_ceil(2)),
    };
    let warm = Load { events: u64::MAX, rate: 100, one_in: 1, ..load }.begin(Core::Other);
    subscriber.hears_all();
    drop(warm);
    let matched = || pelton.metric("pelton_trigger_matched_total");
    let ended = || pelton.metric("pelton_trigger_ended_total");
    wait(|| ended() >= matched());
    let before = (cluster.counted(&topic), ended(), pelton.process.cpu());
    load.run(Core::Other);
    wait(|| ended() - before.1 >= (EVENTS / ONE_IN) as f64);
    let cpu = pelton.process.cpu() - before.2;
    let after = cluster.counted(&topic);
    let once = (after.bytes_out - before.0.bytes_out) / (after.bytes_in - before.0.bytes_in);
    let each = (after.fetches - before.0.fetches) / EVENTS as f64;
    report.line(
        &format!("Kafka, {triggers} triggers: reads of an event"),
        format!("{once:.3}"),
        format!(
            "{each:.3} requests and {:.1} us CPU each, at {RATE} /s of which one in {ONE_IN} is delivered",
            cpu.as_secs_f64() * 1e6 / EVENTS as f64
        ),
        "1",
        Some(once < MORE_THAN_ONCE),
    );
}
