//! What can be wrong with the settings.

use std::fmt;
use std::path::PathBuf;

use super::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting has this name.
    #[error("unknown setting `{key}` ({origin}){}", suggest(.suggestion.as_deref()))]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// Where.
        origin: Origin,
        /// The setting that was probably meant.
        suggestion: Option<String>,
    },
    /// The value has the wrong form.
    #[error("`{key}` ({origin}): {problem}")]
    InvalidValue {
        /// The setting.
        key: String,
        /// Where the value is.
        origin: Origin,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The file cannot be read or is not TOML.
    #[error("configuration file {}{}: {problem}", .path.display(), at_line(*.line))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if one is to blame.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// The value does not go together with another one, or lies outside its bounds.
    #[error("`{key}` ({origin}): {problem}")]
    Conflict {
        /// The setting.
        key: String,
        /// Where its value comes from.
        origin: Origin,
        /// The rule that is broken.
        problem: String,
    },
}

impl ConfigError {
    /// The stable code, see `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "PEL-1501",
            Self::InvalidValue { .. } => "PEL-1502",
            Self::File { .. } => "PEL-1503",
            Self::Conflict { .. } => "PEL-1504",
        }
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// The code of the first error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.first().map_or("PEL-1503", ConfigError::code)
    }
}

impl fmt::Display for ConfigErrors {
    /// One line an error, each with its code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {error}", error.code())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

fn suggest(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}
