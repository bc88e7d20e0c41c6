//! Whether the topics of brokers are still there: on Kafka others may delete them, and add partitions.

use std::ops::Bound;
use std::sync::Arc;

use pelton_event_log::{BrokerTopics, LogError, TopicName};
use pelton_resources::{Broker, NamespacedName, Readiness};

use super::{Seen, Topics};
use crate::limits;

/// What a look finds.
enum Look {
    /// All topics, as they are published.
    Same,
    /// Other partitions than before.
    Changed,
    /// Not this one.
    Missing(TopicName),
}

impl Topics {
    /// Looks at the topics of those brokers whose turn it is. Answers whether there is something to do or to pass on.
    pub(super) async fn look(&mut self) -> bool {
        let mut any = false;
        for name in self.turn() {
            let Some(seen) = self.brokers.get(&name) else { continue };
            // What is not settled is seen to anyway.
            if !seen.settled || !seen.desired.readiness.is_ready() {
                continue;
            }
            // While the log cannot tell, nothing is known to be missing.
            let Ok(found) = self.find(&seen.published).await else { continue };
            if let Some(seen) = self.brokers.get_mut(&name) {
                any |= seen.take_in(found);
            }
        }
        any
    }

    /// The brokers to look at: those after the one that was last, round and round.
    pub(super) fn turn(&mut self) -> Vec<NamespacedName> {
        let after = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut names: Vec<_> =
            self.brokers.range((after.clone(), Bound::Unbounded)).map(|(name, _)| name.clone()).collect();
        if let Bound::Excluded(last) = after {
            names.extend(self.brokers.range(..=last).map(|(name, _)| name.clone()));
        }
        names.truncate(limits::TOPICS_LOOKED_AT);
        self.looked_at = names.last().cloned();
        names
    }

    async fn find(&self, broker: &Broker) -> Result<Look, LogError> {
        let names = BrokerTopics::of(&broker.topic);
        let mut look = Look::Same;
        let is_other = |topic: &TopicName, partitions: u32| {
            if *topic == names.events {
                partitions != broker.partitions
            } else {
                partitions < broker.partitions
            }
        };
        for topic in std::iter::once(&names.events).chain(super::beside(broker, &names)) {
            match self.log.topic(topic).await? {
                None => return Ok(Look::Missing(topic.clone())),
                Some(found) if is_other(topic, found.partitions) => look = Look::Changed,
                Some(_) => {}
            }
        }
        Ok(look)
    }
}

impl Seen {
    /// Answers whether there is something to do or to pass on.
    fn take_in(&mut self, look: Look) -> bool {
        match look {
            Look::Same if self.missed == 0 => false,
            Look::Same | Look::Changed => {
                let was_told = self.missed >= limits::TOPICS_MISSED;
                self.missed = 0;
                self.settled = !was_told && matches!(look, Look::Same);
                !self.settled
            }
            Look::Missing(topic) => self.miss(&topic),
        }
    }

    fn miss(&mut self, topic: &TopicName) -> bool {
        self.missed += 1;
        if self.missed == limits::TOPICS_MISSED {
            tracing::error!(broker = %self.desired.name, topic = %topic, "a topic is gone: its broker takes no events");
            let then = if self.desired.kafka.external_topic {
                "it is waited for"
            } else {
                "if it does not come back, it is made again"
            };
            let message = format!("its topic {topic} is gone; {then}");
            let readiness = Readiness::not_ready(super::NOT_READY, message);
            self.published = Arc::new(Broker { readiness, ..Broker::clone(&self.published) });
            return true;
        }
        self.settled = self.missed < limits::TOPICS_MADE_AGAIN;
        !self.settled
    }
}
