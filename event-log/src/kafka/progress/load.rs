//! From the records of a progress partition to the progress that counts.

use std::collections::{BTreeMap, BTreeSet};

use super::Of;
use super::format::{self, Key, ProgressRecord, Rows};
use crate::kafka::incarnation::Identities;
use crate::{Epoch, Offset, Progress};

/// Takes the records of a partition in order.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Loader {
    epochs: BTreeMap<Epoch, Found>,
}

#[derive(Debug, Default)]
struct Found {
    events: Part,
    retry: Part,
    /// Once it is complete: the topics that it is of.
    complete: Option<Identities>,
    keys: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Part {
    head: Offset,
    buckets: BTreeMap<usize, Rows>,
}

/// What a partition's progress is, and what is left of earlier epochs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Loaded {
    pub(in crate::kafka) events: Progress,
    pub(in crate::kafka) retry: Progress,
    /// The topics that this is the progress of.
    pub(in crate::kafka) identities: Identities,
    /// Its epoch; `None` if nothing is saved yet.
    pub(in crate::kafka) epoch: Option<Epoch>,
    /// Records that remove what is there, once a new epoch is complete.
    pub(in crate::kafka) removals: Vec<ProgressRecord>,
}

impl Loader {
    /// The next record.
    ///
    /// # Errors
    /// The key of a value that cannot be read; without it nothing is known about the partition.
    pub(in crate::kafka) fn record(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let Some(text) = key.and_then(|key| std::str::from_utf8(key).ok()) else { return Ok(()) };
        let Some(key) = Key::parse(text) else { return Ok(()) };
        let found = self.epochs.entry(key.epoch()).or_default();
        if value.is_some() {
            found.keys.insert(text.to_owned());
        } else {
            found.keys.remove(text);
        }
        let damaged = || format!("the record {text:?} is damaged, or a later version of Pelton wrote it");
        match key {
            Key::Complete(_) => {
                let read = |value| Identities::parse(std::str::from_utf8(value).ok()?);
                found.complete = value.map(|value| read(value).ok_or_else(damaged)).transpose()?;
            }
            Key::Head(_, of) => {
                let head = value.map(|value| std::str::from_utf8(value).ok()?.parse().ok());
                found.part(of).head = head.unwrap_or(Some(0)).ok_or_else(damaged)?;
            }
            Key::Rows(_, of, bucket) => {
                let rows = value.map_or_else(|| Some(Rows::new()), format::decode).ok_or_else(damaged)?;
                found.part(of).buckets.insert(bucket, rows);
            }
        }
        Ok(())
    }

    /// What counts: the greatest complete epoch; without one nothing is saved yet.
    pub(in crate::kafka) fn finish(mut self) -> Loaded {
        let keys = self.epochs.values_mut().flat_map(|found| std::mem::take(&mut found.keys));
        let removals = keys.map(ProgressRecord::removal).collect();
        let newest = self.epochs.into_iter().rev().find(|(_, found)| found.complete.is_some());
        let (epoch, newest) = newest.unzip();
        let Found { events, retry, complete, .. } = newest.unwrap_or_default();
        let identities = complete.unwrap_or_default();
        Loaded { events: events.progress(), retry: retry.progress(), identities, epoch, removals }
    }
}

impl Found {
    fn part(&mut self, of: Of) -> &mut Part {
        match of {
            Of::Events => &mut self.events,
            Of::Retry => &mut self.retry,
        }
    }
}

impl Part {
    fn progress(self) -> Progress {
        Progress { head: self.head, lanes: self.buckets.into_values().flatten().collect() }
    }
}
