//! The file of a segment on a disk that may not be able to read all of it any more.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::disk::DiskFile;
use super::partition::lock;

/// The unit in which what can be read is told from what cannot: the kernel reads whole pages.
const PAGE: u64 = 4096;
/// Stands for what cannot be read. No checksum takes it for data, and it is not the zeros that end a batch.
const UNREADABLE: u8 = 0xff;

/// A place that the disk could not read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The position of the first page of it.
    pub(super) at: u64,
    pub(super) error: io::Error,
}

/// A file whose reads go on where the disk fails: pages that cannot be read come as ones, and the place is remembered until
/// somebody reports it. So what cannot be read is treated as what is damaged. Writes and syncs are not touched.
#[derive(Debug)]
pub(super) struct SegmentFile {
    file: Arc<dyn DiskFile>,
    is_unreadable: AtomicBool,
    /// What was not reported yet.
    places: Mutex<Vec<Unreadable>>,
}

impl SegmentFile {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, is_unreadable: AtomicBool::new(false), places: Mutex::default() }
    }

    /// Whether a read failed since the file was opened.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable.load(Ordering::Relaxed)
    }

    /// A read failed in another way.
    pub(super) fn set_unreadable(&self) {
        self.is_unreadable.store(true, Ordering::Relaxed);
    }

    /// The places that could not be read since this was last asked.
    pub(super) fn take_unreadable(&self) -> Vec<Unreadable> {
        if self.is_unreadable() { std::mem::take(&mut lock(&self.places)) } else { Vec::new() }
    }

    /// Page by page, since a read fails as a whole when one page does.
    fn read_pages(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let left = usize::try_from(self.file.size()?.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let mut done = 0;
        let mut in_order = true;
        while done < length {
            let at = position + done as u64;
            let page = usize::try_from(PAGE - at % PAGE).unwrap_or(usize::MAX).min(length - done);
            match self.file.read_at(&mut buffer[done..done + page], at) {
                Ok(_) => in_order = true,
                Err(error) if is_medium_error(&error) => {
                    buffer[done..done + page].fill(UNREADABLE);
                    self.set_unreadable();
                    if std::mem::take(&mut in_order) {
                        lock(&self.places).push(Unreadable { at, error });
                    }
                }
                Err(error) => return Err(error),
            }
            done += page;
        }
        Ok(length)
    }
}

/// Whether an error says that this place cannot be read, and not that the system is short of something.
fn is_medium_error(error: &io::Error) -> bool {
    let medium = [Errno::IO, Errno::NODATA, Errno::BADMSG, Errno::UCLEAN];
    error.raw_os_error().is_some_and(|code| medium.iter().any(|errno| errno.raw_os_error() == code))
}

impl DiskFile for SegmentFile {
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.file.read_at(buffer, position) {
            Err(error) if is_medium_error(&error) => self.read_pages(buffer, position),
            read => read,
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
