//! A log record: an event and what Pelton remembers about it.
//!
//! # Form
//!
//! All integers little endian. A length that runs past the end, a text that is not UTF-8, an unknown flag or step, or bytes
//! left over make the record undecodable, never a panic. Every record has exactly one form: what decodes encodes to the
//! same bytes.
//!
//! ```text
//! record     = version flags time hops [key] [trace] [baggage] [origin] [event]
//! version    = u8, 1
//! flags      = u8: 1 key, 2 trace context, 4 origin, 8 event, 16 data, 32 baggage
//! time       = u64, milliseconds since the epoch
//! hops       = u8
//! key        = bytes
//! trace      = text traceparent (not empty), text tracestate
//! baggage    = text (not empty)
//! origin     = text trigger, u32 partition, u64 offset, step
//! event      = bytes attribute buffer (module `attributes`), then the data to the end of the record (only with flag 16)
//! bytes      = u32 length, that many bytes
//! text       = bytes, UTF-8
//!
//! step       = u8 kind, then
//!   0 reply        nothing
//!   1 retry        u32 attempts, u64 due (milliseconds since the epoch), u8 failed: 0 no, 1 then failure
//!   2 dead letter  u32 attempts, failure
//!   3 discarded    u64 offset of the dead letter
//!   4 replay       u64 id, u64 from, u64 to
//! failure    = u8 reason (`DeadLetterReason`), u16 status, text destination, text message, bytes body
//! ```

use std::fmt;

use bytes::Bytes;

use crate::event::Event;
use crate::limits;
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

mod decode;
mod encode;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) const VERSION: u8 = 1;

pub(crate) mod flag {
    pub(crate) const KEY: u8 = 1;
    pub(crate) const TRACE: u8 = 2;
    pub(crate) const ORIGIN: u8 = 4;
    pub(crate) const EVENT: u8 = 8;
    pub(crate) const DATA: u8 = 16;
    pub(crate) const BAGGAGE: u8 = 32;
    pub(crate) const ALL: u8 = KEY | TRACE | ORIGIN | EVENT | DATA | BAGGAGE;
}

pub(crate) mod step_kind {
    pub(crate) const REPLY: u8 = 0;
    pub(crate) const RETRY: u8 = 1;
    pub(crate) const DEAD_LETTER: u8 = 2;
    pub(crate) const DISCARDED: u8 = 3;
    pub(crate) const REPLAY: u8 = 4;
}

/// An event and its envelope; commands and tombstones have no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What Pelton remembers.
    pub envelope: Envelope,
    /// The event.
    pub event: Option<Event>,
}

impl Record {
    /// An event in its envelope.
    #[must_use]
    pub const fn new(envelope: Envelope, event: Event) -> Self {
        Self { envelope, event: Some(event) }
    }

    /// A record without an event: a command ([`Step::Replay`]) or a tombstone ([`Step::Discarded`]).
    #[must_use]
    pub const fn command(envelope: Envelope) -> Self {
        Self { envelope, event: None }
    }

    /// This record in buffers of its own, so that it no longer holds the larger buffer it was cut from.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut envelope = self.envelope.clone();
        envelope.key = envelope.key.as_deref().map(Bytes::copy_from_slice);
        if let Some(failure) = envelope.origin.as_mut().and_then(|origin| origin.step.failure_mut()) {
            failure.body = Bytes::copy_from_slice(&failure.body);
        }
        Self { envelope, event: self.event.as_ref().map(Event::detached) }
    }
}

/// What Pelton remembers about an event beside the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The key that chose the partition and that `keyed` order goes by.
    pub key: Option<Bytes>,
    /// When the record was accepted.
    pub time: Timestamp,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// Hops left before it counts as a loop (`knativebrokerttl`).
    pub hops: u8,
    /// The delivery that brought it about; `None` for an event that came from outside.
    pub origin: Option<Origin>,
}

impl Default for Envelope {
    /// As [`Envelope::new`] at the epoch.
    fn default() -> Self {
        Self::new(Timestamp::EPOCH)
    }
}

impl Envelope {
    /// An envelope of a record accepted at `time`, with all hops before it and nothing else.
    #[must_use]
    pub const fn new(time: Timestamp) -> Self {
        Self { key: None, time, trace: None, hops: limits::HOPS_DEFAULT, origin: None }
    }

