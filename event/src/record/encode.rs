//! Record to bytes; the form is in the module doc of `record`.

use bytes::Bytes;

use super::{Envelope, Failure, Origin, Record, Step, VERSION, flag, step_kind};
use crate::event::Event;
use crate::trace::TraceContext;

/// Bytes of version, flags, time and hops.
const HEAD_BYTES: usize = 1 + 1 + 8 + 1;
const LENGTH_BYTES: usize = 4;

impl Record {
    /// Bytes that [`encode`](Self::encode) adds.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let envelope = &self.envelope;
        let key = envelope.key.as_ref().map_or(0, |key| LENGTH_BYTES + key.len());
        let trace =
            envelope.traced().map_or(0, |trace| 2 * LENGTH_BYTES + trace.parent.len() + trace.state.len());
        let baggage = envelope.baggage().map_or(0, |baggage| LENGTH_BYTES + baggage.len());
        let origin = envelope.origin.as_ref().map_or(0, origin_len);
        let event = self.event.as_ref().map_or(0, |event| LENGTH_BYTES + event.size());
        HEAD_BYTES + key + trace + baggage + origin + event
    }

    /// Appends the record to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.reserve(self.encoded_len());
        let Envelope { key, time, trace: _, hops, origin } = &self.envelope;
        buffer.push(VERSION);
        buffer.push(self.flags());
        buffer.extend_from_slice(&time.as_millis().to_le_bytes());
        buffer.push(*hops);
        if let Some(key) = key {
            push_bytes(buffer, key);
        }
        if let Some(trace) = self.envelope.traced() {
            push_bytes(buffer, trace.parent.as_bytes());
            push_bytes(buffer, trace.state.as_bytes());
        }
        if let Some(baggage) = self.envelope.baggage() {
            push_bytes(buffer, baggage.as_bytes());
        }
        if let Some(origin) = origin {
            push_origin(buffer, origin);
        }
        if let Some(event) = &self.event {
            push_bytes(buffer, event.attribute_bytes());
            buffer.extend_from_slice(event.data().map(Bytes::as_ref).unwrap_or_default());
        }
    }

    fn flags(&self) -> u8 {
        let bit = |there: bool, flag: u8| if there { flag } else { 0 };
        bit(self.envelope.key.is_some(), flag::KEY)
            | bit(self.envelope.traced().is_some(), flag::TRACE)
            | bit(self.envelope.baggage().is_some(), flag::BAGGAGE)
            | bit(self.envelope.origin.is_some(), flag::ORIGIN)
            | bit(self.event.is_some(), flag::EVENT)
            | bit(self.event.as_ref().and_then(Event::data).is_some(), flag::DATA)
    }
}

impl Envelope {
    /// The trace context, unless it is baggage alone.
    fn traced(&self) -> Option<&TraceContext> {
        self.trace.as_ref().filter(|trace| !trace.parent.is_empty())
    }

    fn baggage(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| &*trace.baggage).filter(|baggage| !baggage.is_empty())
    }
}

fn origin_len(origin: &Origin) -> usize {
    let step = match &origin.step {
        Step::Reply => 0,
        Step::Retry { failure, .. } => 4 + 8 + 1 + failure.as_deref().map_or(0, failure_len),
        Step::DeadLetter { failure, .. } => 4 + failure_len(failure),
        Step::Discarded { .. } => 8,
        Step::Replay { .. } => 3 * 8,
    };
    LENGTH_BYTES + origin.trigger.len() + 4 + 8 + 1 + step
}

fn push_origin(buffer: &mut Vec<u8>, origin: &Origin) {
    push_bytes(buffer, origin.trigger.as_bytes());
    buffer.extend_from_slice(&origin.partition.to_le_bytes());
    buffer.extend_from_slice(&origin.offset.to_le_bytes());
    match &origin.step {
        Step::Reply => buffer.push(step_kind::REPLY),
        Step::Retry { attempts, due, failure } => {
            buffer.push(step_kind::RETRY);
            buffer.extend_from_slice(&attempts.to_le_bytes());
            buffer.extend_from_slice(&due.as_millis().to_le_bytes());
            buffer.push(u8::from(failure.is_some()));
            if let Some(failure) = failure {
                push_failure(buffer, failure);
            }
        }
        Step::DeadLetter { attempts, failure } => {
            buffer.push(step_kind::DEAD_LETTER);
            buffer.extend_from_slice(&attempts.to_le_bytes());
            push_failure(buffer, failure);
        }
        Step::Discarded { of } => {
            buffer.push(step_kind::DISCARDED);
            buffer.extend_from_slice(&of.to_le_bytes());
        }
        Step::Replay { id, from, to } => {
            buffer.push(step_kind::REPLAY);
            for number in [id, from, to] {
                buffer.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
}

fn failure_len(failure: &Failure) -> usize {
    let Failure { reason: _, destination, status: _, message, body } = failure;
    1 + 2 + 3 * LENGTH_BYTES + destination.len() + message.len() + body.len()
}

fn push_failure(buffer: &mut Vec<u8>, failure: &Failure) {
    buffer.push(failure.reason as u8);
    buffer.extend_from_slice(&failure.status.to_le_bytes());
    push_bytes(buffer, failure.destination.as_bytes());
    push_bytes(buffer, failure.message.as_bytes());
    push_bytes(buffer, &failure.body);
}

fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len())
        .expect("a part of a record is far below 4 GiB: bodies and headers are limited");
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(bytes);
}
