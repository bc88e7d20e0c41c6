//! What the dispatcher counts for operators. Every metric has a row in `docs/metrics.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_resources::NamespacedName;
use pelton_resources::contracts::Outcome;
use pelton_runtime::clock::Clock;
use pelton_runtime::telemetry::families::{family, label, series};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::admission::Admission;
use crate::core::{BodyBudget, TriggerCounters};
use crate::status::{self, Board};

/// Seconds from a loopback exchange to the default time-out of 10 minutes.
const DELIVERY_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];
/// Seconds from the fastest way through the log to a day of retries.
const END_TO_END_BUCKETS: [f64; 14] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0];
/// Seconds to match what one read brought.
const SELECT_BUCKETS: [f64; 9] = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1];

/// The metrics of the dispatcher, by broker.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    select: HistogramVec,
    delivery: HistogramVec,
    end_to_end: HistogramVec,
    attempts: IntCounterVec,
    saves: IntCounterVec,
}

/// The metrics of one broker, looked up once.
#[derive(Debug)]
pub(crate) struct BrokerMetrics {
    /// Seconds to match the events of one read.
    pub(crate) select: Histogram,
    /// Seconds from sending an attempt to its outcome.
    pub(crate) delivery: Histogram,
    /// Seconds from accepting an event to its delivery.
    pub(crate) end_to_end: Histogram,
    /// Saves of progress that were refused or are not known to be durable.
    pub(crate) failed_saves: IntCounter,
    attempts: [IntCounter; Class::ALL.len()],
}

/// Kinds of outcomes, as the label `outcome` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Success,
    Redirect,
    ClientError,
    ServerError,
    OtherStatus,
    BadReply,
    TimedOut,
    Unreachable,
    Forbidden,
    NoSlot,
}

impl Class {
    const ALL: [Self; 10] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::OtherStatus,
        Self::BadReply,
        Self::TimedOut,
        Self::Unreachable,
        Self::Forbidden,
        Self::NoSlot,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::OtherStatus => "other",
            Self::BadReply => "bad_reply",
            Self::TimedOut => "timeout",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::NoSlot => "no_slot",
        }
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Response(response) if response.reply.is_err() => Self::BadReply,
            Outcome::Response(response) => match response.status {
                200..=299 => Self::Success,
                300..=399 => Self::Redirect,
                400..=499 => Self::ClientError,
                500..=599 => Self::ServerError,
                _ => Self::OtherStatus,
            },
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Unreachable { .. } => Self::Unreachable,
            Outcome::Forbidden { .. } => Self::Forbidden,
        }
    }
}

impl Metrics {
    /// Registers all metrics of the dispatcher.
    ///
    /// # Errors
    /// When one is registered already: there is one dispatcher per registry.
    pub(crate) fn register(
        registry: &Registry,
        board: Arc<Board>,
        admission: Admission,
        budget: BodyBudget,
        clock: Clock,
    ) -> prometheus::Result<Self> {
        let labels = ["namespace", "broker"];
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &labels)
        };
        let metrics = Self {
            select: histogram(
                "pelton_dispatch_select_seconds",
                "Time to match the events of one read against all triggers of the broker.",
                &SELECT_BUCKETS,
            )?,
            delivery: histogram(
                "pelton_delivery_seconds",
                "Time from sending an attempt to its outcome.",
                &DELIVERY_BUCKETS,
            )?,
            end_to_end: histogram(
                "pelton_delivery_end_to_end_seconds",
                "Time from accepting an event to its subscriber's success.",
                &END_TO_END_BUCKETS,
            )?,
            attempts: IntCounterVec::new(
                Opts::new("pelton_delivery_attempts_total", "Attempts to deliver, by what came of them."),
                &["namespace", "broker", "outcome"],
            )?,
            saves: IntCounterVec::new(
                Opts::new(
                    "pelton_dispatch_failed_saves_total",
                    "Saves of progress that the log did not take.",
                ),
                &labels,
            )?,
        };
        registry.register(Box::new(metrics.select.clone()))?;
        registry.register(Box::new(metrics.delivery.clone()))?;
        registry.register(Box::new(metrics.end_to_end.clone()))?;
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.saves.clone()))?;
        registry.register(Box::new(TriggerCollector::new(board, admission, budget, clock)?))?;
        Ok(metrics)
    }

    /// The metrics of `broker`.
    pub(crate) fn broker(&self, broker: &NamespacedName) -> BrokerMetrics {
        let (namespace, name) = (broker.namespace(), broker.name());
        let labels = [namespace, name];
        BrokerMetrics {
            select: self.select.with_label_values(&labels),
            delivery: self.delivery.with_label_values(&labels),
            end_to_end: self.end_to_end.with_label_values(&labels),
            failed_saves: self.saves.with_label_values(&labels),
            attempts: Class::ALL
                .map(|class| self.attempts.with_label_values(&[namespace, name, class.label()])),
        }
    }

    /// Forgets the series of a broker that is gone.
    pub(crate) fn remove(&self, broker: &NamespacedName) {
        let (namespace, name) = (broker.namespace(), broker.name());
        // A series that was never there need not be removed.
        let _ = self.select.remove_label_values(&[namespace, name]);
        let _ = self.delivery.remove_label_values(&[namespace, name]);
        let _ = self.end_to_end.remove_label_values(&[namespace, name]);
        let _ = self.saves.remove_label_values(&[namespace, name]);
        for class in Class::ALL {
            let _ = self.attempts.remove_label_values(&[namespace, name, class.label()]);
        }
    }
}

