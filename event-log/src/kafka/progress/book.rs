//! The progress of a partition as its owner holds it.

use std::sync::Arc;

use super::format::{ProgressRecord, Rows};
use super::{Loaded, Of};
use crate::kafka::incarnation::Identities;
use crate::limits::KAFKA_PROGRESS_BUCKETS as BUCKETS;
use crate::{Epoch, LaneProgress, Offset, Progress, ProgressUpdate};

/// What a partition's progress is in one epoch, and what has to be written to make it so.
#[derive(Debug)]
pub(in crate::kafka) struct Book {
    epoch: Epoch,
    identities: Identities,
    events: Kept,
    retry: Kept,
}

#[derive(Debug)]
struct Kept {
    head: Offset,
    /// The rows by the hash of their name: what is written at once.
    buckets: Vec<Rows>,
}

/// What a save writes: the rows, then, once they are acknowledged, the heads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Changed {
    pub(in crate::kafka) rows: Vec<ProgressRecord>,
    pub(in crate::kafka) heads: Vec<ProgressRecord>,
}

impl Book {
    /// The progress that was found, in a new epoch.
    pub(in crate::kafka) fn new(epoch: Epoch, loaded: &Loaded) -> Self {
        let identities = loaded.identities.clone();
        Self { epoch, identities, events: Kept::of(&loaded.events), retry: Kept::of(&loaded.retry) }
    }

    /// The epoch of the owner whose claim has this offset: never 0, which is written for no owner and may come late.
    pub(in crate::kafka) const fn epoch_of_claim(offset: Offset) -> Epoch {
        Epoch(offset + 1)
    }

    /// The first records of a partition of a topic that others made: what is in it is from before our time. They are
    /// written one after the other.
    pub(in crate::kafka) fn adopted(end: Offset, identities: &Identities) -> [ProgressRecord; 2] {
        let before_all = Epoch(0);
        [ProgressRecord::head(before_all, Of::Events, end), ProgressRecord::complete(before_all, identities)]
    }

    pub(in crate::kafka) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn kept(&self, of: Of) -> &Kept {
        match of {
            Of::Events => &self.events,
            Of::Retry => &self.retry,
        }
    }

    /// Everything, as the first records of its epoch.
    pub(in crate::kafka) fn snapshot(&self) -> Changed {
        let mut all = Changed::default();
        for of in Of::ALL {
            let kept = self.kept(of);
            let rows = kept.buckets.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
            all.rows.extend(rows.map(|(bucket, rows)| ProgressRecord::rows(self.epoch, of, bucket, rows)));
            all.heads.push(ProgressRecord::head(self.epoch, of, kept.head));
        }
        all
    }

    /// The same, as if it had been found in the topic.
    pub(in crate::kafka) fn as_loaded(&self) -> Loaded {
        let (events, retry) = (self.progress(Of::Events), self.progress(Of::Retry));
        let identities = self.identities.clone();
        Loaded { events, retry, identities, epoch: Some(self.epoch), removals: Vec::new() }
    }

    /// What makes the epoch count; written once all of the snapshot is acknowledged.
    pub(in crate::kafka) fn completion(&self) -> ProgressRecord {
        ProgressRecord::complete(self.epoch, &self.identities)
    }

    /// Takes a change in; answers what to write.
    pub(in crate::kafka) fn apply(&mut self, of: Of, update: ProgressUpdate, changed: &mut Changed) {
        let epoch = self.epoch;
        let kept = match of {
            Of::Events => &mut self.events,
            Of::Retry => &mut self.retry,
        };
        let mut touched: Vec<usize> = Vec::new();
        for (name, row) in update.lanes {
            let bucket = bucket(&name);
            match row {
                Some(row) => drop(kept.buckets[bucket].insert(name, row)),
                None => drop(kept.buckets[bucket].remove(&name)),
            }
            touched.push(bucket);
        }
        touched.sort_unstable();
        touched.dedup();
        let rows = touched.into_iter().map(|bucket| (bucket, &kept.buckets[bucket]));
        changed.rows.extend(rows.map(|(bucket, rows)| ProgressRecord::rows(epoch, of, bucket, rows)));
        if let Some(head) = update.head {
            kept.head = head;
            changed.heads.push(ProgressRecord::head(epoch, of, head));
        }
    }

    /// The progress as a reader of the partition gets it.
    pub(in crate::kafka) fn progress(&self, of: Of) -> Progress {
        let kept = self.kept(of);
        let rows = kept.buckets.iter().flatten();
        Progress { head: kept.head, lanes: rows.map(|(name, row)| (name.clone(), row.clone())).collect() }
    }

    /// The saved head.
    pub(in crate::kafka) fn head(&self, of: Of) -> Offset {
        self.kept(of).head
    }

    /// The topics that this is the progress of.
    pub(in crate::kafka) const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The rows of the events topic.
    pub(in crate::kafka) fn rows(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<LaneProgress>)> {
        self.events.buckets.iter().flatten()
    }
}

impl Kept {
    fn of(progress: &Progress) -> Self {
        let mut buckets = vec![Rows::new(); BUCKETS];
        for (name, row) in &progress.lanes {
            buckets[bucket(name)].insert(name.clone(), row.clone());
        }
        Self { head: progress.head, buckets }
    }
}

/// Any spread will do: each epoch is written and read as a whole.
fn bucket(name: &str) -> usize {
    crate::topic::partition_of(name.as_bytes(), u32::try_from(BUCKETS).expect("a small number")) as usize
}
