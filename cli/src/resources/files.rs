//! Files of resources as they are named on the command line: files, folders, `-` for standard input. Folders are read as
//! `pelton run` reads its folder.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use pelton_control::{OVERRIDES_FILE, is_data_dir};

use crate::failure::Failure;

/// Endings of files that a folder is searched for.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A file's name, for messages, and its text.
pub(crate) type Text = (String, String);

/// The texts of `paths`; folders are searched with all they hold, in the order of their names, but for hidden entries, data
/// directories and what Pelton keeps beside resources.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Text>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::file(path, &error))?;
            texts.push(("standard input".to_owned(), text));
        } else if path.is_dir() {
            let before = texts.len();
            read_folder(path, &mut BTreeSet::new(), &mut texts)?;
            if texts.len() == before {
                let what = format!("{} holds no file that ends in .yaml, .yml or .json", path.display());
                return Err(Failure::usage(Some("PEL-1704"), what));
            }
        } else {
            texts.push(read_file(path)?);
        }
    }
    Ok(texts)
}

/// Folders in `seen` are passed over, so that links cannot lead in circles.
fn read_folder(folder: &Path, seen: &mut BTreeSet<PathBuf>, texts: &mut Vec<Text>) -> Result<(), Failure> {
    let real = folder.canonicalize().map_err(|error| Failure::file(folder, &error))?;
    if !seen.insert(real) {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::file(folder, &error))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    paths.as_mut().map(|paths| paths.sort()).ok();
    for path in paths.map_err(|error| Failure::file(folder, &error))? {
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_resource = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if is_hidden || is_data_dir(&path) || path.ends_with(OVERRIDES_FILE) {
            continue;
        }
        if path.is_dir() {
            read_folder(&path, seen, texts)?;
        } else if is_resource && is_plain_file(&path)? {
            texts.push(read_file(&path)?);
        }
    }
    Ok(())
}

/// Reading a pipe, say, would wait for ever.
fn is_plain_file(path: &Path) -> Result<bool, Failure> {
    std::fs::metadata(path).map(|metadata| metadata.is_file()).map_err(|error| Failure::file(path, &error))
}

fn read_file(path: &Path) -> Result<Text, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Ok((path.display().to_string(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_without_hidden_and_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "c.yml",
            "a.yaml",
            "b/x.json",
            ".git/x.yaml",
            "notes.txt",
            "d/log/pelton-log",
            "d/topics.json",
            OVERRIDES_FILE,
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
        let texts = read(&[folder.path().to_owned()]).unwrap();
        let texts: Vec<_> = texts.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a.yaml", "b/x.json", "c.yml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = read(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(empty.contains("holds no file"), "{empty}");
        let missing = read(&["/nowhere/a.yaml".into()]).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/a.yaml"), "{missing}");
    }
}
