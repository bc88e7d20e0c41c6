//! Kafka record to record.

use std::str::FromStr;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    BAGGAGE, CONTENT_TYPE, KafkaHeader, KafkaRecord, OWN_PREFIX, PREFIX, TRACEPARENT, TRACESTATE, own,
    step_word, type_word,
};
use crate::content_mode::ContentMode;
use crate::error::{DecodeError, EventError};
use crate::event::{Event, EventBuilder, Kind, SpecVersion};
use crate::hops;
use crate::json;
use crate::record::{DeadLetterReason, Envelope, Failure, Origin, Record, Step};
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

const NOT_UTF8: &str = "it must be UTF-8";
const NOT_A_NUMBER: &str = "it must be a whole number in its range";
const MISSING: &str = "it is missing";
const UNKNOWN: &str = "it is none of the known words";
const NOT_TYPES: &str = "it must be a list such as `count=integer,flag=boolean`";

/// Reads a record, of Pelton or of any other producer of CloudEvents. Key, value and attributes are copied once.
///
/// Headers with a null value count as absent.
///
/// # Errors
/// [`DecodeError`], naming the attribute or header and the rule.
pub fn decode(record: KafkaRecord<'_>) -> Result<Record, DecodeError> {
    let headers = Headers::sort(record.headers);
    let event = headers.event(record.value)?;
    let origin = headers.origin()?;
    if event.is_none() && origin.is_none() {
        return Err(DecodeError::NotCloudEvent);
    }
    let own_hops = headers.optional_number(own::HOPS)?;
    let (event, hops) = match (event, own_hops) {
        (Some(event), None) => {
            let (event, hops) = hops::take(event)?;
            (Some(event), hops)
        }
        (event, hops) => (event, hops.unwrap_or(crate::limits::HOPS_DEFAULT)),
    };
    let time = headers.optional_number(own::TIME)?.map(Timestamp::from_millis);
    let key = record.key.map(Bytes::copy_from_slice);
    let envelope = Envelope {
        key: key.or_else(|| event.as_ref().and_then(Event::partition_key)),
        time: time.or(record.timestamp).unwrap_or_default(),
        trace: match &event {
            Some(event) => TraceContext::or_of_event(headers.trace(), event),
            None => headers.trace(),
        },
        hops,
        origin,
    };
    Ok(Record { envelope, event })
}

/// Headers by purpose; what is neither is not kept.
struct Headers<'a> {
    attributes: SmallVec<[(&'a str, &'a [u8]); 16]>,
    content_type: Option<&'a [u8]>,
    /// Those of the envelope, trace context included.
    envelope: SmallVec<[(&'a str, &'a [u8]); 8]>,
}

impl<'a> Headers<'a> {
    fn sort(headers: &[KafkaHeader<'a>]) -> Self {
        let mut sorted = Self { attributes: SmallVec::new(), content_type: None, envelope: SmallVec::new() };
        for header in headers {
            let (name, Some(value)) = (header.name, header.value) else { continue };
            if let Some(attribute) = name.strip_prefix(PREFIX) {
                sorted.attributes.push((attribute, value));
            } else if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                sorted.content_type = Some(value);
            } else if name.starts_with(OWN_PREFIX) || matches!(name, TRACEPARENT | TRACESTATE | BAGGAGE) {
                sorted.envelope.push((name, value));
            }
        }
        sorted
    }

    fn event(&self, value: Option<&[u8]>) -> Result<Option<Event>, DecodeError> {
        let mode = self.content_type.map_or(Ok(ContentMode::Binary), ContentMode::of)?;
        match mode {
            ContentMode::Structured => {
                json::decode(&Bytes::copy_from_slice(value.unwrap_or_default())).map(Some)
            }
            ContentMode::Batch => Err(DecodeError::format(self.content_type.unwrap_or_default())),
            ContentMode::Binary if self.attributes.is_empty() => Ok(None),
            ContentMode::Binary => self.binary_event(value).map(Some),
        }
    }

    fn binary_event(&self, value: Option<&[u8]>) -> Result<Event, DecodeError> {
        let mut builder = EventBuilder::new(self.spec_version()?);
        let types = self.optional_text(own::TYPES)?.unwrap_or_default();
        check_types(types)?;
        for (name, value) in &self.attributes {
            if *name != "specversion" {
                builder.attribute(*name, attribute_text(name, value)?, kind(types, name))?;
            }
        }
        if let Some(content_type) = self.content_type {
            builder.attribute("datacontenttype", utf8(CONTENT_TYPE, content_type)?, Kind::String)?;
        }
        Ok(builder.build(value.map(Bytes::copy_from_slice))?)
    }

