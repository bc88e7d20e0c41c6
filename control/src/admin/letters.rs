//! Reading dead letters from the log.
//!
//! A dead letter is open until a record later in its partition says that it is closed. So a partition is read twice: once
//! for what is [`Closed`], which holds for a whole command, once for the letters.

use std::collections::HashSet;
use std::ops::ControlFlow;

use pelton_event::{DeadLetterReason, Origin, Record, Step};
use pelton_event_log::{Content, Entry, EventLog, LogError, Offset, Partition, ReadLimit, TopicName};

use crate::limits;

/// Where a dead letter is: the partition of the dead-letter topic and the offset in it. Written `3-120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LetterId {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
}

impl LetterId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    }
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// A dead letter.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) id: LetterId,
    pub(super) record: Record,
}

impl Letter {
    /// The delivery that failed.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.record.envelope.origin.as_ref()
    }
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    /// Of this trigger only, as `namespace/name`.
    pub(super) trigger: Option<String>,
    /// For this reason only.
    pub(super) reason: Option<DeadLetterReason>,
}

impl Selection {
    fn includes(&self, origin: &Origin) -> bool {
        let Step::DeadLetter { failure, .. } = &origin.step else { return false };
        self.trigger.as_deref().is_none_or(|trigger| *trigger == *origin.trigger)
            && self.reason.is_none_or(|reason| reason == failure.reason)
    }
}

/// Calls `visit` with the entries of a partition from `from` up to the end it has now.
pub(super) async fn read_partition(
    log: &dyn EventLog,
    topic: &TopicName,
    partition: Partition,
    mut from: Offset,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let limit = ReadLimit { bytes: limits::READ_BYTES, entries: limits::READ_ENTRIES, wait: false };
    let end = log.bounds(topic, partition).await?.end;
    while from < end {
        let chunk = log.read(topic, partition, from, limit).await?;
        for entry in chunk.entries {
            if entry.offset >= end || visit(entry).is_break() {
                return Ok(());
            }
        }
        if chunk.next <= from {
            return Ok(());
        }
        from = chunk.next;
    }
    Ok(())
}

/// Letters of a partition that are closed: those known when it was read, from an offset on.
#[derive(Debug)]
pub(super) struct Closed(HashSet<Offset>);

impl Closed {
    /// Reads a partition from `from` to its end.
    pub(super) async fn read(
        log: &dyn EventLog,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
    ) -> Result<Self, LogError> {
        let mut closed = HashSet::new();
        read_partition(log, topic, partition, from, |entry| {
            if let Content::Record(record) = entry.content
                && let Some(Step::Discarded { of }) = record.envelope.step()
            {
                closed.insert(*of);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(Self(closed))
    }

    /// Calls `visit` with the open letters of the partition from `from` on, in order.
    pub(super) async fn open_letters(
        &self,
        log: &dyn EventLog,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        selection: &Selection,
        mut visit: impl FnMut(Letter) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        read_partition(log, topic, partition, from, |entry| {
            let Content::Record(record) = entry.content else { return ControlFlow::Continue(()) };
            let selected = record.envelope.origin.as_ref().is_some_and(|origin| selection.includes(origin));
            if !selected || self.0.contains(&entry.offset) {
                return ControlFlow::Continue(());
            }
            visit(Letter { id: LetterId { partition, offset: entry.offset }, record })
        })
        .await
    }

    /// The letter at one place, if it is open.
    pub(super) async fn letter(
        &self,
        log: &dyn EventLog,
        topic: &TopicName,
        id: LetterId,
    ) -> Result<Option<Letter>, LogError> {
        let bounds = log.bounds(topic, id.partition).await?;
        if !(bounds.start..bounds.end).contains(&id.offset) || self.0.contains(&id.offset) {
            return Ok(None);
        }
        let limit = ReadLimit { bytes: 1, entries: 1, wait: false };
        let chunk = log.read(topic, id.partition, id.offset, limit).await?;
        let entry = chunk.entries.into_iter().find(|entry| entry.offset == id.offset);
        let Some(Content::Record(record)) = entry.map(|entry| entry.content) else { return Ok(None) };
        let is_letter =
            record.envelope.origin.as_ref().is_some_and(|origin| Selection::default().includes(origin));
        Ok(is_letter.then_some(Letter { id, record }))
    }
}

#[cfg(test)]
mod tests {
    use super::LetterId;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = LetterId { partition: 3, offset: 120 };
        assert_eq!(LetterId::parse(&id.to_string()), Some(id));
        for text in ["", "3", "3-", "-3", "a-1", "3-1-2", "3--1"] {
            assert_eq!(LetterId::parse(text), None, "{text}");
        }
    }
}
