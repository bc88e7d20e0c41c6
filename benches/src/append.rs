//! Appends to the embedded log, each awaited before the next: rate, CPU and syncs, at several numbers of appenders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pelton_event::{Envelope, Event, EventBuilder, Kind, Record, SpecVersion, Timestamp};
use pelton_event_log::{Batch, EmbeddedLog, EventLog, OnFull, Retention, TopicName, TopicSpec, embedded};
use pelton_runtime::clock::Clock;

use crate::report::Report;

const SECONDS: u64 = 3;
const PARTITIONS: u32 = 10;

/// Measures the appends.
pub fn measure(report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    for appenders in [1_u32, 64, 1024] {
        let folder = tempfile::tempdir().expect("a scratch directory can be made");
        let log = EmbeddedLog::open(embedded::Config::new(folder.path().join("log")), Clock::system())
            .expect("a fresh log opens");
        let log: Arc<EmbeddedLog> = Arc::new(log);
        let (stored, cpu, took) = runtime.block_on(append(log.clone(), appenders));
        let batches = log.stats().batches;
        report.line(
            &format!("append, 1 KiB, {appenders} appenders: records per second"),
            format!("{:.0} /s", stored as f64 / took.as_secs_f64()),
            format!(
                "{:.1} us CPU each, {:.1} records a batch",
                cpu.as_secs_f64() * 1e6 / stored as f64,
                stored as f64 / batches as f64
            ),
            "",
            None,
        );
        runtime.block_on(log.close()).expect("a log closes");
    }
}

fn event() -> Event {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    for (name, value) in [("id", "0123456789abcdef"), ("source", "/bench/source"), ("type", "bench.event")] {
        builder.attribute(name, value, Kind::String).expect("the attributes of a bench are valid");
    }
    builder.build(Some(Bytes::from(vec![b'x'; 960]))).expect("the event of a bench is valid")
}

async fn append(log: Arc<EmbeddedLog>, appenders: u32) -> (u64, Duration, Duration) {
    let topic = TopicName::new("bench");
    let retention = Retention {
        age: Duration::from_secs(3600),
        bytes: 64 << 30,
        on_full: OnFull::Refuse,
        account: "bench/b".into(),
    };
    let spec = TopicSpec::new(topic.clone(), PARTITIONS, retention);
    log.ensure_topic(&spec).await.expect("a fresh log takes topics");
    let event = event();
    let stored = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), process_cpu());
    let end = start + Duration::from_secs(SECONDS);
    let tasks: Vec<_> = (0..appenders)
        .map(|number| {
            let (log, topic, event, stored) = (log.clone(), topic.clone(), event.clone(), stored.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let envelope =
                        Envelope { time: Timestamp::from_millis(1), hops: 32, ..Envelope::default() };
                    let record = Record { envelope, event: Some(event.clone()) };
                    let batch = Batch {
                        records: vec![(topic.clone(), number % PARTITIONS, record)],
                        ..Batch::default()
                    };
                    log.append(batch).await.expect("a log with room takes records");
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender does not panic");
    }
    (stored.load(Ordering::Relaxed), process_cpu() - cpu, start.elapsed())
}

/// CPU time of this process so far.
pub(crate) fn process_cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.unsigned_abs(), usage.tv_nsec as u32)
}
