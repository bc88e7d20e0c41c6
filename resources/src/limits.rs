//! Limits of what a source of resources may hold; a text beyond one is refused with the limit named.

/// Bytes of one file or request body.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Levels of nesting in a YAML document.
pub const NESTING_MAX: usize = 64;
/// Values in one YAML document, aliases expanded.
pub const NODES_MAX: usize = 200_000;
/// Characters of a namespace (DNS-1123 label).
pub const NAMESPACE_MAX: usize = 63;
/// Characters of a name (DNS-1123 subdomain).
pub const NAME_MAX: usize = 253;
/// Characters of a topic name: Kafka's 249, less the longest suffix that Pelton appends.
pub const TOPIC_MAX: usize = 249 - "_dead-letter".len();
/// Characters of the name of a consumer group.
pub const GROUP_MAX: usize = 249;
/// Partitions of a topic.
pub const PARTITIONS_MAX: u32 = 4096;
/// The longest duration a resource may give: ten years.
pub const DURATION_MAX: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3600);
/// The smallest log budget of a broker, in bytes: below it a broker could not hold one large batch.
pub const RETENTION_BYTES_MIN: u64 = 16 << 20;
/// Bytes of a URI.
pub const URI_BYTES_MAX: usize = 2048;
/// Characters of a name that becomes part of a host (DNS-1035 label).
pub const LABEL_MAX: usize = 63;
/// Requests at a time that one replica can be limited to (Knative's `container-concurrency-max-limit`).
pub const CONTAINER_CONCURRENCY_MAX: u32 = 1000;
/// The longest time a request to a Service may take (Knative's `max-revision-timeout-seconds`).
pub const REQUEST_TIMEOUT_MAX: std::time::Duration = std::time::Duration::from_secs(600);
/// The shortest stable window of Knative's autoscaler.
pub const WINDOW_MIN: std::time::Duration = std::time::Duration::from_secs(6);
/// The longest stable window, scale-down delay and retention of Knative's autoscaler.
pub const WINDOW_MAX: std::time::Duration = std::time::Duration::from_secs(3600);
/// The shortest time in which the first replicas of a revision may have to be ready.
pub const PROGRESS_DEADLINE_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The shortest time in which waiting events may have to be worked off.
pub const DRAIN_TIME_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest time in which waiting events may have to be worked off.
pub const DRAIN_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// The shortest time an event can be said to take.
pub const SERVICE_TIME_MIN: std::time::Duration = std::time::Duration::from_millis(1);
/// The nearest time a forecast looks ahead.
pub const FORECAST_HORIZON_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The farthest time a forecast looks ahead.
pub const FORECAST_HORIZON_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
