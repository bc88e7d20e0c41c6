//! The limits of serving.

use std::time::Duration;

/// The time between two probes of a replica that is ready and says no period.
pub const PROBE_PERIOD: Duration = Duration::from_secs(10);
/// The shortest and the longest time between two probes of a replica that starts and says no period.
pub const PROBE_PERIOD_MIN: Duration = Duration::from_millis(5);
/// See [`PROBE_PERIOD_MIN`].
pub const PROBE_PERIOD_MAX: Duration = Duration::from_millis(250);
/// Bytes of a line that a replica writes; a longer one is shown in pieces.
pub const REPLICA_LINE_BYTES: usize = 16 << 10;
/// Lines that are kept of the replicas of a revision.
pub const REPLICA_LINES_KEPT: usize = 200;
/// A replica that was ready for so long is started anew at once when it ends.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);
/// The wait before a replica is started anew after its first failure; it doubles with every further one.
pub const RESTART_WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait before a replica is started anew.
pub const RESTART_WAIT_MAX: Duration = Duration::from_secs(60);
