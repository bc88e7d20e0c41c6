//! The mark of a clean stop: a file that says where the log ended. With it, what is missing or bad at the end is corruption;
//! without it, the log was not stopped but died, and the end may be torn.

use std::io::{self, ErrorKind};

use super::disk::Disk;
use super::format::Cursor;

const NAME: &str = "closed";
const NEW: &str = "closed.new";
const MAGIC: [u8; 8] = *b"PELTEND\0";
const BYTES: usize = 36;

/// Where a cleanly stopped log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosingMark {
    pub(super) segment: u64,
    /// Bytes of that segment.
    pub(super) size: u64,
}

/// Makes the mark durable.
pub(super) fn write(disk: &dyn Disk, log_id: u64, segment: u64, size: u64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC);
    for number in [log_id, segment, size] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    disk.remove(NEW)?;
    let file = disk.create(NEW)?;
    file.write_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync_folder("")
}

/// Reads the mark; `None` if there is none (or a damaged one).
pub(super) fn read(disk: &dyn Disk, log_id: u64) -> io::Result<Option<ClosingMark>> {
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = [0; BYTES];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(decode(&bytes[..read], log_id))
}

fn decode(bytes: &[u8], log_id: u64) -> Option<ClosingMark> {
    let (text, sum) = bytes.split_at_checked(BYTES - 4)?;
    let mut cursor = Cursor(text);
    let genuine = cursor.take(MAGIC.len())? == MAGIC
        && sum == crc32c::crc32c(text).to_le_bytes()
        && cursor.u64()? == log_id;
    if !genuine {
        return None;
    }
    Some(ClosingMark { segment: cursor.u64()?, size: cursor.u64()? })
}

/// Removes the mark durably: from here on the log is open.
pub(super) fn remove(disk: &dyn Disk) -> io::Result<()> {
    disk.remove(NAME)?;
    disk.sync_folder("")
}
