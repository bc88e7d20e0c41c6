//! A compiled filter: a tree of conditions, and its evaluation.

use crate::attributes::{Attributes, Name};
use crate::cesql::{Cesql, CesqlError};

/// How a condition compares an attribute's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Comparison {
    Equal,
    StartsWith,
    EndsWith,
    /// Present, with any value.
    Present,
}

/// One condition on one attribute. An absent attribute never meets it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) name: Name,
    pub(crate) comparison: Comparison,
    pub(crate) text: Box<str>,
}

impl Condition {
    fn is_met(&self, attributes: Attributes<'_, '_>) -> bool {
        let Some(value) = attributes.get(&self.name) else { return false };
        match self.comparison {
            Comparison::Equal => value.text == &*self.text,
            Comparison::StartsWith => value.text.starts_with(&*self.text),
            Comparison::EndsWith => value.text.ends_with(&*self.text),
            Comparison::Present => true,
        }
    }
}

/// A node of a compiled filter.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Condition(Condition),
    /// All of them; an empty list passes everything.
    All(Box<[Node]>),
    /// At least one of them.
    Any(Box<[Node]>),
    Not(Box<Node>),
    Cesql(Box<Cesql>),
}

impl Node {
    /// Whether the event passes. The first error of an expression on the way is left in `error`; the expression itself counts
    /// as "does not pass" (Subscriptions API 3.2.4.1, CESQL 1.2), also below `not`.
    pub(crate) fn passes(&self, attributes: Attributes<'_, '_>, error: &mut Option<CesqlError>) -> bool {
        match self {
            Self::Condition(condition) => condition.is_met(attributes),
            Self::All(nodes) => nodes.iter().all(|node| node.passes(attributes, error)),
            Self::Any(nodes) => nodes.iter().any(|node| node.passes(attributes, error)),
            Self::Not(node) => !node.passes(attributes, error),
            Self::Cesql(expression) => match expression.passes(attributes) {
                Ok(passes) => passes,
                Err(failure) => {
                    error.get_or_insert(failure);
                    false
                }
            },
        }
    }
}