    /// The envelope of `event`, accepted at `time`: its key is the event's `partitionkey`, its trace `trace` (of the
    /// request), else the one in the event's attributes.
    #[must_use]
    pub fn of_event(event: &Event, time: Timestamp, trace: Option<TraceContext>) -> Self {
        Self { key: event.partition_key(), trace: TraceContext::or_of_event(trace, event), ..Self::new(time) }
    }

    /// This envelope with `hops` left.
    #[must_use]
    pub fn with_hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// This envelope with `origin`.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// What the record says about the delivery it comes from; `None` for an event from outside.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        self.origin.as_ref().map(|origin| &origin.step)
    }
}

/// The delivery a record comes from, and what it says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The trigger, as `namespace/name`; empty where no trigger is concerned (an undecodable record, for instance).
    pub trigger: Box<str>,
    /// Partition of the broker's events topic.
    pub partition: u32,
    /// Offset in that partition.
    pub offset: u64,
    /// What the record says about the delivery.
    pub step: Step,
}

/// What a record says about the delivery it comes from. Which topic holds which: events `Reply`; retry `Retry`, `Replay`;
/// dead letter `DeadLetter`, `Discarded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The event is the subscriber's reply.
    Reply,
    /// The delivery waits for a later attempt.
    Retry {
        /// Attempts made so far.
        attempts: u32,
        /// When the next is due.
        due: Timestamp,
        /// Set once the subscriber's attempts are spent: the attempts counted here go to the dead letter sink.
        failure: Option<Box<Failure>>,
    },
    /// Nobody took the event; it is kept for the operator.
    DeadLetter {
        /// Attempts made, those to the dead letter sink included.
        attempts: u32,
        /// Why the subscriber's delivery failed.
        failure: Box<Failure>,
    },
    /// The dead letter at `of` in the same partition of the dead-letter topic is closed (replayed or discarded). No event.
    Discarded {
        /// Offset of the dead letter.
        of: u64,
    },
    /// A command: deliver the trigger's events of this partition from `from` to `to` (exclusive) once more. No event.
    Replay {
        /// Names the replay, unique per command.
        id: u64,
        /// First offset.
        from: u64,
        /// First offset that is no longer delivered.
        to: u64,
    },
}

impl Step {
    /// Why the subscriber's delivery failed, once it has.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Retry { failure, .. } => failure.as_deref(),
            Self::DeadLetter { failure, .. } => Some(failure),
            Self::Reply | Self::Discarded { .. } | Self::Replay { .. } => None,
        }
    }

    fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Retry { failure, .. } => failure.as_deref_mut(),
            Self::DeadLetter { failure, .. } => Some(failure),
            Self::Reply | Self::Discarded { .. } | Self::Replay { .. } => None,
        }
    }
}

/// Why a delivery failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub reason: DeadLetterReason,
    /// The destination that failed.
    pub destination: Box<str>,
    /// Its last HTTP status, 0 without a response.
    pub status: u16,
    /// What went wrong, for people.
    pub message: Box<str>,
    /// The first bytes of the last response body (`knativeerrordata`), at most [`limits::FAILURE_BODY_BYTES_MAX`].
    pub body: Bytes,
}

/// Why an event became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// Every attempt that the policy allows failed.
    Exhausted = 0,
    /// The subscriber refused it in a way that is not retried.
    Rejected = 1,
    /// The reply was not a valid event.
    BadReply = 2,
    /// The reply had no hops left.
    Loop = 3,
    /// The record could not be decoded.
    Undecodable = 4,
    /// The destination is forbidden (egress guard) or not a URL that can be called.
    Forbidden = 5,
}

impl DeadLetterReason {
    /// Every reason, in the order of their numbers in a record.
    pub const ALL: [Self; 6] =
        [Self::Exhausted, Self::Rejected, Self::BadReply, Self::Loop, Self::Undecodable, Self::Forbidden];

    /// The word for it in Kafka headers, metrics and `pelton dead-letters`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::BadReply => "bad-reply",
            Self::Loop => "loop",
            Self::Undecodable => "undecodable",
            Self::Forbidden => "forbidden",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record ends before its parts do, or a part is damaged.
    #[error("the record is damaged at byte {0}")]
    Damaged(usize),
    /// A later version wrote it.
    #[error(
        "the record has version {0}, which this Pelton does not know; read it with the version that wrote it"
    )]
    Version(u8),
}
