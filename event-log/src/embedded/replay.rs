//! The state beside records, read back from frames. Pure.

use std::collections::{BTreeMap, HashMap};

use super::format::{self, Cursor, Kind, flags};
use super::index::Home;
use super::scan::FoundBatch;
use super::{progress, topics};
use crate::{Progress, TopicSpec};

/// What frames say about a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) progress: Progress,
}

/// Everything that is known beside records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) next_topic: u32,
    pub(super) topics: BTreeMap<u32, TopicSpec>,
    pub(super) partitions: HashMap<Home, Known>,
    /// Names of lanes met on the way.
    names: progress::Names,
    /// Records met on the way.
    pub(super) records: u64,
    /// Of the last batch that was met; 0 before the first.
    sequence: u64,
    /// A batch that said something new is lost, in part or whole. It may have held rows of what the heads in later ones have
    /// passed, so heads stay where they are: what is behind them is offered again, and rows that went further still count.
    doubtful: bool,
}

impl State {
    /// The frames of `batch` follow. At a whole checkpoint what was known before no longer counts.
    pub(super) fn enter(&mut self, batch: &FoundBatch) {
        let sequence = batch.header.sequence;
        if batch.is(flags::CHECKPOINT) {
            *self = Self { records: self.records, ..Self::default() };
        } else {
            // Checkpoints and footers only repeat what batches before them said.
            let told = batch.whole || batch.header.flags != 0;
            self.doubtful |= !told || sequence != self.sequence + 1;
        }
        self.sequence = sequence;
    }

    /// Takes a valid frame in. What a later format adds is not known here and passed.
    pub(super) fn apply(&mut self, kind: Kind, body: &[u8]) {
        // The checksum was right, so a body that cannot be read comes from a later version.
        let _ = self.try_apply(kind, body);
    }

    fn try_apply(&mut self, kind: Kind, body: &[u8]) -> Option<()> {
        let mut cursor = Cursor(body);
        match kind {
            Kind::Record => {
                let (place, _) = format::record(body)?;
                let known = self.partitions.entry((place.topic, place.partition)).or_default();
                known.end = known.end.max(place.offset + 1);
                self.records += 1;
            }
            Kind::Progress => {
                let (home, (head, rows)) = progress::decode(body, &mut self.names)?;
                let known = self.partitions.entry(home).or_default();
                // There were records up to the head, even if they are lost: their offsets are not given again.
                known.end = known.end.max(head.unwrap_or(0));
                let head = head.filter(|_| !self.doubtful);
                progress::apply(&mut known.progress, (head, rows));
            }
            Kind::Topic => {
                let (id, spec) = topics::decode(body)?;
                self.next_topic = self.next_topic.max(id + 1);
                self.topics.insert(id, spec);
            }
            Kind::TopicDeleted => {
                let id = cursor.u32()?;
                self.topics.remove(&id);
                self.partitions.retain(|home, _| home.0 != id);
            }
            Kind::Bounds => {
                let home = (cursor.u32()?, cursor.u32()?);
                let (start, end) = (cursor.u64()?, cursor.u64()?);
                let known = self.partitions.entry(home).or_default();
                known.start = known.start.max(start);
                known.end = known.end.max(end);
            }
            Kind::Log => self.next_topic = self.next_topic.max(cursor.u32()?),
            Kind::Runs | Kind::Extents => {}
        }
        Some(())
    }
}
