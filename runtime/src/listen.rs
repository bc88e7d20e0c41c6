//! The HTTP listener that every role serves from: HTTP/1.1 and HTTP/2, plain or TLS.
//!
//! *Bind* and *serve* are two steps, so that a process holds and has logged all its addresses before anything runs.
//!
//! What a client may do is bounded: connections (further ones wait in the system's queue), the size and count of header
//! fields, streams and resets of an HTTP/2 connection, the time for a head, the time without a request, the time without
//! reading an answer. (Body size and time are the service's to bound, with [`read_body`](crate::body::read_body).)
//! A connection that ends before its request does lingers for a bounded time, so that the client reads its answer.
//! The times are kept by one look a second at all connections: a connection has no timer and wakes up only for its bytes.

mod connection;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use crate::config::{Ingress, TlsFiles};
use crate::drain::Drain;
use crate::limits::{
    ACCEPT_BACKLOG, ACCEPT_PAUSE, CERTIFICATE_CHECK_INTERVAL, CONNECTION_CHECK_INTERVAL_MAX,
    HEADER_BYTES_MAX, HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_ERROR_RESETS_MAX, HTTP2_PENDING_RESETS_MAX,
    HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX,
};
use tls::ServerTls;
use watch::{Times, Watch};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A listener could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Another process has the address.
    #[error("cannot listen on {address} for {name}: the address is in use")]
    AddressInUse {
        /// The listener.
        name: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address} for {name}: {problem}")]
    Bind {
        /// The listener.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        problem: String,
    },
    /// The certificate or its key is not usable.
    #[error("cannot use the TLS file {} for {name}: {problem}", .file.display())]
    Tls {
        /// The listener.
        name: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ListenError {
    /// The stable code, see `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressInUse { .. } => "PEL-1510",
            Self::Bind { .. } => "PEL-1511",
            Self::Tls { .. } => "PEL-1512",
        }
    }
}

/// What a listener allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// Time for the TLS handshake, and for the head of a request once it has begun.
    pub header_timeout: Duration,
    /// Time after which a connection without a request is closed, and one whose client does not read.
    pub idle_timeout: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// Whether a client that closes its sending side still gets its answer (HTTP/1.1). It costs less: nothing is read from a
    /// connection before its answer is out. Without it, the answer to a client that has gone is given up while it is made.
    pub half_close: bool,
}

impl From<&Ingress> for ListenOptions {
    fn from(config: &Ingress) -> Self {
        Self {
            header_timeout: config.header_timeout.get(),
            idle_timeout: config.idle_timeout.get(),
            max_connections: config.max_connections as usize,
            half_close: true,
        }
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        let ingress = Self::from(&Ingress::default());
        Self { half_close: false, ..ingress }
    }
}

/// What is known of a connection before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
}

/// Makes listeners.
#[derive(Debug)]
pub struct Listener;

impl Listener {
    /// Takes `address` and reads the certificate. `name` is the listener's in errors and logs: `ingress`, `admin` …
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address is taken or refused, or the certificate or key cannot be used.
    pub fn bind(
        name: &'static str,
        address: SocketAddr,
        tls: &TlsFiles,
        options: ListenOptions,
    ) -> Result<BoundListener, ListenError> {
        let tls = ServerTls::load(name, tls)?;
        let failed = |error: &io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::AddressInUse { name, address },
            _ => ListenError::Bind { name, address, problem: error.to_string() },
        };
        let listener = listen(address).map_err(|error| failed(&error))?;
        let local_address = listener.local_addr().map_err(|error| failed(&error))?;
        Ok(BoundListener { name, listener, local_address, tls, options })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// An address that is held and not yet served: clients that connect wait.
#[derive(Debug)]
pub struct BoundListener {
    name: &'static str,
    listener: TcpListener,
    local_address: SocketAddr,
    tls: Option<ServerTls>,
    options: ListenOptions,
}

impl BoundListener {
    /// The address, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// True if clients must speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves every connection with a clone of `service` until the drain: then no more connections are taken, requests
    /// in flight are finished, and it returns when the last connection is closed.
    pub async fn serve<S, B>(self, service: S, drain: Drain)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        self.serve_each(move |_| service.clone(), drain).await;
    }

