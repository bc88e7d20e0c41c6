//! What operators see of Services: their replicas and what decided them, requests, cold starts.
//!
//! Series of revisions come from a collector at scrape; histograms are of the process, so that many Services stay cheap.

use std::sync::Arc;
use std::time::Duration;

use pelton_runtime::telemetry::families::{family, label, series};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, HistogramVec, Registry};

use super::view::{Board, RevisionView};
use crate::gateway::Backend;
use crate::scaling::{Cause, Explained};

/// Bounds in seconds, from a fast answer to a model that takes long.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// What is measured as it happens.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// From a request's arrival to the head of its answer.
    pub(crate) requests: Histogram,
    cold_starts: HistogramVec,
}

/// A part of a cold start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// From the first who waits to the order to start.
    Decision,
    /// From the order until the program runs.
    Process,
    /// From there until it is ready.
    Readiness,
    /// From the first readiness of a revision at zero to the head of its first answer.
    FirstByte,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Process => "process",
            Self::Readiness => "readiness",
            Self::FirstByte => "first_byte",
        }
    }
}

impl Metrics {
    pub(super) fn new(registry: &Registry, board: Arc<Board>) -> prometheus::Result<Self> {
        let requests = HistogramOpts::new(
            "pelton_gateway_request_seconds",
            "Time from a request to a Service until the head of its answer, waiting for a replica included.",
        );
        let requests = Histogram::with_opts(requests.buckets(SECONDS.to_vec()))?;
        let cold_starts = HistogramOpts::new(
            "pelton_serving_start_seconds",
            "Time of a replica's start, by phase: decision, process, readiness, first_byte.",
        );
        let cold_starts = HistogramVec::new(cold_starts.buckets(SECONDS.to_vec()), &["phase"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(cold_starts.clone()))?;
        registry.register(Box::new(RevisionCollector::new(board)?))?;
        Ok(Self { requests, cold_starts })
    }

    pub(crate) fn started(&self, phase: Phase, took: Duration) {
        self.cold_starts.with_label_values(&[phase.as_str()]).observe(took.as_secs_f64());
    }
}

/// A figure of a revision: name, help, value.
type Figure = (&'static str, &'static str, fn(&RevisionView, &Explained) -> Option<f64>);

const GAUGES: [Figure; 13] = [
    ("pelton_revision_desired_replicas", "Replicas that were decided, before bounds.", |_, explained| {
        Some(f64::from(explained.desired))
    }),
    ("pelton_revision_requested_replicas", "Replicas there are to be.", |_, explained| {
        Some(f64::from(explained.replicas))
    }),
    ("pelton_revision_ready_replicas", "Replicas that take requests.", |view, _| Some(f64::from(view.ready))),
    ("pelton_revision_starting_replicas", "Replicas that start.", |view, _| Some(f64::from(view.starting))),
    ("pelton_revision_leaving_replicas", "Replicas that finish what they have.", |view, _| {
        Some(f64::from(view.leaving))
    }),
    ("pelton_revision_stable_concurrency", "Requests at a time over the stable window.", |_, explained| {
        Some(explained.requests.0)
    }),
    ("pelton_revision_panic_concurrency", "Requests at a time over the panic window.", |_, explained| {
        Some(explained.requests.1)
    }),
    (
        "pelton_revision_target_concurrency",
        "Requests at a time that one replica is to have.",
        |_, explained| Some(explained.target),
    ),
    ("pelton_revision_excess_burst_capacity", "Room for a burst; policy kpa only.", |_, explained| {
        explained.excess_burst_capacity.map(f64::from)
    }),
    ("pelton_revision_panicking", "1 while the policy panics.", |_, explained| {
        Some(if is_panicking(explained.cause) { 1.0 } else { 0.0 })
    }),
    (
        "pelton_revision_due_events",
        "Events of its triggers that could be sent now. Missing while it is not known.",
        |_, explained| explained.events.map(|events| events.due),
    ),
    (
        "pelton_revision_service_seconds",
        "Time that a delivery takes on a replica, as decisions go by it. Missing while it is not known.",
        |_, explained| explained.events.map(|events| events.service_time.as_secs_f64()),
    ),
    ("pelton_revision_traffic_ratio", "Part of the Service's requests without a tag, 0 to 1.", |view, _| {
        Some(f64::from(view.status.percent) / 100.0)
    }),
];

const fn is_panicking(cause: Cause) -> bool {
    use crate::decision::combined::Reason;
    matches!(cause, Cause::Kpa { is_panicking: true } | Cause::Combined(Reason::Panic))
}

/// What waits or came: name, help, kind, further label, its values and how each is read.
const WAITING: (&str, &str) =
    ("pelton_revision_waiting_requests", "Requests and deliveries that wait for a place on a replica.");
const ANSWERS: (&str, &str) = (
    "pelton_revision_requests_total",
    "HTTP requests that came to their answer's head, by its status; `refused`: without a replica's answer.",
);

/// The statuses of answers, as [`Backend::answered`] counts them.
pub(crate) const ANSWER_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "refused"];

