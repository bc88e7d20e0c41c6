//! Sending deliveries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use pelton_event::{Event, TraceContext};

use crate::delivery::Destination;
use crate::trigger::Trigger;

/// Sends a batch of deliveries and answers an [`Outcome`] for each, in order. It neither retries nor judges.
pub trait Sender: Send + Sync + fmt::Debug {
    /// Sends them. Every delivery gets its outcome within its time-out; dropping the future gives up what is in flight.
    fn send(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>>;
}

/// One attempt to deliver one event.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// On whose behalf.
    pub trigger: Arc<Trigger>,
    /// Where to: the trigger's subscriber or a dead letter sink.
    pub destination: Destination,
    /// Authority (`host:port`) of the replica a [`Slot`](super::Slot) was granted on; `None` unless `destination` is a Service.
    pub replica: Option<Box<str>>,
    /// The event as it is to be sent.
    pub event: Event,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// Hops left; told to other brokers, hidden from subscribers.
    pub hops: u8,
    /// Attempts made before this one.
    pub attempts: u32,
}

/// What came of an attempt, as bare facts; the dispatcher judges them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was a response.
    Response(Response),
    /// No response within the time-out. It may have been processed.
    TimedOut,
    /// No response: not resolved, refused, reset, protocol broken. It may have been processed.
    Unreachable {
        /// What happened, for people.
        message: Box<str>,
    },
    /// It must not be sent: the egress guard forbids the address, or the URL cannot be called. No attempt will do better
    /// before somebody changes the trigger or the settings.
    Forbidden {
        /// Why, for people.
        message: Box<str>,
    },
}

/// A response of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` as a wait from now.
    pub retry_after: Option<Duration>,
    /// The reply event of a 200, if there is one; a text why the body is not one (never for 202, whose body is no reply).
    pub reply: Result<Option<Event>, Box<str>>,
    /// The first 1,024 bytes of the body.
    pub body: Bytes,
}
