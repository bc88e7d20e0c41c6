//! Events over HTTP to Kafka, beside a bare producer and a bare echo.

use super::cluster::Cluster;
use super::producer::{Cost, Load};
use super::{resources, topic};
use crate::path::{Sample, median, sample};
use crate::process::{Core, Launch, Pelton, Process};
use crate::report::Report;

const CONNECTIONS: u64 = 256;
const ROUNDS: usize = 3;
/// Some seconds of it.
const EVENTS: u64 = 150_000;

/// Measures the ingress alone, interleaved with what it is made of.
pub(super) fn measure(report: &mut Report, cluster: &Cluster) {
    let yaml = resources("ingress", 0, "");
    let pelton = Pelton::launch(&Launch { role: "broker", yaml: &yaml, kafka: Some(&cluster.servers) });
    let echo = Process::role(Core::Measured, &["echo"]);
    let bare = Load {
        servers: &cluster.servers,
        topic: &topic("ingress"),
        events: EVENTS,
        in_flight: CONNECTIONS,
        rate: 0,
        one_in: 1,
        types: 1,
    };
    let connections = usize::try_from(CONNECTIONS).expect("connections are few");
    let (mut ours, mut theirs, mut echoes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(bare.run(Core::Measured));
        echoes.push(sample(&echo, "/", connections).cpu_us);
        ours.push(sample(&pelton.process, "/default/ingress", connections));
    }
    let of = |field: fn(&Sample) -> f64| median(ours.iter().map(field).collect());
    let of_bare = |field: fn(&Cost) -> f64| median(theirs.iter().map(field).collect());
    let (rate, bare_rate) = (of(|s| s.per_second), of_bare(|c| c.per_second));
    let (cpu, bare_cpu, echo_cpu) = (of(|s| s.cpu_us), of_bare(|c| c.cpu_us), median(echoes));
    report.line(
        "Kafka, ingress, 256 connections: rate beside the bare producer",
        format!("{:.2}x", rate / bare_rate),
        format!("{rate:.0} /s beside {bare_rate:.0} /s with 256 in flight and no HTTP"),
        "",
        None,
    );
    report.line(
        "Kafka, ingress, 256 connections: CPU per event",
        format!("{cpu:.1} us"),
        format!("p50 {:.0} us, p99 {:.0} us", of(|s| s.p50_us), of(|s| s.p99_us)),
        "",
        None,
    );
    report.line(
        "Kafka, ingress: CPU beside the bare echo and the bare producer together",
        format!("{:.2}x", cpu / (echo_cpu + bare_cpu)),
        format!("{cpu:.1} us beside {echo_cpu:.1} us and {bare_cpu:.1} us"),
        "",
        None,
    );
}
