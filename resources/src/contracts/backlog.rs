//! The work that waits for a trigger's subscriber.

use std::fmt;

use pelton_event::Timestamp;

use crate::delivery::Destination;
use crate::name::NamespacedName;

/// Tells matched, due work per trigger.
pub trait BacklogSource: Send + Sync + fmt::Debug {
    /// The work of every trigger that this process dispatches.
    fn backlog(&self) -> Vec<TriggerBacklog>;
}

/// The work of one trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerBacklog {
    /// The trigger.
    pub trigger: NamespacedName,
    /// Who gets it.
    pub subscriber: Option<Destination>,
    /// Events that match and are due, without those in flight, those waiting for a later attempt, and those of a probed
    /// subscriber; `None` while it is not known.
    pub due: Option<u64>,
    /// All matched events without an end, those in flight and waiting included; `None` while it is not known.
    pub owed: Option<u64>,
    /// Deliveries in flight.
    pub in_flight: u32,
    /// Events matched so far, ever growing within a process: its difference over time is the rate of arrival.
    pub matched_total: u64,
    /// When the oldest event without an end was accepted.
    pub oldest: Option<Timestamp>,
    /// Deliveries at a time that order allows (partitions or keys with work); `None`: any number.
    pub parallelism: Option<u32>,
    /// `max-concurrency` of the trigger.
    pub max_concurrency: Option<u32>,
    /// `max-rate` of the trigger, per second.
    pub max_rate: Option<f64>,
    /// Whether its subscriber is broken and only probed.
    pub probed: bool,
}
