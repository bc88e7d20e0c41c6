//! One file (or request body) of documents.

use std::sync::Arc;

use super::document::{self, Document, Reading};
use super::node::{self, Node};
use super::report::{At, Report};
use crate::limits;
use crate::name::{Kind, NAMESPACE_DEFAULT, NamespacedName};
use crate::snapshot::{Problem, Severity};

/// A text of YAML documents, read. Reading the same text again gives the same value, so that it can be kept until the
/// text changes.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name under which problems mention it.
    pub(crate) file: Arc<str>,
    /// Its resources, in order.
    pub(crate) documents: Vec<Arc<Document>>,
    /// Resources that are in it, but with mistakes.
    pub(crate) broken: Vec<(Kind, NamespacedName)>,
    /// What is wrong in it.
    pub(crate) problems: Vec<Problem>,
    /// Whether everything in it could be told apart; if not, what was in it before stays in force.
    pub(crate) whole: bool,
}

impl Source {
    /// Reads `text`; `file` is its name in problems.
    #[must_use]
    pub fn read(file: &str, text: &str) -> Self {
        Self::read_in(file, text, NAMESPACE_DEFAULT)
    }

    /// Reads `text`, whose documents are in `namespace` where they name none.
    #[must_use]
    pub fn read_in(file: &str, text: &str, namespace: &str) -> Self {
        let mut report = Report::new(file.into());
        if text.len() > limits::FILE_BYTES_MAX {
            let message =
                format!("has {} bytes; the limit is {}; split it", text.len(), limits::FILE_BYTES_MAX);
            report.error(&At { line: 0, field: "" }, "PEL-1316", message);
            return Self::unread(report);
        }
        let mut source = Self::unread(Report::new(file.into()));
        source.whole = true;
        if let Err(error) = node::parse_stream(text, |tree| source.take(tree, namespace, 0, &mut report)) {
            source.whole = false;
            let at = At { line: error.line, field: "" };
            if text.contains("apiVersion") {
                report.error(&at, "PEL-1301", format!("is not valid YAML: {}", error.message));
            } else {
                report.warning(
                    &at,
                    "PEL-1306",
                    "is neither YAML nor a resource (no apiVersion in it); skipped",
                );
            }
        }
        source.problems = report.problems;
        source
    }

    /// A file that could not be read; what was in it before stays in force.
    #[must_use]
    pub fn unreadable(file: &str, message: &str) -> Self {
        let mut report = Report::new(file.into());
        report.error(&At { line: 0, field: "" }, "PEL-1316", message);
        Self::unread(report)
    }

    fn unread(report: Report) -> Self {
        Self {
            file: report.file().clone(),
            documents: Vec::new(),
            broken: Vec::new(),
            problems: report.problems,
            whole: false,
        }
    }

    /// The resources in it that have no mistakes.
    #[must_use]
    pub fn documents(&self) -> &[Arc<Document>] {
        &self.documents
    }

    /// What is wrong in it.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether something in it is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// An error for each resource in it that names another namespace than `namespace`, which a command was told to use.
    #[must_use]
    pub fn outside(&self, namespace: &str) -> Vec<Problem> {
        let outside = self.documents.iter().filter(|document| document.name.namespace() != namespace);
        outside.map(|document| document.outside(namespace)).collect()
    }

    /// The resources in it, those with mistakes included.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (Kind, &NamespacedName)> {
        let good = self.documents.iter().map(|document| (document.kind, &document.name));
        good.chain(self.broken.iter().map(|(kind, name)| (*kind, name)))
    }

    fn take(&mut self, tree: Node, namespace: &str, depth: usize, report: &mut Report) {
        if depth > limits::NESTING_MAX {
            report.error(&At { line: tree.line, field: "" }, "PEL-1303", "Lists are nested too deeply");
            self.whole = false;
            return;
        }
        match document::read(tree, namespace, report) {
            Reading::Resource(document) => self.documents.push(Arc::new(document)),
            Reading::Broken(Some(identity)) => self.broken.push(identity),
            Reading::Broken(None) => self.whole = false,
            Reading::List(items) => {
                items.into_iter().for_each(|item| self.take(item, namespace, depth + 1, report));
            }
            Reading::Skipped => {}
        }
    }
}
