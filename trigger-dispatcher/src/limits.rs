//! Every limit of the dispatcher, named and in one place.

use std::time::Duration;

/// Events of an unordered or keyed lane that are open at a time: taken and not durably settled.
pub const WINDOW: usize = 1_024;
/// Events of an ordered lane that are open at a time.
pub const WINDOW_ORDERED: usize = 64;
/// Events that a lane whose subscriber is broken has open, beside those that were tried: the next probes.
pub const WINDOW_PROBED: usize = 16;
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
/// Progress that nobody waits for is durable after this time: three quarters of it are gathered here, and for the last one it
/// stays with the log, for a sync to ride along with.
pub const SAVE_INTERVAL: Duration = Duration::from_millis(200);
/// The first wait after a save that failed; doubles up to [`SAVE_RETRY_MAX`].
pub const SAVE_RETRY_MIN: Duration = Duration::from_millis(100);
/// No wait after a failed save is longer.
pub const SAVE_RETRY_MAX: Duration = Duration::from_secs(5);
/// After so many refusals in a row of a reply for which a full log has no room, the event that it answers, if the log is full
/// because of that event, becomes a dead letter.
pub const REPLY_REFUSALS_MAX: u32 = 6;
/// The time between two rounds of such events, once they give way.
pub const GIVE_WAY_EVERY: Duration = Duration::from_secs(1);
/// A Broker that is handed back must not be dispatched any more after this time.
pub const HAND_BACK_WAIT: Duration = Duration::from_secs(60);
/// How often that is looked at.
pub const HAND_BACK_LOOK: Duration = Duration::from_millis(200);
/// Bytes of records and rows in one save, about; at least one of each goes.
pub const SAVE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of records of a partition (replies, retries, dead letters) that wait until the log takes them; beyond, lanes that
/// have such start nothing more.
pub const RECORDS_WAITING_BYTES: usize = 8 * 1024 * 1024;
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
/// Deliveries of a lane to the dead letter sink at a time.
pub const SINK_CONCURRENCY_MAX: u32 = 16;
/// An event that waits longer for its next attempt is read again then, its body is not kept.
pub const BODY_KEPT_FOR: Duration = Duration::from_millis(500);
/// After the bodies of waiting events were dropped because the budget was spent, so long nothing more is looked for.
pub const RELIEF_EVERY: Duration = Duration::from_millis(50);
/// Damaged entries of a partition that are remembered, so that each becomes one dead letter however many lanes pass it.
pub const DAMAGED_KNOWN_MAX: usize = 65_536;
/// Entries that a sweep asks for at a time, at least.
pub const SWEEP_ENTRIES_MIN: usize = 16;
/// Bytes of one read, about.
pub const READ_BYTES: usize = 256 * 1024;
/// Entries of one read.
pub const READ_ENTRIES: usize = 512;
/// Messages on their way to a broker task; who has one more waits.
pub const MESSAGES_MAX: usize = 1_024;
/// Messages that a broker task applies before it starts anything new.
pub const MESSAGES_AT_ONCE: usize = 256;
/// No timer is set for longer; what is further away is looked at again then.
pub const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long deliveries in flight may take once their partition or the process stops.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long the last save of a partition that is given up may take.
pub const LAST_SAVE_GRACE: Duration = Duration::from_secs(5);
/// The first wait before the log is asked again for what it could not answer; doubles up to [`LOG_RETRY_MAX`].
pub const LOG_RETRY_MIN: Duration = Duration::from_millis(100);
/// No wait before the log is asked again is longer.
pub const LOG_RETRY_MAX: Duration = Duration::from_secs(5);
/// The wait before a broker task that ended by a defect starts again.
pub const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Destinations that are kept parsed.
pub const PREPARED_TARGETS_MAX: usize = 16_384;

/// Stretches of offsets that the log let go, of those a broker's status tells; the newest stay.
pub const EXPIRED_STRETCHES: usize = 16;
/// The share of the age at which the log lets events go from which on it is warned of it.
pub const EXPIRY_WARNING: f64 = 0.8;
