//! What is kept over a restart: revisions and routes, each in a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::revisions::Book;
use crate::routes::Routes;
use crate::state_file::StateError;

const REVISIONS: &str = "revisions.json";
const ROUTES: &str = "routes.json";

/// Why what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not give it.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A metric has a name that is taken.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// It is not what was written.
    #[error("{file}: {error}; without the file, revisions are made anew from the Services")]
    State {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        error: StateError,
    },
}

impl OpenError {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Metrics(_) => "PEL-1809",
            Self::State { .. } => "PEL-1810",
        }
    }
}

/// Revisions and routes, and the files they are kept in.
#[derive(Debug)]
pub(super) struct State {
    pub(super) book: Book,
    pub(super) routes: Routes,
    folder: PathBuf,
    /// What the files hold.
    saved: [String; 2],
}

impl State {
    pub(super) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let folder = data_dir.join("serving");
        let (mut book, revisions) = read(&folder.join(REVISIONS), Book::from_json)?;
        book.try_again();
        let (routes, routes_text) = read(&folder.join(ROUTES), Routes::from_json)?;
        Ok(Self { book, routes, folder, saved: [revisions, routes_text] })
    }

    /// Writes what has changed. If that fails, it is tried again with the next change; until then a restart goes back to what
    /// was kept, which loses no request.
    pub(super) fn save(&mut self) {
        let texts = [(REVISIONS, self.book.to_json()), (ROUTES, self.routes.to_json())];
        for ((name, text), saved) in texts.into_iter().zip(&mut self.saved) {
            let path = self.folder.join(name);
            let written = match text {
                Ok(text) if text == *saved => continue,
                Ok(text) => write(&path, &text).map(|()| *saved = text),
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = written {
                tracing::error!(code = "PEL-1809", file = %path.display(), %error, "revisions and routes are not kept");
            }
        }
    }
}

fn read<T: Default>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, StateError>,
) -> Result<(T, String), OpenError> {
    let file = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((T::default(), String::new())),
        Err(error) => return Err(OpenError::Io { file, error }),
    };
    match parse(&text) {
        Ok(value) => Ok((value, text)),
        Err(error) => Err(OpenError::State { file, error }),
    }
}

/// All or nothing: under another name first. It may hold credentials, so that only the owner may read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("fresh");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        state.save();
        State::open(folder.path()).unwrap();
        let file = folder.path().join("serving").join(REVISIONS);
        fs::write(&file, "{").unwrap();
        let error = State::open(folder.path()).unwrap_err();
        assert_eq!(error.code(), "PEL-1810");
        assert!(error.to_string().contains("revisions.json"), "{error}");
    }
}
