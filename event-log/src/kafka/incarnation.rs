//! Offsets that never come again.
//!
//! A topic that is deleted and made anew begins at offset 0 again, while progress, retries and dead letters name offsets of
//! the one before. Taken for each other, new events would pass for delivered ones. So what goes out of this crate, and what
//! is saved, counts on: Kafka's offset plus [`SPAN`] for each time that the topic was made anew. To a dispatcher the new
//! topic is then one whose old records have expired.
//!
//! A topic is told from the one before by the id that Kafka gives it when it is made. The progress of a partition keeps the
//! ids for which it was written; who gains the partition compares.

use std::fmt;

use super::progress::Of;
use crate::Offset;

/// Offsets of one incarnation. Kafka's own would take decades to get there; a power of ten, so that people can read the sum.
pub(super) const SPAN: Offset = 1_000_000_000_000_000;

/// Times that a topic can be made anew: what comes then would not fit an offset.
const INCARNATIONS_MAX: u16 = 18_000;
const _: () = assert!((INCARNATIONS_MAX as u64) < u64::MAX / SPAN);

/// Ids of earlier incarnations that are kept.
const EARLIER_IDS: usize = 4;

/// How often a topic was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Incarnation(u16);

/// The id that Kafka has given to a topic; empty if it gives none (before Kafka 2.8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TopicId(Box<str>);

/// A topic as it is known to progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub(super) id: TopicId,
    pub(super) incarnation: Incarnation,
    /// The ids of earlier ones, the last first. Kafka gives none twice: whoever still tells of one is behind.
    earlier: Vec<TopicId>,
}

/// The topics of a broker whose progress is saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Both<T> {
    pub(super) events: T,
    pub(super) retry: T,
}

/// Both topics as they are known to progress.
pub(super) type Identities = Both<Identity>;

impl<T> Both<T> {
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> Both<U> {
        Both { events: change(self.events), retry: change(self.retry) }
    }

    pub(super) const fn of(&self, of: Of) -> &T {
        match of {
            Of::Events => &self.events,
            Of::Retry => &self.retry,
        }
    }
}

impl<T> Both<Option<T>> {
    /// Both, if both are there.
    pub(super) fn all(self) -> Option<Both<T>> {
        Some(Both { events: self.events?, retry: self.retry? })
    }
}

impl Identities {
    /// The topics that have the ids now.
    pub(super) fn now(&self, ids: &Both<TopicId>) -> Self {
        Self { events: self.events.now(&ids.events), retry: self.retry.now(&ids.retry) }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (events, retry) = text.split_once(' ')?;
        Some(Self { events: Identity::parse(events)?, retry: Identity::parse(retry)? })
    }
}

impl fmt::Display for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.events, self.retry)
    }
}

impl Incarnation {
    /// What stands for an offset of Kafka.
    pub(super) const fn lasting(self, offset: Offset) -> Offset {
        (self.0 as Offset) * SPAN + offset
    }

    /// Kafka's offset for a position: the start for one in an earlier incarnation. `None` for one in a later incarnation,
    /// which this process does not know of yet.
    pub(super) const fn of_kafka(self, position: Offset) -> Option<Offset> {
        match position.checked_sub(self.lasting(0)) {
            None => Some(0),
            Some(offset) if offset < SPAN => Some(offset),
            Some(_) => None,
        }
    }
}

impl TopicId {
    pub(super) const fn new(text: Box<str>) -> Self {
        Self(text)
    }

    /// Whether a topic with this id is the same as one with the other, as far as ids tell.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        self.0.is_empty() || other.0.is_empty() || self == other
    }
}

impl Identity {
    /// The topic that has the id now, after this one.
    pub(super) fn now(&self, id: &TopicId) -> Self {
        // A Kafka that gives no ids for a while does not make us forget.
        if id.0.is_empty() || *id == self.id || self.earlier.contains(id) {
            return self.clone();
        }
        if self.id.0.is_empty() {
            return Self { id: id.clone(), ..self.clone() };
        }
        let incarnation = Incarnation((self.incarnation.0 + 1).min(INCARNATIONS_MAX));
        let earlier = std::iter::once(&self.id).chain(&self.earlier).take(EARLIER_IDS).cloned().collect();
        Self { id: id.clone(), incarnation, earlier }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (incarnation, id) = text.split_once(':')?;
        let incarnation = incarnation.parse().ok().filter(|incarnation| *incarnation <= INCARNATIONS_MAX)?;
        let mut ids = id.split(',').map(|id| TopicId(id.into()));
        let id = ids.next()?;
        Some(Self { id, incarnation: Incarnation(incarnation), earlier: ids.collect() })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.incarnation.0, self.id.0)?;
        self.earlier.iter().try_for_each(|id| write!(f, ",{}", id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TopicId {
        TopicId::new(text.into())
    }

    #[test]
    fn a_topic_made_anew_counts_on() {
        let first = Identity::default().now(&id("a"));
        assert_eq!(first.incarnation, Incarnation(0), "an id that was not known before is no other one");
        assert_eq!(first.now(&id("a")), first);
        let second = first.now(&id("b"));
        assert_eq!((second.incarnation, &second.id), (Incarnation(1), &id("b")));
        assert_eq!(second.now(&id("")), second, "no id tells nothing");
        assert_eq!(second.now(&id("a")), second, "somebody is behind");
        assert_eq!(second.now(&id("c")).incarnation, Incarnation(2));
    }

    #[test]
    fn positions_last() {
        let (first, second) = (Incarnation(0), Incarnation(1));
        assert_eq!((first.lasting(7), second.lasting(7)), (7, SPAN + 7));
        for offset in [0, 7, SPAN - 1] {
            assert_eq!(second.of_kafka(second.lasting(offset)), Some(offset));
            assert_eq!(
                second.of_kafka(first.lasting(offset)),
                Some(0),
                "what was before the topic is before its start"
            );
            assert_eq!(first.of_kafka(second.lasting(offset)), None);
        }
    }

    #[test]
    fn identities_are_read_back() {
        let identity = Identity { id: id("q/+A"), incarnation: Incarnation(3), earlier: vec![] };
        assert_eq!(identity.to_string(), "3:q/+A");
        assert_eq!(Identity::parse("3:q/+A"), Some(identity.clone()));
        let next = identity.now(&id("B")).now(&id("C"));
        assert_eq!(next.to_string(), "5:C,B,q/+A");
        assert_eq!(Identity::parse("5:C,B,q/+A"), Some(next));
        assert_eq!(Identity::parse("0:"), Some(Identity::default()));
        for wrong in ["", "yes", ":", "x:a", "-1:a", "18001:a", "70000:a"] {
            assert_eq!(Identity::parse(wrong), None, "{wrong}");
        }
    }
}
