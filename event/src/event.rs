//! The event itself, and the one place where it is put together and validated.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::attributes::{self, Attributes, ENTRY_HEADER_BYTES, Entries};
use crate::error::EventError;
use crate::limits;

#[cfg(test)]
mod tests;

/// The CloudEvents versions Pelton takes; an event leaves in the version in which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecVersion {
    /// CloudEvents 1.0.
    V1_0 = 0,
    /// CloudEvents 0.3.
    V0_3 = 1,
}

impl SpecVersion {
    /// The text of the `specversion` attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V0_3 => "0.3",
        }
    }

    /// Reads the text of a `specversion` attribute.
    ///
    /// # Errors
    /// [`EventError::SpecVersion`] for every other text.
    pub fn parse(text: &str) -> Result<Self, EventError> {
        match text {
            "1.0" => Ok(Self::V1_0),
            "0.3" => Ok(Self::V0_3),
            other => Err(EventError::SpecVersion(other.chars().take(40).collect())),
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::V1_0),
            1 => Some(Self::V0_3),
            _ => None,
        }
    }
}

/// The JSON type an attribute value came with; HTTP and Kafka headers are always strings. CESQL needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, and every type that is written as text (URI, timestamp, binary as base64).
    String = 0,
    /// A 32-bit signed integer, as decimal text.
    Integer = 1,
    /// `true` or `false`.
    Boolean = 2,
}

impl Kind {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::String),
            1 => Some(Self::Integer),
            2 => Some(Self::Boolean),
            _ => None,
        }
    }
}

/// An attribute's value: the received text and its JSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The text as received.
    pub text: &'a str,
    /// Its JSON type.
    pub kind: Kind,
}

/// One attribute of an event, without `specversion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name: lower-case letters and digits.
    pub name: &'a str,
    /// The value.
    pub value: Value<'a>,
}

/// A CloudEvent. Cloning is cheap: both parts are shared bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    attributes: Bytes,
    data: Option<Bytes>,
}

impl Event {
    /// An event from an attribute buffer (see the module doc of `attributes`) and its data.
    ///
    /// Returns `None` if the buffer is damaged.
    #[must_use]
    pub fn from_parts(attributes: Bytes, data: Option<Bytes>) -> Option<Self> {
        attributes::is_intact(&attributes).then_some(Self { attributes, data })
    }

    /// The attribute buffer, as a log record holds it.
    #[must_use]
    pub fn attribute_bytes(&self) -> &Bytes {
        &self.attributes
    }

    /// The version of the spec.
    #[must_use]
    pub fn spec_version(&self) -> SpecVersion {
        self.attributes.first().and_then(|&byte| SpecVersion::from_byte(byte)).unwrap_or(SpecVersion::V1_0)
    }

    /// The `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.required(0)
    }

    /// The `source`.
    #[must_use]
    pub fn source(&self) -> &str {
        self.required(1)
    }

    /// The `type`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.required(2)
    }

    fn required(&self, index: usize) -> &str {
        Entries::new(&self.attributes).value_at(index).map_or("", |value| value.text)
    }

    /// All attributes but `specversion`: `id`, `source`, `type`, then the others as received.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> + Clone {
        Attributes::new(&self.attributes)
    }

    /// The value of the attribute `name`, `specversion` included.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Value<'_>> {
        if name == "specversion" {
            return Some(Value { text: self.spec_version().as_str(), kind: Kind::String });
        }
        Entries::new(&self.attributes).value_of(name)
    }

    /// The data. Absent data differs from empty data.
    #[must_use]
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// The `datacontenttype`, if given.
    #[must_use]
    pub fn data_content_type(&self) -> Option<&str> {
        self.attribute("datacontenttype").map(|value| value.text)
    }

    /// The `partitionkey` (CloudEvents partitioning extension), if given and not empty; a slice of the attribute buffer.
    #[must_use]
    pub fn partition_key(&self) -> Option<Bytes> {
        let key = self.attribute("partitionkey")?.text;
        (!key.is_empty()).then(|| self.attributes.slice_ref(key.as_bytes()))
    }

    /// Bytes of attributes and data together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.attributes.len() + self.data.as_ref().map_or(0, Bytes::len)
    }

    /// This event with `changes` applied: `Some` sets (or replaces, in place) a string attribute, `None` removes it.
    ///
    /// # Errors
    /// As [`EventBuilder::build`].
    pub fn with(&self, changes: &[(&str, Option<&str>)]) -> Result<Self, EventError> {
        let mut builder = EventBuilder::new(self.spec_version());
        for attribute in self.attributes() {
            match changes.iter().find(|(name, _)| *name == attribute.name) {
                Some((name, Some(text))) => builder.attribute(*name, *text, Kind::String)?,
                Some((_, None)) => {}
                None => builder.attribute(attribute.name, attribute.value.text, attribute.value.kind)?,
            }
        }
        for (name, text) in changes {
            if let Some(text) = text
                && self.attribute(name).is_none()
            {
                builder.attribute(*name, *text, Kind::String)?;
            }
        }
        builder.build(self.data.clone())
    }

    /// This event in buffers of its own, so that it no longer holds the larger buffer it was cut from.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut joined = Vec::with_capacity(self.size());
        joined.extend_from_slice(&self.attributes);
        joined.extend_from_slice(self.data.as_deref().unwrap_or_default());
        let joined = Bytes::from(joined);
        Self {
            attributes: joined.slice(..self.attributes.len()),
            data: self.data.as_ref().map(|_| joined.slice(self.attributes.len()..)),
        }
    }
}

