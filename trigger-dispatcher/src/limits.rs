//! Every limit of the dispatcher, named and in one place.

use std::time::Duration;

/// Events of an unordered or keyed lane that are open at a time: taken and not durably settled.
pub const WINDOW: usize = 1_024;
/// Events of an ordered lane that are open at a time.
pub const WINDOW_ORDERED: usize = 64;
/// Sweeps (catch-up readers) per partition.
pub const SWEEPS_MAX: usize = 4;
/// Deliveries of a lane at a time.
pub const LANE_CONCURRENCY_MAX: u32 = 128;
/// Deliveries of a lane at a time before its subscriber has proved itself (slow start).
pub const LANE_CONCURRENCY_START: u32 = 16;
/// Failures in a row after which a subscriber counts as broken and is only probed.
pub const FAILURES_UNTIL_PROBED: u32 = 5;
/// Events of a lane that wait for the dead letter sink at a time; each carries why it failed, beyond that nothing new starts.
pub const SINK_PENDING_MAX: usize = 128;
/// Open entries of one trigger in one partition of the retry topic; beyond, its lane takes no new events.
pub const RETRIES_OPEN_MAX: usize = 10_000;
/// A wait longer than this is spent in the retry topic (unordered lanes).
pub const WAIT_IN_PLACE_MAX: Duration = Duration::from_secs(5);
/// Progress that nobody waits for is handed to the log after this time …
pub const SAVE_AFTER: Duration = Duration::from_millis(150);
/// … and stays there at most this long for a sync to ride along with.
pub const SAVE_WITHIN: Duration = Duration::from_millis(50);
/// The first wait after a save that failed; doubles up to [`SAVE_RETRY_MAX`].
pub const SAVE_RETRY_MIN: Duration = Duration::from_millis(100);
/// No wait after a failed save is longer.
pub const SAVE_RETRY_MAX: Duration = Duration::from_secs(5);
/// Bytes of records and rows in one save, about; at least one of each goes.
pub const SAVE_BYTES: usize = 4 * 1024 * 1024;
/// How long progress of a deleted trigger is kept.
pub const DELETED_TRIGGER_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A lane that holds nothing is let go after this time.
pub const IDLE_LANE_KEPT: Duration = Duration::from_secs(60);
/// How often what needs no hurry is done: ages, idle lanes, deleted triggers.
pub const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the bodies in memory, over all brokers.
pub const BODY_BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// Bytes charged for a body beside its event.
pub const BODY_OVERHEAD_BYTES: usize = 256;
/// A larger body is not copied out of the buffer it was read into.
pub const BODY_COPY_BYTES_MAX: usize = 256 * 1024;
/// Deliveries in flight, over all brokers: what every trigger may share in (twice that is never passed).
pub const DELIVERIES_IN_FLIGHT: u32 = 4_096;
