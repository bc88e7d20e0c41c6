//! Where the records of a segment are: runs of consecutive offsets, and within them extents that a reader can jump to.

use std::collections::HashMap;

use super::format::{Cursor, RecordPlace};
use crate::limits::INDEX_INTERVAL_BYTES;

/// Topic id and partition.
pub(super) type Home = (u32, u32);

/// A stretch of a segment that holds consecutive records of one partition (and perhaps others between them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset of its first record.
    pub(super) first: u64,
    /// Position of that record's frame.
    pub(super) at: u32,
    /// Bytes to the end of its last record's frame.
    pub(super) length: u32,
    /// The latest time of its records.
    pub(super) max_time: u64,
}

/// Consecutive offsets of one partition in one segment, at growing positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Bytes of its frames.
    pub(super) bytes: u64,
    pub(super) max_time: u64,
    /// Empty where only the footer's table was read.
    pub(super) extents: Vec<Extent>,
}

/// A record of a partition and where its frame is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed {
    pub(super) offset: u64,
    /// Milliseconds since the epoch.
    pub(super) time: u64,
    pub(super) at: u32,
    /// Bytes of the frame.
    pub(super) size: u32,
}

/// Everything about the records of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    runs: HashMap<Home, Vec<Run>>,
    extents: usize,
}

/// The table of a footer: runs without their extents.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RunTable {
    /// Position of the segment's last checkpoint; 0 if it has none.
    pub(super) checkpoint: u64,
    pub(super) runs: Vec<(Home, Run)>,
}

impl SegmentIndex {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds the record whose frame of `size` bytes is at `at`. Records of a partition come in the order of their positions.
    pub(super) fn add(&mut self, place: &RecordPlace, at: u32, size: u32) {
        let RecordPlace { topic, partition, offset, time } = *place;
        self.add_all((topic, partition), [Framed { offset, time, at, size }]);
    }

    /// Adds records of one partition.
    pub(super) fn add_all(&mut self, home: Home, records: impl IntoIterator<Item = Framed>) {
        let runs = self.runs.entry(home).or_default();
        for record in records {
            self.extents += usize::from(add_to(runs, &record));
        }
    }

    /// The run that holds an offset. The latest one, if it was written twice.
    pub(super) fn run(&self, home: Home, offset: u64) -> Option<&Run> {
        self.runs.get(&home)?.iter().rev().find(|run| run.first <= offset && offset <= run.last)
    }

    /// The first offset behind `offset` that the segment holds; the largest number if there is none.
    pub(super) fn next_run(&self, home: Home, offset: u64) -> u64 {
        let runs = self.runs.get(&home).into_iter().flatten();
        runs.map(|run| run.first).filter(|first| *first > offset).min().unwrap_or(u64::MAX)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (Home, &Run)> {
        self.runs.iter().flat_map(|(home, runs)| runs.iter().map(move |run| (*home, run)))
    }

    /// About the bytes that the footer takes.
    pub(super) fn footer_bytes(&self) -> u64 {
        let runs: usize = self.runs.values().map(Vec::len).sum();
        (runs * RUN_BYTES + self.extents * EXTENT_BYTES + 1024) as u64
    }

    /// Writes the two bodies of a footer: the table of runs, and the extents in the same order.
    pub(super) fn encode(&self, checkpoint: u64, table: &mut Vec<u8>, extents: &mut Vec<u8>) {
        let mut runs: Vec<_> = self.runs().collect();
        runs.sort_unstable_by_key(|(home, run)| (*home, run.first));
        table.extend_from_slice(&checkpoint.to_le_bytes());
        table.extend_from_slice(&(runs.len() as u32).to_le_bytes());
        for ((topic, partition), run) in runs {
            for number in [topic, partition, run.extents.len() as u32] {
                table.extend_from_slice(&number.to_le_bytes());
            }
            for number in [run.first, run.last, run.bytes, run.max_time] {
                table.extend_from_slice(&number.to_le_bytes());
            }
            for extent in &run.extents {
                extents.extend_from_slice(&extent.first.to_le_bytes());
                extents.extend_from_slice(&extent.at.to_le_bytes());
                extents.extend_from_slice(&extent.length.to_le_bytes());
                extents.extend_from_slice(&extent.max_time.to_le_bytes());
            }
        }
    }

    /// Reads a whole footer back.
    pub(super) fn decode(table: &[u8], extents: &[u8]) -> Option<Self> {
        let mut index = Self::default();
        let mut extents = Cursor(extents);
        let mut table = Cursor(table);
        let (_, count) = (table.u64()?, table.u32()?);
        for _ in 0..count {
            let (home, mut run, extent_count) = decode_run(&mut table)?;
            for _ in 0..extent_count {
                run.extents.push(Extent {
                    first: extents.u64()?,
                    at: extents.u32()?,
                    length: extents.u32()?,
                    max_time: extents.u64()?,
                });
            }
            index.extents += run.extents.len();
            index.runs.entry(home).or_default().push(run);
        }
        Some(index)
    }
}

/// Adds a record to the runs of its partition; whether it begins an extent.
fn add_to(runs: &mut Vec<Run>, record: &Framed) -> bool {
    let Framed { offset, time, at, size } = *record;
    let extent = Extent { first: offset, at, length: size, max_time: time };
    // The last two: what is appended, and what is carried forward between.
    let continued = runs.iter_mut().rev().take(2).find(|run| run.last.wrapping_add(1) == offset);
    let Some(run) = continued else {
        let bytes = u64::from(size);
        runs.push(Run { first: offset, last: offset, bytes, max_time: time, extents: vec![extent] });
        return true;
    };
    run.last = offset;
    run.bytes += u64::from(size);
    run.max_time = run.max_time.max(time);
    match run.extents.last_mut() {
        Some(extent) if u64::from(at - extent.at) <= INDEX_INTERVAL_BYTES => {
            extent.length = at + size - extent.at;
            extent.max_time = extent.max_time.max(time);
            false
        }
        _ => {
            run.extents.push(extent);
            true
        }
    }
}

const RUN_BYTES: usize = 3 * 4 + 4 * 8;
const EXTENT_BYTES: usize = 2 * 4 + 2 * 8;

impl RunTable {
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Cursor(body);
        let mut table = Self { checkpoint: body.u64()?, runs: Vec::new() };
        for _ in 0..body.u32()? {
            let (home, run, _) = decode_run(&mut body)?;
            table.runs.push((home, run));
        }
        Some(table)
    }
}

