//! How a message holds an event, as its content type tells (HTTP and Kafka protocol bindings, section 3).

use crate::error::DecodeError;
use crate::event::Event;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentMode {
    /// Attributes in headers, the payload is the data.
    Binary,
    /// The payload is one JSON document.
    Structured,
    /// The payload is a JSON array of them.
    Batch,
}

impl ContentMode {
    /// The mode of a content type, which may be written in any case.
    ///
    /// # Errors
    /// [`DecodeError::Format`] for events in another format than JSON.
    pub(crate) fn of(content_type: &[u8]) -> Result<Self, DecodeError> {
        let (mode, format) =
            if let Some(format) = strip_prefix(content_type, b"application/cloudevents-batch") {
                (Self::Batch, format)
            } else if let Some(format) = strip_prefix(content_type, b"application/cloudevents") {
                (Self::Structured, format)
            } else {
                return Ok(Self::Binary);
            };
        let is_json =
            strip_prefix(format, b"+json").is_some_and(|rest| matches!(rest, [] | [b';' | b' ' | b'\t', ..]));
        if is_json { Ok(mode) } else { Err(DecodeError::format(content_type)) }
    }

    /// Whether the content type of the event's own data would be taken for that of an event, so that binary mode cannot hold it.
    pub(crate) fn is_taken_by(event: &Event) -> bool {
        event.data_content_type().is_some_and(|text| {
            strip_prefix(text.trim_ascii().as_bytes(), b"application/cloudevents").is_some()
        })
    }
}

/// `text` behind `prefix`, which it may write in any case.
fn strip_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
