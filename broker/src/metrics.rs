//! What the ingress counts. Series are per broker; requests that reach no broker have both labels empty.

use pelton_resources::NamespacedName;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// From 20 µs to 5 s: a decode takes microseconds, an append the time of a disk sync.
const LATENCY_BUCKETS: [f64; 14] =
    [0.000_02, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    received: IntCounterVec,
    refused: IntCounterVec,
    accepted_events: IntCounterVec,
    accepted_bytes: IntCounterVec,
    decode: HistogramVec,
    append: HistogramVec,
    pub(crate) in_flight_bytes: IntGauge,
}

/// The series of one broker, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct BrokerMetrics {
    pub(crate) received: IntCounter,
    pub(crate) accepted_events: IntCounter,
    pub(crate) accepted_bytes: IntCounter,
    pub(crate) decode: Histogram,
    pub(crate) append: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
            let histogram = HistogramVec::new(options, &["namespace", "broker"])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let in_flight_bytes = IntGauge::new(
            "pelton_ingress_in_flight_bytes",
            "Bytes of the requests between their announcement and their answer",
        )?;
        registry.register(Box::new(in_flight_bytes.clone()))?;
        Ok(Self {
            received: counter(
                "pelton_ingress_received_total",
                "Requests with events that came in for a broker",
                &["namespace", "broker"],
            )?,
            refused: counter(
                "pelton_ingress_refused_total",
                "Requests refused, by error code",
                &["namespace", "broker", "code"],
            )?,
            accepted_events: counter(
                "pelton_ingress_accepted_total",
                "Events accepted: durable and answered with 202",
                &["namespace", "broker"],
            )?,
            accepted_bytes: counter(
                "pelton_ingress_accepted_bytes_total",
                "Bytes (attributes and data) of the events accepted",
                &["namespace", "broker"],
            )?,
            decode: histogram(
                "pelton_ingress_decode_seconds",
                "Time to decode and validate the events of a request",
            )?,
            append: histogram(
                "pelton_ingress_append_seconds",
                "Time from handing events to the log until they are durable",
            )?,
            in_flight_bytes,
        })
    }

    pub(crate) fn of(&self, broker: &NamespacedName) -> BrokerMetrics {
        let label = [broker.namespace(), broker.name()];
        BrokerMetrics {
            received: self.received.with_label_values(&label),
            accepted_events: self.accepted_events.with_label_values(&label),
            accepted_bytes: self.accepted_bytes.with_label_values(&label),
            decode: self.decode.with_label_values(&label),
            append: self.append.with_label_values(&label),
        }
    }

    pub(crate) fn refused(&self, broker: Option<&NamespacedName>, code: &str) {
        let (namespace, name) = broker.map_or(("", ""), |broker| (broker.namespace(), broker.name()));
        self.refused.with_label_values(&[namespace, name, code]).inc();
    }

    /// Drops the series of a broker that is gone.
    pub(crate) fn remove(&self, broker: &NamespacedName) {
        let label = [broker.namespace(), broker.name()];
        // A series that never was cannot be removed, and need not be.
        for counter in [&self.received, &self.accepted_events, &self.accepted_bytes] {
            let _ = counter.remove_label_values(&label);
        }
        for histogram in [&self.decode, &self.append] {
            let _ = histogram.remove_label_values(&label);
        }
        let [namespace, name] = label;
        for family in self.refused.collect() {
            for series in family.get_metric() {
                let value = |of: &str| {
                    series
                        .get_label()
                        .iter()
                        .find(|label| label.name() == of)
                        .map_or("", |label| label.value())
                };
                if (value("namespace"), value("broker")) == (namespace, name) {
                    let _ = self.refused.remove_label_values(&[namespace, name, value("code")]);
                }
            }
        }
    }
}
