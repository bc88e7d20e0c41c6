//! The topics of a broker, which control makes before it passes the broker on.

use pelton_event_log::{BrokerTopics, EventLog, LogError, TopicInfo, TopicName};
use pelton_resources::Broker;

/// The names of the broker's topics.
pub(crate) fn names(broker: &Broker) -> BrokerTopics {
    BrokerTopics::of(&broker.topic)
}

/// The events topic, once those beside it are there with a partition for each of its own.
pub(crate) async fn find(log: &dyn EventLog, broker: &Broker) -> Result<TopicInfo, LogError> {
    let BrokerTopics { events, retry, dead_letter } = names(broker);
    let events = find_one(log, &events).await?;
    for name in [retry, dead_letter] {
        let found = find_one(log, &name).await?.partitions;
        if found < events.partitions {
            let why = format!("it has {found} partitions, and the events topic {}", events.partitions);
            return Err(LogError::Topic(name, why.into()));
        }
    }
    Ok(events)
}

/// A topic that is there.
pub(crate) async fn find_one(log: &dyn EventLog, name: &TopicName) -> Result<TopicInfo, LogError> {
    let missing = || LogError::Topic(name.clone(), "it is not there yet".into());
    log.topic(name).await?.ok_or_else(missing)
}
