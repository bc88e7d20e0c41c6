//! Changing one document of a text that holds others.

use super::source::Source;
use crate::name::{Kind, NamespacedName};

/// `text` with the document of a resource replaced by `replacement`, appended if there is none, or removed. Everything else
/// keeps its text, comments included; a text in which nothing else is left is empty, or the replacement alone.
///
/// `None` if that cannot be done without touching another resource: the document is an item of a `List`, or it is not
/// valid and it cannot be told where it stands.
#[must_use]
pub fn splice(text: &str, kind: Kind, name: &NamespacedName, replacement: Option<&str>) -> Option<String> {
    let source = Source::read("", text);
    let is_it = |(a, b): &(Kind, &NamespacedName)| (*a, *b) == (kind, name);
    let others = source.identities().any(|identity| !is_it(&identity));
    let sections = sections(text);
    if sections.iter().filter(|section| has_content(section)).count() <= 1 && !others {
        return Some(replacement.unwrap_or_default().to_owned());
    }
    let document = source.documents().iter().find(|document| is_it(&(document.kind, &document.name)));
    if !source.whole || (document.is_none() && source.identities().any(|identity| is_it(&identity))) {
        return None;
    }
    let changed = match document {
        Some(document) => replaced(&sections, document.line, replacement)?,
        None => {
            format!("{}{}", ended(text), replacement.map(|text| format!("---\n{text}")).unwrap_or_default())
        }
    };
    // The lines were cut without knowing YAML; whether that was right is seen by reading it again.
    unchanged_but_for(&source, &changed, kind, name).then_some(changed)
}

/// The text cut before each line that begins a document.
fn sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if is_marker(line) {
            sections.push(String::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push_str(line);
        }
    }
    sections
}

/// Whether a line begins a document. In YAML nothing else can begin with these characters, not even within a text.
fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn has_content(section: &str) -> bool {
    let mut lines = section.lines();
    let marker = lines.next().unwrap_or_default();
    let behind = if is_marker(marker) { &marker[3..] } else { marker };
    !is_comment(behind) || lines.any(|line| !is_comment(line))
}

/// The sections joined, the one with `line` (from 1) replaced.
fn replaced(sections: &[String], line: u64, replacement: Option<&str>) -> Option<String> {
    let mut end = 0;
    let at = sections.iter().position(|section| {
        end += section.lines().count() as u64;
        line <= end
    })?;
    let (before, rest) = sections.split_at(at);
    let (section, after) = rest.split_first()?;
    let new = match replacement {
        Some(text) if at == 0 => ended(text),
        Some(text) => format!("---\n{}", ended(text)),
        None => String::new(),
    };
    // Comments behind the document may belong to the next one: they stay.
    let mut behind: Vec<&str> =
        section.split_inclusive('\n').rev().take_while(|line| is_comment(line)).collect();
    behind.reverse();
    Some(format!("{}{new}{}{}", before.concat(), behind.concat(), after.concat()))
}

/// With an end to its last line.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Whether `after` holds the resources of `before` with the same values, the named one left out of account.
fn unchanged_but_for(before: &Source, after: &str, kind: Kind, name: &NamespacedName) -> bool {
    let after = Source::read("", after);
    let others = |source: &Source| {
        let documents = source.documents().to_vec();
        documents
            .into_iter()
            .filter(|document| (document.kind, &document.name) != (kind, name))
            .collect::<Vec<_>>()
    };
    let (old, new) = (others(before), others(&after));
    let same = old.iter().zip(&new).all(|(a, b)| (a.kind, &a.name) == (b.kind, &b.name) && a.same_value(b));
    after.whole && old.len() == new.len() && same && before.broken == after.broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(name: &str) -> String {
        format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n")
    }

    fn change(text: &str, name: &str, replacement: Option<&str>) -> Option<String> {
        splice(text, Kind::Broker, &NamespacedName::new("default", name), replacement)
    }

    #[test]
    fn one_document_goes_and_the_others_keep_their_comments() {
        let (a, b, c) = (broker("a"), broker("b"), broker("c"));
        let text = format!("# of the file\n---\n# of a\n{a}--- # of b\n{b}  # behind b\n\n# of c\n---\n{c}");
        let without_b = format!("# of the file\n---\n# of a\n{a}  # behind b\n\n# of c\n---\n{c}");
        assert_eq!(change(&text, "b", None), Some(without_b));
        let without_c = format!("# of the file\n---\n# of a\n{a}--- # of b\n{b}  # behind b\n\n# of c\n");
        assert_eq!(change(&text, "c", None), Some(without_c));
        let without_a = format!("# of the file\n--- # of b\n{b}  # behind b\n\n# of c\n---\n{c}");
        assert_eq!(change(&text, "a", None), Some(without_a));
    }

    #[test]
    fn one_document_is_replaced_or_appended() {
        let (a, b) = (broker("a"), broker("b"));
        let text = format!("{a}---\n{b}");
        let new = format!("# new\n{b}");
        assert_eq!(change(&text, "b", Some(&new)), Some(format!("{a}---\n{new}")));
        let new = format!("# new\n{a}");
        assert_eq!(change(&text, "a", Some(&new)), Some(format!("{new}---\n{b}")));
        assert_eq!(change(&a, "b", Some(&b)), Some(format!("{a}---\n{b}")));
        assert_eq!(change(a.trim_end(), "b", Some(&b)), Some(format!("{a}---\n{b}")));
    }

    #[test]
    fn a_document_alone_is_the_whole_text() {
        let text = format!("# Written by Pelton\n{}---\n# nothing more\n", broker("a"));
        assert_eq!(change(&text, "a", None).as_deref(), Some(""));
        assert_eq!(change(&text, "a", Some("new")).as_deref(), Some("new"));
        assert_eq!(change("apiVersion: [", "a", Some("new")).as_deref(), Some("new"));
    }

    #[test]
    fn a_kind_that_is_skipped_stays_too() {
        let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
        assert_eq!(change(&format!("{}---\n{other}", broker("a")), "a", None), Some(format!("---\n{other}")));
    }

    #[test]
    fn what_cannot_be_cut_out_is_left_alone() {
        let item = |name: &str| broker(name).replace('\n', "\n  ").trim_end().to_owned();
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", item("a"), item("b"));
        assert_eq!(change(&list, "a", None), None);
        let torn = format!("{}---\n{}---\na: [", broker("a"), broker("b"));
        assert_eq!(change(&torn, "a", None), None);
        let broken = format!("{}---\n{}", broker("a").replace("name: a", "name: a, nam: b"), broker("b"));
        assert_eq!(change(&broken, "a", None), None);
        // A line that looks like a marker within a text is one; YAML says so too.
        let with_text = format!(
            "{}---\n{}",
            broker("a").replace("name: a", "name: a, annotations: {x: '--- y'}"),
            broker("b")
        );
        assert_eq!(change(&with_text, "b", None), Some(with_text.split("---\n").next().unwrap().to_owned()));
    }
}