    fn spec_version(&self) -> Result<SpecVersion, DecodeError> {
        let mut versions = self.attributes.iter().filter(|(name, _)| *name == "specversion");
        let (name, value) = versions.next().ok_or(EventError::Missing("specversion"))?;
        if versions.next().is_some() {
            return Err(EventError::Duplicate("specversion".to_owned()).into());
        }
        Ok(SpecVersion::parse(attribute_text(name, value)?)?)
    }

    fn trace(&self) -> Option<TraceContext> {
        let text =
            |name| self.find(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        TraceContext::with_baggage(TraceContext::parse(text(TRACEPARENT), text(TRACESTATE)), text(BAGGAGE))
    }

    fn origin(&self) -> Result<Option<Origin>, DecodeError> {
        let Some(word) = self.optional_text(own::STEP)? else { return Ok(None) };
        let step = match word {
            step_word::REPLY => Step::Reply,
            step_word::RETRY => Step::Retry {
                attempts: self.number(own::ATTEMPTS)?,
                due: Timestamp::from_millis(self.number(own::DUE)?),
                failure: self.find(own::REASON).map(|_| self.failure()).transpose()?.map(Box::new),
            },
            step_word::DEAD_LETTER => {
                Step::DeadLetter { attempts: self.number(own::ATTEMPTS)?, failure: Box::new(self.failure()?) }
            }
            step_word::DISCARDED => Step::Discarded { of: self.number(own::OF)? },
            step_word::REPLAY => Step::Replay {
                id: self.number(own::ID)?,
                from: self.number(own::FROM)?,
                to: self.number(own::TO)?,
            },
            _ => return Err(DecodeError::header(own::STEP, UNKNOWN)),
        };
        Ok(Some(Origin {
            trigger: self.text(own::TRIGGER)?.into(),
            partition: self.number(own::PARTITION)?,
            offset: self.number(own::OFFSET)?,
            step,
        }))
    }

    fn failure(&self) -> Result<Failure, DecodeError> {
        let reason = DeadLetterReason::parse(self.text(own::REASON)?);
        Ok(Failure {
            reason: reason.ok_or_else(|| DecodeError::header(own::REASON, UNKNOWN))?,
            destination: self.text(own::DESTINATION)?.into(),
            status: self.number(own::STATUS)?,
            message: self.text(own::MESSAGE)?.into(),
            body: Bytes::copy_from_slice(self.find(own::BODY).unwrap_or_default()),
        })
    }

    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.envelope.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn optional_text(&self, name: &str) -> Result<Option<&'a str>, DecodeError> {
        self.find(name).map(|value| utf8(name, value)).transpose()
    }

    fn text(&self, name: &str) -> Result<&'a str, DecodeError> {
        self.optional_text(name)?.ok_or_else(|| DecodeError::header(name, MISSING))
    }

    fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, DecodeError> {
        let parse = |text: &str| text.parse().map_err(|_| DecodeError::header(name, NOT_A_NUMBER));
        self.optional_text(name)?.map(parse).transpose()
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, DecodeError> {
        self.optional_number(name)?.ok_or_else(|| DecodeError::header(name, MISSING))
    }
}

fn utf8<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(value).map_err(|_| DecodeError::header(name, NOT_UTF8))
}

fn attribute_text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(value).map_err(|_| DecodeError::header(&format!("{PREFIX}{name}"), NOT_UTF8))
}

fn check_types(types: &str) -> Result<(), DecodeError> {
    let known = |entry: &str| entry.split_once('=').is_some_and(|(_, word)| kind_of(word).is_some());
    if types.is_empty() || types.split(',').all(known) {
        return Ok(());
    }
    Err(DecodeError::header(own::TYPES, NOT_TYPES))
}

fn kind(types: &str, attribute: &str) -> Kind {
    let mut entries = types.split(',').filter_map(|entry| entry.split_once('='));
    entries.find(|(name, _)| *name == attribute).and_then(|(_, word)| kind_of(word)).unwrap_or(Kind::String)
}

fn kind_of(word: &str) -> Option<Kind> {
    match word {
        type_word::INTEGER => Some(Kind::Integer),
        type_word::BOOLEAN => Some(Kind::Boolean),
        _ => None,
    }
}
