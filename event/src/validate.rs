//! The rules for a single attribute: CloudEvents 1.0.2 and 0.3, sections 2 and 3.

use crate::error::EventError;
use crate::event::{Kind, SpecVersion};
use crate::limits;

/// Checks name and value of one attribute.
pub(crate) fn attribute(
    _version: SpecVersion,
    name: &str,
    value: &str,
    _kind: Kind,
) -> Result<(), EventError> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty()
        || name.len() > limits::ATTRIBUTE_NAME_BYTES_MAX
        || !name.bytes().all(valid)
        || name == "specversion"
        || name == "data"
    {
        return Err(EventError::Name(name.chars().take(40).collect()));
    }
    if value.len() > limits::ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(EventError::TooLarge(name.to_owned()));
    }
    Ok(())
}
