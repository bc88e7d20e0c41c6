//! Which document describes each resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assembly, Identity, problem};
use crate::documents::{Document, Source};
use crate::snapshot::{Problem, Severity};

/// The documents, one for each resource, in the order of the sources: the first good one, else the last good state of a
/// broken one, else what an unreadable file held before.
pub(super) fn choose(
    previous: &Assembly,
    sources: &[Arc<Source>],
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Document>> {
    let mut chosen = Chosen::first_of(sources, problems);
    for identity in sources.iter().flat_map(|source| &source.broken) {
        if let Some(last_good) = previous.accepted.get(identity) {
            chosen.add_if_absent(last_good);
        }
    }
    for source in sources.iter().filter(|source| !source.whole) {
        for last_good in previous.accepted.values().filter(|document| document.file == source.file) {
            chosen.add_if_absent(last_good);
        }
    }
    chosen.documents
}

/// An error for each document that describes a resource which one before it describes.
#[must_use]
pub fn duplicates(sources: &[Arc<Source>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    Chosen::first_of(sources, &mut problems);
    problems
}

#[derive(Default)]
struct Chosen {
    documents: Vec<Arc<Document>>,
    by_identity: BTreeMap<Identity, usize>,
}

impl Chosen {
    /// The first document of each resource.
    fn first_of(sources: &[Arc<Source>], problems: &mut Vec<Problem>) -> Self {
        let mut chosen = Self::default();
        for document in sources.iter().flat_map(|source| &source.documents) {
            if let Some(first) = chosen.get(document) {
                let message = format!("is already defined in {}; remove one of the two", first.place());
                let field = "metadata.name";
                problems.push(problem(Severity::Error, "PEL-1308", document, document.line, field, message));
            } else {
                chosen.add(document.clone());
            }
        }
        chosen
    }

    fn get(&self, document: &Document) -> Option<&Arc<Document>> {
        let index = self.by_identity.get(&(document.kind, document.name.clone()))?;
        self.documents.get(*index)
    }

    fn add(&mut self, document: Arc<Document>) {
        self.by_identity.insert((document.kind, document.name.clone()), self.documents.len());
        self.documents.push(document);
    }

    fn add_if_absent(&mut self, document: &Arc<Document>) {
        if self.get(document).is_none() {
            self.add(document.clone());
        }
    }
}
