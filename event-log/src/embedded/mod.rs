//! The embedded engine: one sequence of segments on a local disk.
//!
//! This is the specification of what lies on the disk, and of how it is written, found again, read and let go. All integers
//! are little endian. Format 1; files of older formats must open for ever (`tests/formats.rs`).
//!
//! # Invariants
//!
//! 1. A batch is acknowledged only after a successful sync of its segment.
//! 2. A batch is written only after its predecessor's sync. So whatever is bad before a valid batch header was whole once:
//!    it is *corruption*. Only the last batch can be *torn*.
//! 3. Nothing is believed without its checksum. All checksums are CRC32C; those of a segment start from a seed made of the
//!    log's id and the segment's number. Bytes of another segment or log, left in recycled space, cannot look valid.
//! 4. Numbers of segments, sequence numbers of batches and ids of topics are never used for two things.
//! 5. An offset that was acknowledged names one record for ever; records of a partition have dense offsets from 0.
//! 6. A failed sync (or a write that fails other than for space) ends the engine. It is never tried again.
//! 7. A segment is removed only when a durable checkpoint that is newer, and durable copies of what is kept, are elsewhere.
//!
//! # Files
//!
//! ```text
//! pelton-log                 text: "pelton-log\nformat 1\nid <16 hex digits>\nsum <crc32c of the lines before, 8 hex digits>\n"
//! lock                       empty; locked while the log is open
//! closed                     the mark of a clean stop: "PELTEND\0" log id u64, segment u64, its size u64, crc32c u32
//! segments/<number>.segment  sixteen decimal digits
//! quarantine/                torn tails `<segment>-<position>.tail`, damaged segments
//! ```
//!
//! # Segment
//!
//! ```text
//! segment = header batch* [footer trailer]
//! header  = one block (512 bytes): "PELTSEG\0", crc32c u32 (unseeded, of the rest), format u32, log id u64, number u64, zeros
//! batch   = batch header, frames, at least 8 zero bytes up to the next block
//! footer  = a batch with the mark FOOTER: a frame of runs, a frame of extents
//! trailer = one block: zeros, then "PfT1", crc u32 (of the rest), segment u64, position of the footer u64
//! ```
//!
//! A segment is allocated whole and ahead of need; a complete one is cut to its length. Every batch starts on a block.
//!
//! ```text
//! batch header = "PbT1", crc u32 (of the rest), segment u64, sequence u64, bytes of frames u32, number of frames u32,
//!                time u64 (ms since 1970), marks u32 (1 CHECKPOINT, 2 FOOTER), 0 u32
//! frame        = crc u32 (of the rest), length u32 (of what follows), kind u8, three zero bytes, body
//! ```
//!
//! | kind | body |
//! |---|---|
//! | 1 record | topic u32, partition u32, offset u64, time u64 (ms), the record as `pelton_event::Record` encodes it |
//! | 2 progress | topic u32, partition u32, has head u8, head u64, rows u32, rows: name, tag u8 (0 removed, 1 without low, 2 with low), low u64, state |
//! | 3 topic | id u32, partitions u32, age u64 (ms), bytes u64, on full u8 (0 refuse, 1 expire), account, name |
//! | 4 topic deleted | id u32 |
//! | 5 bounds | topic u32, partition u32, start u64, end u64; both only grow |
//! | 6 log | next topic id u32 |
//! | 7 runs | position of the last checkpoint u64, number u32, runs: topic u32, partition u32, extents u32, first u64, last u64, bytes u64, latest time u64 |
//! | 8 extents | of all runs in order: first offset u64, position u32, bytes u32, latest time u64 |
//!
//! Names, accounts and states are a u32 length and bytes. A *run* is a stretch of consecutive offsets of one partition at
//! growing positions; an *extent* is a part of it that a reader can jump to, at most about 64 KiB after the one before.
//!
//! # Writing
//!
//! Callers look up, check and encode their own records (`prepare`). One thread takes what waits (up to 1 MiB and 4096 appends),
//! gives out offsets, puts the records of a partition together, and makes one batch of it: one write, one sync, all answers
//! (`commit`). What arrives during a sync is the next batch; after a commit that many shared the writer rests for a moment, so that
//! more share the next one (`queue::Rest`). Appends that nobody waits for ride along, or go
//! by themselves at their deadline. An append is whole in one batch, and a batch in one segment.
//!
//! When a batch does not fit, the segment gets its footer, is cut, and the next one starts with a *checkpoint*: a batch that states
//! everything known beside records (topics, bounds, progress). Only then the batch follows. A sixteenth of each segment is a
//! reserve for progress and bounds, used when no further segment can be allocated.
//!
//! # Opening
//!
//! 1. The footers of all segments give the runs. A segment without a valid footer is scanned from its start: batch by
//!    batch, and behind a bad header block by block, until a valid header of this segment with a greater sequence comes.
//! 2. If the log was not closed cleanly, the last batch of the last segment is cut off unless it is whole, with everything behind
//!    it: it goes to `quarantine/`, and the cut is durable before anything else is written. Everything else that is bad is
//!    corruption: counted, reported, never served.
//! 3. The state beside records is read from the newest whole checkpoint and all batches behind it. Behind a batch that is lost
//!    there, in part or whole (its sequence number is missing, or it is not whole), heads no longer move: it may have held
//!    rows of what later heads have passed. Rows and bounds go on.
//! 4. Runs become the map from offsets to segments. Where two segments hold the same offset the later one counts (a retirement
//!    may have been interrupted); what lies before a partition's start, or in an unknown topic, does not.
//! 5. The mark `closed` is removed, and a new segment starts. Its number is the *epoch*: it grows with every start. Segments
//!    that were never used go after that, so that no number is given twice.
//!
//! # Reading
//!
//! Recent records are in memory (`View::tail`), bounded over all partitions; older ones are read in stretches, each frame
//! verified, each record copied out so that it does not hold the stretch. An offset between start and end that cannot be found
//! is answered as undecodable. Pages of a segment that the disk cannot read are damage like any other (`segment_file`); only at
//! the end of a log that was not closed they refuse the opening, since nobody could tell what was torn there.
//!
//! # Letting go
//!
//! A partition's start moves (a durable bounds frame) when records are old enough and settled, when the account needs room, or
//! when its topic is deleted. A segment of which less than half is still kept is retired: what is kept is written again as records with
//! their old offsets, then readers are sent there, then the file goes. The newest complete segment stays: it has the checkpoint
//! before the last. A segment that cannot be read stays until nothing in it is kept.

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
mod segment_file;
mod shared;
mod stats;
mod topics;
mod writer;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use engine::EmbeddedLog;
pub use stats::{SYNC_BUCKETS_US, Stats};
