//! Whether a resource is in service, and if not, why.

use std::borrow::Cow;

/// Whether a resource is in service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Readiness {
    /// In service.
    #[default]
    Ready,
    /// Not in service; its events wait.
    NotReady(Reason),
}

/// Why a resource is not in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One CamelCase word, as in Knative's conditions (`BrokerNotFound`).
    pub reason: Cow<'static, str>,
    /// A sentence for people that says what to do.
    pub message: String,
}

impl Readiness {
    /// Not in service because of `reason`.
    #[must_use]
    pub fn not_ready(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::NotReady(Reason { reason: reason.into(), message: message.into() })
    }

    /// Whether it is in service.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}
