//! Returning a Broker's work to Knative: the consumer groups of its Triggers get the lowest offsets without an end.
//!
//! What was delivered beyond such an offset is delivered again by Knative; nothing is left out. Retries that wait in the retry
//! topic count by the offset of their event.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use pelton_event::Step;
use pelton_event_log::{
    BrokerTopics, ConsumerGroups, Content, EventLog, LogError, Offset, Partition, Progress, ReadLimit,
    TopicName,
};
use pelton_resources::contracts::{HandBack, HandBackError, HandedBack};
use pelton_resources::{Broker, NamespacedName, Snapshot, Trigger};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::core::RetryRow;
use crate::{limits, topics};

/// Hands Brokers back.
#[derive(Debug)]
pub struct HandBacker {
    log: Arc<dyn EventLog>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// The lowest offset without an end of each trigger in a partition.
type Lowest = BTreeMap<Arc<str>, Offset>;

impl HandBacker {
    /// One for the Brokers of `snapshots`, whose events are in `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { log, snapshots }
    }

    async fn run(&self, name: &NamespacedName, again: bool) -> Result<Vec<HandedBack>, HandBackError> {
        let snapshot = self.snapshots.borrow().clone();
        let (broker, groups) = self.broker(&snapshot, name)?;
        let names = topics::names(broker);
        self.wait_until_idle(groups, broker, &names.events).await?;
        let mut handed_back = Vec::new();
        // The retries are the first to be forgotten, once every group is set. Without them the groups are somebody else's
        // already, and what the progress tells is too late for them.
        let retries = self.log.topic(&names.retry).await.map_err(|error| failed(&error))?;
        if retries.is_some() {
            let lowest = self.all_lowest(&names, broker.partitions).await.map_err(|error| failed(&error))?;
            for trigger in snapshot.triggers.values().filter(|trigger| trigger.broker == *name) {
                handed_back.extend(commit(groups, &names.events, trigger, &lowest, again).await?);
            }
        }
        // Only now is it somebody else's. A later take-over starts from the groups again.
        groups.forget(&names.events).await.map_err(|error| failed(&error))?;
        Ok(handed_back)
    }

