//! Entries of the events topic that cannot be decoded. Each becomes one dead letter without a trigger, however many lanes
//! come to it, and whoever owns the partition then: which of them are kept already is a row of the progress.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_event_log::{Content, LaneProgress, Offset};

use super::action::{Source, Turn};
use super::partition::Partition;
use super::progress;
use super::save::{PendingRecord, Role};
use super::shared::Shared;
use crate::dead_letter::{self, Place};
use crate::limits;

/// The row that names the damaged entries; names of triggers have a slash.
pub(super) const ROW: &str = "damaged";

/// The damaged entries that are known.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    known: BTreeMap<Offset, Passage>,
}

/// Whether lanes may pass a damaged entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// Its dead letter is not durable.
    Closed,
    /// It is, or goes with the save in which the head passes it: progress of a lane beyond it cannot be durable before.
    Open,
}

impl Damaged {
    /// Those that a row names and the log, which begins at `start`, still has before `end`.
    pub(super) fn load(row: &LaneProgress, start: Offset, end: Offset) -> Result<Self, &'static str> {
        let runs = progress::decode_damaged(&row.state)?;
        let mut damaged = Self::default();
        for (first, count) in runs {
            let last = first.saturating_add(count).min(end);
            for offset in first.max(start)..last {
                damaged.note(offset, Passage::Open);
            }
        }
        Ok(damaged)
    }

    /// The row that names all but those for which `waits` holds.
    fn row(&self, waits: impl Fn(Offset) -> bool) -> LaneProgress {
        let mut runs: Vec<(Offset, u64)> = Vec::new();
        for &offset in self.known.keys().filter(|offset| !waits(**offset)) {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == offset => *count += 1,
                _ => runs.push((offset, 1)),
            }
        }
        progress::encode_damaged(&runs)
    }

    fn note(&mut self, offset: Offset, passage: Passage) {
        self.known.insert(offset, passage);
        if self.known.len() > limits::DAMAGED_KNOWN_MAX
            // Lanes are rather near the head than far behind it.
            && let Some(first) = self.known.first_entry().filter(|first| *first.get() == Passage::Open)
        {
            first.remove();
        }
    }

    /// The dead letter of an entry is durable.
    pub(super) fn kept(&mut self, offset: Offset) {
        self.note(offset, Passage::Open);
    }
}

impl Partition {
    /// The row of the damaged entries as it is durable with the save `id`, if it changes with that.
    pub(super) fn damaged_row(&self, id: u64) -> Option<(Arc<str>, Option<Arc<LaneProgress>>)> {
        let (waiting, is_in_save) = self.saver.damaged_not_in(id);
        is_in_save.then(|| (ROW.into(), Some(Arc::new(self.damaged.row(|offset| waiting.contains(&offset))))))
    }

    /// What the head, or the reader of the retry topic, cannot decode is one dead letter without a trigger; progress passes it
    /// only together with that.
    pub(super) fn keep_undecodable(
        &mut self,
        source: Source,
        offset: Offset,
        reason: &str,
        bytes: &[u8],
        shared: &Shared,
        turn: &Turn<'_>,
    ) {
        if source == Source::Events {
            // The head comes by again unless it is saved with the dead letter.
            self.damaged.note(offset, Passage::Open);
        }
        let record = self.undecodable(source, offset, reason, bytes, shared, turn);
        self.saver.push(record);
    }

    fn undecodable(
        &self,
        source: Source,
        offset: Offset,
        reason: &str,
        bytes: &[u8],
        shared: &Shared,
        turn: &Turn<'_>,
    ) -> PendingRecord {
        let topics = &shared.config.topics;
        let topic = if source == Source::Events { &topics.events } else { &topics.retry };
        let place = Place { trigger: "", partition: self.number, offset };
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let record = dead_letter::undecodable(place, topic.as_str(), reason, &bytes, turn.now);
        PendingRecord::new(Role::DeadLetter, None, (source, offset), self.number, record)
    }

    /// A sweep came to an entry that cannot be decoded (any more): which lanes want it is not known, so it becomes one dead
    /// letter without a trigger. Answers whether lanes may pass it.
    pub(super) fn passes_damaged(
        &mut self,
        offset: Offset,
        content: &Content,
        shared: &Shared,
        turn: &Turn<'_>,
    ) -> bool {
        if let Some(passage) = self.damaged.known.get(&offset) {
            return *passage == Passage::Open;
        }
        let (reason, bytes) = match content {
            Content::Record(_) => ("it has no event", &[][..]),
            Content::Undecodable { reason, bytes } => (&**reason, &bytes[..]),
        };
        self.damaged.note(offset, Passage::Closed);
        let record = self.undecodable(Source::Events, offset, reason, bytes, shared, turn);
        self.saver.push_by_itself(record);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_names_what_is_kept_and_the_log_still_has() {
        let mut damaged = Damaged::default();
        for offset in [3, 4, 5, 9, 20, 21] {
            damaged.note(offset, Passage::Closed);
        }
        let row = damaged.row(|offset| offset == 21);
        assert_eq!(row.low, None, "it holds nothing back");
        let read = |start, end| -> Vec<Offset> {
            Damaged::load(&row, start, end).unwrap().known.into_keys().collect()
        };
        assert_eq!(read(0, 100), [3, 4, 5, 9, 20]);
        assert_eq!(read(4, 10), [4, 5, 9]);
    }
}
