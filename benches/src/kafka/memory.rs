//! Memory of all roles in one process over Kafka, and what it does when nothing comes.

use std::time::Duration;

use super::cluster::Cluster;
use super::producer::Load;
use super::subscriber::Subscriber;
use super::{resources, topic};
use crate::process::{Core, Launch, Pelton, Process, wait};
use crate::report::Report;

const MIB: f64 = 1024.0 * 1024.0;
const TRIGGERS: u32 = 1000;

/// Kafka hears of so many groups of triggers in a second (event-log's limits); until it has heard of all, a process is busy.
const GROUPS_A_SECOND: u32 = 250;

/// Measures the memory.
pub(super) fn measure(report: &mut Report, cluster: &Cluster) {
    for triggers in [0, 10_000] {
        let broker = format!("rests-with-{triggers}");
        let yaml = resources(&broker, triggers, "127.0.0.1:9");
        let pelton = Pelton::launch(&Launch { role: "run", yaml: &yaml, kafka: Some(&cluster.servers) });
        std::thread::sleep(Duration::from_secs(10 + 2 * u64::from(triggers / GROUPS_A_SECOND)));
        at_rest(report, triggers, &pelton);
    }
    under_load(report, cluster);
}

fn at_rest(report: &mut Report, triggers: u32, pelton: &Pelton) {
    const SECONDS: u64 = 10;
    let cpu = pelton.process.cpu();
    std::thread::sleep(Duration::from_secs(SECONDS));
    let cpu = (pelton.process.cpu() - cpu).as_secs_f64() * 1e3 / SECONDS as f64;
    report.line(
        &format!("Kafka, {triggers} triggers, idle: resident memory"),
        format!("{:.1} MiB", pelton.process.memory() as f64 / MIB),
        format!("{cpu:.1} ms CPU a second; ready after {:.0} ms", pelton.ready_after.as_secs_f64() * 1e3),
        "",
        None,
    );
}

fn under_load(report: &mut Report, cluster: &Cluster) {
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
    at_rest(report, TRIGGERS, &pelton);
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
        &format!("Kafka, {TRIGGERS} triggers, after a load: resident memory"),
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
