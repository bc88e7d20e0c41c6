//! The files in which a process keeps over its restarts what no document says: JSON with a version.
//!
//! They may hold credentials that a document gave to a replica, so an error says where a file is damaged and never what
//! stands there.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a kept state cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version of Pelton wrote it.
    #[error("it has version {found}, and this Pelton reads version {known}; start the Pelton that wrote it")]
    UnknownVersion {
        /// What it says.
        found: u32,
        /// What can be read.
        known: u32,
    },
    /// It is not the JSON that was written.
    #[error("it is damaged at line {line}, column {column}")]
    Damaged {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is JSON that was never written so.
    #[error("it contradicts itself: {0}")]
    Contradictory(String),
    /// It has no form in JSON.
    #[error("it cannot be written as JSON")]
    Unwritable,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// Reads `text` if it has `version`.
pub(crate) fn read<T: DeserializeOwned>(text: &str, version: u32) -> Result<T, StateError> {
    let header: Header = serde_json::from_str(text).map_err(|error| damaged(&error))?;
    if header.version != version {
        return Err(StateError::UnknownVersion { found: header.version, known: version });
    }
    serde_json::from_str(text).map_err(|error| damaged(&error))
}

/// Writes `state`, which says its version.
pub(crate) fn write(state: &impl Serialize) -> Result<String, StateError> {
    serde_json::to_string(state).map_err(|_| StateError::Unwritable)
}

/// Where, but not what: the message of the parser quotes what it found.
fn damaged(error: &serde_json::Error) -> StateError {
    StateError::Damaged { line: error.line(), column: error.column() }
}
