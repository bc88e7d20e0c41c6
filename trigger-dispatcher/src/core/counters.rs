//! What is counted per trigger. The core writes, status and metrics read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use pelton_event::Timestamp;

/// Counters and gauges of one trigger, over all partitions that this process owns. Ends are counted when they are durable,
/// so that after a clean stop each counter equals what is recorded.
#[derive(Debug, Default)]
pub(crate) struct TriggerCounters {
    /// Events that matched.
    pub matched: AtomicU64,
    /// Attempts that failed, towards the subscriber or the dead letter sink.
    pub failed_attempts: AtomicU64,
    /// Attempts after the first, towards the subscriber or the dead letter sink.
    pub retried: AtomicU64,
    /// Replies stored.
    pub replies: AtomicU64,
    /// Ends: taken by the subscriber.
    pub delivered: AtomicU64,
    /// Ends: taken by the dead letter sink.
    pub dead_lettered: AtomicU64,
    /// Ends: kept in the dead-letter topic.
    pub kept: AtomicU64,
    /// Ends: no longer kept by the log.
    pub expired: AtomicU64,
    /// Ends: discarded by command (a changed start).
    pub discarded: AtomicU64,
    /// Ends: the trigger was deleted long ago.
    pub withdrawn: AtomicU64,
    /// Gauge: attempts on their way.
    pub in_flight: AtomicI64,
    /// Gauge: matched, due, not in flight, without those of a probed subscriber.
    pub due: AtomicI64,
    /// Gauge: matched events without an end.
    pub owed: AtomicI64,
    /// Gauge: lanes that cannot tell how much they owe.
    pub uncertain: AtomicI64,
    /// Gauge: lanes whose subscriber is broken and only probed.
    pub probed: AtomicI64,
    /// Gauge: deliveries at a time that order allows (partitions or keys with work); only for ordered and keyed triggers.
    pub parallelism: AtomicI64,
    /// Gauge: partitions in which the trigger is not durably registered yet. At 0 no event accepted from now on is missed.
    pub unregistered: AtomicI64,
    /// When the oldest event without an end was accepted, in milliseconds; 0: none. Refreshed about every second.
    pub oldest: AtomicU64,
    /// Whether deliveries are held back by command.
    pub paused: AtomicBool,
    /// Whether deliveries are held back because somebody else uses the trigger's consumer group.
    pub held: AtomicBool,
    /// The last failure.
    pub last_error: Mutex<Option<(Timestamp, Box<str>)>>,
}

impl TriggerCounters {
    /// When the oldest event without an end was accepted.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        Some(self.oldest.load(Ordering::Relaxed)).filter(|ms| *ms > 0).map(Timestamp::from_millis)
    }

    /// The last failure and when it happened.
    pub(crate) fn last_error(&self) -> Option<(Timestamp, Box<str>)> {
        self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_last_error(&self, now: Timestamp, text: Box<str>) {
        *self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((now, text));
    }
}
