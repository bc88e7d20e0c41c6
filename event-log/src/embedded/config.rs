//! How an embedded log is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::writer::OnFatal;
use crate::limits;

/// Settings of an embedded log.
#[derive(Clone)]
pub struct Config {
    /// The log's own directory; made if it is not there.
    pub dir: PathBuf,
    /// Bytes of a segment, allocated at once.
    pub segment_bytes: u64,
    /// Bytes of recent records kept in memory.
    pub tail_cache_bytes: usize,
    /// Bytes of batches that may wait for the writer.
    pub queue_bytes: usize,
    pub(super) on_fatal: OnFatal,
}

impl Config {
    /// The defaults ([`limits`]), in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: limits::SEGMENT_BYTES,
            tail_cache_bytes: limits::TAIL_CACHE_BYTES,
            queue_bytes: limits::QUEUE_BYTES,
            on_fatal: Arc::new(exit),
        }
    }

    /// What to do when the disk fails in a way that leaves unknown what is durable, instead of ending the process with a
    /// message and exit code 74. The log answers *unknown* from then on; only a new start can tell what was stored.
    #[must_use]
    pub fn on_fatal(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_fatal = Arc::new(tell);
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("tail_cache_bytes", &self.tail_cache_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

/// `EX_IOERR` of `sysexits.h`.
const EXIT_IO: i32 = 74;

fn exit(why: &str) {
    tracing::error!(code = "PEL-1208", "the log cannot go on, so Pelton stops: {why}");
    std::process::exit(EXIT_IO);
}
