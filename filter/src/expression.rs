//! A filter as somebody wrote it.

/// Names of attributes, each once and in order, and a text for each. A list, as most filters have one entry and a map would take
/// ten times its memory.
pub type Conditions = Box<[(String, String)]>;

/// One filter of a trigger, as written and not yet checked; [`Filter::compile`](crate::Filter::compile) checks it.
///
/// Each variant is one dialect.
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
    Exact(Conditions),
    /// `prefix`: every attribute starts with this value.
    Prefix(Conditions),
    /// `suffix`: every attribute ends with this value.
    Suffix(Conditions),
    /// `cesql`: the CloudEvents SQL expression is true.
    Cesql(String),
    /// `spec.filter.attributes`: every attribute has exactly this value, or any value where this one is empty.
    Attributes(Conditions),
}
