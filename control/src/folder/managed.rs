//! Files that Pelton writes: each whole or not at all, also after a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pelton_resources::{Document, Kind, NamespacedName, Source};

use super::MANAGED;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As the process's mask says.
    Normal,
    /// Its owner only.
    Secret,
}

impl Mode {
    /// A file with a Secret in it is for its owner, whatever else it holds.
    fn of(text: &str) -> Self {
        let source = Source::read("", text);
        let has_secret = source.documents().iter().any(|document| document.kind() == Kind::Secret);
        // What cannot be read may be one.
        if has_secret || source.has_errors() { Self::Secret } else { Self::Normal }
    }
}

/// The file of a resource, within the folder of resources.
pub(super) fn file_of(kind: Kind, name: &NamespacedName) -> String {
    let kind = kind.as_str().to_ascii_lowercase();
    format!("{MANAGED}/{kind}/{}/{}.yaml", name.namespace(), name.name())
}

/// The text of a resource's document.
pub(super) fn text_of(document: &Document) -> Result<String, String> {
    let yaml = document.to_yaml()?;
    Ok(format!("# Written by Pelton; change it with `pelton apply` or by hand.\n{yaml}"))
}

/// Replaces (or creates) a file: written beside it, synced, renamed, the folder synced.
///
/// # Errors
/// With the path of the file.
pub(super) fn write(path: &Path, text: &str, mode: Mode) -> io::Result<()> {
    replace(path, text, mode).map_err(|error| at(path, &error))
}

fn replace(path: &Path, text: &str, mode: Mode) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file lies in a folder"))?;
    create_folders(folder)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    // Hidden files are never read as resources. One writer at a time (`store::Turn`), so the name is free.
    let fresh = folder.join(format!(".{name}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.mode(if mode == Mode::Secret { 0o600 } else { 0o666 });
    let mut file = options.open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_folder(folder)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder).map_err(|error| at(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path, &error)),
    }
}

/// An error that names the file.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Makes all changes, each the new text of a file or its removal, or, if one fails, takes back those made before it.
pub(super) fn write_all<'a>(
    dir: &Path,
    changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> io::Result<()> {
    let mut done: Vec<(&str, Option<String>)> = Vec::new();
    for (name, text) in changes {
        let path = dir.join(name);
        let before = match fs::read_to_string(&path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return take_back(dir, &done, at(&path, &error)),
        };
        if let Err(error) = change(&path, text) {
            return take_back(dir, &done, error);
        }
        done.push((name, before));
    }
    Ok(())
}

fn take_back(dir: &Path, done: &[(&str, Option<String>)], error: io::Error) -> io::Result<()> {
    for (name, before) in done.iter().rev() {
        if let Err(error) = change(&dir.join(name), before.as_deref()) {
            tracing::error!(file = name, %error, "a change that was not made whole could not be taken back");
        }
    }
    Err(error)
}

fn change(path: &Path, text: Option<&str>) -> io::Result<()> {
    match text {
        Some(text) => write(path, text, Mode::of(text)),
        None => remove(path),
    }
}

/// Creates a folder and those above it, each synced into its parent.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(parent)?,
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // An empty path is the current folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}
