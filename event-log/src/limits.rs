//! Every limit of the log, named and in one place.

use std::time::Duration;

/// Bytes of a segment, unless configured. A batch never crosses segments, so this also bounds what one append may bring.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest segment that can be configured.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// The largest segment that can be configured (positions within a segment are 32 bits wide).
pub const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of recent records kept in memory, so that readers at the head cost no system call.
pub const TAIL_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of batches that may wait for the writer; beyond, appends are refused as busy.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one group commit takes; a single larger append goes alone.
pub const COMMIT_BYTES: usize = 1024 * 1024;
/// Appends that one group commit takes.
pub const COMMIT_APPENDS: usize = 4096;
/// A commit that fewer appends shared is followed by the next without a rest.
pub const REST_APPENDS_MIN: usize = 16;
/// The share (some of so many) of the known callers that must wait to end a rest.
pub const REST_QUORUM: (usize, usize) = (3, 4);
/// The longest rest, in times of the commit before it.
pub const REST_COMMITS_MAX: u32 = 4;
/// The longest rest.
pub const REST_MAX: Duration = Duration::from_millis(2);
/// Bytes of one append, its progress included. Small segments lower it to a quarter of a segment.
pub const APPEND_BYTES_MAX: usize = pelton_runtime::limits::LOG_APPEND_BYTES_MAX;
/// Records of one append.
pub const APPEND_RECORDS_MAX: usize = 65_536;
/// Bytes of a lane's or topic's name.
pub const NAME_BYTES_MAX: usize = 4096;
/// Partitions of a topic.
pub const PARTITIONS_MAX: u32 = 4096;
/// Bytes of records that one read brings at most, whatever its limit says (a larger single record still comes).
pub const READ_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Distance between index entries of a partition within a segment.
pub const INDEX_INTERVAL_BYTES: u64 = 64 * 1024;
/// Fine indexes of sealed segments that stay in memory.
pub const INDEX_CACHE_SEGMENTS: usize = 16;
/// Bytes carried forward by one batch of a segment's retirement.
pub const CARRY_BYTES: usize = 1024 * 1024;
/// Notices that the status keeps.
pub const NOTICES_MAX: usize = 100;
/// How often age and space are looked at while nothing else happens.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(10);
/// How long a refused allocation is not tried again.
pub const DISK_FULL_RETRY: Duration = Duration::from_millis(500);
/// A full budget lets this share go at once (1/n of it), so that the next append needs no decision.
pub const BUDGET_SLACK: u64 = 20;
/// What deliveries append (replies, retries, dead letters) may overdraw a budget by this share (1/n of it): without it a
/// full broker could not finish the very events that fill it.
pub const BUDGET_RESERVE: u64 = 8;
/// An active segment with records is closed when it is as old as this share (1/n) of the shortest retention age.
pub const SEGMENT_AGE_SHARE: u32 = 8;

