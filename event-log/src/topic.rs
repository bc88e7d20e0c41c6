//! Topics: the names of a broker's topics, how they are kept, which partition a key belongs to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::Connection;

/// The name of a topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// A name as it stands.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a dead-letter topic, by its suffix. Nobody saves progress there: its records are kept by age and size
    /// alone, while those of every other topic are kept until the progress of their partition has passed them.
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        self.0.ends_with(DEAD_LETTER_SUFFIX)
    }

    /// Whether it is one of the topics beside an events topic, by its suffix.
    pub(crate) fn is_beside(&self) -> bool {
        self.is_dead_letter() || self.0.ends_with(RETRY_SUFFIX) || self.0.ends_with(PROGRESS_SUFFIX)
    }

    /// The events topic that it belongs to: itself, unless it is one beside.
    pub(crate) fn events(&self) -> Self {
        let suffixes = [RETRY_SUFFIX, DEAD_LETTER_SUFFIX, PROGRESS_SUFFIX];
        let events = suffixes.iter().find_map(|suffix| self.0.strip_suffix(suffix));
        events.map_or_else(|| self.clone(), Self::new)
    }
}

pub(crate) const RETRY_SUFFIX: &str = "_retry";
pub(crate) const DEAD_LETTER_SUFFIX: &str = "_dead-letter";
pub(crate) const PROGRESS_SUFFIX: &str = "_progress";

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The topics of one broker. `_` cannot occur in Kubernetes names, so no two brokers share one by accident of suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTopics {
    /// Events as they came in, and replies.
    pub events: TopicName,
    /// What waits for a later attempt, and commands to the owner of a partition.
    pub retry: TopicName,
    /// What nobody took.
    pub dead_letter: TopicName,
}

impl BrokerTopics {
    /// The topics whose events topic is `events` (`knative-broker-<namespace>-<name>` by default).
    #[must_use]
    pub fn of(events: &str) -> Self {
        Self {
            events: TopicName::new(events),
            retry: TopicName::new(format!("{events}{RETRY_SUFFIX}")),
            dead_letter: TopicName::new(format!("{events}{DEAD_LETTER_SUFFIX}")),
        }
    }
}

/// What to do when a broker's budget is spent and everything in it is still owed to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Refuse new events of that broker (503); nothing is lost.
    #[default]
    Refuse,
    /// Let the oldest events go, counted as expired.
    Expire,
}

/// How long and how much of a topic is kept. What is still owed is spared (but see [`OnFull::Expire`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Settled records older than this are let go.
    pub age: Duration,
    /// Bytes of all topics with the same `account` together.
    pub bytes: u64,
    /// What to do when `bytes` are spent.
    pub on_full: OnFull,
    /// Whose budget it is: the broker, as `namespace/name`.
    pub account: Arc<str>,
}

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name.
    pub name: TopicName,
    /// Partitions; they can be added, never taken away.
    pub partitions: u32,
    /// How it is kept.
    pub retention: Retention,
    /// What it is on Kafka; the embedded engine does not look at it.
    pub kafka: KafkaTopic,
}

impl TopicSpec {
    /// A topic whose place on Kafka is the default one.
    #[must_use]
    pub fn new(name: TopicName, partitions: u32, retention: Retention) -> Self {
        Self { name, partitions, retention, kafka: KafkaTopic::default() }
    }
}

/// What a topic is on Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaTopic {
    /// The cluster it is on; `None`: where it was last seen to, else the one that the engine was started with.
    pub connection: Option<Arc<Connection>>,
    /// Replicas of a topic that is made; `None`: as many as the cluster gives by default.
    pub replication_factor: Option<u16>,
    /// Settings of an events topic that is made, in Kafka's names.
    pub config: BTreeMap<String, String>,
    /// Whether somebody else makes the events topic.
    pub external: bool,
    /// Whether others deliver its events: then no progress is kept for it.
    pub handed_back: bool,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The name.
    pub name: TopicName,
    /// Partitions.
    pub partitions: u32,
    /// Bytes it takes up.
    pub bytes: u64,
    /// The age at which its records go, whether they are owed or not; `None`: those that are owed are spared, or none go.
    pub lifetime: Option<Duration>,
}

/// The partition of `key` among `partitions`, as Kafka's Java clients compute it (murmur2, sign bit cleared), so that keys
/// stay in their partitions on both engines.
///
/// # Panics
/// If `partitions` is 0; a topic has at least one.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Kafka's variant of MurmurHash2 (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    /// Values of Kafka's own unit test (`UtilsTest.testMurmur2`), as signed integers there.
    #[test]
    fn murmur2_is_the_one_of_java_clients() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }
}