impl fmt::Debug for Event {
    /// Attributes and the length of the data: the data itself may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Event");
        out.field("specversion", &self.spec_version().as_str());
        for attribute in self.attributes() {
            out.field(attribute.name, &attribute.value.text);
        }
        out.field("data_bytes", &self.data.as_ref().map(Bytes::len)).finish()
    }
}

/// Puts an event together: attributes in any order, each checked as it comes, the whole in [`build`](Self::build).
#[derive(Debug)]
pub struct EventBuilder<'a> {
    version: SpecVersion,
    required: [Option<Cow<'a, str>>; 3],
    rest: SmallVec<[Pending<'a>; 12]>,
}

#[derive(Debug)]
struct Pending<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    kind: Kind,
}

impl Pending<'_> {
    fn len(&self) -> usize {
        ENTRY_HEADER_BYTES + self.name.len() + self.value.len()
    }
}

const REQUIRED: [&str; 3] = ["id", "source", "type"];

impl<'a> EventBuilder<'a> {
    /// An event of `version` without attributes yet.
    #[must_use]
    pub fn new(version: SpecVersion) -> Self {
        Self { version, required: [None, None, None], rest: SmallVec::new() }
    }

    /// Adds an attribute other than `specversion`.
    ///
    /// # Errors
    /// A name or value that breaks its rule, a name given twice, too many or too large attributes.
    pub fn attribute(
        &mut self,
        name: impl Into<Cow<'a, str>>,
        value: impl Into<Cow<'a, str>>,
        kind: Kind,
    ) -> Result<(), EventError> {
        let (name, value) = (name.into(), value.into());
        crate::validate::attribute(self.version, &name, &value, kind)?;
        if let Some(index) = REQUIRED.iter().position(|required| *required == name) {
            if self.required[index].is_some() {
                return Err(EventError::Duplicate(name.into_owned()));
            }
            self.required[index] = Some(value);
            return Ok(());
        }
        if self.rest.iter().any(|known| known.name == name) {
            return Err(EventError::Duplicate(name.into_owned()));
        }
        if self.rest.len() + REQUIRED.len() >= limits::ATTRIBUTES_MAX {
            return Err(EventError::TooManyAttributes);
        }
        self.rest.push(Pending { name, value, kind });
        Ok(())
    }

    /// The version of the spec.
    pub(crate) const fn version(&self) -> SpecVersion {
        self.version
    }

    /// The value of an attribute added before.
    pub(crate) fn value_of(&self, name: &str) -> Option<&str> {
        if let Some(index) = REQUIRED.iter().position(|required| *required == name) {
            return self.required[index].as_deref();
        }
        self.rest.iter().find(|known| known.name == name).map(|known| &*known.value)
    }

    /// Takes an optional attribute away again.
    pub(crate) fn take_optional(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.rest.iter().position(|known| known.name == name)?;
        Some(self.rest.remove(at).value)
    }

    /// The event.
    ///
    /// # Errors
    /// [`EventError::Missing`] for a required attribute, [`EventError::TooLarge`] for the sum of all.
    pub fn build(self, data: Option<Bytes>) -> Result<Event, EventError> {
        let mut size = 1;
        for (name, value) in REQUIRED.iter().zip(&self.required) {
            let value = value.as_ref().ok_or(EventError::Missing(name))?;
            size += ENTRY_HEADER_BYTES + name.len() + value.len();
        }
        size += self.rest.iter().map(Pending::len).sum::<usize>();
        if size > limits::ATTRIBUTES_BYTES_MAX {
            let largest = self.rest.iter().max_by_key(|pending| pending.value.len());
            return Err(EventError::TooLarge(largest.map_or("id", |pending| &pending.name).to_owned()));
        }
        let mut buffer = Vec::with_capacity(size);
        buffer.push(self.version as u8);
        for (name, value) in REQUIRED.iter().zip(self.required.iter().flatten()) {
            attributes::push_entry(&mut buffer, name, value, Kind::String);
        }
        for Pending { name, value, kind } in &self.rest {
            attributes::push_entry(&mut buffer, name, value, *kind);
        }
        debug_assert_eq!(buffer.len(), size);
        Ok(Event { attributes: Bytes::from(buffer), data })
    }
}
