//! `traceparent`, `tracestate` and `baggage`, against the grammar of W3C Trace Context written down once more.
#![no_main]

use http::header::HeaderMap;
use libfuzzer_sys::fuzz_target;
use pelton_event::TraceContext;
use pelton_event::http::trace_context;
use pelton_event::limits::{BAGGAGE_BYTES_MAX, TRACE_PARENT_BYTES_MAX, TRACE_STATE_BYTES_MAX};
use pelton_fuzz::message;

fuzz_target!(|input: &[u8]| {
    let (headers, _) = message(input);
    check_headers(&headers);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (parent, state) = text.split_once('\n').unwrap_or((text, ""));
    let parsed = TraceContext::parse(parent, state);
    assert_eq!(parsed.is_some(), is_parent(parent.trim_ascii()), "{parent}");
    if let Some(context) = parsed {
        check(&context);
        assert_eq!(&*context.parent, parent.trim_ascii());
        assert!(context.state.is_empty() || *context.state == *state.trim_ascii());
    }
});

fn check_headers(headers: &HeaderMap) {
    let parents: Vec<_> = headers.get_all("traceparent").iter().collect();
    match trace_context(headers) {
        Some(context) if !context.parent.is_empty() => {
            check(&context);
            assert_eq!(parents.len(), 1);
        }
        Some(context) => assert!((1..=BAGGAGE_BYTES_MAX).contains(&context.baggage.len())),
        None => assert!(parents.len() != 1 || !parents[0].to_str().is_ok_and(is_parent)),
    }
}

/// It can be sent on, and is the same where it arrives.
fn check(context: &TraceContext) {
    assert!(is_parent(&context.parent));
    assert!(context.state.len() <= TRACE_STATE_BYTES_MAX);
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", context.parent.parse().expect("a header value"));
    headers.insert("tracestate", context.state.parse().expect("a header value"));
    headers.insert("baggage", context.baggage.parse().expect("a header value"));
    assert_eq!(trace_context(&headers).as_ref(), Some(context));
}

fn is_parent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next().unwrap_or_default();
        let valid =
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then_some(part)
    };
    let (version, trace, span, flags) = (hex(2), hex(32), hex(16), hex(2));
    let (Some(version), Some(trace), Some(span), Some(_)) = (version, trace, span, flags) else {
        return false;
    };
    let goes_on = parts.next().is_some();
    version != "ff"
        && trace.contains(|digit| digit != '0')
        && span.contains(|digit| digit != '0')
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && (!goes_on || version != "00")
        && text.len() <= TRACE_PARENT_BYTES_MAX
}
