//! The fingerprint of a template.
//!
//! It is taken of the document rather than of the value read from it: a field that Pelton does not serve (yet) makes a new
//! revision as it does in Knative, and a version that begins to serve it makes none of a file that did not change.

use super::super::metadata::is_own_annotation;
use super::super::node::{Node, Value};
use crate::service::{Fingerprint, Fingerprinter};

/// The fields of a template's metadata that are part of a revision.
const METADATA: [&str; 3] = ["annotations", "labels", "name"];

/// The fingerprint of `template`, whose replicas run `process_command` where they are processes.
///
/// It does not depend on lines, comments, aliases, the order of fields or on what is written but empty, nor on Pelton's own
/// annotations: those of them that do make a new revision are arguments.
pub(super) fn of(template: &Node, process_command: Option<&[String]>) -> Fingerprint {
    let mut hash = Fingerprinter::new();
    take(template, Level::Template, &mut hash);
    if let Some(words) = process_command {
        hash.text("process command");
        hash.number(words.len());
        words.iter().for_each(|word| hash.text(word));
    }
    hash.finish()
}

/// Where in the template a map stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Template,
    Metadata,
    Annotations,
    Other,
}

impl Level {
    fn counts(self, name: &str) -> bool {
        match self {
            Self::Metadata => METADATA.contains(&name),
            Self::Annotations => !is_own_annotation(name),
            Self::Template | Self::Other => true,
        }
    }

    fn below(self, name: &str) -> Self {
        match (self, name) {
            (Self::Template, "metadata") => Self::Metadata,
            (Self::Metadata, "annotations") => Self::Annotations,
            _ => Self::Other,
        }
    }
}

/// Whether nothing is said by a value.
fn is_empty(node: &Node, level: Level) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries
            .iter()
            .all(|(key, value)| !level.counts(&key.name) || is_empty(value, level.below(&key.name))),
        _ => false,
    }
}

fn take(node: &Node, level: Level, hash: &mut Fingerprinter) {
    match &node.value {
        Value::Null => hash.bytes(b"0"),
        Value::Bool(value) => hash.bytes(if *value { b"t" } else { b"f" }),
        Value::Integer(value) => {
            hash.bytes(b"i");
            hash.bytes(&value.to_le_bytes());
        }
        Value::Float(value) => {
            hash.bytes(b"d");
            hash.bytes(&value.to_bits().to_le_bytes());
        }
        Value::Text(text) => {
            hash.bytes(b"s");
            hash.text(text);
        }
        Value::List(items) => {
            hash.bytes(b"l");
            hash.number(items.len());
            items.iter().for_each(|item| take(item, Level::Other, hash));
        }
        Value::Map(entries) => {
            let said = |name: &str, value: &Node| level.counts(name) && !is_empty(value, level.below(name));
            let mut said: Vec<_> = entries.iter().filter(|(key, value)| said(&key.name, value)).collect();
            said.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            hash.bytes(b"m");
            hash.number(said.len());
            for (key, value) in said {
                hash.text(&key.name);
                take(value, level.below(&key.name), hash);
            }
        }
    }
}
