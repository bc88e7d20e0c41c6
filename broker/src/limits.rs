//! Every limit of the ingress, named and in one place. Those of [`Config`](crate::Config) are defaults.

use std::time::Duration;

/// Bytes of a request body; Kafka's default record limit, so that an event accepted here fits there.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of the body of a batch.
pub const BATCH_BYTES_MAX: u64 = 4 * BODY_BYTES_MAX;
/// Events of a batch.
pub const BATCH_EVENTS_MAX: usize = 1000;
/// A body that takes longer to arrive is refused.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of all bodies between their announcement and their answer.
pub const IN_FLIGHT_BYTES: u64 = 256 * 1024 * 1024;
/// The part of [`IN_FLIGHT_BYTES`] that the events of one broker may take.
pub const BROKER_IN_FLIGHT_BYTES: u64 = 128 * 1024 * 1024;
/// The part of [`IN_FLIGHT_BYTES`] that the connections of one client address may take.
pub const CLIENT_IN_FLIGHT_BYTES: u64 = 128 * 1024 * 1024;
/// What a request counts against the shares besides its body: its head and its place in the log's queue.
pub const REQUEST_OVERHEAD_BYTES: u64 = 1024;
/// Bytes of the rest of a refused body that are read and dropped before the answer, so that the connection can go on; with
/// more to come it is closed behind the answer.
pub const REFUSED_BODY_BYTES: u64 = 256 * 1024;
/// How long the rest of a refused body is waited for.
pub const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a request waits for a broker that exists already but is not yet open here.
pub const NEW_BROKER_WAIT: Duration = Duration::from_secs(2);
/// The wait between two attempts to open a broker whose topic was not found.
pub const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// `Retry-After` when a share is spent: the events under way take milliseconds.
pub const RETRY_AFTER_SHARE: Duration = Duration::from_secs(1);
/// `Retry-After` when the log is busy or not known to have stored the event.
pub const RETRY_AFTER_LOG: Duration = Duration::from_secs(2);
/// `Retry-After` when there is no room on the disk or in the broker's budget: room comes with deliveries and operators.
pub const RETRY_AFTER_FULL: Duration = Duration::from_secs(10);
