//! Which files a write changes, and to what.

use std::collections::BTreeMap;

use pelton_resources::contracts::WriteError;
use pelton_resources::{Kind, NamespacedName, Source, splice};

use super::managed;
use super::store::{State, is_managed};

/// New texts of files that Pelton made; `None` removes one.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<String, Option<String>>);

impl Changes {
    /// Puts the document of a resource where it is, or, if it is nowhere yet, into a file of its own; `None` takes it away.
    /// People may have put several documents into one file: the others stay as they are.
    ///
    /// # Errors
    /// If the file cannot be changed without touching another resource.
    pub(super) fn put(
        &mut self,
        state: &State,
        kind: Kind,
        name: &NamespacedName,
        document: Option<&str>,
    ) -> Result<(), WriteError> {
        let before = state.assembly.document(kind, name).filter(|document| is_managed(document));
        let file = before.map_or_else(|| managed::file_of(kind, name), |document| document.file().to_owned());
        let foreign = || {
            let place = before.map_or_else(|| file.clone(), pelton_resources::Document::place);
            WriteError::Foreign { kind, name: name.clone(), file: place }
        };
        let planned = self.0.get(&file).cloned();
        let text = planned.unwrap_or_else(|| state.scan.files.get(&file).map(|file| file.text.to_string()));
        let changed = match &text {
            Some(text) => splice(text, kind, name, document).ok_or_else(foreign)?,
            None => document.unwrap_or_default().to_owned(),
        };
        if loses_another(state, &file, &changed, kind, name) {
            return Err(foreign());
        }
        let left = (!changed.is_empty()).then_some(changed);
        self.0.insert(file, left);
        Ok(())
    }

    /// The texts by file.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(file, text)| (file.as_str(), text.as_deref()))
    }
}

/// Whether a resource in force would be gone with the new text of its file. What a file that cannot be read held before is
/// not in its text either.
fn loses_another(state: &State, file: &str, text: &str, kind: Kind, name: &NamespacedName) -> bool {
    let mut others = state
        .assembly
        .documents()
        .filter(|document| document.file() == file && (document.kind(), document.name()) != (kind, name));
    let after = Source::read(file, text);
    others.any(|other| {
        !after.documents().iter().any(|left| (left.kind(), left.name()) == (other.kind(), other.name()))
    })
}
