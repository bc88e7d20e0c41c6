//! The settings of a process.
//!
//! They come in layers, each over the one before: the defaults, a TOML file, the environment
//! (`PELTON__SECTION__KEY=value`), flags. Of every value it is known which layer it came from. An unknown key, a value
//! of the wrong form and values that do not go together are errors that say where they are and what would be right;
//! all of them are told at once.

mod error;
mod layers;
mod sections;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use error::{ConfigError, ConfigErrors};
pub use sections::{
    Admin, BackoffPolicy, Config, Data, Delivery, Dispatch, Egress, Ingress, Listen, Log, LogFormat,
    LogOutput, OnFull, Serving, Shutdown, Tls, TlsFiles, Traces,
};
pub use values::{ByteSize, HumanDuration, PortRange, Secret};

/// Start of the names of environment variables that are settings.
pub const ENVIRONMENT_PREFIX: &str = "PELTON__";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The command line flag of this name, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key, like `listen.ingress`.
    pub key: &'static str,
    /// The flag, like `--ingress`.
    pub name: &'static str,
    /// Its value as text, as in the environment.
    pub value: String,
}

/// The settings in force and where each comes from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

/// One line of `pelton config show`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The key, like `listen.ingress`.
    pub key: String,
    /// Its value, shown as TOML; secrets are hidden.
    pub value: toml::Value,
    /// The layer it came from.
    pub origin: Origin,
}

/// Reads and merges all layers.
///
/// `environment` is that of the process (`std::env::vars_os()`); variables without the prefix are passed over.
///
/// # Errors
/// Everything that is wrong, in the order of the layers.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = Flag>,
) -> Result<Effective, ConfigErrors> {
    let (effective, errors) = merge(file, environment, flags);
    if errors.is_empty() { Ok(effective) } else { Err(ConfigErrors(errors)) }
}

/// Like [`load`], for people who look for a mistake: every setting, whatever is wrong, and what is wrong. A value that
/// cannot be read is passed over, so that its key has the value of the layer below.
pub fn survey(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = Flag>,
) -> (Vec<Row>, Result<(), ConfigErrors>) {
    let (effective, errors) = merge(file, environment, flags);
    (effective.show(), if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) })
}

fn merge(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = Flag>,
) -> (Effective, Vec<ConfigError>) {
    let mut layers = layers::Layers::new();
    if let Some(path) = file {
        layers.add_file(path);
    }
    layers.add_environment(environment);
    for flag in flags {
        layers.add_text(flag.key, &flag.value, Origin::Flag(flag.name.to_owned()));
    }
    layers.finish()
}

impl Effective {
    /// Where the value of `key` comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The settings that were changed and have no effect in this version, and where: nothing listens there.
    pub fn without_effect(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        let (given, default) = (layers::to_table(&self.config), layers::to_table(&Config::default()));
        let (given, default) = (layers::flatten(&given), layers::flatten(&default));
        let changed: Vec<String> =
            given.into_iter().filter(|leaf| !default.contains(leaf)).map(|(key, _)| key).collect();
        let keys = sections::WITHOUT_EFFECT.into_iter();
        keys.filter(move |key| changed.iter().any(|changed| changed == key))
            .map(|key| (key, self.origin(key)))
    }

    /// Every key with its value and origin, in the order of the sections.
    #[must_use]
    pub fn show(&self) -> Vec<Row> {
        let row = |(key, value): (String, toml::Value)| {
            let origin = self.origin(&key).clone();
            Row { key, value, origin }
        };
        layers::flatten(&layers::to_table(&self.config)).into_iter().map(row).collect()
    }
}
