//! Brokers.

use std::time::Duration;

use crate::kafka::KafkaSettings;
use crate::name::NamespacedName;
use crate::readiness::Readiness;

/// A broker: where events are sent to and triggers take them from.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// Its identity.
    pub name: NamespacedName,
    /// The events topic: that of its annotation `external.topic`, else by the template of `config-kafka-features`
    /// (`knative-broker-<namespace>-<name>` unless it says otherwise).
    pub topic: String,
    /// Partitions of the events topic.
    pub partitions: u32,
    /// How long events are kept.
    pub retention: RetentionPolicy,
    /// How its topics lie on Kafka.
    pub kafka: KafkaSettings,
    /// Whether it is in service.
    pub readiness: Readiness,
}

/// How long a broker's events are kept once settled, and how much room they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Settled events older than this are let go.
    pub age: Duration,
    /// Dead letters older than this are let go.
    pub dead_letter_age: Duration,
    /// Bytes of all its topics together.
    pub bytes: u64,
    /// What happens when they are spent.
    pub on_full: OnFull,
}

/// What a broker does when its budget is spent and everything in it is still owed to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// It refuses new events (503).
    #[default]
    Refuse,
    /// It lets the oldest go, counted as expired.
    Expire,
}
