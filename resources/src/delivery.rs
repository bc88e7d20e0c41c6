//! How events are delivered: policy and destinations.

use std::time::Duration;

use crate::name::NamespacedName;

/// Where a delivery goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An absolute `http` or `https` URL.
    Uri(String),
    /// A Service that Pelton runs or routes to; a delivery needs a slot on a replica.
    Service {
        /// The Service.
        name: NamespacedName,
        /// Path and query below it, starting with `/`.
        path: String,
    },
    /// Another broker of this Pelton: the event is appended to its log.
    Broker(NamespacedName),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uri(uri) => f.write_str(uri),
            Self::Service { name, path } => write!(f, "service {name}{path}"),
            Self::Broker(name) => write!(f, "broker {name}"),
        }
    }
}

/// How an event is delivered: a trigger's delivery fields merged over its broker's, field by field, then over the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Attempts after the first.
    pub retry: u32,
    /// How the waits between attempts grow.
    pub backoff_policy: BackoffPolicy,
    /// The unit of the waits.
    pub backoff_delay: Duration,
    /// No wait is longer.
    pub backoff_max: Duration,
    /// A longer `Retry-After` is cut to this; zero: `Retry-After` is not heeded.
    pub retry_after_max: Duration,
    /// An attempt that takes longer has failed.
    pub timeout: Duration,
    /// The form in which events are sent.
    pub format: DeliveryFormat,
    /// Who takes an event that the subscriber did not.
    pub dead_letter_sink: Option<Destination>,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            retry: 10,
            backoff_policy: BackoffPolicy::Exponential,
            backoff_delay: Duration::from_millis(200),
            backoff_max: Duration::from_secs(600),
            retry_after_max: Duration::from_secs(600),
            timeout: Duration::from_secs(600),
            format: DeliveryFormat::Binary,
            dead_letter_sink: None,
        }
    }
}

/// How the waits between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackoffPolicy {
    /// Each wait is the delay.
    Linear,
    /// Each wait doubles the one before.
    Exponential,
}

/// The form in which events are sent (Knative `delivery.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryFormat {
    /// HTTP binary content mode.
    Binary,
    /// HTTP structured content mode, JSON.
    Json,
}
