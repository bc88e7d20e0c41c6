//! Triggers.

use std::sync::Arc;

use pelton_event::Timestamp;
use pelton_filter::{Expression, Filter};

use crate::delivery::{DeliveryPolicy, Destination};
use crate::name::NamespacedName;
use crate::readiness::Readiness;

/// A trigger: which events of a broker a subscriber gets, and how. Its filter is compiled at load.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its identity; progress is kept under it.
    pub name: NamespacedName,
    /// The broker it takes events from.
    pub broker: NamespacedName,
    /// Its consumer group on Kafka, by the template of `config-kafka-features` (`knative-trigger-<namespace>-<name>` unless
    /// it says otherwise).
    pub group: String,
    /// The filter, compiled.
    pub filter: Arc<Filter>,
    /// The filter as written; `None` matches every event.
    pub expression: Option<Arc<Expression>>,
    /// Who gets the events; `None` while a `ref` does not resolve (then the trigger is not ready, and its events wait).
    pub subscriber: Option<Destination>,
    /// How.
    pub delivery: DeliveryPolicy,
    /// In which order.
    pub order: Order,
    /// Deliveries at a time, over all dispatchers.
    pub max_concurrency: Option<u32>,
    /// Deliveries per second, over all dispatchers.
    pub max_rate: Option<f64>,
    /// Where it starts when it has no progress.
    pub start: Start,
    /// The text of `start` as written; a changed text is applied once (empty where none was given).
    pub start_text: String,
    /// Whether deliveries are held back by command.
    pub paused: bool,
    /// Whether it is in service.
    pub readiness: Readiness,
}

impl PartialEq for Trigger {
    /// The compiled filter follows from the expression.
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            broker,
            group,
            filter: _,
            expression,
            subscriber,
            delivery,
            order,
            max_concurrency,
            max_rate,
            start,
            start_text,
            paused,
            readiness,
        } = self;
        *name == other.name
            && *broker == other.broker
            && *group == other.group
            && *expression == other.expression
            && *subscriber == other.subscriber
            && *delivery == other.delivery
            && *order == other.order
            && *max_concurrency == other.max_concurrency
            && *max_rate == other.max_rate
            && *start == other.start
            && *start_text == other.start_text
            && *paused == other.paused
            && *readiness == other.readiness
    }
}

/// In which order a trigger's events are delivered. In order means: first sent only after the predecessor's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// As fast as possible.
    #[default]
    Unordered,
    /// One after the other within each partition.
    Ordered,
    /// One after the other within each key.
    Keyed,
}

/// Where a trigger without progress starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first event accepted after the trigger is in force.
    #[default]
    Latest,
    /// With the oldest event kept.
    Earliest,
    /// With the first event accepted at or after this time.
    At(Timestamp),
}
