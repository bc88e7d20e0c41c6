//! The metrics of a process: one registry, made in `main` and passed to every part.

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

/// The `Content-Type` of what [`Metrics::encode`] gives.
pub const METRICS_CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// A registry of metrics. A clone shows the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A registry with the figures of the process: CPU, memory, file descriptors, threads, start time.
    ///
    /// # Errors
    /// When the process's own figures cannot be registered.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { registry })
    }

    /// Adds a metric, or a collector that reads its figures when it is asked, and gives it back.
    ///
    /// # Errors
    /// When a metric of the same name and labels is there already.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// The registry itself.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics in Prometheus' text format, for `GET /metrics`.
    ///
    /// # Errors
    /// When a metric is not well-formed.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn registered_metrics_and_the_process_are_encoded() {
        let metrics = Metrics::new().unwrap();
        let counter = metrics.register(IntCounter::new("pelton_test_total", "Of a test.").unwrap()).unwrap();
        counter.inc_by(3);
        let text = metrics.encode().unwrap();
        assert!(text.contains("# HELP pelton_test_total Of a test."), "{text}");
        assert!(text.contains("\npelton_test_total 3\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn the_same_metric_twice_is_an_error() {
        let metrics = Metrics::new().unwrap();
        metrics.register(IntCounter::new("pelton_test_total", "Of a test.").unwrap()).unwrap();
        assert!(metrics.register(IntCounter::new("pelton_test_total", "Of a test.").unwrap()).is_err());
    }
}