fn decode_run(table: &mut Cursor<'_>) -> Option<(Home, Run, u32)> {
    let home = (table.u32()?, table.u32()?);
    let extents = table.u32()?;
    let run = Run {
        first: table.u64()?,
        last: table.u64()?,
        bytes: table.u64()?,
        max_time: table.u64()?,
        extents: Vec::new(),
    };
    (run.first <= run.last).then_some((home, run, extents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: u32, offset: u64) -> RecordPlace {
        RecordPlace { topic: 1, partition, offset, time: offset * 10 }
    }

    fn index() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        let mut at = 512;
        for offset in 100..300 {
            index.add(&place(0, offset), at, 1000);
            at += 1000;
            // What is carried forward comes between, with lower offsets.
            if offset % 20 == 0 {
                index.add(&place(0, offset / 20), at, 500);
                at += 500;
            }
        }
        index.add(&place(1, 7), at, 10);
        index
    }

    #[test]
    fn runs_are_consecutive_and_extents_are_apart() {
        let index = index();
        let run = index.run((1, 0), 250).unwrap();
        assert_eq!((run.first, run.last, run.bytes, run.max_time), (100, 299, 200_000, 2990));
        assert_eq!(run.extents.len(), 4);
        assert!(run.extents.windows(2).all(|pair| u64::from(pair[1].at - pair[0].at) > INDEX_INTERVAL_BYTES));
        let carried = index.run((1, 0), 9).unwrap();
        assert_eq!((carried.first, carried.last), (5, 14));
        assert!(index.run((1, 0), 50).is_none());
        assert_eq!(index.next_run((1, 0), 50), 100);
        assert_eq!(index.next_run((1, 0), 400), u64::MAX);
    }

    #[test]
    fn a_footer_holds_the_whole_index_and_every_cut_is_noticed() {
        let index = index();
        let (mut table, mut extents) = (Vec::new(), Vec::new());
        index.encode(512, &mut table, &mut extents);
        assert!(index.footer_bytes() >= (table.len() + extents.len()) as u64);
        let read = SegmentIndex::decode(&table, &extents).unwrap();
        assert_eq!(read.run((1, 0), 250), index.run((1, 0), 250));
        assert_eq!(read.run((1, 1), 7), index.run((1, 1), 7));
        assert_eq!(RunTable::decode(&table).unwrap().checkpoint, 512);
        for end in 0..table.len() {
            assert!(SegmentIndex::decode(&table[..end], &extents).is_none(), "cut at {end}");
        }
        assert!(SegmentIndex::decode(&table, &extents[..extents.len() - 1]).is_none());
    }
}
