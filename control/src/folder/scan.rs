//! Reading the folder: which files, in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pelton_resources::Source;

use super::{MANAGED, OVERRIDES_FILE};
use crate::limits;

/// A file as it was read.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) text: Arc<str>,
    pub(super) source: Arc<Source>,
}

/// The files of a folder by their path within it, as shown to people.
pub(super) type Files = BTreeMap<String, File>;

/// What a reading found.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    pub(super) files: Files,
    /// Folders that were read, to be watched.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Folders and files that could not be read.
    pub(super) failures: Vec<Arc<Source>>,
}

impl Scan {
    /// The sources in the order in which they count: users' files by name, then what Pelton wrote.
    pub(super) fn sources(&self) -> Vec<Arc<Source>> {
        let managed = |file: &str| is_managed(file);
        let own = self.files.iter().filter(|(name, _)| managed(name));
        let users = self.files.iter().filter(|(name, _)| !managed(name));
        let files = users.chain(own).map(|(_, file)| file.source.clone());
        files.chain(self.failures.iter().cloned()).collect()
    }

    /// This scan with files changed as a write would change them; `None` removes one.
    pub(super) fn with_changes<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Self {
        let mut after = self.clone();
        for (name, text) in changes {
            match text {
                Some(text) => {
                    let source = Arc::new(Source::read(name, text));
                    after.files.insert(name.to_owned(), File { source, text: text.into() });
                }
                None => {
                    after.files.remove(name);
                }
            }
        }
        after
    }
}

/// Whether Pelton wrote the file.
pub(super) fn is_managed(file: &str) -> bool {
    file.strip_prefix(MANAGED).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `dir` is a data directory of some Pelton: it holds a log. Nothing in it is a resource.
#[must_use]
pub fn is_data_dir(dir: &Path) -> bool {
    dir.join("log/pelton-log").is_file()
}

/// Reads `dir` and all below it but hidden entries, `data_dir` and data directories of others. Files that have the text they
/// have in `before` are not parsed again; what cannot be read at the moment is as it was before.
pub(super) fn scan(dir: &Path, data_dir: &Path, before: &Files) -> Scan {
    let mut scanner = Scanner {
        data_dir: data_dir.canonicalize().ok(),
        before,
        seen: BTreeSet::new(),
        is_full: false,
        scan: Scan::default(),
    };
    scanner.folder(dir, "", 0);
    scanner.scan
}

struct Scanner<'a> {
    data_dir: Option<PathBuf>,
    before: &'a Files,
    /// Real paths of folders, so that links cannot lead in circles.
    seen: BTreeSet<PathBuf>,
    /// More files than are read were found.
    is_full: bool,
    scan: Scan,
}

impl Scanner<'_> {
    fn folder(&mut self, path: &Path, name: &str, depth: usize) {
        let entries = path.canonicalize().and_then(|real| Ok((real, fs::read_dir(path)?)));
        let (real, entries) = match entries {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
            Err(error) => return self.failed(path, name, &error),
        };
        let is_data = self.data_dir.as_ref() == Some(&real) || is_data_dir(&real);
        if is_data || !self.seen.insert(real) {
            return;
        }
        if depth > limits::FOLDER_DEPTH_MAX {
            let max = limits::FOLDER_DEPTH_MAX;
            return self
                .refused(name, &format!("lies more than {max} folders deep and is not read; move it up"));
        }
        self.scan.folders.insert(path.to_owned());
        let mut paths: Vec<PathBuf> = match entries.map(|entry| Ok(entry?.path())).collect() {
            Ok(paths) => paths,
            Err(error) => return self.failed(path, name, &error),
        };
        paths.sort();
        for path in paths {
            self.entry(&path, name, depth);
        }
    }

    fn entry(&mut self, path: &Path, folder: &str, depth: usize) {
        let Some(file_name) = path.file_name().map(OsStr::to_string_lossy) else { return };
        if file_name.starts_with('.') {
            return;
        }
        let name = if folder.is_empty() { file_name.into_owned() } else { format!("{folder}/{file_name}") };
        let extension = path.extension().and_then(OsStr::to_str);
        let is_document = matches!(extension, Some("yaml" | "yml" | "json"));
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // It went between listing and looking.
            Err(_)
                if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                return;
            }
            // It may be a folder: nothing else is known of it, and what was in it stays.
            Err(error) if is_document || extension.is_none() => return self.failed(path, &name, &error),
            Err(_) => return,
        };
        let is_read = metadata.is_dir() || (metadata.is_file() && is_document && name != OVERRIDES_FILE);
        if is_read && path.file_name().is_some_and(|name| name.to_str().is_none()) {
            // Two such names may look the same, and names tell files apart.
            self.refused(&name, "has a name that is not UTF-8 and is not read; rename it");
        } else if is_read && metadata.is_dir() {
            self.folder(path, &name, depth + 1);
        } else if is_read {
            self.file(path, name, metadata.len());
        }
    }

    fn file(&mut self, path: &Path, name: String, length: u64) {
        if self.scan.files.len() >= limits::FILES_MAX {
            // One word for all of them.
            if !std::mem::replace(&mut self.is_full, true) {
                let max = limits::FILES_MAX;
                let message =
                    format!("the folder holds more than {max} files; this and later ones are not read");
                self.refused(&name, &message);
            }
            return;
        }
        if length > pelton_resources::limits::FILE_BYTES_MAX as u64 {
            let message =
                format!("is larger than {} bytes; split it", pelton_resources::limits::FILE_BYTES_MAX);
            return self.refused(&name, &message);
        }
        match fs::read_to_string(path) {
            Ok(text) => {
                let file = match self.before.get(&name) {
                    Some(before) if *before.text == text => before.clone(),
                    _ => File { source: Arc::new(Source::read(&name, &text)), text: text.into() },
                };
                self.scan.files.insert(name, file);
            }
            // It went between listing and reading.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.refused(&name, "is not UTF-8 text");
            }
            Err(error) => {
                self.refused(&name, &format!("cannot be read: {error}"));
            }
        }
    }

    /// Something that is not read: what it held before stays.
    fn refused(&mut self, name: &str, message: &str) {
        self.scan.failures.push(Arc::new(Source::unreadable(name, message)));
    }

    /// A folder that cannot be read: what was in it stays.
    fn failed(&mut self, path: &Path, name: &str, error: &io::Error) {
        let shown = if name.is_empty() { path.display().to_string() } else { name.to_owned() };
        let message = format!("cannot be read: {error}; what was in it stays in force");
        self.refused(&shown, &message);
        let within = |file: &str| {
            name.is_empty()
                || file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let kept = self.before.iter().filter(|(file, _)| within(file));
        self.scan.files.extend(kept.map(|(file, content)| (file.clone(), content.clone())));
    }
}
