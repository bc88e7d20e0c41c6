//! The compact buffer that holds an event's attributes.
//!
//! ```text
//! buffer    = specversion entry*                       specversion: 0 = "1.0", 1 = "0.3"
//! entry     = kind nameLength valueLength name value   kind u8, nameLength u8, valueLength u16 little endian
//! ```
//!
//! The first three entries are `id`, `source` and `type`; the others follow as received. The same bytes are what a log
//! record holds.

use bytes::Bytes;

use crate::event::{Attribute, Kind, SpecVersion, Value};
use crate::validate;

pub(crate) const ENTRY_HEADER_BYTES: usize = 4;

pub(crate) fn push_entry(buffer: &mut Vec<u8>, name: &str, value: &str, kind: Kind) {
    debug_assert!(name.len() <= crate::limits::ATTRIBUTE_NAME_BYTES_MAX);
    debug_assert!(value.len() <= crate::limits::ATTRIBUTE_VALUE_BYTES_MAX);
    let name_length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let [low, high] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes();
    buffer.extend_from_slice(&[kind as u8, name_length, low, high]);
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(value.as_bytes());
}

/// Finds single entries of a buffer; ends at the first that is not whole, so that a damaged buffer is short and not a panic.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
}

/// Walks all entries of a buffer as text.
///
/// With values of less than 128 bytes the entry headers are ASCII, so that the whole buffer is text: checking it at once costs a
/// sixth of checking its parts. With longer values each part is checked.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    entries: Entries<'a>,
    whole: Option<&'a str>,
}

/// An entry whose bytes are not yet known to be text: looking one up by name checks only the one that is found.
struct RawEntry<'a> {
    kind: Kind,
    /// Name and value, which stand side by side.
    text: &'a [u8],
    name_bytes: usize,
}

impl<'a> RawEntry<'a> {
    fn name(&self) -> &'a [u8] {
        &self.text[..self.name_bytes]
    }

    fn value(&self) -> Option<Value<'a>> {
        Some(Value { text: std::str::from_utf8(&self.text[self.name_bytes..]).ok()?, kind: self.kind })
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn new(buffer: &'a [u8]) -> Self {
        Self { rest: buffer.get(1..).unwrap_or_default() }
    }

    /// The value of the next entry called `name`.
    pub(crate) fn value_of(mut self, name: &str) -> Option<Value<'a>> {
        std::iter::from_fn(|| self.next_raw()).find(|entry| entry.name() == name.as_bytes())?.value()
    }

    /// The value of the entry `index` further on.
    pub(crate) fn value_at(mut self, index: usize) -> Option<Value<'a>> {
        std::iter::from_fn(|| self.next_raw()).nth(index)?.value()
    }

    fn next_raw(&mut self) -> Option<RawEntry<'a>> {
        let (header, rest) = self.rest.split_at_checked(ENTRY_HEADER_BYTES)?;
        let kind = Kind::from_byte(header[0])?;
        let name_bytes = usize::from(header[1]);
        let value_bytes = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let (text, rest) = rest.split_at_checked(name_bytes + value_bytes)?;
        self.rest = rest;
        Some(RawEntry { kind, text, name_bytes })
    }
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(buffer: &'a [u8]) -> Self {
        Self { entries: Entries::new(buffer), whole: std::str::from_utf8(buffer).ok() }
    }

    /// Whether nothing is left unread, as after the walk of an intact buffer.
    pub(crate) fn is_at_end(&self) -> bool {
        self.entries.rest.is_empty()
    }

    fn text_of(&self, entry: &RawEntry<'a>) -> Option<&'a str> {
        let Some(whole) = self.whole else { return std::str::from_utf8(entry.text).ok() };
        // Positions from the end are the same in the buffer and in its text.
        let end = whole.len() - self.entries.rest.len();
        whole.get(end - entry.text.len()..end)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let before = self.entries.rest;
        let attribute = self.entries.next_raw().and_then(|entry| {
            // A name ends where a character does.
            let (name, text) = self.text_of(&entry)?.split_at_checked(entry.name_bytes)?;
            Some(Attribute { name, value: Value { text, kind: entry.kind } })
        });
        if attribute.is_none() {
            self.entries.rest = before;
        }
        attribute
    }
}

/// Whether `buffer` is a whole attribute buffer: known version, whole entries with valid names, the required three in front.
pub(crate) fn is_intact(buffer: &Bytes) -> bool {
    let Some(&version) = buffer.first() else { return false };
    if SpecVersion::from_byte(version).is_none() || buffer.len() > crate::limits::ATTRIBUTES_BYTES_MAX {
        return false;
    }
    let mut attributes = Attributes::new(buffer);
    let required =
        ["id", "source", "type"].iter().all(|name| attributes.next().is_some_and(|a| a.name == *name));
    if !required {
        return false;
    }
    let mut count = 3;
    attributes.by_ref().all(|attribute| {
        count += 1;
        count <= crate::limits::ATTRIBUTES_MAX && validate::name(attribute.name).is_ok()
    }) && attributes.is_at_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ATTRIBUTES_MAX;

    fn buffer(attributes: usize) -> Bytes {
        let mut buffer = vec![0];
        for name in ["id", "source", "type"] {
            push_entry(&mut buffer, name, "a", Kind::String);
        }
        for number in 3..attributes {
            push_entry(&mut buffer, &format!("a{number}"), "", Kind::String);
        }
        Bytes::from(buffer)
    }

    #[test]
    fn long_values_and_text_beyond_ascii_are_read_as_short_ones_are() {
        for value in ["", "a", "\u{e9}\u{1f600}", &"b".repeat(127), &"c".repeat(128), &"\u{e9}".repeat(300)] {
            let mut bytes = buffer(3).to_vec();
            push_entry(&mut bytes, "extension", value, Kind::String);
            push_entry(&mut bytes, "last", "z", Kind::Boolean);
            let bytes = Bytes::from(bytes);
            assert!(is_intact(&bytes), "{value}");
            let read = Attributes::new(&bytes).skip(3).map(|a| (a.name, a.value.text)).collect::<Vec<_>>();
            assert_eq!(read, [("extension", value), ("last", "z")]);
        }
    }

    #[test]
    fn characters_that_are_cut_are_damage_though_the_buffer_as_a_whole_is_text() {
        // The name takes the first byte of a character of two, the value the second.
        let mut bytes = buffer(3).to_vec();
        bytes.extend_from_slice(&[0, 2, 1, 0, b'a', 0xc3, 0xa9]);
        assert!(std::str::from_utf8(&bytes).is_ok());
        assert!(!is_intact(&Bytes::from(bytes)));
    }

    #[test]
    fn more_attributes_than_an_event_may_have_are_damage() {
        assert!(is_intact(&buffer(ATTRIBUTES_MAX)));
        assert!(!is_intact(&buffer(ATTRIBUTES_MAX + 1)));
        assert!(!is_intact(&buffer(30_000)));
    }
}
