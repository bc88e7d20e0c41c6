//! What is wrong with a filter, said to the person who wrote it.

use crate::limits;

/// Why a filter was refused. `path` says where in the filter, for example `all[1].prefix.type`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A key that no event attribute can have.
    #[error(
        "{path}: `{name}` is not an attribute name; a name starts with a lower-case letter and consists of lower-case letters and digits"
    )]
    AttributeName {
        /// Where.
        path: String,
        /// The key, shortened.
        name: String,
    },
    /// An empty string where it would match nothing or everything.
    #[error(
        "{path}: the value is empty; write a non-empty string, or `cesql: EXISTS {name}` to ask only whether the attribute is present"
    )]
    EmptyValue {
        /// Where.
        path: String,
        /// The attribute.
        name: String,
    },
    /// A dialect without a condition.
    #[error("{path}: `{dialect}` is empty; give it at least one entry, or remove it")]
    Empty {
        /// Where.
        path: String,
        /// The dialect's name.
        dialect: &'static str,
    },
    /// A CESQL expression that cannot be read.
    #[error("{path}: column {column}: {message}")]
    Cesql {
        /// Where.
        path: String,
        /// The column in the expression: characters, from 1.
        column: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Levels beyond [`limits::NESTING_MAX`].
    #[error(
        "{path}: `all`, `any` and `not` are nested more than {} levels deep; flatten the filter or write it in `cesql`",
        limits::NESTING_MAX
    )]
    TooDeep {
        /// Where.
        path: String,
    },
    /// Conditions beyond [`limits::NODES_MAX`].
    #[error(
        "the filter has more than {} conditions; split it into several triggers or test fewer values",
        limits::NODES_MAX
    )]
    TooManyConditions,
    /// A text that is longer than its limit.
    #[error("{path}: {bytes} bytes are too long; the limit is {max}")]
    TooLong {
        /// Where.
        path: String,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
}

impl FilterError {
    /// Where in the filter; empty where the whole of it is concerned.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::AttributeName { path, .. }
            | Self::EmptyValue { path, .. }
            | Self::Empty { path, .. }
            | Self::Cesql { path, .. }
            | Self::TooDeep { path }
            | Self::TooLong { path, .. } => path,
            Self::TooManyConditions => "",
        }
    }

    /// What is wrong, without the path.
    #[must_use]
    pub fn message(&self) -> String {
        without_path(self.to_string(), self.path())
    }

    /// The stable code, with a page `docs/errors/<code>.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AttributeName { .. } => "PEL-1101",
            Self::EmptyValue { .. } => "PEL-1102",
            Self::Empty { .. } => "PEL-1103",
            Self::Cesql { .. } => "PEL-1104",
            Self::TooDeep { .. } | Self::TooManyConditions | Self::TooLong { .. } => "PEL-1105",
        }
    }
}

/// A filter that is valid but surely or probably not what its author meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A call that no function answers: it always ends in a missing function error.
    #[error(
        "{path}: there is no CESQL function `{name}` with {arguments} argument(s); wherever it is evaluated the event does not pass"
    )]
    UnknownFunction {
        /// Where.
        path: String,
        /// The function's name as written.
        name: String,
        /// How many arguments the call has.
        arguments: usize,
    },
    /// Different logical operators side by side. CESQL gives them one precedence and reads them from left to right.
    #[error(
        "{path}: AND, OR and XOR have the same precedence in CESQL and are read from left to right; add parentheses to say what you mean"
    )]
    MixedLogic {
        /// Where.
        path: String,
    },
    /// An expression whose value is never a Boolean.
    #[error("{path}: the expression's value is always {kind}, so no event passes; compare it with something")]
    NotBoolean {
        /// Where.
        path: String,
        /// The type, as a phrase.
        kind: &'static str,
    },
}

impl Warning {
    /// Where in the filter.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::UnknownFunction { path, .. }
            | Self::MixedLogic { path }
            | Self::NotBoolean { path, .. } => path,
        }
    }

    /// What is wrong, without the path.
    #[must_use]
    pub fn message(&self) -> String {
        without_path(self.to_string(), self.path())
    }

    /// The stable code, with a page `docs/errors/<code>.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownFunction { .. } => "PEL-1111",
            Self::MixedLogic { .. } => "PEL-1112",
            Self::NotBoolean { .. } => "PEL-1113",
        }
    }
}

/// The text of a problem, which begins with its path and a colon.
fn without_path(text: String, path: &str) -> String {
    match text.strip_prefix(path).and_then(|rest| rest.strip_prefix(": ")) {
        Some(message) => message.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_its_path_and_its_message() {
        let path = "all[1].cesql".to_owned();
        let error = FilterError::Cesql { path, column: 3, message: "a: b".to_owned() };
        assert_eq!((error.path(), &*error.message()), ("all[1].cesql", "column 3: a: b"));
        let whole = FilterError::TooManyConditions;
        assert_eq!((whole.path(), whole.message()), ("", whole.to_string()));
        let warning = Warning::NotBoolean { path: "cesql".to_owned(), kind: "a String" };
        assert_eq!(warning.path(), "cesql");
        assert!(warning.message().starts_with("the expression's value is always a String"), "{warning}");
    }
}
