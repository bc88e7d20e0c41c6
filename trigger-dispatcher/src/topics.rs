//! The topics of a broker, as its resource wants them.

use pelton_event_log::{BrokerTopics, OnFull, Retention, TopicSpec};
use pelton_resources::{Broker, OnFull as Full};

/// The names of the broker's topics.
pub(crate) fn names(broker: &Broker) -> BrokerTopics {
    BrokerTopics::of(&broker.topic)
}

/// The events topic.
pub(crate) fn events(broker: &Broker) -> TopicSpec {
    TopicSpec::new(names(broker).events, broker.partitions, retention(broker))
}

/// The retry and the dead-letter topic; both have a partition for each of the events topic.
pub(crate) fn sisters(broker: &Broker, partitions: u32) -> [TopicSpec; 2] {
    let BrokerTopics { retry, dead_letter, .. } = names(broker);
    let kept = Retention { age: broker.retention.dead_letter_age, ..retention(broker) };
    [TopicSpec::new(retry, partitions, retention(broker)), TopicSpec::new(dead_letter, partitions, kept)]
}

fn retention(broker: &Broker) -> Retention {
    Retention {
        age: broker.retention.age,
        bytes: broker.retention.bytes,
        on_full: match broker.retention.on_full {
            Full::Refuse => OnFull::Refuse,
            Full::Expire => OnFull::Expire,
        },
        account: broker.name.as_str().into(),
    }
}
