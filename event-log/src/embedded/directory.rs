//! The log's directory: whose it is, and that nobody else uses it.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::carry::QUARANTINE;
use super::disk::{Disk, RealDisk};
use super::format::{BLOCK, FORMAT, SegmentHeader};
use super::segment;
use super::shared::io_error;
use crate::LogError;

const MARKER: &str = "pelton-log";
const MARKER_NEW: &str = "pelton-log.new";
const LOCK: &str = "lock";
/// What a new directory may hold although it is not ours yet: our own files of an interrupted first start, and what a
/// freshly made file system brings.
const HARMLESS: [&str; 5] = [LOCK, MARKER_NEW, segment::FOLDER, QUARANTINE, "lost+found"];

/// A directory that belongs to this process until the lock is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) disk: RealDisk,
    pub(super) log_id: u64,
    pub(super) lock: File,
    /// What an operator should know.
    pub(super) notice: Option<String>,
}

/// Takes the directory, making it if need be. `new_id` names a new log.
pub(super) fn take(dir: &Path, new_id: u64) -> Result<Directory, LogError> {
    let shown = dir.display().to_string();
    create(dir).map_err(io_error("create the data directory", &shown))?;
    let has_marker = dir.join(MARKER).exists();
    if !has_marker {
        refuse_foreign(dir, &shown)?;
    }
    let lock = lock(dir, &shown)?;
    for folder in [segment::FOLDER, QUARANTINE] {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(io_error("create", path.display().to_string()))?;
    }
    let disk = RealDisk::new(dir.to_owned());
    let (log_id, notice) = if has_marker {
        read_marker(dir, &disk)?
    } else {
        write_marker(&disk, new_id).map_err(io_error("write", format!("{shown}/{MARKER}")))?;
        (new_id, None)
    };
    Ok(Directory { disk, log_id, lock, notice })
}

/// Makes the directory durable too: without its name in its parent, everything in it could be lost.
fn create(dir: &Path) -> std::io::Result<()> {
    let missing =
        dir.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists());
    let parents: Vec<&Path> = missing.filter_map(Path::parent).collect();
    fs::create_dir_all(dir)?;
    for parent in parents {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn refuse_foreign(dir: &Path, shown: &str) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(io_error("read the data directory", shown))? {
        let name = entry.map_err(io_error("read the data directory", shown))?.file_name();
        let name = name.to_string_lossy();
        if !HARMLESS.contains(&&*name) {
            let reason = format!("it holds {name}, but no file {MARKER}; choose an empty directory");
            return Err(LogError::Foreign { path: shown.into(), reason: reason.into() });
        }
    }
    let segments = dir.join(segment::FOLDER);
    if segments.exists() && fs::read_dir(&segments).is_ok_and(|mut files| files.next().is_some()) {
        let reason = format!("it holds segments, but no file {MARKER}; restore that file from a backup");
        return Err(LogError::Foreign { path: shown.into(), reason: reason.into() });
    }
    Ok(())
}

fn lock(dir: &Path, shown: &str) -> Result<File, LogError> {
    let path = dir.join(LOCK);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(io_error("open", path.display().to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(shown.into())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path.display().to_string())(error)),
    }
}

