//! Changing resources by API or command.

use std::fmt;

use futures_core::future::BoxFuture;

use crate::name::{Kind, NamespacedName};
use crate::snapshot::Problem;

/// Changes resources. A call answers when its change is on disk and in force here.
pub trait ResourceWriter: Send + Sync + fmt::Debug {
    /// Creates or replaces the resources of a text of YAML documents: all or, if one is wrong, none. A document that names
    /// no namespace is in `namespace`.
    fn apply(&self, documents: String, namespace: String) -> BoxFuture<'_, Result<Vec<Written>, WriteError>>;

    /// Deletes a resource.
    fn delete(&self, kind: Kind, name: NamespacedName) -> BoxFuture<'_, Result<Written, WriteError>>;

    /// Sets or removes an override of one setting of a resource, whoever owns its file.
    fn set(
        &self,
        kind: Kind,
        name: NamespacedName,
        change: Override,
    ) -> BoxFuture<'_, Result<Written, WriteError>>;
}

/// An override by command: an annotation that is set beside the resource's own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The annotation (`delivery.pelton.dev/paused`).
    pub annotation: String,
    /// Its value; `None` removes the override.
    pub value: Option<String>,
}

/// What was done to a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: NamespacedName,
    /// What was done.
    pub action: WriteAction,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteAction {
    /// The resource is new.
    Created,
    /// It has another value now.
    Configured,
    /// It had that value already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// Why a change was not made. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The documents are wrong.
    #[error("{}", .0.first().map_or("the documents are not valid", |problem| problem.message.as_str()))]
    Invalid(Vec<Problem>),
    /// There is no such resource.
    #[error("there is no {0} {1}")]
    NotFound(Kind, NamespacedName),
    /// The resource belongs to a user's file, which Pelton never edits, or stands with others in one that cannot be edited
    /// without touching them.
    #[error("{kind} {name} is defined in {file}; change it there")]
    Foreign {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: NamespacedName,
        /// The file, with line.
        file: String,
    },
    /// The change could not be stored.
    #[error("the change could not be stored: {0}")]
    Storage(String),
}
