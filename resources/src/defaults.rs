//! What holds where no document says anything.

use std::time::Duration;

use crate::broker::{OnFull, RetentionPolicy};
use crate::delivery::DeliveryPolicy;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What holds where neither a document nor a ConfigMap says anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Delivery fields that neither trigger nor broker sets; its dead letter sink is not used.
    pub delivery: DeliveryPolicy,
    /// Partitions of a broker.
    pub partitions: u32,
    /// How long events are kept.
    pub retention: RetentionPolicy,
    /// What the log lies on.
    pub engine: Engine,
    /// Whether this process runs Services.
    pub runs_services: bool,
}

/// What the log lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Engine {
    /// Files of Pelton. Settings for a Kafka cluster have no effect, and their mistakes no consequence.
    #[default]
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

impl Default for Defaults {
    /// 10 partitions, as Knative's; 7 days and 10 GiB of events; 30 days of dead letters. Services are run.
    fn default() -> Self {
        let retention = RetentionPolicy {
            age: 7 * DAY,
            dead_letter_age: 30 * DAY,
            bytes: 10 << 30,
            on_full: OnFull::Refuse,
        };
        Self {
            delivery: DeliveryPolicy::default(),
            partitions: 10,
            retention,
            engine: Engine::default(),
            runs_services: true,
        }
    }
}
