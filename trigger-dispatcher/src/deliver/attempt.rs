//! One attempt from start to outcome, so that whatever happens inside comes out as an outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use pelton_event_log::Lease;
use pelton_resources::Destination;
use pelton_resources::contracts::{Delivery, NoSlot, Outcome, Slots};
use tokio::time::Instant;

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
    /// It was sent.
    Sent {
        /// What came of it.
        outcome: Outcome,
        /// Time from sending to the outcome.
        took: Duration,
    },
    /// It was not sent: there will be no place on a replica.
    NoSlot(NoSlot),
}

impl Attempt {
    /// Sends `delivery`. A delivery to a Service first waits for a place on a replica, which is given back when the exchange
    /// is over; `has_slot` runs once it has one, since waiting is no attempt. Nothing is sent while `lease` does not hold.
    ///
    /// A sender that panics or does not answer is a destination without a response: the event is not lost by it.
    pub(crate) async fn run(
        &self,
        mut delivery: Delivery,
        has_slot: impl Future<Output = ()>,
        lease: &Lease,
    ) -> Ended {
        let slot = match &delivery.destination {
            Destination::Service { name, .. } => match self.slots.acquire(name).await {
                Ok(slot) => {
                    has_slot.await;
                    Some(slot)
                }
                Err(none) => return Ended::NoSlot(none),
            },
            Destination::Uri(_) | Destination::Broker(_) => None,
        };
        delivery.replica = slot.as_ref().map(|slot| slot.replica.clone());
        lease.held().await;
        let sent_at = Instant::now();
        let outcome = lease.guard(self.send(delivery)).await;
        drop(slot);
        Ended::Sent { outcome, took: sent_at.elapsed() }
    }

    async fn send(&self, delivery: Delivery) -> Outcome {
        let sender = self.senders.of(&delivery.destination);
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
