//! Merging the layers over one another, one value at a time, so that an error knows its key and where it stands.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, ConfigError, ENVIRONMENT_PREFIX, Effective, Origin, validate};
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// The defaults and what has been laid over them so far.
pub(super) struct Layers {
    /// Every key with its default: what names exist and what type each has.
    defaults: BTreeMap<String, Value>,
    merged: Table,
    origins: BTreeMap<String, Origin>,
    errors: Vec<ConfigError>,
}

impl Layers {
    pub(super) fn new() -> Self {
        let merged = to_table(&Config::default());
        let defaults = flatten(&merged).into_iter().collect();
        Self { defaults, merged, origins: BTreeMap::new(), errors: Vec::new() }
    }

    pub(super) fn add_file(&mut self, path: &Path) {
        let failed = |line, problem: String| ConfigError::File { path: path.to_owned(), line, problem };
        let text = match read(path) {
            Ok(text) => text,
            Err(problem) => return self.errors.push(failed(None, problem)),
        };
        // The message alone: the full text of the error quotes the line, and the line may hold a secret.
        let syntax = |error: &toml::de::Error| {
            failed(error.span().map(|span| line_of(&text, span.start)), error.message().to_owned())
        };
        let lines = match DeTable::parse(&text) {
            Ok(table) => lines_of(&text, table.get_ref()),
            Err(error) => return self.errors.push(syntax(&error)),
        };
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => return self.errors.push(syntax(&error)),
        };
        for (key, value) in flatten(&table) {
            let line = lines.get(&key).copied().unwrap_or(1);
            self.add(&key, value, Origin::File { path: path.to_owned(), line });
        }
    }

    pub(super) fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            name.starts_with(ENVIRONMENT_PREFIX).then_some((name, value))
        };
        // In order of the names, so that the same environment gives the same errors.
        let variables: BTreeMap<String, OsString> = environment.into_iter().filter_map(ours).collect();
        for (name, value) in variables {
            let path = &name[ENVIRONMENT_PREFIX.len()..];
            let key = path.split("__").map(kebab_case).collect::<Vec<_>>().join(".");
            let origin = Origin::Environment(name);
            match value.to_str() {
                Some(text) => self.add_text(&key, text, origin),
                None => self.invalid(&key, origin, "it is not valid UTF-8".to_owned()),
            }
        }
    }

    /// Adds a value that came as text, in the type that its key has.
    pub(super) fn add_text(&mut self, key: &str, text: &str, origin: Origin) {
        let Some(default) = self.defaults.get(key) else { return self.unknown(key, origin) };
        let value = match default {
            Value::Integer(example) => text
                .parse()
                .map(Value::Integer)
                .map_err(|_| format!("{text:?} is not a whole number; for example {example}")),
            Value::Boolean(_) => {
                text.parse().map(Value::Boolean).map_err(|_| format!("{text:?} is neither true nor false"))
            }
            Value::Array(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
            _ => Ok(Value::String(text.to_owned())),
        };
        match value {
            Ok(value) => self.add(key, value, origin),
            Err(problem) => self.invalid(key, origin, problem),
        }
    }

    fn add(&mut self, key: &str, value: Value, origin: Origin) {
        let Some(default) = self.defaults.get(key) else { return self.unknown(key, origin) };
        if !default.same_type(&value) {
            let problem = format!(
                "it is of type {}; it must be of type {}, for example {default}",
                value.type_str(),
                default.type_str()
            );
            return self.invalid(key, origin, problem);
        }
        let is_address = default.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok());
        let wrong_address =
            format!("{value} is not an address; write an IP address and a port, like {default}");
        let previous = put(&mut self.merged, key, value);
        match self.merged.clone().try_into::<Config>() {
            Ok(_) => {
                self.origins.insert(key.to_owned(), origin);
            }
            Err(error) => {
                put(&mut self.merged, key, previous);
                let problem = if is_address { wrong_address } else { error.message().to_owned() };
                self.invalid(key, origin, problem);
            }
        }
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let suggestion = self.closest(key);
        self.errors.push(ConfigError::UnknownKey { key: key.to_owned(), origin, suggestion });
    }

    fn invalid(&mut self, key: &str, origin: Origin, problem: String) {
        self.errors.push(ConfigError::InvalidValue { key: key.to_owned(), origin, problem });
    }

    /// The known key that `key` was probably meant to be: a slip of the pen, or the right name in the wrong section.
    fn closest(&self, key: &str) -> Option<String> {
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let near = |known: &&String| {
            let distance = strsim::damerau_levenshtein(known, key);
            let elsewhere = if name(known) == name(key) { 1 } else { usize::MAX };
            distance.min(elsewhere)
        };
        let closest = self.defaults.keys().min_by_key(near)?;
        (near(&closest) <= (key.len() / 4).max(2)).then(|| closest.clone())
    }

    /// What the layers make, and everything that is wrong; a value that is wrong is passed over.
    pub(super) fn finish(self) -> (Effective, Vec<ConfigError>) {
        let Self { merged, origins, mut errors, .. } = self;
        let config: Config =
            merged.try_into().expect("each value was tried when it was laid over the others");
        let effective = Effective { config, origins };
        // Bounds and relations are judged only when every value could be read; else they would blame the wrong one.
        if errors.is_empty() {
            let conflict = |(key, problem): (String, String)| {
                let origin = effective.origin(&key).clone();
                ConfigError::Conflict { key, origin, problem }
            };
            errors = validate::conflicts(&effective.config).into_iter().map(conflict).collect();
        }
        (effective, errors)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(CONFIG_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(format!("is larger than {CONFIG_FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

fn kebab_case(part: &str) -> String {
    OsStr::new(part).to_string_lossy().to_ascii_lowercase().replace('_', "-")
}

pub(super) fn to_table(config: &Config) -> Table {
    Table::try_from(config).expect("every section serialises to a TOML table")
}

/// Every value that is not itself a table, with its dotted key.
pub(super) fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    let mut open: Vec<(String, &Table)> = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        let mut inner = Vec::new();
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                Value::Table(table) => inner.push((format!("{key}."), table)),
                leaf => leaves.push((key, leaf.clone())),
            }
        }
        open.extend(inner.into_iter().rev());
    }
    leaves
}

/// Puts `value` at a dotted key whose tables exist, and gives back what was there.
fn put(table: &mut Table, key: &str, value: Value) -> Value {
    match key.split_once('.') {
        None => table.insert(key.to_owned(), value).expect("only known keys are put"),
        Some((section, rest)) => {
            let inner =
                table.get_mut(section).and_then(Value::as_table_mut).expect("only known keys are put");
            put(inner, rest, value)
        }
    }
}

/// The line of each dotted key of a file.
fn lines_of(text: &str, table: &DeTable<'_>) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let mut open = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                open.push((format!("{key}."), inner));
            }
            lines.insert(key, line_of(text, name.span().start));
        }
    }
    lines
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
