//! Connections to replicas: kept while they are idle, driven by the request that uses them.
//!
//! An HTTP/1.1 connection has no task of its own: whoever sends a request over it drives it, until the last byte of the
//! answer went to the client. So an answer comes through one task, without a wake-up of another. While idle nobody drives it,
//! and whether the replica has closed it is looked at before it is used again.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pelton_resources::Protocol;
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout};

use crate::limits::{CONNECT_TIMEOUT, HEADER_BYTES_MAX, IDLE_CONNECTIONS_MAX, IDLE_TIMEOUT, PING_INTERVAL};

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it was sent; here it is again.
    NotSent {
        /// The request.
        request: Box<Request<Incoming>>,
        /// What went wrong, for people.
        problem: String,
    },
    /// It may have been sent.
    Broken(String),
}

/// Connections to the replicas of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<Arc<str>, Kept>>>);

#[derive(Debug, Default)]
struct Kept {
    idle: Vec<Http1>,
    shared: Option<http2::SendRequest<Incoming>>,
}

/// An answer whose body still comes in.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    /// The connection that the body comes over; `None`: it drives itself.
    pub(super) over: Option<InUse>,
}

impl Connections {
    /// Sends a request to a replica (`host:port`), over a connection that is there or a new one.
    pub(super) async fn send(
        &self,
        replica: &Arc<str>,
        protocol: Protocol,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        match protocol {
            Protocol::Http1 => self.send_http1(replica, request).await,
            Protocol::H2c => self.send_h2c(replica, request).await,
        }
    }

    /// Forgets the connections to a replica that is gone.
    pub(super) fn forget(&self, replica: &str) {
        self.kept().remove(replica);
    }

    async fn send_http1(
        &self,
        replica: &Arc<str>,
        mut request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        while let Some(connection) = self.idle(replica) {
            match self.over(connection, replica, request).await {
                // Closed while it was idle: the next one, or a new one.
                Err(Failure::NotSent { request: again, .. }) => request = *again,
                other => return other,
            }
        }
        match Http1::open(replica).await {
            Ok(connection) => self.over(connection, replica, request).await,
            Err(error) => Err(Failure::NotSent { request: Box::new(request), problem: error.to_string() }),
        }
    }

    fn idle(&self, replica: &str) -> Option<Http1> {
        loop {
            let mut connection = self.kept().get_mut(replica)?.idle.pop()?;
            if connection.idle_since.elapsed() < IDLE_TIMEOUT && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    async fn over(
        &self,
        connection: Http1,
        replica: &Arc<str>,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let mut used =
            InUse { connection: Some(connection), replica: replica.clone(), connections: self.clone() };
        let response = used.exchange(request).await?;
        Ok(Answer { response, over: Some(used) })
    }

    async fn send_h2c(&self, replica: &Arc<str>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let shared = self.kept().get(replica).and_then(|kept| kept.shared.clone());
        let mut sender = match shared.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => match open_h2c(replica).await {
                Ok(sender) => {
                    self.kept().entry(replica.clone()).or_default().shared = Some(sender.clone());
                    sender
                }
                Err(error) => {
                    return Err(Failure::NotSent { request: Box::new(request), problem: error.to_string() });
                }
            },
        };
        let response = sender.try_send_request(request).await.map_err(failure)?;
        Ok(Answer { response, over: None })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Arc<str>, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(mut error: hyper::client::conn::TrySendError<Request<Incoming>>) -> Failure {
    match error.take_message() {
        Some(request) => Failure::NotSent { request: Box::new(request), problem: error.error().to_string() },
        None => Failure::Broken(error.error().to_string()),
    }
}

async fn connect(replica: &str) -> io::Result<TokioIo<TcpStream>> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(replica)).await??;
    // Without the option answers are merely slower.
    let _ = stream.set_nodelay(true);
    Ok(TokioIo::new(stream))
}

async fn open_h2c(replica: &str) -> io::Result<http2::SendRequest<Incoming>> {
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .handshake(connect(replica).await?)
        .await
        .map_err(io::Error::other)?;
    // Requests see how their stream ends.
    tokio::spawn(async move { drop(driver.await) });
    Ok(sender)
}

/// An HTTP/1.1 connection.
struct Http1 {
    sender: http1::SendRequest<Incoming>,
    /// hyper has no name for it.
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    idle_since: Instant,
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("sender", &self.sender).finish_non_exhaustive()
    }
}

impl Http1 {
    async fn open(replica: &str) -> io::Result<Self> {
        let (sender, driver) = http1::Builder::new()
            .max_header_size(HEADER_BYTES_MAX)
            .handshake(connect(replica).await?)
            .await
            .map_err(io::Error::other)?;
        Ok(Self { sender, driver: Box::pin(driver.with_upgrades()), idle_since: Instant::now() })
    }

    /// Lets the connection see what the socket has, without waiting; false if it can take no request (any more).
    fn is_usable(&mut self) -> bool {
        // Without constraint: a task that has used up its share of a turn would be told that the socket has nothing.
        let driver = pin!(unconstrained(&mut self.driver));
        driver.poll(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }
}

/// A connection while a request uses it. It is kept for the next one if the answer came to its end.
#[derive(Debug)]
pub(super) struct InUse {
    /// `None` once it has ended, or was given to whoever goes on with it.
    connection: Option<Http1>,
    replica: Arc<str>,
    connections: Connections,
}

impl InUse {
    async fn exchange(&mut self, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let Self { connection, .. } = self;
        let Some(Http1 { sender, driver, .. }) = connection else {
            return Err(Failure::Broken("the connection has ended".into()));
        };
        // The answer comes only out of the driver, which this task polls with its own waker; so it is polled with none.
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        let mut ended = false;
        let answer = poll_fn(|cx| {
            if !ended {
                ended = driver.as_mut().poll(cx).is_ready();
            }
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await;
        if ended {
            // A body that is complete already can still be read.
            *connection = None;
        }
        answer.map_err(failure)
    }

    /// Lets the connection go on while a body is read from it.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.driver.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// The answer came to its end: the next request may use the connection.
    pub(super) fn keep(&mut self) {
        // Whether the request was read to its end, and the replica keeps it open, is looked at before it is used again.
        let Some(mut connection) = self.connection.take().filter(|connection| !connection.sender.is_closed())
        else {
            return;
        };
        connection.idle_since = Instant::now();
        let mut kept = self.connections.kept();
        if !kept.contains_key(&self.replica) {
            kept.insert(self.replica.clone(), Kept::default());
        }
        let Some(kept) = kept.get_mut(&self.replica) else { return };
        if kept.idle.len() < IDLE_CONNECTIONS_MAX {
            kept.idle.push(connection);
        }
    }

    /// Waits until the connection has ended: for what became of it after an upgrade.
    pub(super) async fn finish(mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.driver.await;
        }
    }
}
