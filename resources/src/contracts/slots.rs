//! Places on the replicas of a Service.

use std::any::Any;
use std::fmt;

use futures_core::future::BoxFuture;

use crate::name::NamespacedName;

/// Grants places on replicas. HTTP requests and deliveries share them fairly.
pub trait Slots: Send + Sync + fmt::Debug {
    /// Waits for a place on a replica of `service`; that somebody waits wakes a Service at zero. Waiting is no attempt.
    /// Dropping the future gives the place in the queue up.
    fn acquire<'a>(&'a self, service: &'a NamespacedName) -> BoxFuture<'a, Result<Slot, NoSlot>>;
}

/// A place on a replica; dropping it gives it back.
pub struct Slot {
    /// Authority (`host:port`) of the replica.
    pub replica: Box<str>,
    guard: Box<dyn Any + Send + Sync>,
}

impl Slot {
    /// A place on `replica` that is given back when `guard` is dropped.
    #[must_use]
    pub fn new(replica: impl Into<Box<str>>, guard: impl Any + Send + Sync) -> Self {
        Self { replica: replica.into(), guard: Box::new(guard) }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.guard;
        f.debug_struct("Slot").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// Why there will be no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSlot {
    /// The Service does not exist (any more).
    #[error("service {0} does not exist")]
    NoSuchService(NamespacedName),
    /// Its revision did not start within its progress deadline; deliveries fail by policy.
    #[error("service {service} does not start: {reason}")]
    DoesNotStart {
        /// The Service.
        service: NamespacedName,
        /// Why, for people.
        reason: Box<str>,
    },
}
