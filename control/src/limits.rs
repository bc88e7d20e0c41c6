//! Limits of the folder and of the admin API.

use std::time::Duration;

/// Files that a folder of resources may hold; further ones are not read, and a problem says so.
pub const FILES_MAX: usize = 10_000;
/// Levels of folders below the folder of resources.
pub const FOLDER_DEPTH_MAX: usize = 32;
/// A change is read once the folder has been quiet for this long: editors write in several steps.
pub const QUIET: Duration = Duration::from_millis(200);
/// A folder that is never quiet is read after this long.
pub const UNQUIET_MAX: Duration = Duration::from_secs(2);
/// The folder is read again after this long, whatever the watch says.
pub const RESCAN: Duration = Duration::from_secs(30);
/// The same where the system offers no watch.
pub const RESCAN_WITHOUT_WATCH: Duration = Duration::from_secs(2);
/// Characters of the name of a resource made by API or command, so that it fits a file name.
pub const MANAGED_NAME_MAX: usize = 240;

/// Bytes of a request body.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Time for a request body to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Tails at a time.
pub const TAILS_MAX: usize = 16;
/// Lines of a tail that wait for its client.
pub const TAIL_LINES_MAX: usize = 256;
/// KiB of lines of a tail that wait for its client; a larger line waits alone.
pub const TAIL_KIB_MAX: usize = 8 << 10;
/// Bytes of a read from the log for a tail, of which each partition holds one.
pub const TAIL_READ_BYTES: usize = 64 << 10;
/// How often it is looked whether replicas have written more.
pub const LOGS_LOOK: Duration = Duration::from_millis(200);
/// Revisions that a refusal names, at most.
pub const REVISIONS_NAMED: usize = 10;
/// Bytes of a read from the log.
pub const READ_BYTES: usize = 1 << 20;
/// Entries of a read from the log.
pub const READ_ENTRIES: usize = 1024;
/// Dead letters of a page, unless asked for fewer or more.
pub const PAGE_DEFAULT: usize = 100;
/// Dead letters of a page.
pub const PAGE_MAX: usize = 1000;
/// Dead letters that one command names.
pub const IDS_MAX: usize = 1000;
/// Bytes of the records that one batch of replayed or discarded dead letters holds, about.
pub const COMMAND_BATCH_BYTES: usize = 1 << 20;
/// Records that one batch of replayed or discarded dead letters holds.
pub const COMMAND_BATCH_RECORDS: usize = 500;

/// The topics of a deleted broker are kept for this long.
pub const DELETED_TOPICS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often it is seen to whether topics of deleted brokers are to go.
pub const DELETED_TOPICS_CHECK: Duration = Duration::from_secs(60);
/// How often it is looked whether the topics of brokers are still there.
pub const TOPICS_LOOK: Duration = Duration::from_secs(5);
/// Brokers whose topics are looked at each time, at most; the others' turn comes.
pub const TOPICS_LOOKED_AT: usize = 64;
/// Looks in a row without a topic after which its broker is out of service: one may come too early at a node that has just
/// started.
pub const TOPICS_MISSED: u32 = 2;
/// Looks in a row without a topic after which it is made again: who has deleted it may be about to.
pub const TOPICS_MADE_AGAIN: u32 = 6;
/// The wait before topics that could not be made are tried again.
pub const TOPICS_RETRY: Duration = Duration::from_secs(1);
