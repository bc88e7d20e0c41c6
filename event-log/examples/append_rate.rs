//! How fast appends become durable:
//! `cargo run --profile quick -p pelton-event-log --example append_rate [DIR [APPENDERS...]]`.
//!
//! Each appender waits for its own answer before its next append, as an HTTP client does. CPU is that of the whole process.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pelton_event::{Envelope, Record, Timestamp};
use pelton_event_log::embedded::Config;
use pelton_event_log::{Batch, EmbeddedLog, EventLog, OnFull, Retention, TopicName, TopicSpec};
use pelton_runtime::clock::Clock;
use tokio::time::Instant;

/// As in the binary: what is allocated by callers is freed by the writer, which costs each allocator something else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECONDS: u64 = 3;

/// CPU time of this process; the kernel counts it in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn measure(log: &Arc<EmbeddedLog>, topic: &TopicName, appenders: usize) {
    let (before, started, start) = (log.stats(), Instant::now(), cpu());
    let until = started + Duration::from_secs(SECONDS);
    let tasks: Vec<_> = (0..appenders)
        .map(|number| {
            let (log, topic) = (Arc::clone(log), topic.clone());
            tokio::spawn(async move {
                let key = Some(Bytes::from(vec![b'x'; 1024]));
                let time = Timestamp::from_millis(Clock::system().unix_ms());
                let record = Record { envelope: Envelope { key, time, ..Envelope::default() }, event: None };
                let mut took = Vec::new();
                while Instant::now() < until {
                    let asked = Instant::now();
                    let records = vec![(topic.clone(), (number % 10) as u32, record.clone())];
                    log.append(Batch { records, ..Batch::default() }).await.unwrap();
                    took.push(asked.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let (elapsed, used, after) = (started.elapsed(), cpu() - start, log.stats());
    took.sort_unstable();
    let records = took.len() as f64;
    println!(
        "{appenders:5} appenders: {:8.0} records/s, p50 {:6.0} us, p99 {:6.0} us, {:5.2} us CPU a record, {:6.1} records a sync, sync {:5.0} us",
        records / elapsed.as_secs_f64(),
        took[took.len() / 2].as_secs_f64() * 1e6,
        took[took.len() * 99 / 100].as_secs_f64() * 1e6,
        used.as_secs_f64() * 1e6 / records,
        records / (after.batches - before.batches) as f64,
        (after.sync_us - before.sync_us) as f64 / (after.batches - before.batches) as f64,
    );
}

#[tokio::main]
async fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let log = Arc::new(EmbeddedLog::open(Config::new(dir.path()), Clock::system()).unwrap());
    let topic = TopicName::new("events_dead-letter");
    let retention = Retention {
        age: Duration::from_secs(3600),
        bytes: 2 << 30,
        on_full: OnFull::Refuse,
        account: Arc::from("ns/broker"),
    };
    log.ensure_topic(&TopicSpec::new(topic.clone(), 10, retention)).await.unwrap();
    let mut rounds: Vec<usize> =
        std::env::args().skip(2).map(|number| number.parse().expect("a number of appenders")).collect();
    if rounds.is_empty() {
        rounds = [1, 64, 1024].repeat(2);
    }
    for appenders in rounds {
        measure(&log, &topic, appenders).await;
    }
    println!("{:?}", log.stats());
    log.close().await.unwrap();
}
