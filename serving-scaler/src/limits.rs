//! Every limit of serving, named and in one place.

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
/// How long the gateway must be in the way before the last replica goes (Knative: `scale-to-zero-grace-period`).
pub const PROXY_GRACE: Duration = Duration::from_secs(30);
/// Replicas grow at most by this factor at a time (Knative: `max-scale-up-rate`).
pub const SCALE_UP_RATE_MAX: f64 = 1000.0;
/// Replicas shrink at most by this factor at a time (Knative: `max-scale-down-rate`).
pub const SCALE_DOWN_RATE_MAX: f64 = 2.0;
/// Over this time the rate of events is averaged.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);
/// What a delivery takes as long as nothing was measured.
pub const SERVICE_TIME_UNKNOWN: Duration = Duration::from_secs(1);

/// Time for a connection to a replica.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the head of an answer.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Idle connections that are kept to a replica.
pub const IDLE_CONNECTIONS_MAX: usize = 100;
/// Time after which an idle connection is not used again: replicas close theirs, too.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of HTTP/2 pings; two unanswered ones close a connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Replicas that are tried for a request of which nothing was sent.
pub const REPLICAS_TRIED_MAX: u32 = 5;
/// What a client is told to wait for where there is no place.
pub const RETRY_AFTER_BUSY: Duration = Duration::from_secs(1);
/// Requests of one class (HTTP requests, event deliveries) that may wait for a place on a revision; the next is refused. As
/// many as Knative's activator lets wait. Each class has its own, so that a flood of the one does not refuse the other.
pub const QUEUE_MAX: usize = 10_000;
/// Waiters of a revision that are told of their place and have not taken it yet. When places appear for thousands at once, the
/// next is told once one of these has taken its place, so that everything else that runs is not stood in line behind all of
/// them.
pub const WAKES_MAX: usize = 64;

/// A revision out of traffic is kept for so long after it was made (Knative's `retain-since-create-time`).
pub const REVISION_RETAIN_SINCE_CREATE: Duration = Duration::from_secs(48 * 3600);
/// A revision out of traffic is kept for so long after traffic last named it (Knative's `retain-since-last-active-time`).
pub const REVISION_RETAIN_SINCE_ACTIVE: Duration = Duration::from_secs(15 * 3600);
/// Revisions of a Service out of traffic that are kept, however old (Knative's `min-non-active-revisions`).
pub const REVISIONS_IDLE_MIN: usize = 20;
/// Revisions of a Service out of traffic that are kept at most, however new (Knative's `max-non-active-revisions`).
pub const REVISIONS_IDLE_MAX: usize = 1000;
/// Digits of the generation in the name of a revision, at least.
pub const GENERATION_DIGITS_MIN: usize = 5;
/// Parts into which traffic can be cut: a random number below this chooses a revision.
pub const TRAFFIC_PARTS: u32 = 10_000;
/// Characters of a host that a refusal tells back.
pub const SHOWN_HOST_CHARS: usize = 128;
/// How often the replicas of a stopping Pelton are looked at: whether their requests have ended.
pub const STOP_CHECK: Duration = Duration::from_millis(20);
/// Time that replicas have to end when Pelton stops, before it leaves them to their shims.
pub const STOP_WAIT: Duration = Duration::from_secs(35);
/// How long a replica may go on after SIGTERM.
pub const REPLICA_GRACE: Duration = Duration::from_secs(30);
/// How often it is noted which revisions are in traffic, and old ones are given up.
pub const COLLECT_EVERY: Duration = Duration::from_secs(300);
