//! The embedded log's own counters as metrics, read when they are asked for.

use std::fmt;
use std::sync::Arc;

use pelton_event_log::embedded::{SYNC_BUCKETS_US, Stats};
use pelton_event_log::{EmbeddedLog, EventLog};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, Metric, MetricFamily, MetricType};

type Figure = (&'static str, &'static str, fn(&Stats) -> u64);

const COUNTERS: [Figure; 16] = [
    ("pelton_log_appended_records_total", "Records stored.", |s| s.appended_records),
    ("pelton_log_appended_bytes_total", "Bytes of records stored.", |s| s.appended_bytes),
    ("pelton_log_progress_updates_total", "Progress updates stored.", |s| s.progress_updates),
    ("pelton_log_batches_total", "Batches written: group commits and the log's own.", |s| s.batches),
    ("pelton_log_written_bytes_total", "Bytes written to the disk, padding included.", |s| s.written_bytes),
    ("pelton_log_recovered_records_total", "Records found again when the log was opened.", |s| {
        s.recovered_records
    }),
    ("pelton_log_corrupt_total", "Places found damaged.", |s| s.corrupt),
    ("pelton_log_quarantined_total", "Torn tails cut and kept in quarantine.", |s| s.quarantined),
    ("pelton_log_retired_segments_total", "Segments retired.", |s| s.retired_segments),
    ("pelton_log_carried_records_total", "Records carried forward out of retired segments.", |s| {
        s.carried_records
    }),
    ("pelton_log_expired_records_total", "Records let go although somebody still needed them.", |s| {
        s.expired_records
    }),
    (
        "pelton_log_aged_dead_letters_total",
        "Dead letters let go because they were older than their retention age.",
        |s| s.aged_dead_letters,
    ),
    (
        "pelton_log_displaced_dead_letters_total",
        "Dead letters let go because a budget needed their space.",
        |s| s.displaced_dead_letters,
    ),
    ("pelton_log_refused_full_total", "Appends refused because a budget was spent.", |s| s.refused_full),
    ("pelton_log_refused_disk_full_total", "Appends refused because the disk was full.", |s| {
        s.refused_disk_full
    }),
    ("pelton_log_refused_busy_total", "Appends refused because too many bytes waited.", |s| s.refused_busy),
];

const GAUGES: [Figure; 2] = [
    ("pelton_log_segments", "Segments on the disk.", |s| s.segments),
    ("pelton_log_disk_bytes", "Bytes of the segments on the disk, as allocated.", |s| s.disk_bytes),
];

const SYNC: (&str, &str) = ("pelton_log_sync_seconds", "Time of the syncs of batches.");
const UNAVAILABLE: (&str, &str) = ("pelton_log_unavailable", "1 while appends cannot succeed, else 0.");

/// Reads the counters of a log.
#[derive(Clone)]
pub(super) struct LogCollector {
    log: Arc<EmbeddedLog>,
    descriptions: Vec<Desc>,
}

impl fmt::Debug for LogCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogCollector")
    }
}

impl LogCollector {
    pub(super) fn new(log: Arc<EmbeddedLog>) -> prometheus::Result<Self> {
        let figures = COUNTERS.iter().chain(&GAUGES).map(|(name, help, _)| (*name, *help));
        let descriptions = figures
            .chain([SYNC, UNAVAILABLE])
            .map(|(name, help)| Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default()))
            .collect::<prometheus::Result<_>>()?;
        Ok(Self { log, descriptions })
    }
}

impl Collector for LogCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.log.stats();
        let unavailable = f64::from(u8::from(self.log.status().unavailable.is_some()));
        let counters = COUNTERS.iter().map(|(name, help, value)| {
            let mut counter = Counter::default();
            counter.set_value(number(value(&stats)));
            let mut metric = Metric::default();
            metric.set_counter(counter);
            family(name, help, MetricType::COUNTER, metric)
        });
        let gauges = GAUGES.iter().map(|(name, help, value)| (*name, *help, number(value(&stats))));
        let gauges =
            gauges.chain([(UNAVAILABLE.0, UNAVAILABLE.1, unavailable)]).map(|(name, help, value)| {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                let mut metric = Metric::default();
                metric.set_gauge(gauge);
                family(name, help, MetricType::GAUGE, metric)
            });
        counters.chain(gauges).chain([sync(&stats)]).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

/// The engine counts each bucket by itself; Prometheus wants them cumulative, in seconds.
fn sync(stats: &Stats) -> MetricFamily {
    let mut below = 0;
    let buckets = SYNC_BUCKETS_US.iter().zip(&stats.sync_latency).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(number(*bound) / 1e6);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(stats.sync_latency.iter().sum());
    histogram.set_sample_sum(number(stats.sync_us) / 1e6);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(SYNC.0, SYNC.1, MetricType::HISTOGRAM, metric)
}

fn family(name: &str, help: &str, kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let mut stats = Stats::default();
        stats.sync_latency[0] = 2;
        stats.sync_latency[3] = 1;
        stats.sync_latency[SYNC_BUCKETS_US.len()] = 4;
        stats.sync_us = 2_500_000;
        let family = sync(&stats);
        let histogram = family.get_metric()[0].get_histogram();
        let counts: Vec<_> = histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert_eq!(&counts[..4], [2, 2, 2, 3]);
        assert_eq!((histogram.get_bucket()[0].upper_bound(), histogram.get_sample_count()), (0.000_1, 7));
        assert!((histogram.get_sample_sum() - 2.5).abs() < 1e-9);
    }
}
