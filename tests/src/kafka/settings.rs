//! `server.properties` of a node.

use std::fmt::Write as _;
use std::path::Path;

use super::Options;
use super::ports::Ports;
use super::secrets::Secrets;

/// What all nodes of tests have in common: little memory, few threads, and nothing waits for minutes.
const COMMON: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=2
share.coordinator.state.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
background.threads=2
# How long a node that was killed is not let in again. The default is three times as long.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Retention and compaction do their work while a test looks on.
log.initial.task.delay.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.enable=true
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.io.buffer.size=65536
";

/// The settings of node `number`; `ports` are those of all nodes.
pub(super) fn of_node(
    number: u32,
    ports: &[Ports],
    options: &Options,
    folder: &Path,
    secrets: &Secrets,
) -> String {
    let own = &ports[number as usize - 1];
    let mut text = COMMON.to_owned();
    let mut set = |name: &str, value: &str| writeln!(text, "{name}={value}").expect("text can be written to");
    set("node.id", &number.to_string());
    set("log.dirs", &folder.join(format!("node-{number}/data")).display().to_string());
    let voters = (1..).zip(ports).map(|(number, ports)| format!("{number}@127.0.0.1:{}", ports.controller));
    set("controller.quorum.voters", &voters.collect::<Vec<_>>().join(","));

    let mut advertised = format!("PLAINTEXT://127.0.0.1:{}", own.plain);
    if options.sasl_ssl {
        write!(advertised, ",SASL_SSL://127.0.0.1:{}", own.sasl_ssl).unwrap();
    }
    if options.ssl {
        write!(advertised, ",SSL://127.0.0.1:{}", own.ssl).unwrap();
    }
    set("advertised.listeners", &advertised);
    set("listeners", &format!("{advertised},CONTROLLER://127.0.0.1:{}", own.controller));

    let copies = ports.len().to_string();
    for name in [
        "default.replication.factor",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "share.coordinator.state.topic.replication.factor",
    ] {
        set(name, &copies);
    }
    let in_sync = if ports.len() > 1 { "2" } else { "1" };
    for name in
        ["min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"]
    {
        set(name, in_sync);
    }
    if options.sasl_ssl || options.ssl {
        secrets.listener_settings(&mut set);
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
    text
}
