//! Every limit of this crate that is not a setting, named and in one place.

use std::time::Duration;

/// Bytes of a request's head (HTTP/1.1) or its decoded header list (HTTP/2). Events carry their attributes there.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// Header fields of one request or response: the bound that hyper has built in. Setting one, even this, costs two heap blocks for
/// each message.
pub const HEADER_COUNT_MAX: usize = 100;
/// Streams a client may have open on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 256;
/// Streams a client may have reset that the server did not yet take note of, before its connection is closed
/// (CVE-2023-44487, "rapid reset").
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams the server may have to reset for a client's protocol errors, before its connection is closed
/// (CVE-2025-8671, "made you reset").
pub const HTTP2_ERROR_RESETS_MAX: usize = 64;
/// Bytes a client may send ahead on one HTTP/2 stream.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes a client may send ahead on one HTTP/2 connection.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Connections the system may hold for a listener that is not accepting.
pub const ACCEPT_BACKLOG: u32 = 1024;
/// Pause after a failed accept (out of file descriptors), so that it does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two looks at the connections of a listener: how late a time-out may fire.
pub const CONNECTION_CHECK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Time that a client has to take its answer and close, when the connection ends before its request does (a refused body). Until
/// then what still comes is read and dropped: a socket closed on unread bytes resets, and the reset takes the answer away.
pub const LINGER_MAX: Duration = Duration::from_secs(10);
/// Bytes that are dropped so.
pub const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time between two looks at the certificate files of a listener.
pub const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of a URL that is called.
pub const URL_BYTES_MAX: usize = 8192;
/// Bytes of a response's head.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Bytes read of the body of an answer that is no success.
pub const ERROR_RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Addresses of one host that are tried.
pub const ADDRESSES_TRIED_MAX: usize = 8;
/// Interval of HTTP/2 pings on a connection with calls in flight; two unanswered ones close it.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the collector of spans to take a batch of them; and for what waits to be sent when the process stops.
pub const TRACES_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a collector's answer that are read.
pub const TRACES_RESPONSE_BYTES: usize = 64 * 1024;
/// Time between two warnings of a trouble that stays.
pub const TROUBLE_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a text of a span; the rest is cut off.
pub const SPAN_TEXT_BYTES_MAX: usize = 256;
/// Bytes of the configuration file.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Partitions of a topic in the event log. Here and below: the settings are checked against it, the log enforces it.
pub const LOG_PARTITIONS_MAX: u32 = 4096;
/// Bytes of a segment of the event log.
pub const LOG_SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of one append to the event log, its progress included.
pub const LOG_APPEND_BYTES_MAX: usize = 32 * 1024 * 1024;