impl BrokerMetrics {
    /// Counts an attempt that was sent.
    pub(crate) fn attempted(&self, outcome: &Outcome, took: Duration) {
        self.attempts[Class::of(outcome) as usize].inc();
        self.delivery.observe(took.as_secs_f64());
    }

    /// Counts an attempt for which there was no place on a replica.
    pub(crate) fn no_slot(&self) {
        self.attempts[Class::NoSlot as usize].inc();
    }
}

/// Reads the counters of the triggers when it is asked. A trigger that never had an event has no series.
#[derive(Debug)]
struct TriggerCollector {
    board: Arc<Board>,
    admission: Admission,
    budget: BodyBudget,
    clock: Clock,
    descriptions: Vec<Desc>,
}

/// Name, help and value of each counter and gauge per trigger.
type Figure = (&'static str, &'static str, fn(&TriggerCounters, Timestamp) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point numbers")]
const fn number(value: u64) -> f64 {
    value as f64
}

const COUNTERS: [Figure; 4] = [
    ("pelton_trigger_matched_total", "Events that matched the trigger.", |c, _| {
        Some(number(c.matched.load(Relaxed)))
    }),
    (
        "pelton_trigger_failed_attempts_total",
        "Attempts that failed, those to the dead letter sink included.",
        |c, _| Some(number(c.failed_attempts.load(Relaxed))),
    ),
    ("pelton_trigger_retries_total", "Attempts after the first.", |c, _| {
        Some(number(c.retried.load(Relaxed)))
    }),
    ("pelton_trigger_replies_total", "Replies of the subscriber that were stored.", |c, _| {
        Some(number(c.replies.load(Relaxed)))
    }),
];

const GAUGES: [Figure; 5] = [
    ("pelton_trigger_in_flight_deliveries", "Deliveries on their way.", |c, _| {
        Some(number(status::gauge(c.in_flight.load(Relaxed))))
    }),
    (
        "pelton_trigger_due_events",
        "Matched events that wait to be sent. Missing while it is not known.",
        |c, _| status::due(c).map(number),
    ),
    (
        "pelton_trigger_backlog_events",
        "Matched events without an end. Missing while it is not known.",
        |c, _| status::owed(c).map(number),
    ),
    (
        "pelton_trigger_oldest_age_seconds",
        "Age of the oldest matched event without an end; 0 if there is none.",
        |c, now| Some(status::oldest_age(c, now).unwrap_or_default().as_secs_f64()),
    ),
    (
        "pelton_trigger_subscriber_ready",
        "1 while the subscriber works, 0 while it counts as broken somewhere and is only probed.",
        |c, _| Some(if c.probed.load(Relaxed) > 0 { 0.0 } else { 1.0 }),
    ),
];

/// How matched events ended; the value of the label `end` and the counter.
type End = (&'static str, fn(&TriggerCounters) -> u64);

const ENDS_NAME: &str = "pelton_trigger_ended_total";
const ENDS_HELP: &str = "Matched events that came to an end, by how.";
const ENDS: [End; 6] = [
    ("delivered", |c| c.delivered.load(Relaxed)),
    ("dead_letter_sink", |c| c.dead_lettered.load(Relaxed)),
    ("kept", |c| c.kept.load(Relaxed)),
    ("expired", |c| c.expired.load(Relaxed)),
    ("discarded", |c| c.discarded.load(Relaxed)),
    ("withdrawn", |c| c.withdrawn.load(Relaxed)),
];

const IN_FLIGHT: (&str, &str) = ("pelton_in_flight_deliveries", "Deliveries in flight in the whole process.");
const BODY_BYTES: (&str, &str) = ("pelton_delivery_body_bytes", "Bytes of the events held for delivery.");

impl TriggerCollector {
    fn new(
        board: Arc<Board>,
        admission: Admission,
        budget: BodyBudget,
        clock: Clock,
    ) -> prometheus::Result<Self> {
        let labels = || ["namespace", "broker", "trigger"].map(str::to_owned).to_vec();
        let figures = COUNTERS.iter().chain(&GAUGES);
        let mut descriptions = figures
            .map(|(name, help, _)| Desc::new((*name).into(), (*help).into(), labels(), Default::default()))
            .collect::<prometheus::Result<Vec<_>>>()?;
        let mut of_ends = labels();
        of_ends.push("end".to_owned());
        descriptions.push(Desc::new(ENDS_NAME.into(), ENDS_HELP.into(), of_ends, Default::default())?);
        for (name, help) in [IN_FLIGHT, BODY_BYTES] {
            descriptions.push(Desc::new(name.into(), help.into(), Vec::new(), Default::default())?);
        }
        Ok(Self { board, admission, budget, clock, descriptions })
    }

    /// All triggers that ever had an event, with their labels.
    fn rows(&self) -> Vec<(Vec<LabelPair>, Arc<TriggerCounters>)> {
        let mut rows = Vec::new();
        for (broker, status) in self.board.brokers() {
            for (trigger, counters) in &*status.triggers() {
                // What an earlier process matched may be owed, or come to its end, in this one.
                let touched = counters.matched.load(Relaxed) > 0
                    || counters.owed.load(Relaxed) > 0
                    || ENDS.iter().any(|(_, ended)| ended(counters) > 0);
                if touched {
                    let labels = [
                        label("broker", broker.name()),
                        label("namespace", trigger.namespace()),
                        label("trigger", trigger.name()),
                    ];
                    rows.push((labels.to_vec(), counters.clone()));
                }
            }
        }
        rows
    }
}

impl Collector for TriggerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = Timestamp::from_millis(self.clock.unix_ms());
        let rows = self.rows();
        let each = |kind: MetricType, (name, help, value): &Figure| {
            let metrics = rows.iter().filter_map(|(labels, counters)| {
                value(counters, now).map(|value| series(kind, labels.clone(), value))
            });
            family((name, help), kind, metrics.collect())
        };
        let mut families: Vec<_> = COUNTERS.iter().map(|figure| each(MetricType::COUNTER, figure)).collect();
        families.extend(GAUGES.iter().map(|figure| each(MetricType::GAUGE, figure)));
        let mut ends = Vec::new();
        for (labels, counters) in &rows {
            for (end, value) in &ENDS {
                let mut labels = labels.clone();
                labels.insert(1, label("end", end));
                ends.push(series(MetricType::COUNTER, labels, number(value(counters))));
            }
        }
        families.push(family((ENDS_NAME, ENDS_HELP), MetricType::COUNTER, ends));
        let of_process = |(name, help): (&str, &str), value: f64| {
            family((name, help), MetricType::GAUGE, vec![series(MetricType::GAUGE, Vec::new(), value)])
        };
        families.push(of_process(IN_FLIGHT, f64::from(self.admission.in_flight())));
        families.push(of_process(BODY_BYTES, number(self.budget.used() as u64)));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

#[cfg(test)]
mod tests;
