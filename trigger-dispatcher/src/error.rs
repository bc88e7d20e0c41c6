//! What can go wrong besides a delivery.

use pelton_event_log::Partition;
use pelton_resources::NamespacedName;

/// Why the dispatcher cannot do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its metrics cannot be registered: there is one dispatcher per registry.
    #[error("the metrics of the dispatcher cannot be registered: {0}")]
    Metrics(#[source] prometheus::Error),
    /// The saved progress of a partition cannot be read; nothing is delivered from it.
    #[error("broker {broker}, partition {partition} is not dispatched: {reason}")]
    DamagedProgress {
        /// The broker.
        broker: NamespacedName,
        /// The partition of its events topic.
        partition: Partition,
        /// The row, and what is wrong with it.
        reason: Box<str>,
    },
}

impl Error {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Metrics(_) => "PEL-1401",
            Self::DamagedProgress { .. } => "PEL-1402",
        }
    }
}