    /// Forgets the progress if its retries are gone; before that nothing is missing.
    async fn run_complete(&self, name: &NamespacedName) -> Result<(), HandBackError> {
        let snapshot = self.snapshots.borrow().clone();
        let (broker, groups) = self.broker(&snapshot, name)?;
        let names = topics::names(broker);
        if self.log.topic(&names.retry).await.map_err(|error| failed(&error))?.is_none() {
            groups.forget(&names.events).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn broker<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        name: &NamespacedName,
    ) -> Result<(&'a Broker, &'a dyn ConsumerGroups), HandBackError> {
        let broker = snapshot.brokers.get(name).ok_or_else(|| HandBackError::NotFound(name.clone()))?;
        let groups = self.log.groups().ok_or_else(|| HandBackError::NotOnKafka(name.clone()))?;
        Ok((broker, groups))
    }

    async fn wait_until_idle(
        &self,
        groups: &dyn ConsumerGroups,
        broker: &Broker,
        events: &TopicName,
    ) -> Result<(), HandBackError> {
        let began = Instant::now();
        loop {
            let hosts = groups.dispatchers(events).await.map_err(|error| failed(&error))?;
            if hosts.is_empty() {
                return Ok(());
            }
            if began.elapsed() > limits::HAND_BACK_WAIT {
                let (broker, hosts) = (broker.name.clone(), hosts.join(", "));
                return Err(HandBackError::StillDispatched { broker, hosts });
            }
            sleep(limits::HAND_BACK_LOOK).await;
        }
    }

    async fn all_lowest(
        &self,
        topics: &BrokerTopics,
        partitions: u32,
    ) -> Result<Vec<(Partition, Lowest)>, LogError> {
        let mut lowest = Vec::new();
        for partition in 0..partitions {
            lowest.push((partition, self.lowest(topics, partition).await?));
        }
        Ok(lowest)
    }

    async fn lowest(&self, topics: &BrokerTopics, partition: Partition) -> Result<Lowest, LogError> {
        let events = self.log.progress(&topics.events, partition).await?;
        let mut lowest: Lowest =
            events.lanes.iter().map(|(lane, row)| (lane.clone(), row.low.unwrap_or(events.head))).collect();
        let retries = self.log.progress(&topics.retry, partition).await?;
        self.retries(&topics.retry, partition, &retries, &mut lowest).await?;
        Ok(lowest)
    }

    /// Takes the events of open retries in.
    async fn retries(
        &self,
        topic: &TopicName,
        partition: Partition,
        progress: &Progress,
        lowest: &mut Lowest,
    ) -> Result<(), LogError> {
        let bounds = self.log.bounds(topic, partition).await?;
        let lows = progress.lanes.values().filter_map(|row| row.low);
        let mut next = lows.fold(progress.head, Offset::min).max(bounds.start);
        let row = |lane: &str| progress.lanes.get(lane).map(|row| RetryRow::read(&row.state)).transpose();
        while next < bounds.end {
            let limit = ReadLimit { bytes: limits::READ_BYTES, entries: limits::READ_ENTRIES, wait: false };
            let chunk = self.log.read(topic, partition, next, limit).await?;
            for entry in chunk.entries {
                let Content::Record(record) = entry.content else { continue };
                let Some(origin) = record.envelope.origin else { continue };
                let Step::Retry { .. } = origin.step else { continue };
                let damaged = |reason: &str| LogError::Topic(topic.clone(), reason.into());
                let row = row(&origin.trigger).map_err(damaged)?.unwrap_or_default();
                if row.holds(entry.offset, progress.head)
                    && let Some(known) = lowest.get_mut(&*origin.trigger)
                {
                    *known = origin.offset.min(*known);
                }
            }
            if chunk.next <= next {
                break;
            }
            next = chunk.next;
        }
        Ok(())
    }
}

/// Sets the group of a trigger; `None` for one that never was in force here. With `again` it may stand where an earlier
/// command has set it, for the sake of retries that are gone since: it is not moved past them.
async fn commit(
    groups: &dyn ConsumerGroups,
    events: &TopicName,
    trigger: &Trigger,
    lowest: &[(Partition, Lowest)],
    again: bool,
) -> Result<Option<HandedBack>, HandBackError> {
    let of_partition = |(partition, lowest): &(Partition, Lowest)| {
        lowest.get(trigger.name.as_str()).map(|offset| (*partition, *offset))
    };
    let mut offsets: Vec<_> = lowest.iter().filter_map(of_partition).collect();
    if offsets.is_empty() {
        return Ok(None);
    }
    if again {
        for (partition, offset) in &mut offsets {
            let committed = groups.committed(events, *partition, &trigger.group).await;
            let committed = committed.map_err(|error| failed(&error))?;
            *offset = committed.map_or(*offset, |committed| committed.min(*offset));
        }
    }
    let offsets = groups.commit(events, &trigger.group, offsets).await.map_err(|error| failed(&error))?;
    Ok(Some(HandedBack { trigger: trigger.name.clone(), group: trigger.group.clone(), offsets }))
}

impl HandBack for HandBacker {
    fn hand_back<'a>(
        &'a self,
        broker: &'a NamespacedName,
        again: bool,
    ) -> BoxFuture<'a, Result<Vec<HandedBack>, HandBackError>> {
        Box::pin(self.run(broker, again))
    }

    fn complete<'a>(&'a self, broker: &'a NamespacedName) -> BoxFuture<'a, Result<(), HandBackError>> {
        Box::pin(self.run_complete(broker))
    }
}

fn failed(error: &LogError) -> HandBackError {
    HandBackError::Log(error.to_string())
}

#[cfg(test)]
mod tests;
