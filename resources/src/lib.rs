//! What the operator wants: brokers, triggers and their settings as plain values, and the contracts between the roles.
//!
//! A role sees the operator's wishes as `watch::Receiver<Arc<Snapshot>>` and nothing else; what one role must tell another
//! goes through a trait in [`contracts`].

mod broker;
pub mod contracts;
mod delivery;
mod name;
mod readiness;
mod snapshot;
mod trigger;

pub use broker::{Broker, OnFull, RetentionPolicy};
pub use delivery::{BackoffPolicy, DeliveryFormat, DeliveryPolicy, Destination};
pub use name::{Kind, NamespacedName};
pub use readiness::{Readiness, Reason};
pub use snapshot::{Change, Problem, Severity, Snapshot, SnapshotDiff};
pub use trigger::{Order, Start, Trigger};
