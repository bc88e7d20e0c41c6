//! How a call fails.

use std::net::IpAddr;
use std::time::Duration;

use crate::egress::Forbidden;

/// Why a call got no answer. The text is safe to show: it holds no path, query, header or body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The URL cannot be called.
    #[error("the URL is not usable: {problem}")]
    InvalidUrl {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The host name did not resolve.
    #[error("cannot resolve {host}: {problem}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// The egress rules forbid every address of the host.
    #[error("{host} is at {address}, where nothing may be sent: {reason}")]
    Forbidden {
        /// The host of the URL.
        host: String,
        /// Its first forbidden address.
        address: IpAddr,
        /// The rule.
        reason: Forbidden,
    },
    /// No connection.
    #[error("cannot connect to {origin}: {problem}")]
    Connect {
        /// Scheme, host and port.
        origin: String,
        /// What the system said.
        problem: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to {origin}: {problem}")]
    Tls {
        /// Scheme, host and port.
        origin: String,
        /// What failed.
        problem: String,
    },
    /// The caller's time is over. Whether the request was carried out is unknown, unless it was not `sent`.
    #[error("no answer within {} ms", .after.as_millis())]
    Timeout {
        /// The time that was given.
        after: Duration,
        /// Whether any of the request may have left.
        sent: bool,
    },
    /// The connection ended before the answer was complete. Whether the request was carried out is unknown, unless it
    /// was not `sent`.
    #[error("the connection to {origin} ended before the answer: {problem}")]
    Closed {
        /// Scheme, host and port.
        origin: String,
        /// How it ended.
        problem: String,
        /// Whether any of the request may have left.
        sent: bool,
    },
    /// What came back is not HTTP.
    #[error("{origin} answered with invalid HTTP: {problem}")]
    InvalidResponse {
        /// Scheme, host and port.
        origin: String,
        /// What was wrong.
        problem: String,
    },
    /// The answer's body is larger than the caller allows.
    #[error("{origin} answered with more than {limit} bytes")]
    ResponseTooLarge {
        /// Scheme, host and port.
        origin: String,
        /// Bytes allowed.
        limit: usize,
        /// The status that came before the body.
        status: u16,
    },
}

impl CallError {
    /// The stable code, see `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidUrl { .. } => "PEL-1520",
            Self::Resolve { .. } => "PEL-1521",
            Self::Forbidden { .. } => "PEL-1522",
            Self::Connect { .. } => "PEL-1523",
            Self::Tls { .. } => "PEL-1524",
            Self::Timeout { .. } => "PEL-1525",
            Self::Closed { .. } => "PEL-1526",
            Self::InvalidResponse { .. } => "PEL-1527",
            Self::ResponseTooLarge { .. } => "PEL-1528",
        }
    }
}
