//! The gateway: a request through it beside a direct one, and requests that wait for replicas.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pelton_resources::{Assembly, Defaults, Overrides, Policy, ScalingSettings, Source, assemble};
use pelton_serving_scaler::decision::combined::Events;
use pelton_serving_scaler::decision::sizing::Reachability;
use pelton_serving_scaler::scaling::{Rules, Scaling, Second};

use crate::path::{Sample, median, sample};
use crate::process::{Core, Pelton, Process, wait};
use crate::report::Report;

const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 2] = [1, 64];
/// What a request through the gateway may cost beside a bare echo and a bare client together.
const GOAL: f64 = 1.15;
const PARKED: usize = 5_000;
const SERVICES: usize = 500;
const REVISIONS: usize = 10_000;

/// A Service of this program's replicas, which run beside what drives them and not beside the gateway.
fn service(name: &str, annotations: &str, concurrency: u32, start_ms: usize) -> String {
    let program = std::env::current_exe().expect("a program knows its own path");
    let (core, program) = (Core::Other as u8, program.display());
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  template:\n    metadata: \
         {{annotations: {{{annotations}}}}}\n    spec:\n      containerConcurrency: {concurrency}\n      containers: [{{command: \
         [taskset, -c, \"{core}\", {program}, replica, \"{start_ms}\"]}}]\n---\n"
    )
}

/// Measures the gateway.
pub fn measure(report: &mut Report) {
    through(report);
    parked(report);
    asleep(report);
    decisions(report);
}

/// Through the gateway and directly, interleaved.
fn through(report: &mut Report) {
    let echo = Process::role(Core::Measured, &["echo"]);
    let direct = Process::role(Core::Other, &["sink"]);
    let post = {
        let url = format!("http://{}/", direct.address);
        let posts = (0..ROUNDS).map(|_| Process::run(Core::Measured, &["post", &url, "100000", "64"]));
        median(posts.map(|post| post["cpu_us"].as_f64().expect("a client answers with numbers")).collect())
    };
    let mut pelton = Pelton::start(&service("s", "autoscaling.knative.dev/min-scale: '1'", 0, 0));
    wait(|| pelton.metric("pelton_revision_ready_replicas") >= 1.0);
    pelton.process.address = pelton.gateway.clone();
    for connections in CONNECTIONS {
        let (mut ours, mut theirs, mut echoes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(sample(&direct, "/", connections));
            echoes.push(sample(&echo, "/", connections));
            ours.push(sample(&pelton.process, "/-/default/s/", connections));
        }
        let of = |samples: &[Sample], field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
        report.line(
            &format!("gateway, {connections} connections: time to the answer, p50"),
            format!("{:.0} us", of(&ours, |s| s.p50_us)),
            format!(
                "direct {:.0} us; p99 {:.0} us, direct {:.0} us; {:.0} /s",
                of(&theirs, |s| s.p50_us),
                of(&ours, |s| s.p99_us),
                of(&theirs, |s| s.p99_us),
                of(&ours, |s| s.per_second)
            ),
            "",
            None,
        );
        let bare = of(&echoes, |s| s.cpu_us) + post;
        let ratio = of(&ours, |s| s.cpu_us) / bare;
        report.line(
            &format!("gateway, {connections} connections: CPU per request beside echo and client"),
            format!("{ratio:.2}x"),
            format!("{:.1} us beside {bare:.1} us", of(&ours, |s| s.cpu_us)),
            if connections == 64 { "at most 1.15x" } else { "" },
            (connections == 64).then_some(ratio <= GOAL),
        );
    }
}

/// Requests that come while ten replicas start, and all go once these are ready.
fn parked(report: &mut Report) {
    let annotations = "autoscaling.knative.dev/initial-scale: '0', autoscaling.knative.dev/activation-scale: '10', \
                       autoscaling.knative.dev/max-scale: '10'";
    let pelton = Pelton::start(&service("s", annotations, 10, 8_000));
    let idle = pelton.process.memory();
    let clients =
        Process::start_run(Core::Other, &["park", &pelton.gateway, "/-/default/s/", &PARKED.to_string()]);
    wait(|| pelton.metric("pelton_revision_waiting_requests") >= PARKED as f64);
    let waiting = (pelton.process.memory() - idle) as f64 / PARKED as f64 / 1024.0;
    let answers = clients.finish();
    assert_eq!(answers["good"], PARKED, "every request is answered by a replica");
    let ready = pelton.said("the revision is ready", "revision").expect("it says so");
    let since_ready = |name: &str| {
        let at = Duration::from_micros(answers[name].as_u64().expect("clients answer with times"));
        at.saturating_sub(unix_time(ready))
    };
    let (first, last) = (since_ready("first_us"), since_ready("last_us"));
    report.line(
        "5,000 parked requests, 10 replicas: from readiness to the last answer",
        format!("{} ms", last.as_millis()),
        format!("first {} ms", first.as_millis()),
        "10 ms, 400 ms",
        Some(first <= Duration::from_millis(10) && last <= Duration::from_millis(400)),
    );
    report.line(
        "5,000 parked requests: memory each",
        format!("{waiting:.1} KiB"),
        "connection included".to_owned(),
        "at most 16 KiB",
        Some(waiting <= 16.0),
    );
}

/// What the wall clock showed at that moment.
fn unix_time(at: Instant) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    now - at.elapsed()
}

/// Many Services, few of which run.
fn asleep(report: &mut Report) {
    let zero = "autoscaling.knative.dev/initial-scale: '0'";
    let one = "autoscaling.knative.dev/min-scale: '1'";
    let yaml: String = (0..SERVICES)
        .map(|index| service(&format!("s{index}"), if index < 5 { one } else { zero }, 1, 0))
        .collect();
    let pelton = Pelton::start(&yaml);
    wait(|| pelton.metric("pelton_revision_ready_replicas") >= 5.0);
    let before = (pelton.process.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let cpu = (pelton.process.cpu() - before.0).as_secs_f64() * 1e3 / before.1.elapsed().as_secs_f64();
    let memory = pelton.process.memory() as f64 / f64::from(1 << 20);
    report.line(
        "500 Services, 5 of them running: resident memory",
        format!("{memory:.1} MiB"),
        format!("{cpu:.1} ms CPU a second; ready after {} ms", pelton.ready_after.as_millis()),
        "at most 64 MiB",
        Some(memory <= 64.0),
    );
}

/// What a tick of two seconds costs for many revisions with requests and events.
fn decisions(report: &mut Report) {
    let source = Source::read("bench.yaml", &service("s", "", 1, 0));
    let sources = [Arc::new(source)];
    let services = assemble(&Assembly::default(), &sources, &Defaults::default(), &Overrides::default());
    let service = services.snapshot.services.values().next().expect("there is one Service");
    let mut line = |policy: Policy| {
        let settings = ScalingSettings { policy, ..service.scaling.clone() };
        let (template, bounds) = (service.template.clone(), service.bounds());
        let rules = Rules::new(template, settings, bounds, Reachability::Reachable);
        let start = Duration::from_secs(1_700_000_000);
        let mut all: Vec<_> = (0..REVISIONS).map(|_| Scaling::new(rules.clone(), true, start)).collect();
        let mut ticks = Vec::new();
        for second in 0..120_u32 {
            let now = start + Duration::from_secs(second.into());
            let began = Instant::now();
            for (index, scaling) in all.iter_mut().enumerate() {
                let requests = f64::from((second + index as u32) % 50);
                scaling.record(now, Second { requests, deliveries: 1.0, count: requests });
                if second % 2 == 0 {
                    let service_time = Duration::from_millis(100);
                    let events =
                        Events { in_flight: 1.0, due: requests, rate: 5.0, allowed: None, service_time };
                    scaling.decide(now, Some(events));
                }
            }
            if second % 2 == 0 && second > 60 {
                ticks.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        let tick = median(ticks);
        report.line(
            &format!("10,000 revisions, policy {}: a tick of decisions on one core", policy.as_str()),
            format!("{tick:.1} ms"),
            format!("{:.2} % of the two seconds between them", tick / 20.0),
            "",
            None,
        );
    };
    line(Policy::Kpa);
    line(Policy::Combined);
}
