//! The way of one attempt: a place on a replica where it needs one, then the sender of its destination.

mod attempt;
mod broker;
mod http;
mod prepared;
mod retry_after;
mod traced;

pub use broker::BrokerSender;
pub use http::HttpSender;
pub use traced::TracedSender;

pub(crate) use attempt::{Attempt, Ended};

use std::sync::Arc;

use futures_util::future::join_all;
use pelton_resources::Destination;
use pelton_resources::contracts::{Delivery, Outcome, Sender};

/// The sender of each kind of destination.
#[derive(Debug, Clone)]
pub struct Senders {
    /// For URLs and for the replicas of Services.
    pub http: Arc<dyn Sender>,
    /// For other brokers of this Pelton.
    pub broker: Arc<dyn Sender>,
}

impl Senders {
    /// The sender for `destination`.
    #[must_use]
    pub fn of(&self, destination: &Destination) -> &Arc<dyn Sender> {
        match destination {
            Destination::Uri(_) | Destination::Service { .. } => &self.http,
            Destination::Broker(_) => &self.broker,
        }
    }
}

/// Sends each delivery; one by itself, which is what the dispatcher asks for, without what it takes to join several.
async fn each<F>(mut deliveries: Vec<Delivery>, send: impl Fn(Delivery) -> F) -> Vec<Outcome>
where
    F: Future<Output = Outcome>,
{
    match deliveries.pop() {
        Some(only) if deliveries.is_empty() => vec![send(only).await],
        last => join_all(deliveries.into_iter().chain(last).map(send)).await,
    }
}
