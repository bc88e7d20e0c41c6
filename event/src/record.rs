//! A log record: an event and what Pelton remembers about it.
//!
//! # Form
//!
//! All integers little endian. A length or count that runs past the end makes the record undecodable, never a panic.
//!
//! ```text
//! record     = version flags time hops [key] [trace] [origin] [event]
//! version    = u8, 1
//! flags      = u8: 1 key, 2 trace context, 4 origin, 8 event, 16 data
//! time       = u64, milliseconds since the epoch
//! hops       = u8
//! key        = u32 length, bytes
//! trace      = u16 length traceparent, u16 length tracestate
//! origin     = u16 length trigger, u32 partition, u64 offset, step
//! step       = u8 kind, then as in `Step`
//! event      = u32 length attribute buffer, then the data to the end of the record (present only with flag 16)
//! ```

use bytes::Bytes;

use crate::event::Event;
use crate::timestamp::Timestamp;

/// What Pelton remembers about an event beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// W3C Trace Context as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub parent: Box<str>,
    /// The `tracestate` header; empty if there was none.
    pub state: Box<str>,
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
    /// The first bytes of the last response body (`knativeerrordata`), at most [`crate::limits::FAILURE_BODY_BYTES_MAX`].
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

/// An event and its envelope; commands and tombstones have no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What Pelton remembers.
    pub envelope: Envelope,
    /// The event.
    pub event: Option<Event>,
}

/// A record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record ends before its parts do, or a part is damaged.
    #[error("the record is damaged at byte {0}")]
    Damaged(usize),
    /// A later version wrote it.
    #[error("the record has version {0}, which this Pelton does not know")]
    Version(u8),
}
