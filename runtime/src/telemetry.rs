//! Logs, metrics and traces.

pub mod families;
mod logs;
mod metrics;
mod told;
mod traces;

pub(crate) use logs::check_level;
pub use logs::{TelemetryError, init_logs};
pub use metrics::{METRICS_CONTENT_TYPE, Metrics};
pub use told::Told;
pub(crate) use traces::check_endpoint;
pub use traces::{Span, SpanKind, Tracer, Traces};