#[derive(Debug)]
struct RevisionCollector {
    board: Arc<Board>,
    descriptions: Vec<Desc>,
}

impl RevisionCollector {
    fn new(board: Arc<Board>) -> prometheus::Result<Self> {
        let labels = |more: &[&str]| {
            ["namespace", "revision", "service"].iter().chain(more).map(|name| (*name).to_owned()).collect()
        };
        let describe = |(name, help): (&str, &str), more: &[&str]| {
            Desc::new(name.into(), help.into(), labels(more), Default::default())
        };
        let mut descriptions = GAUGES
            .iter()
            .map(|(name, help, _)| describe((name, help), &[]))
            .collect::<prometheus::Result<Vec<_>>>()?;
        descriptions.push(describe(WAITING, &["class"])?);
        descriptions.push(describe(ANSWERS, &["status"])?);
        Ok(Self { board, descriptions })
    }
}

impl Collector for RevisionCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let services = self.board.services();
        let views: Vec<_> = services
            .iter()
            .flat_map(|service| &service.revisions)
            .filter_map(|view| Some((labels(view), view, view.explained.as_ref()?)))
            .collect();
        let mut families: Vec<_> = GAUGES
            .iter()
            .map(|(name, help, value)| {
                let metrics = views.iter().filter_map(|(labels, view, explained)| {
                    value(view, explained).map(|value| series(MetricType::GAUGE, labels.clone(), value))
                });
                family((name, help), MetricType::GAUGE, metrics.collect())
            })
            .collect();
        let backends = || views.iter().filter_map(|(labels, view, _)| Some((labels, view.backend.as_ref()?)));
        let waiting = backends().flat_map(|(labels, backend)| {
            backend.waiting().map(|(class, count)| {
                series(MetricType::GAUGE, with(labels, 0, "class", class), number(count as u64))
            })
        });
        families.push(family(WAITING, MetricType::GAUGE, waiting.collect()));
        let answers = backends().flat_map(|(labels, backend)| answers(labels, backend));
        families.push(family(ANSWERS, MetricType::COUNTER, answers.collect()));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

fn answers(labels: &[LabelPair], backend: &Backend) -> Vec<Metric> {
    let counts = ANSWER_CLASSES.iter().zip(backend.answers());
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(class, count)| {
            let labels = with(labels, labels.len(), "status", class);
            series(MetricType::COUNTER, labels, number(count))
        })
        .collect()
}

fn labels(view: &RevisionView) -> Vec<LabelPair> {
    let service = &view.status.service;
    vec![
        label("namespace", service.namespace()),
        label("revision", &view.status.name),
        label("service", service.name()),
    ]
}

/// Labels stand in the order of their names.
fn with(labels: &[LabelPair], at: usize, name: &str, value: &str) -> Vec<LabelPair> {
    let mut labels = labels.to_vec();
    labels.insert(at, label(name, value));
    labels
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point")]
const fn number(count: u64) -> f64 {
    count as f64
}
