//! The loop guard: how many more times a reply may come back into a broker.
//!
//! An event carries its hops in the extension `knativebrokerttl`, as Knative's broker has it. Inside Pelton they are in the
//! record's envelope; the extension is taken off where an event comes in, stays hidden from subscribers, and is put on
//! where an event goes to another broker.

use crate::error::EventError;
use crate::event::Event;
use crate::limits;

/// The extension attribute that carries the hops left.
pub const ATTRIBUTE: &str = "knativebrokerttl";

const NOT_HOPS: &str = "it must be a whole number";
const NONE_LEFT: &str = "the event has no hops left, it seems to go in circles";

/// Takes the hops off an event that comes in: the event without the extension, and the hops left.
///
/// Without the extension they are [`limits::HOPS_DEFAULT`]; more than 255 (Knative's own default) are 255.
///
/// # Errors
/// [`EventError::Value`] for hops that are no number, or not above zero.
pub fn take(event: Event) -> Result<(Event, u8), EventError> {
    let Some(value) = event.attribute(ATTRIBUTE) else { return Ok((event, limits::HOPS_DEFAULT)) };
    let hops = parse(value.text)?;
    Ok((event.with(&[(ATTRIBUTE, None)])?, hops))
}

/// The hops left to the reply of a delivery whose record had `hops`; `None` when the reply is a loop.
#[must_use]
pub const fn of_reply(hops: u8) -> Option<u8> {
    match hops {
        0 | 1 => None,
        more => Some(more - 1),
    }
}

/// The event as another broker gets it: with its hops.
///
/// # Errors
/// [`EventError`] if the event has no room for the extension.
pub fn put(event: &Event, hops: u8) -> Result<Event, EventError> {
    event.with(&[(ATTRIBUTE, Some(&hops.to_string()))])
}

fn parse(text: &str) -> Result<u8, EventError> {
    let refused = |rule| EventError::Value { name: ATTRIBUTE.to_owned(), rule };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused(NOT_HOPS));
    }
    if text.starts_with('-') || digits.bytes().all(|byte| byte == b'0') {
        return Err(refused(NONE_LEFT));
    }
    // Only a number that is too large does not parse.
    Ok(digits.parse().unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventBuilder, Kind, SpecVersion};

    fn event(hops: Option<&str>) -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "1"), ("source", "s"), ("type", "t"), ("x", "y")] {
            builder.attribute(name, value, Kind::String).unwrap();
        }
        if let Some(hops) = hops {
            builder.attribute(ATTRIBUTE, hops, Kind::String).unwrap();
        }
        builder.build(None).unwrap()
    }

    #[test]
    fn hops_come_off_where_an_event_comes_in() {
        for (text, hops) in
            [("1", 1), ("32", 32), ("255", 255), ("256", 255), ("99999999999", 255), ("+007", 7)]
        {
            assert_eq!(take(event(Some(text))), Ok((event(None), hops)), "{text}");
        }
        assert_eq!(take(event(None)), Ok((event(None), limits::HOPS_DEFAULT)));
    }

    #[test]
    fn no_hops_left_is_not_the_same_as_no_number() {
        for (text, rule) in [
            ("0", NONE_LEFT),
            ("-1", NONE_LEFT),
            ("00", NONE_LEFT),
            ("-99999999999", NONE_LEFT),
            ("", NOT_HOPS),
            ("-", NOT_HOPS),
            ("1.5", NOT_HOPS),
            ("many", NOT_HOPS),
            ("+-1", NOT_HOPS),
        ] {
            let refused = EventError::Value { name: ATTRIBUTE.to_owned(), rule };
            assert_eq!(take(event(Some(text))), Err(refused), "{text}");
        }
    }

    #[test]
    fn a_reply_costs_one_hop_until_none_is_left() {
        assert_eq!(of_reply(32), Some(31));
        assert_eq!(of_reply(2), Some(1));
        assert_eq!(of_reply(1), None);
        assert_eq!(of_reply(0), None);
    }

    #[test]
    fn another_broker_gets_the_hops() {
        let sent = put(&event(None), 7).unwrap();
        assert_eq!(take(sent), Ok((event(None), 7)));
    }
}
