//! `make bench`: CPU time per event of each stage and of the whole path, beside baselines measured in the same run, and the
//! footprint. Every line goes to `docs/benchmarks.md` with its commit; a line that cannot be measured is an open line.
//!
//! Servers, clients and subscribers are processes of their own (this program, called by a role name), so that each one's CPU
//! time is its own.

mod append;
mod footprint;
mod gateway;
mod kafka;
mod load;
mod micro;
mod path;
mod peers;
mod process;
mod report;

use report::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["echo"] => peers::echo(),
        ["sink"] => peers::sink(),
        ["replica", start_ms] => peers::replica(number(start_ms)),
        ["post", url, count, in_flight] => peers::post(url, number(count), number(in_flight)),
        ["load", address, path, connections, seconds] => {
            load::run(address, path, number(connections), number(seconds))
        }
        ["load-paced", address, path, connections, seconds, rate] => {
            load::run_paced(address, path, number(connections), number(seconds), number(rate));
        }
        ["park", address, path, count] => load::park(address, path, number(count)),
        ["produce", arguments @ ..] => kafka::produce(arguments),
        [] | ["micro" | "path" | "gateway" | "footprint" | "kafka"] => {
            let only = arguments.first().copied();
            let mut report = Report::new();
            if only.is_none_or(|part| part == "micro") {
                micro::measure(&mut report);
            }
            if only.is_none_or(|part| part == "path") {
                path::measure(&mut report);
            }
            if only.is_none_or(|part| part == "gateway") {
                gateway::measure(&mut report);
            }
            if only.is_none_or(|part| part == "footprint") {
                footprint::measure(&mut report);
            }
            if only.is_none_or(|part| part == "kafka") {
                kafka::measure(&mut report, None);
            }
            report.finish(only.is_none());
        }
        ["kafka", part] => {
            let mut report = Report::new();
            kafka::measure(&mut report, Some(part));
            report.finish(false);
        }
        other => {
            eprintln!(
                "unknown arguments {other:?}; call without any to measure everything, or with micro, path, gateway, footprint or kafka"
            );
            std::process::exit(2);
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}
