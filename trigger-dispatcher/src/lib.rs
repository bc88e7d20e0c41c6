//! From the log to the subscribers: read once, select, lane, deliver, judge, settle.
//!
//! A [`Dispatcher`] runs one task for each Broker that is ready. It reads every partition of the Broker once, finds the
//! Triggers that want an event, and sends it to their subscribers as their delivery says, until the event has an end for
//! each of them. Everything that decides is a state machine without I/O (module `core`); the rest runs what it asks for.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod broker_task;
mod core;
mod dead_letter;
mod deliver;
mod dispatcher;
mod error;
mod hand_back;
mod judge;
pub mod limits;
mod metrics;
mod reply;
mod schedule;
mod select;
mod status;
#[cfg(test)]
mod testing;
mod topics;

pub use deliver::{BrokerSender, HttpSender, Senders, TracedSender};
pub use dispatcher::{Config, Dispatcher};
pub use error::Error;
pub use hand_back::HandBacker;
pub use status::Handle;
