//! Connections by origin: bounded, reused, closed when idle.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connect::Connector;
use super::exchange::{Connection, Exchange, Failure, Http1, Http2, Outgoing, closed};
use super::{Call, CallError, Target};

/// The shortest time between two looks for idle connections.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) struct Pool {
    connector: Connector,
    connections_per_origin: usize,
    idle_timeout: Duration,
    origins: RwLock<HashMap<String, Arc<Origin>>>,
}

/// What belongs to one `scheme://host:port`.
struct Origin {
    /// One for each connection (HTTP/1.1) or stream (HTTP/2) that may be in use; who waits for one waits in line.
    places: Semaphore,
    /// The most recently used is the last, and is taken first: the others may age.
    #[allow(clippy::vec_box, reason = "a connection is large and moves in and out with every call")]
    idle: Mutex<Vec<Box<Http1>>>,
    http2: Mutex<SharedHttp2>,
    /// Held while opening where HTTP/2 is known to be spoken, so that a crowd opens one connection, not many.
    opening: tokio::sync::Mutex<()>,
    speaks_http2: AtomicBool,
}

#[derive(Default)]
struct SharedHttp2 {
    connection: Option<Http2>,
    last_used: Option<Instant>,
}

impl Pool {
    pub(super) fn start(
        connector: Connector,
        connections_per_origin: usize,
        idle_timeout: Duration,
    ) -> Arc<Self> {
        let connections_per_origin = connections_per_origin.clamp(1, Semaphore::MAX_PERMITS);
        let pool =
            Arc::new(Self { connector, connections_per_origin, idle_timeout, origins: RwLock::default() });
        tokio::spawn(sweep_until_dropped(Arc::downgrade(&pool), (idle_timeout / 2).max(SWEEP_INTERVAL_MIN)));
        pool
    }

    pub(super) async fn call(&self, call: Call) -> Result<Response<Bytes>, CallError> {
        let Call { target, method, headers, body, timeout, response_limit } = call;
        let origin = self.origin(&target);
        let _place = origin.places.acquire().await.expect("the semaphore is never closed");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let sent = AtomicBool::new(false);
        let exchange = Exchange { target: &target, response_limit, sent: &sent };
        match tokio::time::timeout(timeout, self.attempt(&origin, request, &exchange)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout { after: timeout, sent: sent.load(Ordering::Relaxed) }),
        }
    }

    /// Goes through the pooled connections until one takes the request, then opens a new one. Only a request of which
    /// nothing was sent goes to a second connection.
    async fn attempt(
        &self,
        origin: &Origin,
        mut request: Outgoing,
        exchange: &Exchange<'_>,
    ) -> Result<Response<Bytes>, CallError> {
        loop {
            let pooled = origin.take_pooled();
            let is_fresh = pooled.is_none();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => self.open(origin, exchange.target).await?,
            };
            match connection.exchange(request, exchange).await {
                Ok(response) => {
                    origin.give_back(connection);
                    return Ok(response);
                }
                Err(Failure::NotSent { request: back, .. }) if !is_fresh => {
                    origin.forget(&connection);
                    request = *back;
                }
                Err(Failure::NotSent { problem, .. }) => return Err(closed(exchange.target, problem, false)),
                Err(Failure::Call(error)) => return Err(error),
            }
        }
    }

    async fn open(&self, origin: &Origin, target: &Target) -> Result<Connection, CallError> {
        let _opening = if origin.speaks_http2.load(Ordering::Relaxed) {
            let turn = origin.opening.lock().await;
            if let Some(connection) = origin.shared_http2() {
                return Ok(Connection::Http2(connection));
            }
            Some(turn)
        } else {
            None
        };
        let opened = self.connector.open(target).await?;
        origin.speaks_http2.store(opened.is_http2, Ordering::Relaxed);
        let connection = Connection::start(opened, target).await?;
        if let Connection::Http2(connection) = &connection {
            lock(&origin.http2).connection = Some(connection.clone());
        }
        Ok(connection)
    }

    fn origin(&self, target: &Target) -> Arc<Origin> {
        let known = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(target.origin()) {
            return origin.clone();
        }
        drop(known);
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Origin::new(self.connections_per_origin));
        origins.entry(target.origin().to_owned()).or_insert_with(new).clone()
    }

    /// Closes what has been idle for too long or was closed by the other side, and forgets origins without connections.
    fn sweep(&self) {
        let now = Instant::now();
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, origin| {
            lock(&origin.idle)
                .retain_mut(|http1| http1.idle_for(now) < self.idle_timeout && http1.is_usable());
            let unused = origin.places.available_permits() == self.connections_per_origin;
            let mut http2 = lock(&origin.http2);
            let expired = http2.last_used.is_none_or(|used| now - used >= self.idle_timeout);
            if unused && expired || http2.connection.as_ref().is_some_and(Http2::is_closed) {
                http2.connection = None;
            }
            // A caller that has looked an origin up holds a reference, and none can be looked up meanwhile.
            Arc::strong_count(origin) > 1 || !lock(&origin.idle).is_empty() || http2.connection.is_some()
        });
    }

    /// Connections that wait for use and that the other side has not closed.
    #[cfg(test)]
    pub(super) fn usable_connections(&self) -> usize {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        origins
            .values()
            .map(|origin| {
                lock(&origin.idle).iter_mut().filter_map(|http1| http1.is_usable().then_some(())).count()
            })
            .sum()
    }

    /// Connections that wait for use, over all origins.
    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        origins.values().map(|origin| lock(&origin.idle).len()).sum()
    }

    /// Origins that are remembered.
    #[cfg(test)]
    pub(super) fn origins(&self) -> usize {
        self.origins.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Origin {
    fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            idle: Mutex::default(),
            http2: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            speaks_http2: AtomicBool::new(false),
        }
    }

    fn take_pooled(&self) -> Option<Connection> {
        if self.speaks_http2.load(Ordering::Relaxed)
            && let Some(connection) = self.shared_http2()
        {
            return Some(Connection::Http2(connection));
        }
        loop {
            let mut http1 = lock(&self.idle).pop()?;
            if http1.is_usable() {
                return Some(Connection::Http1(http1));
            }
        }
    }

    fn shared_http2(&self) -> Option<Http2> {
        let mut shared = lock(&self.http2);
        if shared.connection.as_ref().is_some_and(Http2::is_closed) {
            shared.connection = None;
        }
        shared.connection.clone()
    }

    fn give_back(&self, connection: Connection) {
        match connection {
            Connection::Http1(mut http1) => {
                if http1.is_usable() {
                    http1.now_idle();
                    lock(&self.idle).push(http1);
                }
            }
            Connection::Http2(_) => lock(&self.http2).last_used = Some(Instant::now()),
        }
    }

    /// A shared connection that takes no request is of no use to others either.
    fn forget(&self, connection: &Connection) {
        if let Connection::Http2(_) = connection {
            lock(&self.http2).connection = None;
        }
    }
}

async fn sweep_until_dropped(pool: Weak<Pool>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}

/// Nothing panics while these locks are held, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connections_per_origin", &self.connections_per_origin)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
