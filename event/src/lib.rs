//! What an event is: a CloudEvent as bytes.
//!
//! An [`Event`] keeps its attributes as *received text* in one compact buffer and its data as one shared [`bytes::Bytes`];
//! nothing is rewritten on the way from socket to log to socket. A [`Record`] is an event and its [`Envelope`]: what
//! Pelton must remember about it (key, time, trace, hops, origin).
//!
//! No input makes this crate panic.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attributes;
mod content_mode;
mod dead_letter;
mod error;
mod event;
pub mod hops;
pub mod http;
pub mod json;
pub mod kafka;
pub mod limits;
mod record;
#[cfg(any(test, feature = "sdk"))]
pub mod sdk;
mod timestamp;
mod trace;
mod validate;

pub use error::{DecodeError, EventError};
pub use event::{Attribute, Event, EventBuilder, Kind, SpecVersion, Value};
pub use record::{DeadLetterReason, Envelope, Failure, Origin, Record, RecordError, Step};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
