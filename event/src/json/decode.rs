//! JSON document to event, in one scan.
//!
//! What breaks a rule is noted beside serde's error, which cannot carry it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::de::StrRead;
use serde_json::value::RawValue;

use super::members::{Members, Scalar};
use crate::error::{DecodeError, EventError};
use crate::event::{Event, Kind};

const NOT_A_SCALAR: &str = "it must be a string, a boolean or a whole number from -2147483648 to 2147483647";

/// Reads one event. Data is a slice of `body` wherever that holds it as it is.
///
/// # Errors
/// [`DecodeError::Json`] with the place in the document, else the attribute and the rule.
pub fn decode(body: &Bytes) -> Result<Event, DecodeError> {
    let scan = Scan { body, failure: Cell::new(None), index: Cell::new(None) };
    scan.run(|json| EventSeed { scan: &scan }.deserialize(json))
}

/// Reads a batch, which may be empty.
///
/// # Errors
/// As [`decode`]; [`DecodeError::Batch`] names the event by its index.
pub fn decode_batch(body: &Bytes) -> Result<Vec<Event>, DecodeError> {
    let scan = Scan { body, failure: Cell::new(None), index: Cell::new(None) };
    scan.run(|json| json.deserialize_seq(BatchVisitor { scan: &scan }))
}

/// What goes beside serde: the document, why the event is refused, and the event of the batch being read.
struct Scan<'de> {
    body: &'de Bytes,
    failure: Cell<Option<DecodeError>>,
    index: Cell<Option<usize>>,
}

type Json<'de> = serde_json::Deserializer<StrRead<'de>>;

impl<'de> Scan<'de> {
    fn run<T>(
        &self,
        read: impl FnOnce(&mut Json<'de>) -> Result<T, serde_json::Error>,
    ) -> Result<T, DecodeError> {
        let text = std::str::from_utf8(self.body).map_err(|error| {
            DecodeError::Json(format!("it must be UTF-8, and byte {} is not", error.valid_up_to()))
        })?;
        let mut json = Json::from_str(text);
        let result = read(&mut json).and_then(|value| json.end().map(|()| value));
        result.map_err(|error| {
            let error = self.failure.take().unwrap_or_else(|| document_error(&error));
            match self.index.get() {
                Some(index) => DecodeError::Batch { index, error: Box::new(error) },
                None => error,
            }
        })
    }

    /// Notes why the event is refused; what it answers only stops the scan.
    fn refuse<E: Error>(&self, error: impl Into<DecodeError>) -> E {
        self.failure.set(Some(error.into()));
        E::custom("refused")
    }
}

/// Syntax errors say what was expected and where. Other errors of serde quote the document, so they are not passed on.
fn document_error(error: &serde_json::Error) -> DecodeError {
    let place = format!("line {} column {}", error.line(), error.column());
    DecodeError::Json(if error.is_data() {
        format!("an event is a JSON object and a batch an array of them, at {place}")
    } else {
        error.to_string()
    })
}

struct BatchVisitor<'s, 'de> {
    scan: &'s Scan<'de>,
}

impl<'de> Visitor<'de> for BatchVisitor<'_, 'de> {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Self::Value, A::Error> {
        let scan = self.scan;
        let mut batch = Vec::new();
        scan.index.set(Some(0));
        while let Some(event) = events.next_element_seed(EventSeed { scan })? {
            batch.push(event);
            scan.index.set(Some(batch.len()));
        }
        scan.index.set(None);
        Ok(batch)
    }
}

struct EventSeed<'s, 'de> {
    scan: &'s Scan<'de>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_, 'de> {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<Event, D::Error> {
        document.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, 'de> {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let scan = self.scan;
        let mut members = Members::default();
        while let Some(Text(name)) = map.next_key()? {
            if name == "data" {
                let data = map.next_value::<&RawValue>()?;
                members.set_data(data.get()).map_err(|error| scan.refuse(error))?;
            } else {
                let value = map.next_value_seed(ScalarSeed { scan, name: &name })?;
                members.add(name, value).map_err(|error| scan.refuse(error))?;
            }
        }
        members.event(scan.body).map_err(|error| scan.refuse(error))
    }
}

/// A member name; borrowed unless it has escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(document: D) -> Result<Self, D::Error> {
        document.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Reads a value as [`Scalar`]; `None` is `null`, which is as good as absent.
struct ScalarSeed<'s, 'de> {
    scan: &'s Scan<'de>,
    name: &'s str,
}

impl ScalarSeed<'_, '_> {
    fn refuse<E: Error>(&self) -> E {
        self.scan.refuse(EventError::Value { name: self.name.chars().take(40).collect(), rule: NOT_A_SCALAR })
    }
}

impl<'de> DeserializeSeed<'de> for ScalarSeed<'_, 'de> {
    type Value = Option<Scalar<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<Self::Value, D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed<'_, 'de> {
    type Value = Option<Scalar<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some((Cow::Borrowed(text), Kind::String)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some((Cow::Owned(text.to_owned()), Kind::String)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let number = i32::try_from(number).map_err(|_| self.refuse())?;
        Ok(Some((Cow::Owned(number.to_string()), Kind::Integer)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let number = i64::try_from(number).map_err(|_| self.refuse())?;
        self.visit_i64(number)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Some((Cow::Borrowed(if truth { "true" } else { "false" }), Kind::Boolean)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(self.refuse())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.refuse())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.refuse())
    }
}
