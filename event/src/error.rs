//! Why something is not an event.

use crate::limits;

/// Why bytes or attributes do not make a CloudEvent. Each names the attribute and the rule (CloudEvents spec 1.0.2, section 2
/// and 3); the text is what a producer sees in the refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A required attribute is not there.
    #[error("attribute `{0}` is missing; every CloudEvent needs `specversion`, `id`, `source` and `type`")]
    Missing(&'static str),
    /// An attribute that must not be empty is.
    #[error("attribute `{0}` is empty; it must be a non-empty string")]
    Empty(String),
    /// A `specversion` that is neither 1.0 nor 0.3.
    #[error("specversion `{0}` is not supported; send `1.0` or `0.3`")]
    SpecVersion(String),
    /// A name outside `[a-z0-9]+`.
    #[error("attribute name `{0}` is not valid; names consist of lower-case letters and digits")]
    Name(String),
    /// The same attribute twice.
    #[error("attribute `{0}` is given twice")]
    Duplicate(String),
    /// A value that breaks the rule of its attribute.
    #[error("attribute `{name}` is not valid: {rule}")]
    Value {
        /// The attribute.
        name: String,
        /// The rule it breaks, as a phrase.
        rule: &'static str,
    },
    /// Too many attributes.
    #[error("the event has more than {} attributes", limits::ATTRIBUTES_MAX)]
    TooManyAttributes,
    /// Attributes that are too large.
    #[error(
        "attribute `{0}` is too large; a value has at most {value} bytes, all attributes together {all}",
        value = limits::ATTRIBUTE_VALUE_BYTES_MAX,
        all = limits::ATTRIBUTES_BYTES_MAX
    )]
    TooLarge(String),
}

/// Why a request, response, document or Kafka record is no CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Neither event headers nor the content type of an event.
    #[error(
        "this is not a CloudEvent; send `ce-*` headers, or the content type `application/cloudevents+json` or \
         `application/cloudevents-batch+json`"
    )]
    NotCloudEvent,
    /// An event format other than JSON.
    #[error("the event format `{0}` is not supported; send `application/cloudevents+json` or `ce-*` headers")]
    Format(String),
    /// A reply holds one event at most.
    #[error("a reply is one event; a batch is not")]
    BatchReply,
    /// The attributes do not make an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A header that cannot be read.
    #[error("header `{name}` is not valid: {rule}")]
    Header {
        /// The header.
        name: String,
        /// The rule it breaks, as a phrase.
        rule: &'static str,
    },
    /// The document is not JSON, or not an object or array of objects.
    #[error("the body is not valid: {0}")]
    Json(String),
    /// The data cannot be read.
    #[error("`{member}` is not valid: {rule}")]
    Data {
        /// `data` or `data_base64`.
        member: &'static str,
        /// The rule it breaks, as a phrase.
        rule: &'static str,
    },
    /// One event of a batch is not valid, and so none of them is taken.
    #[error("event {index} of the batch (the first is 0): {error}")]
    Batch {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<DecodeError>,
    },
}

impl DecodeError {
    pub(crate) fn format(content_type: &[u8]) -> Self {
        Self::Format(String::from_utf8_lossy(content_type).chars().take(80).collect())
    }

    pub(crate) fn header(name: &str, rule: &'static str) -> Self {
        Self::Header { name: name.chars().take(80).collect(), rule }
    }
}
