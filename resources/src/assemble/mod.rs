//! From documents to a [`Snapshot`]: pure, so that `pelton check`, the folder and a cluster judge alike.
//!
//! Steps, in order: *choose* which document describes each resource, *refuse* documents that contradict others, *build* the
//! values with defaults, ConfigMaps and references filled in. A refused document leaves its last good one in force.

mod build;
mod choose;
mod cycles;
mod kafka;
mod names;
mod refuse;
mod resolve;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use choose::duplicates;

use crate::defaults::Defaults;
use crate::documents::{Document, Source};
use crate::name::{Kind, NamespacedName};
use crate::overrides::Overrides;
use crate::snapshot::{Problem, Severity, Snapshot};

type Identity = (Kind, NamespacedName);

/// All resources in force, and the documents they come from.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    /// The resources.
    pub snapshot: Arc<Snapshot>,
    /// The document of each resource, as its file has it: the last good state.
    accepted: BTreeMap<Identity, Arc<Document>>,
    /// Overrides that no longer hold.
    stale: Vec<(Kind, NamespacedName, String)>,
}

impl Assembly {
    /// The document that describes a resource in force, as its file has it.
    #[must_use]
    pub fn document(&self, kind: Kind, name: &NamespacedName) -> Option<&Document> {
        self.accepted.get(&(kind, name.clone())).map(AsRef::as_ref)
    }

    /// The documents that describe the resources in force.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.accepted.values().map(AsRef::as_ref)
    }

    /// Overrides that no longer hold, because the resource's own document says something else than when they were made.
    #[must_use]
    pub fn stale_overrides(&self) -> &[(Kind, NamespacedName, String)] {
        &self.stale
    }
}

/// The resources that `sources` describe, on top of what was in force.
///
/// What is wrong is in [`Snapshot::problems`], and its last good state, if there is one in `previous`, stays in force.
/// Unchanged resources keep their `Arc`, and without any change the snapshot keeps its generation.
#[must_use]
pub fn assemble(
    previous: &Assembly,
    sources: &[Arc<Source>],
    defaults: &Defaults,
    overrides: &Overrides,
) -> Assembly {
    let mut problems: Vec<Problem> =
        sources.iter().flat_map(|source| source.problems.iter().cloned()).collect();
    let mut documents = choose::choose(previous, sources, &mut problems);
    refuse::refuse(&mut documents, previous, defaults.engine, &mut problems);
    let mut stale = Vec::new();
    let in_force: Vec<_> = documents
        .iter()
        .map(|document| override_settings(document, overrides, &mut stale, &mut problems))
        .collect();
    let snapshot = build::build(&in_force, &previous.snapshot, defaults, problems);
    let accepted =
        documents.into_iter().map(|document| ((document.kind, document.name.clone()), document)).collect();
    Assembly { snapshot, accepted, stale }
}

/// What is wrong in files, as `pelton check` tells it.
#[must_use]
pub fn check(sources: &[Arc<Source>]) -> Vec<Problem> {
    let assembly = assemble(&Assembly::default(), sources, &Defaults::default(), &Overrides::default());
    assembly.snapshot.problems.clone()
}

fn override_settings(
    document: &Arc<Document>,
    overrides: &Overrides,
    stale: &mut Vec<(Kind, NamespacedName, String)>,
    problems: &mut Vec<Problem>,
) -> Arc<Document> {
    let mut values = BTreeMap::new();
    for (annotation, setting) in overrides.of(document.kind, &document.name) {
        if setting.base == document.said(annotation) {
            values.insert(annotation, setting.value.as_str());
        } else {
            stale.push((document.kind, document.name.clone(), annotation.to_owned()));
        }
    }
    if values.is_empty() {
        return document.clone();
    }
    match document.with_annotations(&values) {
        Ok(document) => Arc::new(document),
        Err(wrong) => {
            let wrong = wrong.into_iter().filter(|problem| problem.severity == Severity::Error);
            problems.extend(wrong.map(|problem| Problem {
                message: format!("the override by command is wrong and not in force: {}", problem.message),
                ..problem
            }));
            document.clone()
        }
    }
}

/// A problem of a document.
fn problem(
    severity: Severity,
    code: &'static str,
    document: &Document,
    line: u64,
    field: &str,
    message: String,
) -> Problem {
    Problem {
        severity,
        code,
        place: crate::documents::report::place(&document.file, line),
        resource: Some((document.kind, document.name.clone())),
        field: field.to_owned(),
        message,
    }
}
