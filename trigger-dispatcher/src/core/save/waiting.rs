//! Records that wait to be stored.

use std::collections::VecDeque;

use pelton_event::Record;
use pelton_event_log::{Offset, Partition as PartitionNumber};

use crate::core::action::{LaneKey, Source};
use crate::core::body::{BodyBudget, Charge};
use crate::limits;

/// A record to be stored together with the end that it belongs to.
#[derive(Debug)]
pub(in crate::core) struct PendingRecord {
    pub(super) role: Role,
    /// Where it goes.
    pub(super) partition: PartitionNumber,
    pub(super) record: Record,
    /// The lane that gives it; `None`: nobody's, what could not be decoded.
    pub(super) lane: Option<LaneKey>,
    pub(super) source: Source,
    pub(super) offset: Offset,
    /// The save it is in; 0: none.
    pub(super) save: u64,
    /// The save it was in last.
    pub(super) last_save: u64,
    /// Its share of the budget for bodies, while it waits.
    charge: Option<Charge>,
}

/// What a record is for, and so which topic it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Role {
    /// An event that a subscriber answered with.
    Reply,
    /// A delivery that waits in the retry topic.
    Retry,
    /// What nobody took.
    DeadLetter,
}

impl PendingRecord {
    /// A record that belongs to the event at `offset` of `source` in `lane`.
    pub(in crate::core) fn new(
        role: Role,
        lane: Option<LaneKey>,
        (source, offset): (Source, Offset),
        partition: PartitionNumber,
        record: Record,
    ) -> Self {
        Self { role, partition, record, lane, source, offset, save: 0, last_save: 0, charge: None }
    }

    pub(super) fn size(&self) -> usize {
        self.record.event.as_ref().map_or(0, pelton_event::Event::size) + limits::BODY_OVERHEAD_BYTES
    }
}

/// Records that wait, in their order. They are charged to the budget for bodies, even beyond its limit: nothing of them may
/// be dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    records: VecDeque<PendingRecord>,
    bytes: usize,
    budget: BodyBudget,
}

impl Waiting {
    pub(super) fn new(budget: &BodyBudget) -> Self {
        Self { records: VecDeque::new(), bytes: 0, budget: budget.clone() }
    }

    pub(super) fn push(&mut self, mut record: PendingRecord) {
        self.bytes += record.size();
        record.charge = Some(self.budget.charge_anyway(record.size()));
        self.records.push_back(record);
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<PendingRecord> {
        let record = self.records.remove(index)?;
        self.bytes = self.bytes.saturating_sub(record.size());
        Some(record)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&PendingRecord) -> bool) {
        let bytes = &mut self.bytes;
        self.records.retain(|record| {
            let kept = keep(record);
            *bytes = bytes.saturating_sub(if kept { 0 } else { record.size() });
            kept
        });
    }

    pub(super) fn position(&self, is_it: impl FnMut(&PendingRecord) -> bool) -> Option<usize> {
        self.records.iter().position(is_it)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingRecord> {
        self.records.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingRecord> {
        self.records.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all of them, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