fn marker_text(log_id: u64) -> String {
    let text = format!("pelton-log\nformat {FORMAT}\nid {log_id:016x}\n");
    format!("{text}sum {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn write_marker(disk: &RealDisk, log_id: u64) -> std::io::Result<()> {
    disk.remove(MARKER_NEW)?;
    let file = disk.create(MARKER_NEW)?;
    file.write_at(marker_text(log_id).as_bytes(), 0)?;
    file.sync()?;
    disk.rename(MARKER_NEW, MARKER)?;
    disk.sync_folder("")
}

fn read_marker(dir: &Path, disk: &RealDisk) -> Result<(u64, Option<String>), LogError> {
    let path = dir.join(MARKER).display().to_string();
    let text = match fs::read_to_string(dir.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    match parse_marker(&text) {
        Some((FORMAT, log_id)) => Ok((log_id, None)),
        Some((found, _)) => Err(LogError::Format { path: path.into(), found, known: FORMAT }),
        None => mend_marker(disk, &path),
    }
}

/// Format and id of a whole marker.
fn parse_marker(text: &str) -> Option<(u32, u64)> {
    let (body, sum) = text.split_at_checked(text.rfind("sum ")?)?;
    if u32::from_str_radix(sum.strip_prefix("sum ")?.trim_end(), 16).ok()? != crc32c::crc32c(body.as_bytes())
    {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != "pelton-log" {
        return None;
    }
    let format = lines.next()?.strip_prefix("format ")?.parse().ok()?;
    let id = u64::from_str_radix(lines.next()?.strip_prefix("id ")?, 16).ok()?;
    Some((format, id))
}

/// The marker is damaged; every segment knows the id too.
fn mend_marker(disk: &RealDisk, path: &str) -> Result<(u64, Option<String>), LogError> {
    let files = disk.list(segment::FOLDER).map_err(io_error("list", segment::FOLDER))?;
    let ids = files.iter().filter_map(|(name, _)| segment::number_of(name)).filter_map(|number| {
        let mut block = [0; BLOCK as usize];
        let file = disk.open(&segment::file_name(number)).ok()?;
        let read = file.read_at(&mut block, 0).ok()?;
        SegmentHeader::decode(&block[..read])
    });
    let Some(header) = ids.into_iter().next() else {
        let reason = "it is damaged, and no segment tells which log this is; restore it from a backup".into();
        return Err(LogError::Foreign { path: path.into(), reason });
    };
    write_marker(disk, header.log_id).map_err(io_error("write", path))?;
    Ok((header.log_id, Some(format!("{path} was damaged; it was written again from what the segments say"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(dir: &Path) -> LogError {
        take(dir, 7).unwrap_err()
    }

    #[test]
    fn a_new_directory_is_made_and_an_old_one_recognised() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        assert_eq!(take(&dir, 7).unwrap().log_id, 7);
        assert_eq!(take(&dir, 8).unwrap().log_id, 7);
    }

    #[test]
    fn one_process_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let first = take(temp.path(), 7).unwrap();
        assert!(matches!(error(temp.path()), LogError::Locked(_)));
        drop(first);
        take(temp.path(), 7).unwrap();
    }

    #[test]
    fn directories_of_others_are_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "x").unwrap();
        let text = error(temp.path()).to_string();
        assert!(text.contains("thesis.tex"), "{text}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing was made there");
    }

    #[test]
    fn a_fresh_file_system_and_an_interrupted_first_start_are_fine() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("lost+found")).unwrap();
        fs::write(temp.path().join(LOCK), "").unwrap();
        fs::write(temp.path().join(MARKER_NEW), "pelton-l").unwrap();
        take(temp.path(), 7).unwrap();
    }

    #[test]
    fn a_later_format_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        drop(take(temp.path(), 7).unwrap());
        let text = "pelton-log\nformat 2\nid 0000000000000007\n";
        let text = format!("{text}sum {:08x}\n", crc32c::crc32c(text.as_bytes()));
        fs::write(temp.path().join(MARKER), text).unwrap();
        assert!(matches!(error(temp.path()), LogError::Format { found: 2, known: 1, .. }));
    }

    #[test]
    fn a_lost_marker_beside_segments_is_not_replaced() {
        let temp = tempfile::tempdir().unwrap();
        drop(take(temp.path(), 7).unwrap());
        fs::remove_file(temp.path().join(MARKER)).unwrap();
        fs::write(temp.path().join(segment::file_name(1)), "x").unwrap();
        assert!(matches!(error(temp.path()), LogError::Foreign { .. }));
    }

    #[test]
    fn a_damaged_marker_is_written_again_from_a_segment() {
        let temp = tempfile::tempdir().unwrap();
        drop(take(temp.path(), 7).unwrap());
        fs::write(temp.path().join(MARKER), "pelton-log\nformat 1\nid 9\n").unwrap();
        assert!(matches!(error(temp.path()), LogError::Foreign { .. }), "no segment knows the id");
        let header = SegmentHeader { format: FORMAT, log_id: 7, number: 1 };
        fs::write(temp.path().join(segment::file_name(1)), header.encode()).unwrap();
        let mended = take(temp.path(), 8).unwrap();
        assert_eq!(mended.log_id, 7);
        assert!(mended.notice.is_some());
    }
}