    /// As [`BoundListener::serve`], with a service made for each connection from what is known of the client.
    pub async fn serve_each<M, S, B>(self, make_service: M, drain: Drain)
    where
        M: Fn(Peer) -> S,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        let protocols = Arc::new(protocols(self.options.half_close));
        let times = Times { header: self.options.header_timeout, idle: self.options.idle_timeout };
        let watch = Arc::new(Watch::new(times));
        let slots = Arc::new(Semaphore::new(self.options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let tasks = TaskTracker::new();
        let mut check = ticker(CONNECTION_CHECK_INTERVAL_MAX.min(times.header / 4).min(times.idle / 4));
        let mut reload = ticker(CERTIFICATE_CHECK_INTERVAL);
        let mut slot: Option<OwnedSemaphorePermit> = None;
        loop {
            tokio::select! {
                biased;
                () = drain.signaled() => break,
                now = check.tick(), if !tasks.is_empty() => watch.check(now),
                _ = reload.tick(), if self.tls.is_some() => self.reload_certificate(),
                free = slots.clone().acquire_owned(), if slot.is_none() => slot = free.ok(),
                accepted = self.listener.accept(), if slot.is_some() => match accepted {
                    Err(error) => self.accept_failed(&error).await,
                    Ok((tcp, address)) => {
                        let service = make_service(Peer { address, is_tls: self.is_tls() });
                        let opening = self.open(tcp, drain.clone());
                        let connection = connection::run(opening, service, protocols.clone(), watch.clone());
                        let slot = slot.take();
                        tasks.spawn(async move {
                            connection.await;
                            drop(slot);
                        });
                    }
                },
            }
        }
        drop(self);
        watch.shut_down_all();
        tasks.close();
        loop {
            tokio::select! {
                () = tasks.wait() => return,
                now = check.tick() => watch.check(now),
            }
        }
    }

    /// The stream of a new connection, after the TLS handshake if there is one; `None` if there is nothing to serve.
    fn open(
        &self,
        tcp: TcpStream,
        drain: Drain,
    ) -> impl Future<Output = Option<connection::Opened>> + Send + 'static {
        let acceptor = self.tls.as_ref().map(ServerTls::acceptor);
        let limit = self.options.header_timeout;
        async move {
            // Answers are small and whole; without the option they are merely slower.
            let _ = tcp.set_nodelay(true);
            let Some(acceptor) = acceptor else { return Some(connection::Opened::plain(tcp)) };
            tokio::select! {
                () = drain.signaled() => None,
                shaken = tokio::time::timeout(limit, acceptor.accept(tcp)) => match shaken {
                    Ok(Ok(stream)) => Some(connection::Opened::tls(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "TLS handshake failed");
                        None
                    }
                    Err(_) => None,
                },
            }
        }
    }

    fn reload_certificate(&self) {
        let Some(tls) = &self.tls else { return };
        match tls.reload_if_changed() {
            Ok(false) => {}
            Ok(true) => tracing::info!(listener = self.name, "certificate reloaded"),
            Err(error) => {
                tracing::warn!(listener = self.name, code = error.code(), %error, "the old certificate stays in use");
            }
        }
    }

    /// A connection that vanished before it was taken is of no interest; a lack of file descriptors is, and passes.
    async fn accept_failed(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        tracing::warn!(listener = self.name, %error, "cannot take connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval(period.max(Duration::from_millis(1)));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

fn protocols(half_close: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The watch keeps the times: hyper's own timer counts an idle connection as one that is slow with its head, and is
    // made anew for every request. Answers are small: one buffer is written more quickly than a list of them.
    builder
        .http1()
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX)
        .half_close(half_close)
        .writev(false);
    builder
        .http2()
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_ERROR_RESETS_MAX);
    builder
}
