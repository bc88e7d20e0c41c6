//! What is told of a Service, a revision or a route: whether something holds, and if not, why.

use serde::{Deserialize, Serialize};

/// Why something does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// One CamelCase word, as in Knative's conditions (`RevisionMissing`).
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Cause {
    /// The cause `reason`, told by `message`.
    #[must_use]
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Whether something holds; Kubernetes' conditions have these three states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It holds.
    True,
    /// It may yet hold without anybody's help.
    Unknown(Cause),
    /// It does not hold until somebody does something.
    False(Cause),
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        matches!(self, Self::True)
    }

    /// The word of Kubernetes for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::True => "True",
            Self::Unknown(_) => "Unknown",
            Self::False(_) => "False",
        }
    }

    /// Why it does not hold.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::True => None,
            Self::Unknown(cause) | Self::False(cause) => Some(cause),
        }
    }

    /// Whether both hold: what is known to be wrong counts before what is not known, then the first before the second.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::True, _) | (Self::Unknown(_), Self::False(_)) => other,
            (Self::Unknown(_) | Self::False(_), _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_condition_counts() {
        let unknown = |word: &str| Condition::Unknown(Cause::new(word, ""));
        let wrong = |word: &str| Condition::False(Cause::new(word, ""));
        let rows = [
            (Condition::True, Condition::True, Condition::True),
            (Condition::True, unknown("B"), unknown("B")),
            (unknown("A"), Condition::True, unknown("A")),
            (unknown("A"), unknown("B"), unknown("A")),
            (unknown("A"), wrong("B"), wrong("B")),
            (wrong("A"), unknown("B"), wrong("A")),
            (wrong("A"), wrong("B"), wrong("A")),
        ];
        for (first, second, expected) in rows {
            assert_eq!(first.clone().and(second.clone()), expected, "{first:?} {second:?}");
        }
    }
}
