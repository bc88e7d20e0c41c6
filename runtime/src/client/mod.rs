//! The HTTP client of deliveries.
//!
//! * Connections per origin are bounded; who finds none free waits in line, first come first served.
//! * An HTTP/1.1 connection is driven by the very task that calls: no hand-over to another task and back.
//! * HTTP/2 is spoken where TLS negotiates it; its streams count as connections.
//! * The address that was checked by the [egress rules](crate::egress) is the one connected to.
//! * Redirects are answers, never followed. A request is sent twice only if nothing of it was sent the first time.

mod connect;
mod error;
mod exchange;
mod pool;
mod resolve;
mod target;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

pub use connect::TrustError;
pub use error::CallError;
pub use resolve::{Resolve, SystemResolver};
pub use target::{Host, Target};

use crate::config::Config;
use crate::egress::EgressPolicy;

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where it goes.
    pub target: Target,
    /// What is asked.
    pub method: Method,
    /// Header fields without `Host` and `Content-Length`, which the client adds.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Time from having a place on a connection to the last byte of the answer. Waiting in line does not count: it is
    /// our own bound, not the other side's slowness.
    pub timeout: Duration,
    /// Bytes of the answer's body that are read; more is an error. Of an answer that is no success the first
    /// [`ERROR_RESPONSE_BYTES_MAX`](crate::limits::ERROR_RESPONSE_BYTES_MAX) at most come, and more is no error.
    pub response_limit: usize,
}

/// Calls over HTTP. Dropping the future gives the call up and closes its connection.
pub trait HttpClient: Send + Sync + 'static {
    /// Makes one call. Any status is an answer; redirects are not followed.
    fn call(&self, call: Call) -> impl Future<Output = Result<Response<Bytes>, CallError>> + Send;
}

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Connections (HTTP/1.1) or streams (HTTP/2) per origin.
    pub connections_per_origin: usize,
    /// Time for resolving, connecting and the TLS handshake.
    pub connect_timeout: Duration,
    /// Time after which an unused connection is closed.
    pub idle_timeout: Duration,
    /// Where calls may go.
    pub egress: EgressPolicy,
}

impl ClientOptions {
    /// As `[dispatch]` and `[egress]` say.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self {
            connections_per_origin: config.dispatch.connections_per_subscriber as usize,
            connect_timeout: config.dispatch.connect_timeout.get(),
            idle_timeout: config.dispatch.connection_idle_timeout.get(),
            egress: EgressPolicy::from_config(config),
        }
    }
}

/// The HTTP client with its pool of connections. A clone shares the pool.
#[derive(Debug, Clone)]
pub struct Client(Arc<pool::Pool>);

impl Client {
    /// A client that trusts the public certificate authorities and those in `extra_ca_certificates` (a PEM file).
    ///
    /// Must be called inside a tokio runtime: a task closes connections that stay unused.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn new(
        options: &ClientOptions,
        resolver: impl Resolve,
        extra_ca_certificates: Option<&Path>,
    ) -> Result<Self, TrustError> {
        let connector = connect::Connector::new(options, Box::new(resolver), extra_ca_certificates)?;
        Ok(Self(pool::Pool::start(connector, options.connections_per_origin, options.idle_timeout)))
    }
}

impl HttpClient for Client {
    async fn call(&self, call: Call) -> Result<Response<Bytes>, CallError> {
        self.0.call(call).await
    }
}
