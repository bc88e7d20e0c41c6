//! Collecting what is wrong with a document.

use std::cmp::Reverse;
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

    /// An empty one about the same resource.
    pub(crate) fn beside(&self) -> Self {
        Self { file: self.file.clone(), resource: self.resource.clone(), problems: Vec::new() }
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

/// `; did you mean "exact"?` if one of `known` is close to `written` or most of it is in it, else nothing.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let lower = written.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let known: Vec<_> = known.into_iter().collect();
    let nearest = known.iter().map(|known| (distance(known), *known)).min();
    // Up to a third of the letters may be wrong.
    let close = nearest.filter(|(distance, known)| distance * 3 <= own_part(known).len().max(3));
    // Four letters in a row and most of the name: `maxRetries` for `retry`. The shorter name is the likelier one.
    let most_shared = || {
        let shared = known.iter().map(|known| (shared(&lower, &known.to_lowercase()), *known));
        let most = shared.filter(|(length, known)| *length >= 4 && length * 4 >= own_part(known).len() * 3);
        most.max_by_key(|(length, known)| (*length, Reverse(known.len())))
    };
    match close.or_else(most_shared) {
        Some((_, known)) => format!("; did you mean {known:?}?"),
        None => String::new(),
    }
}

/// The name without the prefix that an annotation shares with its sisters.
fn own_part(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, name)| name)
}

/// Length of the longest run of letters that both names have, prefixes of annotations left out.
fn shared(one: &str, other: &str) -> usize {
    let (one, other) = (own_part(one).as_bytes(), own_part(other).as_bytes());
    let run = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let starts = (0..one.len()).flat_map(|a| (0..other.len()).map(move |b| (a, b)));
    starts.map(|(a, b)| run(&one[a..], &other[b..])).max().unwrap_or(0)
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

    #[test]
    fn suggests_what_is_in_the_word() {
        let known = ["retry", "timeout", "backoffMax", "retryAfterMax", "delivery.pelton.dev/paused"];
        for (written, meant) in [("retries", "retry"), ("maxRetries", "retry"), ("timeoutSeconds", "timeout")]
        {
            assert_eq!(suggestion(written, known), format!("; did you mean {meant:?}?"));
        }
        for written in ["max", "delivery.pelton.dev/color", "try"] {
            assert_eq!(suggestion(written, known), "", "{written}");
        }
    }
}
