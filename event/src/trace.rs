//! W3C Trace Context and Baggage as an event carries them: header values, kept as received.

use crate::event::Event;
use crate::limits;

/// What goes on from the sender of an event to its subscribers, as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceContext {
    /// The `traceparent` header; empty if only baggage came.
    pub parent: Box<str>,
    /// The `tracestate` header; empty if there was none.
    pub state: Box<str>,
    /// The `baggage` header; empty if there was none. It needs no trace.
    pub baggage: Box<str>,
}

impl TraceContext {
    /// The context of the two values, or `None` when `parent` is no valid `traceparent`: a receiver then starts a new
    /// trace (W3C Trace Context, section 3.2). A `state` that is too long or not visible ASCII is dropped, as section 3.3
    /// allows.
    #[must_use]
    pub fn parse(parent: &str, state: &str) -> Option<Self> {
        let parent = parent.trim_ascii();
        if !is_traceparent(parent.as_bytes()) {
            return None;
        }
        let state = carried(state, limits::TRACE_STATE_BYTES_MAX);
        Some(Self { parent: parent.into(), state: state.into(), baggage: Box::default() })
    }

    /// `context` with `baggage`, which is dropped where it is too long or not visible ASCII (W3C Baggage, section 3.3).
    #[must_use]
    pub fn with_baggage(context: Option<Self>, baggage: &str) -> Option<Self> {
        match carried(baggage, limits::BAGGAGE_BYTES_MAX) {
            "" => context,
            baggage => Some(Self { baggage: baggage.into(), ..context.unwrap_or_default() }),
        }
    }

    /// The context that came beside `event`, else the one in its attributes; the baggage beside it stays in any case.
    #[must_use]
    pub fn or_of_event(context: Option<Self>, event: &Event) -> Option<Self> {
        match context {
            Some(context) if !context.parent.is_empty() => Some(context),
            Some(context) => Self::with_baggage(Self::of_event(event), &context.baggage),
            None => Self::of_event(event),
        }
    }

    /// The context in the attributes `traceparent` and `tracestate` (CloudEvents distributed tracing extension).
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Self> {
        let parent = event.attribute("traceparent")?;
        Self::parse(parent.text, event.attribute("tracestate").map_or("", |value| value.text))
    }
}

/// What of a header value is passed on: all of it, or nothing.
fn carried(text: &str, bytes_max: usize) -> &str {
    let text = text.trim_ascii();
    let visible = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if visible && text.len() <= bytes_max { text } else { "" }
}

/// `version "-" trace-id "-" parent-id "-" flags`, all lower-case hex, neither id all zero; versions after `00` may go on
/// with `-…`.
fn is_traceparent(text: &[u8]) -> bool {
    const LENGTH: usize = 55;
    let Some((head, tail)) = text.split_at_checked(LENGTH) else { return false };
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    let (version, trace_id, parent_id, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    let end = tail.is_empty()
        || (version != b"00"
            && tail[0] == b'-'
            && text.len() <= limits::TRACE_PARENT_BYTES_MAX
            && tail.iter().all(u8::is_ascii_graphic));
    dashes
        && end
        && [version, trace_id, parent_id, flags].into_iter().all(hex)
        && version != b"ff"
        && some(trace_id)
        && some(parent_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventBuilder, Kind, SpecVersion};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_context_is_kept_as_received() {
        let context = TraceContext::parse(PARENT, "vendor=a, other=b").unwrap();
        assert_eq!((&*context.parent, &*context.state), (PARENT, "vendor=a, other=b"));
        assert!(
            TraceContext::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "").is_some()
        );
    }

    #[test]
    fn an_invalid_parent_starts_a_new_trace() {
        for parent in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-m\u{1}",
        ] {
            assert_eq!(TraceContext::parse(parent, ""), None, "{parent}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_is_dropped_and_the_parent_stays() {
        let context = TraceContext::parse(PARENT, &"a".repeat(limits::TRACE_STATE_BYTES_MAX + 1)).unwrap();
        assert_eq!((&*context.parent, &*context.state), (PARENT, ""));
    }
    #[test]
    fn baggage_needs_no_trace_and_is_dropped_where_it_is_too_long() {
        let parent = TraceContext::parse(PARENT, "");
        let both = TraceContext::with_baggage(parent.clone(), " user=1;p=2 ").unwrap();
        assert_eq!((&*both.parent, &*both.baggage), (PARENT, "user=1;p=2"));
        let alone = TraceContext::with_baggage(None, "user=1").unwrap();
        assert_eq!((&*alone.parent, &*alone.baggage), ("", "user=1"));
        let large = "a".repeat(limits::BAGGAGE_BYTES_MAX);
        assert_eq!(&*TraceContext::with_baggage(None, &large).unwrap().baggage, large);
        for baggage in [&*(large + "a"), "", "é", "a\u{1}"] {
            assert_eq!(TraceContext::with_baggage(None, baggage), None, "{baggage}");
            assert_eq!(TraceContext::with_baggage(parent.clone(), baggage), parent, "{baggage}");
        }
    }

    #[test]
    fn a_trace_of_the_event_takes_the_baggage_of_the_request() {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("traceparent", PARENT)] {
            builder.attribute(name, value, Kind::String).unwrap();
        }
        let event = builder.build(None).unwrap();
        let context = TraceContext::or_of_event(TraceContext::with_baggage(None, "a=1"), &event).unwrap();
        assert_eq!((&*context.parent, &*context.baggage), (PARENT, "a=1"));
        let other = PARENT.replace("-01", "-00");
        let context = TraceContext::or_of_event(TraceContext::parse(&other, ""), &event).unwrap();
        assert_eq!(*context.parent, other);
    }
}
