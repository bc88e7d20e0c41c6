//! The Kafka form of a record: the event by the CloudEvents Kafka protocol binding 1.0.2, the envelope in headers beside it,
//! both ways, as pure functions over key, value and headers.
//!
//! # Form
//!
//! Events are written in binary mode and read in structured mode too. Texts are UTF-8, numbers decimal; absent means none.
//!
//! | header | what |
//! |---|---|
//! | `ce_NAME` | the attribute NAME |
//! | `content-type` | `datacontenttype` |
//! | `pelton_types` | attributes that are no strings: `NAME=integer` or `NAME=boolean`, separated by commas |
//! | `traceparent`, `tracestate`, `baggage` | W3C Trace Context and Baggage |
//! | `pelton_time` | when the record was accepted, milliseconds since the epoch; else Kafka's timestamp |
//! | `pelton_hops` | hops left; else what the event says (`knativebrokerttl`) |
//! | `pelton_step` | `reply`, `retry`, `dead-letter`, `discarded` or `replay`; with it the next three |
//! | `pelton_trigger`, `pelton_partition`, `pelton_offset` | the delivery the record comes from |
//! | `pelton_attempts` | retry, dead letter: attempts made |
//! | `pelton_due` | retry: when the next is due, milliseconds since the epoch |
//! | `pelton_reason` | dead letter, and retry to the dead letter sink: the kind of failure; with it the next four |
//! | `pelton_destination`, `pelton_status`, `pelton_message`, `pelton_body` | the rest of the failure |
//! | `pelton_of` | discarded: offset of the dead letter |
//! | `pelton_id`, `pelton_from`, `pelton_to` | replay: its number and range |
//!
//! The value is the data, null without any. A record without `ce_` headers is a command or a tombstone and has a
//! `pelton_step`. The key is the envelope's; a record without one is ordered by the event's `partitionkey`.

use std::borrow::Cow;

use bytes::Bytes;

use crate::timestamp::Timestamp;

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

const PREFIX: &str = "ce_";
const OWN_PREFIX: &str = "pelton_";
const CONTENT_TYPE: &str = "content-type";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

/// The names of the headers that hold the envelope.
mod own {
    pub(super) const TYPES: &str = "pelton_types";
    pub(super) const TIME: &str = "pelton_time";
    pub(super) const HOPS: &str = "pelton_hops";
    pub(super) const STEP: &str = "pelton_step";
    pub(super) const TRIGGER: &str = "pelton_trigger";
    pub(super) const PARTITION: &str = "pelton_partition";
    pub(super) const OFFSET: &str = "pelton_offset";
    pub(super) const ATTEMPTS: &str = "pelton_attempts";
    pub(super) const DUE: &str = "pelton_due";
    pub(super) const REASON: &str = "pelton_reason";
    pub(super) const DESTINATION: &str = "pelton_destination";
    pub(super) const STATUS: &str = "pelton_status";
    pub(super) const MESSAGE: &str = "pelton_message";
    pub(super) const BODY: &str = "pelton_body";
    pub(super) const OF: &str = "pelton_of";
    pub(super) const ID: &str = "pelton_id";
    pub(super) const FROM: &str = "pelton_from";
    pub(super) const TO: &str = "pelton_to";
}

/// The words of `pelton_step`.
mod step_word {
    pub(super) const REPLY: &str = "reply";
    pub(super) const RETRY: &str = "retry";
    pub(super) const DEAD_LETTER: &str = "dead-letter";
    pub(super) const DISCARDED: &str = "discarded";
    pub(super) const REPLAY: &str = "replay";
}

/// The words of `pelton_types`.
mod type_word {
    pub(super) const INTEGER: &str = "integer";
    pub(super) const BOOLEAN: &str = "boolean";
}

/// One header of a Kafka record; its value may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaHeader<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// A Kafka record as a consumer gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaRecord<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [KafkaHeader<'a>],
    /// The timestamp, if the record has one.
    pub timestamp: Option<Timestamp>,
}

/// A Kafka record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedKafkaRecord {
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order; each name once.
    pub headers: Vec<(Cow<'static, str>, Bytes)>,
    /// The timestamp.
    pub timestamp: Timestamp,
}
