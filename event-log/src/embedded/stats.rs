//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the sync latency histogram, in microseconds; slower ones fall behind the last.
pub const SYNC_BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A snapshot of the engine's counters since it was opened.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Syncs of batches by latency: the count of each bucket of [`SYNC_BUCKETS_US`] by itself, the last for slower ones.
            pub sync_latency: [u64; SYNC_BUCKETS_US.len() + 1],
            /// Time spent in syncs of batches, in microseconds.
            pub sync_us: u64,
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
            sync_latency: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
            sync_us: AtomicU64,
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Stats {
                let mut stats = Stats { $($name: self.$name.load(Ordering::Relaxed),)* ..Stats::default() };
                for (bucket, count) in stats.sync_latency.iter_mut().zip(&self.sync_latency) {
                    *bucket = count.load(Ordering::Relaxed);
                }
                stats.sync_us = self.sync_us.load(Ordering::Relaxed);
                stats
            }
        }
    };
}

counters! {
    /// Records stored.
    appended_records,
    /// Bytes of records stored.
    appended_bytes,
    /// Progress updates stored.
    progress_updates,
    /// Batches written (group commits and the log's own).
    batches,
    /// Bytes written to the disk, padding included.
    written_bytes,
    /// Records found again when the log was opened (those behind its last checkpoint).
    recovered_records,
    /// Places found damaged.
    corrupt,
    /// Torn tails cut and kept in `quarantine/`.
    quarantined,
    /// Segments retired.
    retired_segments,
    /// Records carried forward out of retired segments.
    carried_records,
    /// Records let go although somebody still needed them (`onFull: expire`).
    expired_records,
    /// Dead letters let go because they were older than their retention age.
    aged_dead_letters,
    /// Dead letters let go because a budget needed their space.
    displaced_dead_letters,
    /// Appends refused because a budget was spent.
    refused_full,
    /// Appends refused because the disk was full.
    refused_disk_full,
    /// Appends refused because too many bytes waited.
    refused_busy,
    /// Reads that went to the disk.
    disk_reads,
    /// Segments on the disk now.
    segments,
    /// Bytes of the segments on the disk now, as allocated.
    disk_bytes,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < us);
        Self::add(&self.sync_latency[bucket], 1);
        Self::add(&self.sync_us, us);
    }
}
