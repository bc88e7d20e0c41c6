//! Which events somebody wants.
//!
//! An [`Expression`] is a trigger's filter as written; [`Filter::compile`] checks it and makes a [`Filter`], which tells for one
//! event whether it passes. A [`FilterIndex`] does so for all filters of a broker at once, at a cost of about the number of
//! filters that *match*.
//!
//! Rules come from the Knative Eventing `Trigger` (`spec.filter`, `spec.filters`), the filter dialects of the CloudEvents
//! Subscriptions API (section 3.2.4), and the CloudEvents SQL Expression Language 1.0.0 (module [`cesql`]).
//!
//! No filter and no event makes matching fail or panic: an expression that cannot be evaluated is "does not pass", and the
//! reason is there to be counted.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attributes;
pub mod cesql;
mod error;
mod expression;
mod filter;
mod index;
pub mod limits;
mod node;
#[cfg(test)]
mod tests;

pub use error::{FilterError, Warning};
pub use expression::{Conditions, Expression};
pub use filter::{Evaluation, Filter};
pub use index::{FilterIndex, Matches};
