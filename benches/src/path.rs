//! Ingress, delivery and the whole path of the real binary, beside a bare echo and a bare client.

use crate::process::{Core, Pelton, Process, wait};
use crate::report::Report;

const SECONDS: usize = 4;
const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 2] = [64, 256];

fn broker() -> String {
    "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n".to_owned()
}

fn trigger(sink: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\n\
         spec: {{broker: b, filter: {{attributes: {{type: bench.event}}}}, subscriber: {{uri: \"http://{sink}/\"}}}}\n"
    )
}

/// Rate, CPU microseconds per event and latencies of one load.
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) fn sample(server: &Process, path: &str, connections: usize) -> Sample {
    let before = server.cpu();
    let answer = Process::run(
        Core::Other,
        &["load", &server.address, path, &connections.to_string(), &SECONDS.to_string()],
    );
    let cpu = server.cpu() - before;
    let value = |name: &str| answer[name].as_f64().expect("a load answers with numbers");
    assert_eq!(value("refused"), 0.0, "a load is accepted whole");
    let (p50_us, p99_us) = (value("p50_us"), value("p99_us"));
    Sample {
        per_second: value("per_second"),
        cpu_us: cpu.as_secs_f64() * 1e6 / value("accepted"),
        p50_us,
        p99_us,
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures the path.
pub fn measure(report: &mut Report) {
    ingress(report);
    let post = delivery_baseline(report);
    whole(report, post);
    open_loop(report);
}

/// Durable ingress beside the bare echo, interleaved.
fn ingress(report: &mut Report) {
    let echo = Process::role(Core::Measured, &["echo"]);
    for connections in CONNECTIONS {
        let pelton = Pelton::start(&broker());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(sample(&echo, "/", connections));
            ours.push(sample(&pelton.process, "/default/b", connections));
        }
        let of = |samples: &[Sample], field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
        let rate = of(&ours, |s| s.per_second) / of(&theirs, |s| s.per_second);
        let goal = if connections == 256 { "at least 0.6x" } else { "" };
        report.line(
            &format!("durable ingress, {connections} connections: rate beside the bare echo"),
            format!("{rate:.2}x"),
            format!("{:.0} /s beside {:.0} /s", of(&ours, |s| s.per_second), of(&theirs, |s| s.per_second)),
            goal,
            (connections == 256).then_some(rate >= 0.6),
        );
        report.line(
            &format!("durable ingress, {connections} connections: CPU per event"),
            format!("{:.1} us", of(&ours, |s| s.cpu_us)),
            format!(
                "echo {:.1} us; p50 {:.0} us, p99 {:.0} us",
                of(&theirs, |s| s.cpu_us),
                of(&ours, |s| s.p50_us),
                of(&ours, |s| s.p99_us)
            ),
            "",
            None,
        );
    }
}

fn delivery_baseline(report: &mut Report) -> f64 {
    let sink = Process::role(Core::Other, &["sink"]);
    let url = format!("http://{}/", sink.address);
    let posts: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            Process::run(Core::Measured, &["post", &url, "200000", "64"])["cpu_us"]
                .as_f64()
                .expect("a client answers with numbers")
        })
        .collect();
    let post = median(posts);
    report.line(
        "hyper-util client POST, 64 in flight: CPU per request",
        format!("{post:.1} us"),
        String::new(),
        "baseline",
        None,
    );
    post
}

/// One trigger that takes everything: CPU of the whole path, and of the delivery as the difference to ingress alone.
fn whole(report: &mut Report, post: f64) {
    let sink = Process::role(Core::Other, &["sink"]);
    let alone = Pelton::start(&broker());
    let ingress = median((0..ROUNDS).map(|_| sample(&alone.process, "/default/b", 64).cpu_us).collect());
    drop(alone);
    let pelton = Pelton::start(&(broker() + &trigger(&sink.address)));
    let mut all = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let delivered_before = pelton.metric("pelton_trigger_ended_total");
        let accepted_before = pelton.metric("pelton_ingress_accepted_total");
        let before = (pelton.process.cpu(), std::time::Instant::now());
        Process::run(
            Core::Other,
            &["load", &pelton.process.address, "/default/b", "64", &SECONDS.to_string()],
        );
        let accepted = pelton.metric("pelton_ingress_accepted_total") - accepted_before;
        wait(|| pelton.metric("pelton_trigger_ended_total") - delivered_before >= accepted);
        all.push((pelton.process.cpu() - before.0).as_secs_f64() * 1e6 / accepted);
        rates.push(accepted / before.1.elapsed().as_secs_f64());
    }
    let all = median(all);
    report.line(
        "whole path, one subscriber: CPU per event",
        format!("{all:.1} us"),
        format!("{:.0} events/s in and out on one core", median(rates)),
        "",
        None,
    );
    report.line(
        "delivery (whole path less ingress): CPU beside the bare client POST",
        format!("{:.2}x", (all - ingress) / post),
        format!("{:.1} us beside {post:.1} us", all - ingress),
        "",
        None,
    );
}

/// Open loop: the latency of a 202 at a fixed rate.
fn open_loop(report: &mut Report) {
    let pelton = Pelton::start(&broker());
    let answer = Process::run(
        Core::Other,
        &["load-paced", &pelton.process.address, "/default/b", "64", &SECONDS.to_string(), "20000"],
    );
    let value = |name: &str| answer[name].as_f64().expect("a load answers with numbers");
    report.line(
        "durable ingress, open loop at 20,000 /s: p50, p99, p99.9 of the 202",
        format!("{:.0} us", value("p50_us")),
        format!("{:.0} us, {:.0} us; {:.0} /s held", value("p99_us"), value("p999_us"), value("per_second")),
        "",
        None,
    );
}
