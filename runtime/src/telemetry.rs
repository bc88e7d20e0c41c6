//! Logs and metrics.

mod logs;
mod metrics;

pub(crate) use logs::check_level;
pub use logs::{TelemetryError, init_logs};
pub use metrics::{METRICS_CONTENT_TYPE, Metrics};
