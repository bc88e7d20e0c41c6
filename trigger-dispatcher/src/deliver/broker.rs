//! Delivery into another broker of this Pelton: an append to its log instead of a request to its ingress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use pelton_event::{Envelope, Record, Timestamp};
use pelton_event_log::{AppendError, Batch, EventLog, TopicName, Urgency, partition_of};
use pelton_resources::contracts::{Delivery, Outcome, Response, Sender};
use pelton_resources::{Broker, Destination, NamespacedName, Snapshot};
use pelton_runtime::clock::Clock;
use tokio::sync::watch;

use crate::topics;

/// Appends deliveries to the events topic of the broker they go to, one hop less left.
///
/// The answers are those of an ingress: 202 once the event is durable, 404 for a broker that is not there, 400 for an event
/// without hops, 503 when the log cannot take it.
#[derive(Debug)]
pub struct BrokerSender {
    log: Arc<dyn EventLog>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Clock,
    /// Partitions of the topics sent to so far, with the resource they were asked for.
    partitions: Mutex<HashMap<NamespacedName, (Arc<Broker>, u32)>>,
}

impl BrokerSender {
    /// A sender into `log` to the brokers of the newest snapshot.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, snapshots: watch::Receiver<Arc<Snapshot>>, clock: Clock) -> Self {
        Self { log, snapshots, clock, partitions: Mutex::default() }
    }

    async fn send_one(&self, delivery: Delivery) -> Outcome {
        let Destination::Broker(name) = &delivery.destination else {
            let message = format!("{} is not a broker", delivery.destination);
            return Outcome::Forbidden { message: message.into() };
        };
        let Some(hops) = delivery.hops.checked_sub(1) else {
            return answer(400, "the event has no hops left: it runs in a loop");
        };
        let Some(broker) = self.snapshots.borrow().brokers.get(name).cloned() else {
            return answer(404, "there is no such broker");
        };
        if !broker.readiness.is_ready() {
            return answer(503, "the broker is not ready");
        }
        let timeout = delivery.trigger.delivery.timeout;
        let append = self.append(&broker, delivery, hops);
        tokio::time::timeout(timeout, append).await.unwrap_or(Outcome::TimedOut)
    }

    async fn append(&self, broker: &Arc<Broker>, delivery: Delivery, hops: u8) -> Outcome {
        let (topic, partitions) = match self.topic(broker).await {
            Ok(topic) => topic,
            Err(error) => return answer(503, &error.to_string()),
        };
        let key =
            delivery.event.attribute("partitionkey").map(|key| Bytes::copy_from_slice(key.text.as_bytes()));
        let partition = match &key {
            Some(key) => partition_of(key, partitions),
            None => fastrand::u32(..partitions),
        };
        let time = Timestamp::from_millis(self.clock.unix_ms());
        let envelope = Envelope { key, time, trace: delivery.trace, hops, origin: None };
        let record = Record { envelope, event: Some(delivery.event) };
        let records = vec![(topic, partition, record)];
        match self.log.append(Batch { records, progress: Vec::new(), urgency: Urgency::Now }).await {
            Ok(_) => answer(202, ""),
            Err(AppendError::Unknown(reason)) => Outcome::Unreachable {
                message: format!("it is not known whether the broker stored the event: {reason}").into(),
            },
            Err(error @ AppendError::TooLarge { .. }) => answer(413, &error.to_string()),
            Err(error) => answer(503, &error.to_string()),
        }
    }

    /// The events topic of `broker` and its partitions, asked for once per value of the resource.
    async fn topic(&self, broker: &Arc<Broker>) -> Result<(TopicName, u32), pelton_event_log::LogError> {
        let known = self.known(&broker.name).filter(|(of, _)| Arc::ptr_eq(of, broker));
        if let Some((_, partitions)) = known {
            return Ok((topics::names(broker).events, partitions));
        }
        let info = topics::find_one(&*self.log, &topics::names(broker).events).await?;
        let mut all = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        // Brokers that are gone leave with the next one that is asked for.
        all.retain(|name, _| self.snapshots.borrow().brokers.contains_key(name));
        all.insert(broker.name.clone(), (broker.clone(), info.partitions));
        Ok((info.name, info.partitions))
    }

    fn known(&self, name: &NamespacedName) -> Option<(Arc<Broker>, u32)> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl Sender for BrokerSender {
    fn send(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>> {
        Box::pin(super::each(deliveries, |delivery| self.send_one(delivery)))
    }
}

fn answer(status: u16, text: &str) -> Outcome {
    let body = Bytes::copy_from_slice(text.as_bytes());
    Outcome::Response(Response { status, retry_after: None, reply: Ok(None), body })
}

#[cfg(test)]
mod tests;
