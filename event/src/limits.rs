//! Every limit of an event, named and in one place. Each is checked where events are built, so that a record in the log
//! never exceeds them.

/// Attributes of one event, required ones included. A JSON document may name as many again that are `null`.
pub const ATTRIBUTES_MAX: usize = 64;
/// Bytes of an attribute name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;
/// Bytes of an attribute value (its UTF-8 text).
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Bytes of all attributes together.
pub const ATTRIBUTES_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a `traceparent`; version 00 has 55, later versions may go on.
pub const TRACE_PARENT_BYTES_MAX: usize = 256;
/// Bytes of a `tracestate` that are carried; a longer one is dropped, as W3C Trace Context allows.
pub const TRACE_STATE_BYTES_MAX: usize = 512;
/// Bytes of a `baggage` that are carried, as many as W3C Baggage asks for; a longer one is dropped.
pub const BAGGAGE_BYTES_MAX: usize = 8192;
/// Hops an event may take through replies before it counts as a loop (`knativebrokerttl`).
pub const HOPS_DEFAULT: u8 = 32;
/// Bytes of a failed response that a dead letter carries (`knativeerrordata`, as in Knative's Kafka broker).
pub const FAILURE_BODY_BYTES_MAX: usize = 1024;
