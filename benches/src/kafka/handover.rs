//! Partitions that change hands: ten, with 10,000 triggers, between two dispatchers while 1,000 events a second come, each for
//! one trigger.
//!
//! Each dispatcher has a subscriber of its own, so that it is known who delivers. A take-over has ended when the one that stays
//! has delivered an event of every partition. Its own partitions go on meanwhile; it takes five, and a dispatcher that starts
//! alone takes ten.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::producer::Load;
use super::subscriber::Subscriber;
use super::{PARTITIONS, resources, topic};
use crate::process::{Core, Launch, Pelton, wait};
use crate::report::Report;

const TRIGGERS: u32 = 10_000;
const BROKER: &str = "handover";
const GAINED: &str = "partitions gained";

/// A dispatcher and its subscriber.
struct Side {
    pelton: Pelton,
    subscriber: Subscriber,
}

impl Side {
    fn start(cluster: &Cluster) -> Self {
        let subscriber = Subscriber::start();
        let yaml = resources(BROKER, TRIGGERS, &subscriber.address);
        let pelton =
            Pelton::launch(&Launch { role: "dispatcher", yaml: &yaml, kafka: Some(&cluster.servers) });
        Self { pelton, subscriber }
    }

    /// When the last partition was first heard of.
    fn complete(&self) -> Instant {
        self.subscriber.hears_all();
        let firsts = self.subscriber.deliveries().into_values().map(|deliveries| deliveries.first);
        firsts.max().expect("partitions were heard of")
    }

    /// When Kafka last gave it partitions.
    fn gained(&self) -> Instant {
        self.pelton.said(GAINED, "partitions").expect("it was given partitions")
    }

    fn partitions(&self) -> usize {
        self.subscriber.deliveries().len()
    }
}

/// Measures an orderly leave, a kill and a start over what is there.
pub(super) fn measure(report: &mut Report, cluster: &Cluster) {
    let first = Side::start(cluster);
    let topic = topic(BROKER);
    let load = Load {
        servers: &cluster.servers,
        topic: &topic,
        events: u64::MAX,
        in_flight: 10_000,
        rate: 1000,
        one_in: 1,
        types: u64::from(TRIGGERS / 2),
    };
    let _load = load.begin(Core::Other);
    first.complete();
    let second = join(&first, cluster);
    leaves(report, first, &second);
    let third = join(&second, cluster);
    dies(report, third, &second);
    second.pelton.process.stop();
    starts(report, cluster);
}

/// A second one joins; answers it once it delivers from what it was given, and the other no more.
fn join(present: &Side, cluster: &Cluster) -> Side {
    let joins = Side::start(cluster);
    let half = PARTITIONS as usize / 2;
    wait(|| joins.partitions() == half);
    // Saves and commits of the move have come to rest.
    std::thread::sleep(Duration::from_secs(5));
    present.subscriber.forget();
    joins.subscriber.forget();
    wait(|| joins.partitions() == half && present.partitions() == half);
    joins
}

fn leaves(report: &mut Report, leaves: Side, stays: &Side) {
    stays.subscriber.forget();
    let start = Instant::now();
    leaves.pelton.process.stop();
    let ended = start.elapsed();
    let complete = stays.complete();
    report.line(
        "Kafka, 10000 triggers, a dispatcher leaves: until the other delivers all 10 partitions",
        millis(complete - start),
        format!(
            "from SIGTERM; a partition rests at most {}, the leaving process has ended after {}",
            millis(rest(&leaves.subscriber, &stays.subscriber)),
            millis(ended)
        ),
        "",
        None,
    );
}

fn dies(report: &mut Report, dies: Side, stays: &Side) {
    stays.subscriber.forget();
    let start = Instant::now();
    drop(dies.pelton);
    let complete = stays.complete();
    report.line(
        "Kafka, 10000 triggers, kill -9 of a dispatcher: until the other delivers all 10 partitions",
        millis(complete - stays.gained()),
        format!(
            "from when Kafka gives it five more; {} from the kill (session 10 s)",
            millis(complete - start)
        ),
        "",
        None,
    );
}

fn starts(report: &mut Report, cluster: &Cluster) {
    let start = Instant::now();
    let alone = Side::start(cluster);
    let complete = alone.complete();
    report.line(
        "Kafka, 10000 triggers, a dispatcher starts alone: until it delivers all 10 partitions",
        millis(complete - alone.gained()),
        format!("from when Kafka gives it all; {} from the start of the process", millis(complete - start)),
        "",
        None,
    );
}

/// The longest time without a delivery of a partition that moved.
fn rest(from: &Subscriber, to: &Subscriber) -> Duration {
    let to = to.deliveries();
    let rests = from.deliveries().into_iter().filter_map(|(partition, before)| {
        Some(to.get(&partition)?.first.saturating_duration_since(before.last))
    });
    rests.max().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
