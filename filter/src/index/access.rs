//! What an event must have to pass a filter, as far as the index can look it up.

use crate::attributes::Name;
use crate::cesql::{Compare, Expr, Literal, Logic, Shape};
use crate::node::{Comparison, Condition, Node};

/// How a key is looked up in an attribute's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum KeyKind {
    Equal,
    Prefix,
    Suffix,
    /// Three bytes somewhere in the text.
    Gram,
    Present,
}

/// Something to look up: an event that does not have it does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key<'f> {
    pub(super) name: &'f Name,
    pub(super) kind: KeyKind,
    pub(super) text: &'f [u8],
}

/// The necessary conditions of a filter. Only what *must* hold may be in it; what is left out is checked by evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access<'f> {
    /// Nothing that could be looked up.
    Always,
    /// This key; `sufficient` if every event that has it passes.
    Key { key: Key<'f>, sufficient: bool },
    /// Each of these, so the index may take any one.
    All(Vec<Access<'f>>),
    /// At least one of these, so the index must take them all.
    Any(Vec<Access<'f>>),
}

pub(super) const GRAM_BYTES: usize = 3;
/// Windows of a `LIKE` text that are offered as keys; the rarest is taken.
const GRAMS_MAX: usize = 24;

impl<'f> Access<'f> {
    pub(super) fn of(node: &'f Node) -> Self {
        match node {
            Node::Condition(condition) => Self::of_condition(condition),
            Node::All(nodes) => Self::all(nodes.iter().map(Self::of)),
            Node::Any(nodes) => Self::any(nodes.iter().map(Self::of)),
            // A negated condition is also met by events without the attribute.
            Node::Not(_) => Self::Always,
            Node::Cesql(expression) => Self::of_true(expression.root()),
        }
    }

    fn of_condition(condition: &'f Condition) -> Self {
        let kind = match condition.comparison {
            Comparison::Equal => KeyKind::Equal,
            Comparison::StartsWith => KeyKind::Prefix,
            Comparison::EndsWith => KeyKind::Suffix,
            Comparison::Present => return Self::present(&condition.name),
        };
        Self::key(&condition.name, kind, &condition.text, true)
    }

    const fn key(name: &'f Name, kind: KeyKind, text: &'f str, sufficient: bool) -> Self {
        Self::Key { key: Key { name, kind, text: text.as_bytes() }, sufficient }
    }

    const fn present(name: &'f Name) -> Self {
        if name.is_required() { Self::Always } else { Self::key(name, KeyKind::Present, "", true) }
    }

    fn all(parts: impl Iterator<Item = Self>) -> Self {
        let mut parts: Vec<Self> = parts.collect();
        let before = parts.len();
        parts.retain(|part| *part != Self::Always);
        match parts.len() {
            0 => Self::Always,
            // What was left out still has to be evaluated.
            1 if before > 1 => parts.swap_remove(0).insufficient(),
            1 => parts.swap_remove(0),
            _ => Self::All(parts),
        }
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.collect();
        if parts.contains(&Self::Always) { Self::Always } else { Self::Any(parts) }
    }

    /// What must hold for `expr` to be true without an error.
    fn of_true(expr: &'f Expr) -> Self {
        match expr {
            Expr::Exists(name) => Self::present(name),
            Expr::Logic { operator: Logic::And, operands, .. } => {
                Self::all(operands.iter().map(Self::of_true))
            }
            Expr::Logic { operator: Logic::Or, operands, .. } => {
                // An error on the left keeps the event out although its right side is true, so no key decides alone.
                let one = Self::any(operands.iter().map(|operand| Self::of_true(operand).insufficient()));
                Self::all([Self::of_value(&operands[0]), one].into_iter())
            }
            Expr::Compare { operator: Compare::Equal, operands } => Self::of_equal(operands, expr),
            Expr::Like { operand, pattern } => match &**operand {
                Expr::Attribute(name) => Self::of_like(name, pattern.shape()),
                other => Self::of_value(other),
            },
            Expr::In { operand, set } => Self::of_in(operand, set),
            other => Self::of_value(other),
        }
    }

    /// What must hold for `expr` to have a value without an error: every attribute that is surely read is present.
    fn of_value(expr: &'f Expr) -> Self {
        match expr {
            Expr::Literal(_) | Expr::Exists(_) | Expr::UnknownCall { .. } => Self::Always,
            Expr::Attribute(name) => Self::present(name).insufficient(),
            Expr::Not(operand)
            | Expr::Negate(operand)
            | Expr::Like { operand, .. }
            | Expr::In { operand, .. } => Self::of_value(operand).insufficient(),
            Expr::Logic { operator: Logic::And | Logic::Or, operands, .. } => {
                Self::of_value(&operands[0]).insufficient()
            }
            Expr::Logic { operands, .. }
            | Expr::Compare { operands, .. }
            | Expr::Arithmetic { operands, .. } => {
                Self::all(operands.iter().map(|operand| Self::of_value(operand).insufficient()))
            }
            Expr::Call { arguments, .. } => {
                Self::all(arguments.iter().map(|argument| Self::of_value(argument).insufficient()))
            }
        }
    }

    fn of_equal([left, right]: &'f [Expr; 2], whole: &'f Expr) -> Self {
        match (left, right) {
            (Expr::Attribute(name), Expr::Literal(Literal::String(text))) => {
                Self::key(name, KeyKind::Equal, text, true)
            }
            (Expr::Literal(Literal::String(text)), Expr::Attribute(name)) if is_only_text(text) => {
                Self::key(name, KeyKind::Equal, text, false)
            }
            _ => Self::of_value(whole),
        }
    }

    fn of_in(operand: &'f Expr, set: &'f [Expr]) -> Self {
        let Expr::Attribute(name) = operand else { return Self::of_value(operand).insufficient() };
        let key = |element: &'f Expr| match element {
            Expr::Literal(Literal::String(text)) if is_only_text(text) => {
                Some(Self::key(name, KeyKind::Equal, text, false))
            }
            _ => None,
        };
        let keys: Option<Vec<Self>> = set.iter().map(key).collect();
        keys.map_or(Self::present(name).insufficient(), Self::Any)
    }

    fn of_like(name: &'f Name, shape: Shape<'f>) -> Self {
        let (prefix, suffix, longest, sufficient) = match shape {
            Shape::Equal(text) => return Self::key(name, KeyKind::Equal, text, true),
            Shape::Open { prefix, suffix, longest, sufficient } => (prefix, suffix, longest, sufficient),
        };
        let mut parts = Vec::new();
        if !prefix.is_empty() {
            parts.push(Self::key(name, KeyKind::Prefix, prefix, sufficient));
        }
        if !suffix.is_empty() {
            parts.push(Self::key(name, KeyKind::Suffix, suffix, sufficient));
        }
        if longest != prefix && longest != suffix {
            let grams = longest.as_bytes().windows(GRAM_BYTES).take(GRAMS_MAX);
            parts.extend(
                grams.map(|text| Self::Key {
                    key: Key { name, kind: KeyKind::Gram, text },
                    sufficient: false,
                }),
            );
        }
        if parts.is_empty() {
            return Self::present(name).insufficient();
        }
        Self::all(parts.into_iter())
    }

    fn insufficient(self) -> Self {
        let each = |parts: Vec<Self>| parts.into_iter().map(Self::insufficient).collect();
        match self {
            Self::Always => Self::Always,
            Self::Key { key, .. } => Self::Key { key, sufficient: false },
            Self::All(parts) => Self::All(each(parts)),
            Self::Any(parts) => Self::Any(each(parts)),
        }
    }
}

/// Whether a literal on the left of `=`, or in a set, can only be equal to an attribute as text. It is cast to the attribute's
/// type, and `'05'` equals the Integer 5.
fn is_only_text(text: &str) -> bool {
    text.parse::<i32>().is_err() && !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false")
}
