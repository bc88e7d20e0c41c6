//! The members of one document, as they come, and the event that they make.

use std::borrow::Cow;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::error::{DecodeError, EventError};
use crate::event::{Event, EventBuilder, Kind, SpecVersion};
use crate::limits;
use crate::validate::{self, MediaType};

/// Padding may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const NOT_TEXT: &str = "it must be a string under a content type that is not JSON";
const NOT_BASE64: &str = "it must be a string of base64 (RFC 4648, section 4)";
const UNKNOWN_ENCODING: &str = "its `datacontentencoding` must be base64";
const TWICE: &str = "an event holds either `data` or `data_base64`";

/// The value of an attribute: its text and type.
pub(super) type Scalar<'de> = (Cow<'de, str>, Kind);

/// Members seen so far. Attributes go to the builder as soon as `specversion` is known; data stays a range of the document
/// until its content type is.
#[derive(Default)]
pub(super) struct Members<'de> {
    builder: Option<EventBuilder<'de>>,
    early: SmallVec<[(Cow<'de, str>, Scalar<'de>); 4]>,
    nulls: SmallVec<[Cow<'de, str>; 4]>,
    data: Option<&'de str>,
    base64: Option<Cow<'de, str>>,
}

impl<'de> Members<'de> {
    /// Takes `data`, as JSON text.
    pub(super) fn set_data(&mut self, json: &'de str) -> Result<(), EventError> {
        if self.data.replace(json).is_some() {
            return Err(EventError::Duplicate("data".to_owned()));
        }
        Ok(())
    }

    /// Takes every other member; a `value` of `None` is `null`.
    pub(super) fn add(&mut self, name: Cow<'de, str>, value: Option<Scalar<'de>>) -> Result<(), EventError> {
        let Some((text, kind)) = value else {
            return push_bounded(&mut self.nulls, name);
        };
        match &*name {
            "specversion" => self.set_version(&text, kind),
            "data_base64" => self.set_base64(text, kind),
            _ => match &mut self.builder {
                Some(builder) => builder.attribute(name, text, kind),
                None => push_bounded(&mut self.early, (name, (text, kind))),
            },
        }
    }

    fn set_version(&mut self, text: &str, kind: Kind) -> Result<(), EventError> {
        if kind != Kind::String {
            return Err(EventError::SpecVersion(text.to_owned()));
        }
        let mut builder = EventBuilder::new(SpecVersion::parse(text)?);
        if self.builder.is_some() {
            return Err(EventError::Duplicate("specversion".to_owned()));
        }
        for (name, (text, kind)) in self.early.drain(..) {
            builder.attribute(name, text, kind)?;
        }
        self.builder = Some(builder);
        Ok(())
    }

    fn set_base64(&mut self, text: Cow<'de, str>, kind: Kind) -> Result<(), EventError> {
        if kind != Kind::String {
            return Err(EventError::Value { name: "data_base64".to_owned(), rule: NOT_BASE64 });
        }
        if self.base64.replace(text).is_some() {
            return Err(EventError::Duplicate("data_base64".to_owned()));
        }
        Ok(())
    }

    /// The event, its data cut from `body`, which the members were read from.
    pub(super) fn event(self, body: &Bytes) -> Result<Event, DecodeError> {
        let mut builder = self.builder.ok_or(EventError::Missing("specversion"))?;
        check_nulls(&self.nulls, &builder, self.base64.is_some())?;
        let data = match (self.data, self.base64) {
            (Some(_), Some(_)) => return Err(DecodeError::Data { member: "data", rule: TWICE }),
            (None, None) => None,
            (Some(json), None) => json_data(json, body, &mut builder)?,
            (None, Some(_)) if builder.version() == SpecVersion::V0_3 => {
                return Err(EventError::Name("data_base64".to_owned()).into());
            }
            (None, Some(text)) => Some(decode_base64(&text, "data_base64")?),
        };
        Ok(builder.build(data)?)
    }
}

/// Notes a member whose check must wait. Both lists are searched for duplicates later, so that neither may grow with the
/// document.
fn push_bounded<T>(list: &mut SmallVec<[T; 4]>, member: T) -> Result<(), EventError> {
    if list.len() >= limits::ATTRIBUTES_MAX {
        return Err(EventError::TooManyAttributes);
    }
    list.push(member);
    Ok(())
}

/// A member that is `null` is absent, but its name must be valid and not be given again.
fn check_nulls(nulls: &[Cow<'_, str>], builder: &EventBuilder<'_>, base64: bool) -> Result<(), EventError> {
    for (index, name) in nulls.iter().enumerate() {
        let taken = match &**name {
            // The builder exists, so that there was one that is not null.
            "specversion" => true,
            "data_base64" => base64,
            _ => {
                validate::name(name)?;
                builder.value_of(name).is_some()
            }
        };
        if taken || nulls[..index].contains(name) {
            return Err(EventError::Duplicate(name.clone().into_owned()));
        }
    }
    Ok(())
}

/// The data in the member `data`; the rules are in the module doc of `json`.
fn json_data(json: &str, body: &Bytes, builder: &mut EventBuilder<'_>) -> Result<Option<Bytes>, DecodeError> {
    if builder.version() == SpecVersion::V0_3
        && let Some(encoding) = builder.take_optional("datacontentencoding")
    {
        if !encoding.eq_ignore_ascii_case("base64") {
            return Err(DecodeError::Data { member: "data", rule: UNKNOWN_ENCODING });
        }
        let text = unescape(json).ok_or(DecodeError::Data { member: "data", rule: NOT_BASE64 })?;
        return decode_base64(&text, "data").map(Some);
    }
    let Some(content_type) = builder.value_of("datacontenttype") else {
        builder.attribute("datacontenttype", "application/json", Kind::String)?;
        return Ok(Some(body.slice_ref(json.as_bytes())));
    };
    if content_type == "application/json"
        || MediaType::parse(content_type).is_some_and(|media| media.is_json())
    {
        return Ok(Some(body.slice_ref(json.as_bytes())));
    }
    if json == "null" {
        return Ok(None);
    }
    match unescape(json) {
        Some(Cow::Borrowed(text)) => Ok(Some(body.slice_ref(text.as_bytes()))),
        Some(Cow::Owned(text)) => Ok(Some(Bytes::from(text))),
        None => Err(DecodeError::Data { member: "data", rule: NOT_TEXT }),
    }
}

/// The content of a JSON string; `None` if `json` is another value or escapes half of a surrogate pair.
fn unescape(json: &str) -> Option<Cow<'_, str>> {
    let content = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', content.as_bytes()).is_none() {
        return Some(Cow::Borrowed(content));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

fn decode_base64(text: &str, member: &'static str) -> Result<Bytes, DecodeError> {
    let bytes = BASE64.decode(text).map_err(|_| DecodeError::Data { member, rule: NOT_BASE64 })?;
    Ok(Bytes::from(bytes))
}
