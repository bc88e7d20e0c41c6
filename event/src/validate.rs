//! The rules for a single attribute: CloudEvents 1.0.2 and 0.3, sections 2 (names), 3.1 (types) and 3 (each attribute).
//!
//! Two rules are wider than the text of the specification, as the SDKs are: URIs may hold characters beyond ASCII
//! (RFC 3987), and a media type may end with `;` (RFC 9110).

use crate::error::EventError;
use crate::event::{Kind, SpecVersion};
use crate::limits;

mod media_type;
mod time;
mod uri;

pub(crate) use media_type::MediaType;

#[cfg(test)]
mod tests;

const NOT_TEXT: &str =
    "it must not contain control characters or Unicode noncharacters (CloudEvents 3.1, type String)";
const NOT_STRING: &str = "it must be a string";
const NOT_INTEGER: &str = "it must be a whole number from -2147483648 to 2147483647";
const NOT_BOOLEAN: &str = "it must be true or false";
const NOT_TIME: &str = "it must be an RFC 3339 date and time with an offset, such as 2026-01-31T12:00:00Z";
const NOT_URI: &str = "it must be an absolute URI (RFC 3986), such as https://example.com/schema";
const NOT_URI_REFERENCE: &str =
    "it must be a URI-reference (RFC 3986); write other characters, a space for instance, as %20";
const NOT_MEDIA_TYPE: &str = "it must be a media type (RFC 2046), such as application/json";
const NOT_ENCODING: &str = "it must be an encoding name (RFC 2045, section 6.1), such as base64";

/// Checks name, type and value of one attribute other than `specversion`.
pub(crate) fn attribute(version: SpecVersion, name: &str, value: &str, kind: Kind) -> Result<(), EventError> {
    self::name(name)?;
    if value.len() > limits::ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(EventError::TooLarge(name.to_owned()));
    }
    let Some(rule) = CoreRule::of(version, name) else {
        let broken = broken_type(value, kind);
        return broken.map_or(Ok(()), |rule| Err(EventError::Value { name: name.to_owned(), rule }));
    };
    if value.is_empty() {
        return Err(EventError::Empty(name.to_owned()));
    }
    let broken = if kind == Kind::String { rule.broken_by(value) } else { Some(NOT_STRING) };
    broken.map_or(Ok(()), |rule| Err(EventError::Value { name: name.to_owned(), rule }))
}

/// Checks a name: lower-case letters and digits; `specversion` and `data` are no attributes of their own.
pub(crate) fn name(name: &str) -> Result<(), EventError> {
    let whole = !name.is_empty() && name.len() <= limits::ATTRIBUTE_NAME_BYTES_MAX;
    // Folded without an early exit, here and below: names and values are short and nearly always valid.
    let valid = name.bytes().fold(true, |valid, byte| valid & matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    if whole && valid && name != "specversion" && name != "data" {
        return Ok(());
    }
    Err(EventError::Name(name.chars().take(40).collect()))
}

/// The rule of an attribute that the specification defines; all of them are non-empty strings.
#[derive(Clone, Copy)]
enum CoreRule {
    Text,
    UriReference,
    Uri,
    Time,
    MediaType,
    Encoding,
}

impl CoreRule {
    fn of(version: SpecVersion, name: &str) -> Option<Self> {
        match (name, version) {
            ("id" | "type" | "subject", _) => Some(Self::Text),
            ("source", _) | ("schemaurl", SpecVersion::V0_3) => Some(Self::UriReference),
            ("dataschema", SpecVersion::V1_0) => Some(Self::Uri),
            ("time", _) => Some(Self::Time),
            ("datacontenttype", _) => Some(Self::MediaType),
            ("datacontentencoding", SpecVersion::V0_3) => Some(Self::Encoding),
            _ => None,
        }
    }

    /// The phrase of the rule, if `value` breaks it.
    fn broken_by(self, value: &str) -> Option<&'static str> {
        let (kept, rule) = match self {
            Self::Text => (is_text(value), NOT_TEXT),
            Self::UriReference => (uri::is_reference(value), NOT_URI_REFERENCE),
            Self::Uri => (uri::is_absolute(value), NOT_URI),
            Self::Time => (time::is_rfc3339(value), NOT_TIME),
            Self::MediaType => (is_media_type(value), NOT_MEDIA_TYPE),
            Self::Encoding => (media_type::is_token(value.as_bytes()), NOT_ENCODING),
        };
        (!kept).then_some(rule)
    }
}

fn is_media_type(value: &str) -> bool {
    value == "application/json" || (is_text(value) && MediaType::parse(value).is_some())
}

fn broken_type(value: &str, kind: Kind) -> Option<&'static str> {
    let (kept, rule) = match kind {
        Kind::String => (is_text(value), NOT_TEXT),
        Kind::Integer => (is_integer(value), NOT_INTEGER),
        Kind::Boolean => (matches!(value, "true" | "false"), NOT_BOOLEAN),
    };
    (!kept).then_some(rule)
}

/// A 32-bit integer as JSON writes it.
pub(crate) fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let json = digits == "0" || !digits.starts_with(['0', '+']);
    json && value.parse::<i32>().is_ok()
}

/// No control characters (U+0000–U+001F, U+007F–U+009F), no noncharacters.
fn is_text(value: &str) -> bool {
    let plain = value.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    plain || value.chars().all(|char| !char.is_control() && !is_noncharacter(char))
}

fn is_noncharacter(char: char) -> bool {
    let code = u32::from(char);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}
