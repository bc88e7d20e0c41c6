//! Progress on Kafka: pure forms and rules; what is written and read is the owner's (`owner`).
//!
//! # Where
//!
//! The progress of partition *p* of a broker's events topic and of its retry topic is in partition *p* of the topic
//! `<events>_progress`, which Kafka compacts: of each key the last record stays.
//!
//! # Epochs
//!
//! Who gains a partition appends a *claim*; the offset that Kafka gives it, plus 1, is the epoch: unique, and greater
//! than all before. The owner then reads everything before the claim, writes it anew under its epoch, marks it *complete*, and
//! removes what older epochs left; in between it makes sure that it still is the owner (`take_over`). Every key holds its
//! epoch, so that a process that was stopped, lost the partition and wakes up again can write what it likes: its records have
//! keys of their own, which the new owner does not read, and compaction never takes the new for the old. What counts is the
//! greatest complete epoch.
//!
//! | key | value |
//! |---|---|
//! | `claim` | who claims, for people |
//! | `EPOCH/rows/events/BB`, `EPOCH/rows/retry/BB` | the rows of the lanes whose names hash to BB (hexadecimal) |
//! | `EPOCH/head/events`, `EPOCH/head/retry` | the head, decimal |
//! | `EPOCH/complete` | the ids of the topics, and how often each was made anew (`incarnation`) |
//!
//! Epoch 0 is written when the progress topic is made for an events topic that is there already: its heads are where the
//! events end at that moment, so that triggers do not start with what others had before. Partitions that are added later
//! have no such record: what comes into them is from our time.
//!
//! # Order
//!
//! Kafka has no frame around several records. A save is therefore three steps, each begun when Kafka has acknowledged the one
//! before: the records of the batch (retries, dead letters, replies), the rows, the heads. A crash between them leaves a row
//! that is ahead of the head, or a record that no row tells of: both make deliveries twice, none makes one not at all. A head
//! never passes what a row lacks.

mod book;
mod format;
mod load;

pub(super) use book::{Book, Changed};
pub(super) use format::ProgressRecord;
pub(super) use load::{Loaded, Loader};

use crate::TopicName;

const EVENTS: &str = "events";
const RETRY: &str = "retry";

/// Whose progress: that of the events topic, or of the retry topic beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Events,
    Retry,
}

impl Of {
    const ALL: [Self; 2] = [Self::Events, Self::Retry];

    /// The events topic that `topic` belongs to, and which of its topics it is.
    pub(super) fn topic(topic: &TopicName) -> (TopicName, Self) {
        match topic.as_str().strip_suffix(crate::topic::RETRY_SUFFIX) {
            Some(events) => (TopicName::new(events), Self::Retry),
            None => (topic.clone(), Self::Events),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Events => EVENTS,
            Self::Retry => RETRY,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.word() == word)
    }
}

#[cfg(test)]
mod tests;
