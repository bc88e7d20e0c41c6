//! What one role must tell another: one small trait each, object-safe, so that a role is tested with a fake of its neighbour.
//!
//! | trait | who implements it | who calls it |
//! |---|---|---|
//! | [`Sender`] | the dispatcher (HTTP, another broker); the EventBridge adapter (API destinations, SQS, …) | the dispatcher |
//! | [`Slots`] | the gateway | the dispatcher, before it sends to a Service |
//! | [`BacklogSource`] | the dispatcher | the scaler |
//! | [`ResourceWriter`] | control | the EventBridge API, the admin API |
//! | [`StatusSource`] | every role | the admin API |
//! | [`HandBack`] | the dispatcher | the admin API |
//! | [`ServingSource`] | serving | the admin API |

mod backlog;
mod hand_back;
mod sender;
mod serving;
mod slots;
mod status;
mod writer;

pub use backlog::{BacklogSource, TriggerBacklog};
pub use hand_back::{HandBack, HandBackError, HandedBack};
pub use sender::{Delivery, Outcome, Response, Sender};
pub use serving::{ReplicaCounts, ReplicaLine, RevisionState, RouteState, ServingSource};
pub use slots::{NoSlot, Slot, Slots};
pub use status::{ResourceStatus, StatusSource};
pub use writer::{Override, ResourceWriter, WriteAction, WriteError, Written};