/// A dispatcher that Kafka has not heard of for so long loses its partitions.
pub const KAFKA_SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// An append that Kafka has not acknowledged by then has an unknown outcome.
pub const KAFKA_DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a partition that goes to another dispatcher may take to finish what is in flight.
pub const KAFKA_REVOKE_GRACE: Duration = Duration::from_secs(10);
/// A record of this size is not sent at all; Kafka's own limits, by topic, are lower as a rule.
pub const KAFKA_RECORD_BYTES_MAX: usize = 100_000_000;
/// How large a record a topic takes is asked for anew after this time.
pub const KAFKA_SIZES_KEPT: Duration = Duration::from_secs(60);
/// Requests about topics, offsets and groups take at most so long.
pub const KAFKA_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A cluster that does not answer for so long, when it is asked whether it is there, cannot be reached.
pub const KAFKA_LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// A read of what is there that brings nothing for so long is given up.
pub const KAFKA_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// The first wait before a partition is taken over again after Kafka did not answer.
pub const KAFKA_RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest such wait.
pub const KAFKA_RETRY_MAX: Duration = Duration::from_secs(5);
/// A member of a group that has nothing to do looks for news so often.
pub const KAFKA_POLL: Duration = Duration::from_millis(200);
/// The same while a partition is being given up.
pub const KAFKA_POLL_BUSY: Duration = Duration::from_millis(10);
/// While records are under way, the thread that hears of their end looks so often whether it is to stop.
pub const KAFKA_REPORTS_POLL: Duration = Duration::from_millis(100);
/// While none are, errors of the producer's client are heard so often.
pub const KAFKA_REPORTS_IDLE: Duration = Duration::from_millis(500);
/// The member proves that it is alive every session time-out divided by this.
pub const KAFKA_COMMITS_A_SESSION: u32 = 4;
/// No delivery starts once the last proof is older than the session time-out divided by this.
pub const KAFKA_LEASE_SHARE: u32 = 2;
/// How often the ids of topics are looked at: a topic that was made anew is noticed after this time.
pub const KAFKA_IDENTITY_INTERVAL: Duration = Duration::from_secs(5);
/// How long an owner waits for whoever has just made the progress topic to write down where the events of others end.
pub const KAFKA_ADOPTION_WAIT: Duration = Duration::from_secs(2);
/// How often the groups of triggers are brought where their lanes are.
pub const KAFKA_MIRROR_INTERVAL: Duration = Duration::from_secs(1);
/// Groups that are written in one round, at most.
pub const KAFKA_MIRROR_AT_ONCE: usize = 250;
/// A group that did not move is written again after this time, so that Kafka does not forget it.
pub const KAFKA_MIRROR_AGAIN: Duration = Duration::from_secs(600);
/// A group that could not be written is tried again after this time at first.
pub const KAFKA_MIRROR_RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest such wait.
pub const KAFKA_MIRROR_RETRY_MAX: Duration = Duration::from_secs(60);
/// What groups have committed is asked for anew after this time.
pub const KAFKA_COMMITS_KEPT: Duration = Duration::from_secs(2);
/// Bytes of a partition that a client fetches ahead: librdkafka's limit holds for each partition by itself, and what it last
/// asked for comes on top ([`KAFKA_FETCH_BYTES`]). As much as that, so that the next is fetched while one is handed out: with
/// half of it, ten partitions of events of 1 kB were read at 45 to 69 MB/s, with this at 230 to 465, as with eight times it.
pub const KAFKA_AHEAD_BYTES: usize = 1024 * 1024;
/// Bytes of one partition that Kafka is asked for at once: more than a batch of ours, as part of a batch is fetched in vain.
pub const KAFKA_FETCH_BYTES: usize = 1024 * 1024;
/// Bytes of an answer to readers at the heads, for all partitions of a node together: the end of an answer may cut a batch.
pub const KAFKA_TAIL_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of an answer to other readers.
pub const KAFKA_SWEEP_ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of decoded records that a cursor holds before it takes no more from its client.
pub const KAFKA_CURSOR_BYTES: usize = 512 * 1024;
/// An idle cursor at the head is kept so long.
pub const KAFKA_TAIL_KEPT: Duration = Duration::from_secs(30);
/// Another idle cursor is kept so long; it fetches on meanwhile.
pub const KAFKA_SWEEP_KEPT: Duration = Duration::from_secs(2);
/// A client that reads nothing is kept so long.
pub const KAFKA_CLIENT_KEPT: Duration = Duration::from_secs(30);
/// How often idle cursors and clients are looked at, and the logs of clients.
pub const KAFKA_TIDY_INTERVAL: Duration = Duration::from_millis(500);
/// How often what nobody asks for any more is looked for and forgotten.
pub const KAFKA_FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// Records of a partition's progress that each hold a share of its rows.
pub const KAFKA_PROGRESS_BUCKETS: usize = 256;
