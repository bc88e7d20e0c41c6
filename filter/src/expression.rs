//! A filter as somebody wrote it.

use std::collections::BTreeMap;

/// One filter of a trigger, as written and not yet checked; [`Filter::compile`](crate::Filter::compile) checks it.
///
/// Each variant is one dialect. In the maps, the key is an attribute name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expression {
    /// `all`: every filter of the list passes.
    All(Vec<Expression>),
    /// `any`: at least one filter of the list passes.
    Any(Vec<Expression>),
    /// `not`: the filter does not pass.
    Not(Box<Expression>),
    /// `exact`: every attribute has exactly this value.
    Exact(BTreeMap<String, String>),
    /// `prefix`: every attribute starts with this value.
    Prefix(BTreeMap<String, String>),
    /// `suffix`: every attribute ends with this value.
    Suffix(BTreeMap<String, String>),
    /// `cesql`: the CloudEvents SQL expression is true.
    Cesql(String),
    /// `spec.filter.attributes`: every attribute has exactly this value, or any value where this one is empty.
    Attributes(BTreeMap<String, String>),
}
