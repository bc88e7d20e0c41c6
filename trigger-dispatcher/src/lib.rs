//! From the log to the subscribers: read once, select, lane, deliver, judge, settle.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod core;
mod deliver;
mod limits;
mod select;
#[cfg(test)]
mod testing;
mod topics;

pub use deliver::{BrokerSender, Senders};
