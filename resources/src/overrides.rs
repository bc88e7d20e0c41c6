//! Settings changed by command beside the files.

use std::collections::BTreeMap;

use crate::name::{Kind, NamespacedName};

/// Settings changed by command, per resource and annotation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// The settings of each resource that has any.
    pub settings: BTreeMap<(Kind, NamespacedName), BTreeMap<String, Setting>>,
}

/// The override of one annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// What the resource's own document said when the override was made. It is dropped once that changes: the later word
    /// counts.
    pub base: Option<String>,
}

impl Overrides {
    /// Sets an override.
    pub fn set(&mut self, kind: Kind, name: &NamespacedName, annotation: &str, setting: Setting) {
        self.settings.entry((kind, name.clone())).or_default().insert(annotation.to_owned(), setting);
    }

    /// Removes an override; tells whether there was one.
    pub fn remove(&mut self, kind: Kind, name: &NamespacedName, annotation: &str) -> bool {
        let key = (kind, name.clone());
        let Some(settings) = self.settings.get_mut(&key) else { return false };
        let removed = settings.remove(annotation).is_some();
        if settings.is_empty() {
            self.settings.remove(&key);
        }
        removed
    }

    /// Removes all overrides of a resource; tells whether there were any.
    pub fn forget(&mut self, kind: Kind, name: &NamespacedName) -> bool {
        self.settings.remove(&(kind, name.clone())).is_some()
    }

    /// The overrides of a resource.
    pub fn of(&self, kind: Kind, name: &NamespacedName) -> impl Iterator<Item = (&str, &Setting)> {
        let settings = self.settings.get(&(kind, name.clone()));
        settings.into_iter().flatten().map(|(annotation, setting)| (annotation.as_str(), setting))
    }
}
