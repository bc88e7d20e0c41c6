//! The limits of serving.

use std::time::Duration;

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
