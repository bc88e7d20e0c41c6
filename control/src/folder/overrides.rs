//! The file of overrides.

use std::path::Path;
use std::{fs, io};

use pelton_resources::{Kind, NamespacedName, Overrides, Setting};
use serde::{Deserialize, Serialize};

use super::{FolderError, OVERRIDES_FILE, managed};

const HEADER: &str = "\
# Settings changed by command. They hold beside the resource's own file until that says something else.
";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    overrides: Vec<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    namespace: String,
    name: String,
    annotation: String,
    value: String,
    /// What the resource's own document said.
    base: Option<String>,
}

/// Reads the overrides of the folder `dir`; no file means none.
pub(super) fn load(dir: &Path) -> Result<Overrides, FolderError> {
    let path = dir.join(OVERRIDES_FILE);
    let damaged = |problem: String| FolderError::Overrides { file: path.display().to_string(), problem };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Overrides::default()),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let stored: Stored =
        serde_saphyr::from_str(&text).map_err(|error| damaged(error.without_snippet().to_string()))?;
    let mut overrides = Overrides::default();
    for row in stored.overrides {
        let kind = Kind::parse(&row.kind).ok_or_else(|| damaged(format!("unknown kind {}", row.kind)))?;
        let setting = Setting { value: row.value, base: row.base };
        overrides.set(kind, &NamespacedName::new(&row.namespace, &row.name), &row.annotation, setting);
    }
    Ok(overrides)
}

/// Writes the overrides of the folder `dir`.
pub(super) fn save(dir: &Path, overrides: &Overrides) -> io::Result<()> {
    let path = dir.join(OVERRIDES_FILE);
    if overrides.settings.is_empty() {
        return managed::remove(&path);
    }
    let rows = overrides.settings.iter().flat_map(|((kind, name), settings)| {
        settings.iter().map(|(annotation, setting)| Row {
            kind: kind.to_string(),
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
            annotation: annotation.clone(),
            value: setting.value.clone(),
            base: setting.base.clone(),
        })
    });
    let stored = Stored { overrides: rows.collect() };
    let yaml = serde_saphyr::to_string(&stored).map_err(io::Error::other)?;
    managed::write(&path, &format!("{HEADER}{yaml}"), managed::Mode::Normal)
}
