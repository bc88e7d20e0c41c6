//! The log: on Kafka where the settings name one, else the embedded one.

use std::sync::Arc;

use pelton_event_log::{EmbeddedLog, EventLog, KafkaLog};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::Config;
use pelton_runtime::telemetry::Metrics;

use super::log_metrics::LogCollector;
use super::{could_not_start, settings};
use crate::failure::Failure;

pub(super) async fn open(
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Arc<dyn EventLog>, Failure> {
    if config.kafka.servers.is_empty() {
        return embedded(config, clock, metrics).await;
    }
    let log = KafkaLog::open(settings::kafka(config))
        .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    Ok(Arc::new(log))
}

async fn embedded(config: &Config, clock: &Clock, metrics: &Metrics) -> Result<Arc<dyn EventLog>, Failure> {
    let (settings, clock) = (settings::log(config), clock.clone());
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(settings, clock))
        .await
        .map_err(|error| could_not_start(format!("the log: {error}")))?
        .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
    let log = Arc::new(log);
    for notice in log.status().notices {
        tracing::warn!(notice, "the log was recovered");
    }
    LogCollector::new(log.clone())
        .and_then(|collector| metrics.register(collector))
        .map_err(|error| could_not_start(format!("metrics of the log: {error}")))?;
    Ok(log)
}
