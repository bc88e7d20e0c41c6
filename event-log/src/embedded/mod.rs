//! The embedded engine: one sequence of segments on a local disk.

mod carry;
mod closing;
mod commit;
mod config;
mod core;
mod directory;
mod disk;
mod engine;
mod format;
mod index;
mod manage;
mod partition;
mod prepare;
mod progress;
mod queue;
mod read;
mod recover;
mod replay;
mod retain;
mod runs;
mod scan;
mod segment;
mod shared;
mod stats;
mod topics;
mod writer;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use engine::EmbeddedLog;
pub use stats::{SYNC_BUCKETS_US, Stats};
