//! Collecting what is wrong with a document.

use std::sync::Arc;

use crate::name::{Kind, NamespacedName};
use crate::snapshot::{Problem, Severity};

/// The problems found in one text.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    /// The resource that is being read, once known.
    pub(crate) resource: Option<(Kind, NamespacedName)>,
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    pub(crate) const fn new(file: Arc<str>) -> Self {
        Self { file, resource: None, problems: Vec::new() }
    }

    pub(crate) const fn file(&self) -> &Arc<str> {
        &self.file
    }

    pub(crate) fn error(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, at, code, message.into());
    }

    pub(crate) fn warning(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, at, code, message.into());
    }

    /// Whether an error was added since there were `before` problems.
    pub(crate) fn failed_since(&self, before: usize) -> bool {
        self.problems[before..].iter().any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: &At<'_>, code: &'static str, message: String) {
        self.problems.push(Problem {
            severity,
            code,
            place: place(&self.file, at.line),
            resource: self.resource.clone(),
            field: at.field.to_owned(),
            message,
        });
    }
}

/// A line and a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) line: u64,
    pub(crate) field: &'a str,
}

/// `file:line`, or the file alone where no line is known.
pub(crate) fn place(file: &str, line: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}

/// `; did you mean "exact"?` if one of `known` is close to `written`, else nothing.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let lower = written.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let nearest = known.into_iter().map(|known| (distance(known), known)).min();
    match nearest {
        // Up to a third of the letters may be wrong.
        Some((distance, known)) if distance * 3 <= known.len().max(3) => format!("; did you mean {known:?}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn suggests_what_is_close_and_nothing_else() {
        let known = ["exact", "prefix", "suffix", "backoffDelay"];
        assert_eq!(suggestion("exakt", known), "; did you mean \"exact\"?");
        assert_eq!(suggestion("BackOffDelay", known), "; did you mean \"backoffDelay\"?");
        assert_eq!(suggestion("backofDeley", known), "; did you mean \"backoffDelay\"?");
        assert_eq!(suggestion("zzz", known), "");
        assert_eq!(suggestion("x", []), "");
    }
}
