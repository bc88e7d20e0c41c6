//! Memory of all roles in one process over Kafka.

use std::time::Duration;

use super::cluster::Cluster;
use super::producer::Load;
use super::subscriber::Subscriber;
use super::{resources, topic};
use crate::process::{Core, Launch, Pelton, Process, wait};
use crate::report::Report;

const MIB: f64 = 1024.0 * 1024.0;
const TRIGGERS: u32 = 1000;

/// Measures the memory.
pub(super) fn measure(report: &mut Report, cluster: &Cluster) {
    idle(report, cluster);
    many(report, cluster);
}

fn idle(report: &mut Report, cluster: &Cluster) {
    let yaml = resources("idle", 0, "");
    let pelton = Pelton::launch(&Launch { role: "run", yaml: &yaml, kafka: Some(&cluster.servers) });
    std::thread::sleep(Duration::from_secs(10));
    report.line(
        "Kafka, no triggers, idle: resident memory",
        format!("{:.1} MiB", pelton.process.memory() as f64 / MIB),
        format!("ready after {:.0} ms", pelton.ready_after.as_secs_f64() * 1e3),
        "",
        None,
    );
}

fn many(report: &mut Report, cluster: &Cluster) {
    let subscriber = Subscriber::start();
    let topic = topic("memory");
    let yaml = resources("memory", TRIGGERS, &subscriber.address);
    let pelton = Pelton::launch(&Launch { role: "run", yaml: &yaml, kafka: Some(&cluster.servers) });
    let load = Load {
        servers: &cluster.servers,
        topic: &topic,
        events: u64::MAX,
        in_flight: 10_000,
        rate: 100,
        one_in: 1,
        types: u64::from(TRIGGERS.div_ceil(2)),
    };
    let warm = load.begin(Core::Other);
    subscriber.hears_all();
    drop(warm);
    std::thread::sleep(Duration::from_secs(10));
    report.line(
        "Kafka, 1,000 triggers, idle: resident memory",
        format!("{:.1} MiB", pelton.process.memory() as f64 / MIB),
        format!("ready after {:.0} ms", pelton.ready_after.as_secs_f64() * 1e3),
        "",
        None,
    );
    // Over HTTP, and straight to Kafka, which is more than it delivers at a time.
    Process::run(Core::Other, &["load", &pelton.process.address, "/default/memory", "256", "4"]);
    Load { events: 200_000, rate: 0, one_in: 4, ..load }.run(Core::Other);
    let metric = |name: &str| pelton.metric(name);
    wait(|| metric("pelton_trigger_backlog_events") == 0.0);
    wait(|| metric("pelton_trigger_ended_total") >= metric("pelton_trigger_matched_total"));
    let after = pelton.process.memory() as f64 / MIB;
    // Until clients that caught up are gone.
    std::thread::sleep(Duration::from_secs(40));
    report.line(
        "Kafka, 1,000 triggers, after a load: resident memory",
        format!("{after:.1} MiB"),
        format!(
            "at most {:.1} MiB, 40 s later {:.1} MiB",
            pelton.process.memory_peak() as f64 / MIB,
            pelton.process.memory() as f64 / MIB
        ),
        "",
        None,
    );
}
