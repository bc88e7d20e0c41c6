//! One attempt from start to outcome, so that whatever happens inside comes out as an outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use pelton_resources::Destination;
use pelton_resources::contracts::{Delivery, NoSlot, Outcome, Slots};

use super::Senders;

/// What an attempt needs from outside.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// Who sends.
    pub(crate) senders: Senders,
    /// Who grants places on the replicas of Services.
    pub(crate) slots: Arc<dyn Slots>,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was sent, and this came of it.
    Sent(Outcome),
    /// It was not sent: there will be no place on a replica.
    NoSlot(NoSlot),
}

impl Attempt {
    /// Sends `delivery`. A delivery to a Service first waits for a place on a replica, which is given back when the exchange
    /// is over; `started` is called when it has one, since waiting is no attempt.
    ///
    /// A sender that panics or does not answer is a destination without a response: the event is not lost by it.
    pub(crate) async fn run(&self, mut delivery: Delivery, started: impl FnOnce()) -> Ended {
        let slot = match &delivery.destination {
            Destination::Service { name, .. } => match self.slots.acquire(name).await {
                Ok(slot) => Some(slot),
                Err(none) => return Ended::NoSlot(none),
            },
            Destination::Uri(_) | Destination::Broker(_) => None,
        };
        started();
        delivery.replica = slot.as_ref().map(|slot| slot.replica.clone());
        let outcome = self.send(delivery).await;
        drop(slot);
        Ended::Sent(outcome)
    }

    async fn send(&self, delivery: Delivery) -> Outcome {
        let sender = self.senders.of(&delivery.destination).clone();
        let sent = AssertUnwindSafe(async { sender.send(vec![delivery]).await }).catch_unwind().await;
        match sent.map(|outcomes| outcomes.into_iter().next()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => unreachable_because("the sender gave no outcome"),
            Err(_) => unreachable_because("the sender panicked; this is a defect of Pelton"),
        }
    }
}

fn unreachable_because(message: &str) -> Outcome {
    Outcome::Unreachable { message: message.into() }
}

#[cfg(test)]
mod tests;
