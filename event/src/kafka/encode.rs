//! Record to Kafka record.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;

use super::{
    BAGGAGE, CONTENT_TYPE, OwnedKafkaRecord, PREFIX, TRACEPARENT, TRACESTATE, own, step_word, type_word,
};
use crate::content_mode::ContentMode;
use crate::event::{Event, Kind};
use crate::record::{Failure, Origin, Record, Step};

/// The record as it is produced. Values are slices of the event's buffers.
#[must_use]
pub fn encode(record: &Record) -> OwnedKafkaRecord {
    let envelope = &record.envelope;
    let mut headers = Headers { list: Vec::with_capacity(16) };
    let structured = record.event.as_ref().filter(|event| ContentMode::is_taken_by(event));
    if structured.is_some() {
        headers.text(CONTENT_TYPE, "application/cloudevents+json");
    } else if let Some(event) = &record.event {
        headers.event(event);
    }
    if let Some(trace) = &envelope.trace {
        let parts = [(TRACEPARENT, &trace.parent), (TRACESTATE, &trace.state), (BAGGAGE, &trace.baggage)];
        for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
            headers.text(name, text);
        }
    }
    headers.number(own::TIME, envelope.time.as_millis());
    headers.number(own::HOPS, envelope.hops.into());
    if let Some(origin) = &envelope.origin {
        headers.origin(origin);
    }
    OwnedKafkaRecord {
        key: envelope.key.clone(),
        value: match structured {
            Some(event) => Some(Bytes::from(crate::json::encode(event))),
            None => record.event.as_ref().and_then(Event::data).cloned(),
        },
        headers: headers.list,
        timestamp: envelope.time,
    }
}

struct Headers {
    list: Vec<(Cow<'static, str>, Bytes)>,
}

impl Headers {
    fn bytes(&mut self, name: impl Into<Cow<'static, str>>, value: Bytes) {
        self.list.push((name.into(), value));
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.bytes(name, Bytes::copy_from_slice(value.as_bytes()));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.bytes(name, Bytes::from(value.to_string()));
    }

    fn event(&mut self, event: &Event) {
        self.bytes("ce_specversion", Bytes::from_static(event.spec_version().as_str().as_bytes()));
        let mut types = String::new();
        for attribute in event.attributes() {
            self.bytes(
                header_name(attribute.name),
                event.attribute_bytes().slice_ref(attribute.value.text.as_bytes()),
            );
            let word = match attribute.value.kind {
                Kind::String => continue,
                Kind::Integer => type_word::INTEGER,
                Kind::Boolean => type_word::BOOLEAN,
            };
            let comma = if types.is_empty() { "" } else { "," };
            write!(types, "{comma}{}={word}", attribute.name).expect("a String takes every write");
        }
        if !types.is_empty() {
            self.bytes(own::TYPES, Bytes::from(types));
        }
    }

    fn origin(&mut self, origin: &Origin) {
        self.text(own::TRIGGER, &origin.trigger);
        self.number(own::PARTITION, origin.partition.into());
        self.number(own::OFFSET, origin.offset);
        match &origin.step {
            Step::Reply => self.text(own::STEP, step_word::REPLY),
            Step::Retry { attempts, due, failure } => {
                self.text(own::STEP, step_word::RETRY);
                self.number(own::ATTEMPTS, (*attempts).into());
                self.number(own::DUE, due.as_millis());
                if let Some(failure) = failure {
                    self.failure(failure);
                }
            }
            Step::DeadLetter { attempts, failure } => {
                self.text(own::STEP, step_word::DEAD_LETTER);
                self.number(own::ATTEMPTS, (*attempts).into());
                self.failure(failure);
            }
            Step::Discarded { of } => {
                self.text(own::STEP, step_word::DISCARDED);
                self.number(own::OF, *of);
            }
            Step::Replay { id, from, to } => {
                self.text(own::STEP, step_word::REPLAY);
                self.number(own::ID, *id);
                self.number(own::FROM, *from);
                self.number(own::TO, *to);
            }
        }
    }

    fn failure(&mut self, failure: &Failure) {
        self.text(own::REASON, failure.reason.as_str());
        self.text(own::DESTINATION, &failure.destination);
        self.number(own::STATUS, failure.status.into());
        self.text(own::MESSAGE, &failure.message);
        self.bytes(own::BODY, failure.body.clone());
    }
}

/// The header of an attribute; those that most events have cost no allocation.
fn header_name(attribute: &str) -> Cow<'static, str> {
    Cow::Borrowed(match attribute {
        "id" => "ce_id",
        "source" => "ce_source",
        "type" => "ce_type",
        "time" => "ce_time",
        "subject" => "ce_subject",
        "dataschema" => "ce_dataschema",
        "partitionkey" => "ce_partitionkey",
        "datacontenttype" => CONTENT_TYPE,
        _ => return Cow::Owned(format!("{PREFIX}{attribute}")),
    })
}
