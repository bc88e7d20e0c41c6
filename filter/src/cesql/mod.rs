//! The CloudEvents SQL Expression Language (CESQL) 1.0.0.
//!
//! ```
//! use pelton_event::{EventBuilder, Kind, SpecVersion};
//! use pelton_filter::cesql::{Cesql, CesqlError, Value};
//!
//! let mut event = EventBuilder::new(SpecVersion::V1_0);
//! for (name, value) in [("id", "1"), ("source", "/orders"), ("type", "order.created"), ("hop", "5")] {
//!     event.attribute(name, value, Kind::String)?;
//! }
//! let event = event.build(None)?;
//!
//! let near = Cesql::parse("type LIKE 'order.%' AND hop < 10")?;
//! assert_eq!(near.evaluate(&event).value, Value::Boolean(true));
//!
//! let missing = Cesql::parse("subject = 'x'")?;
//! assert_eq!(missing.evaluate(&event).error, Some(CesqlError::MissingAttribute));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the specification leaves a choice:
//!
//! * Evaluation ends at the first error (section 4.1, fail fast). The operator in which it happens, and every operator around
//!   that, returns the zero value of its type.
//! * Implicit casts follow the table of section 3.7, with one exception that the specification's own test suite asks for:
//!   `NOT` of an Integer is `true` with a cast error.
//! * Equal precedence is read from left to right, `AND`, `OR` and `XOR` included (section 3.6). Mixing those without
//!   parentheses gives a [`Warning`].
//! * An Integer operation that leaves 32 bits is 0 with a math error.
//! * A character is a Unicode code point.
//! * Identifiers, like keywords, are read without regard to case: no attribute name has capitals.

mod ast;
mod check;
mod eval;
mod functions;
mod lexer;
mod like;
mod parser;
mod value;

#[cfg(test)]
mod tests;

use pelton_event::Event;

pub(crate) use ast::{Compare, Expr, Literal, Logic};
pub(crate) use like::Shape;
pub use value::{CesqlError, Value};

use crate::attributes::{AttributeList, Attributes};
use crate::error::Warning;

/// A compiled CESQL expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cesql {
    root: Expr,
}

/// The result of an evaluation: always a value, and the error if there was one (section 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated<'a> {
    /// The value. With an error, what section 3.3 and the function's own rule say it is.
    pub value: Value<'a>,
    /// The first error.
    pub error: Option<CesqlError>,
}

/// An expression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ParseError {
    /// The column: characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Cesql {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ParseError`] for the first place that breaks the grammar (section 2) or exceeds a [limit](crate::limits).
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text).map(|root| Self { root })
    }

    /// Evaluates the expression for an event.
    #[must_use]
    pub fn evaluate<'a>(&'a self, event: &'a Event) -> Evaluated<'a> {
        match eval::evaluate(&self.root, Attributes::of(event, &mut AttributeList::new())) {
            Ok(value) => Evaluated { value, error: None },
            Err(failure) => Evaluated { value: failure.value, error: Some(failure.error) },
        }
    }

    /// Whether an event passes the expression as a filter: its value must be the Boolean `true` (section 1.2).
    pub(crate) fn passes(&self, attributes: Attributes<'_, '_>) -> Result<bool, CesqlError> {
        match eval::evaluate(&self.root, attributes) {
            Ok(value) => Ok(value == Value::Boolean(true)),
            Err(failure) => Err(failure.error),
        }
    }

    pub(crate) fn root(&self) -> &Expr {
        &self.root
    }

    /// How many nodes the tree has, set elements and arguments included.
    pub(crate) fn nodes(&self) -> usize {
        check::nodes(&self.root)
    }

    pub(crate) fn warnings(&self, path: &str) -> Vec<Warning> {
        check::warnings(&self.root, path)
    }
}
