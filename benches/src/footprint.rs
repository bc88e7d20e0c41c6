//! Memory and start.

use std::fmt::Write;

use crate::process::Pelton;
use crate::report::Report;

const MIB: f64 = 1024.0 * 1024.0;

fn resources(triggers: usize) -> String {
    let mut yaml = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n".to_owned();
    for number in 0..triggers {
        let filter = if number % 2 == 0 {
            format!("filters: [{{exact: {{type: com.example.type-{number}}}}}]")
        } else {
            format!("filters: [{{prefix: {{source: /tenants/{number}/}}}}]")
        };
        let _ = write!(
            yaml,
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: trigger-{number}}}\n\
             spec: {{broker: b, {filter}, subscriber: {{uri: \"http://127.0.0.1:9/{number}\"}}}}\n"
        );
    }
    yaml
}

/// Measures the footprint.
pub fn measure(report: &mut Report) {
    let idle = Pelton::start(&resources(0));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let memory = idle.process.memory() as f64 / MIB;
    report.line(
        "idle: resident memory",
        format!("{memory:.1} MiB"),
        String::new(),
        "at most 20 MiB",
        Some(memory <= 20.0),
    );
    let mut ready: Vec<f64> =
        (0..5).map(|_| Pelton::start(&resources(1)).ready_after.as_secs_f64() * 1e3).collect();
    ready.sort_by(f64::total_cmp);
    report.line(
        "from start to ready, median of 5",
        format!("{:.0} ms", ready[2]),
        format!("slowest {:.0} ms", ready[4]),
        "at most 100 ms",
        Some(ready[2] <= 100.0),
    );
    drop(idle);
    let many = Pelton::start(&resources(10_000));
    std::thread::sleep(std::time::Duration::from_secs(5));
    let memory = many.process.memory() as f64 / MIB;
    report.line(
        "10,000 triggers: resident memory",
        format!("{memory:.1} MiB"),
        format!("ready after {:.0} ms", many.ready_after.as_secs_f64() * 1e3),
        "at most 64 MiB",
        Some(memory <= 64.0),
    );
}
