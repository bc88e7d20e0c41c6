//! The part itself: a loop that follows the resources, and a handle that serves requests.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::Full;
use hyper::body::Body;
use pelton_event::{Timestamp, http as http_form};
use pelton_event_log::EventLog;
use pelton_resources::Snapshot;
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::Drain;
use pelton_runtime::telemetry::Tracer;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admit::{Budget, Client, Clients, Reservation, Shares};
use crate::append::Arrival;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::routes::{Door, Route, Routes};
use crate::{answer, append, limits, receive, traced};

/// The body of an answer.
pub type ResponseBody = Full<Bytes>;

/// The settings of the ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bytes of an event's body, or of the data of one event of a batch.
    pub body_bytes_max: u64,
    /// Bytes of a batch's body.
    pub batch_bytes_max: u64,
    /// Events of a batch.
    pub batch_events_max: usize,
    /// A body that takes longer to arrive is refused.
    pub body_timeout: Duration,
    /// Bytes of all requests in flight.
    pub in_flight_bytes: u64,
    /// The part of them that one broker may take.
    pub broker_in_flight_bytes: u64,
    /// The part of them that the connections of one client address may take.
    pub client_in_flight_bytes: u64,
    /// Whether the values of `ce-` headers are percent-encoded, as the HTTP binding demands.
    pub percent_encoded: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: limits::BODY_BYTES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            batch_events_max: limits::BATCH_EVENTS_MAX,
            body_timeout: limits::BODY_TIMEOUT,
            in_flight_bytes: limits::IN_FLIGHT_BYTES,
            broker_in_flight_bytes: limits::BROKER_IN_FLIGHT_BYTES,
            client_in_flight_bytes: limits::CLIENT_IN_FLIGHT_BYTES,
            percent_encoded: true,
        }
    }
}

/// Why there is no ingress.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A share in which not even the largest request has room.
    #[error(
        "ingress: {share} is {bytes} bytes, less than one request of {needed} bytes may need; raise it or lower the body limit"
    )]
    Share {
        /// Which.
        share: &'static str,
        /// Its bytes.
        bytes: u64,
        /// What the largest request takes.
        needed: u64,
    },
    /// The metrics are registered already.
    #[error("ingress metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Error {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Share { .. } => "PEL-1015",
            Self::Metrics(_) => "PEL-1016",
        }
    }
}

pub(crate) struct Shared {
    config: Config,
    log: Arc<dyn EventLog>,
    clock: Clock,
    metrics: Metrics,
    total: Budget,
    clients: Arc<Clients>,
    pub(crate) routes: ArcSwap<Routes>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The generation of the snapshot that `routes` was made from; `None` before the first.
    generation: watch::Sender<Option<u64>>,
}

/// Follows the resources: opens the topic of each broker and keeps the table of routes.
pub struct Ingress {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// Serves requests. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    tracer: Tracer,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Ingress {
    /// An ingress that appends to `log` what comes in for the brokers of `snapshots`.
    ///
    /// # Errors
    /// A share without room for one request; metrics that are registered twice.
    pub fn new(
        config: Config,
        log: Arc<dyn EventLog>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        clock: Clock,
        registry: &Registry,
    ) -> Result<(Self, Handle), Error> {
        let needed = limits::REQUEST_OVERHEAD_BYTES + config.body_bytes_max.max(config.batch_bytes_max);
        let shares = [
            ("the room for events in flight", config.in_flight_bytes),
            ("the share of a broker", config.broker_in_flight_bytes),
            ("the share of a client", config.client_in_flight_bytes),
        ];
        if let Some((share, bytes)) = shares.into_iter().find(|(_, bytes)| *bytes < needed) {
            return Err(Error::Share { share, bytes, needed });
        }
        let shared = Arc::new(Shared {
            log,
            clock,
            metrics: Metrics::register(registry)?,
            total: Budget::new(config.in_flight_bytes),
            clients: Clients::new(config.client_in_flight_bytes),
            routes: ArcSwap::default(),
            snapshots: snapshots.clone(),
            generation: watch::Sender::new(None),
            config,
        });
        Ok((Self { shared: shared.clone(), snapshots }, Handle { shared, tracer: Tracer::default() }))
    }

    /// Follows the resources until the process stops.
    pub async fn run(mut self, drain: Drain) {
        loop {
            let snapshot = self.snapshots.borrow_and_update().clone();
            tokio::select! {
                () = drain.signaled() => return,
                () = self.shared.follow(&snapshot) => {}
            }
            let settled = self.shared.routes.load().is_settled();
            tokio::select! {
                () = drain.signaled() => return,
                changed = self.snapshots.changed() => if changed.is_err() {
                    return drain.signaled().await;
                },
                () = tokio::time::sleep(limits::REOPEN_INTERVAL), if !settled => {}
            }
        }
    }
}

impl Shared {
    async fn follow(&self, snapshot: &Snapshot) {
        let before = self.routes.load_full();
        let bytes = self.config.broker_in_flight_bytes;
        let routes = Routes::make(snapshot, &before, &*self.log, &self.metrics, bytes).await;
        for gone in before.names().filter(|name| routes.of(name).is_none()) {
            self.metrics.remove(gone);
        }
        self.routes.store(Arc::new(routes));
        self.generation.send_replace(Some(snapshot.generation));
    }

    #[cfg(test)]
    pub(crate) async fn wait_for_generation(&self, generation: u64) {
        self.generation.subscribe().wait_for(|made| *made >= Some(generation)).await.unwrap();
    }
}

impl Handle {
    /// This handle, with a span of `tracer` for each event whose trace is sampled.
    #[must_use]
    pub fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// A new connection from `address`; its requests present it to [`handle`](Self::handle).
    #[must_use]
    pub fn connect(&self, address: IpAddr) -> Client {
        self.shared.clients.connect(address)
    }

    /// Ends when the brokers are loaded and requests can be served.
    pub async fn loaded(&self) {
        // The sender is in `shared`, so this cannot fail.
        let _ = self.shared.generation.subscribe().wait_for(Option::is_some).await;
    }

    /// Whether events can be accepted, and if not, why.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn ready(&self) -> Result<(), String> {
        if self.shared.generation.borrow().is_none() {
            return Err(Refusal::Starting.to_string());
        }
        self.shared.log.status().unavailable.map_or(Ok(()), Err)
    }

    /// Answers one request.
    pub async fn handle<B>(&self, client: &Client, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (head, mut body) = request.into_parts();
        if head.method == Method::POST {
            let (route, result) = self.accept(client, &head.uri, &head.headers, &mut body).await;
            let Err(refusal) = result else { return answer::accepted() };
            self.count(route.as_deref(), &refusal);
            return finish(refusal.into_response(), head.version, &mut body).await;
        }
        let response = self.other_method(&head.method, &head.uri, &head.headers).await;
        let response = response.unwrap_or_else(|refusal| {
            self.count(None, &refusal);
            refusal.into_response()
        });
        finish(response, head.version, &mut body).await
    }

    fn count(&self, route: Option<&Route>, refusal: &Refusal) {
        if let Some(route) = route {
            route.account.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.metrics.refused(route.map(|route| &route.broker.name), refusal.code());
        tracing::debug!(code = refusal.code(), %refusal, "refused");
    }

    async fn other_method(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if method == Method::OPTIONS {
            self.route(uri, headers).await?;
            return Ok(answer::options(headers));
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::Method);
        }
        if answer::is_network_probe(headers) {
            return Ok(answer::network_probe(headers));
        }
        match uri.path() {
            "/healthz" => Ok(answer::health(Ok(()))),
            "/readyz" => Ok(answer::health(self.ready())),
            _ => Err(Refusal::Method),
        }
    }

    /// The way of a POST. The route comes back beside the result, so that a refusal is counted for its broker.
    async fn accept<B>(
        &self,
        client: &Client,
        uri: &Uri,
        headers: &HeaderMap,
        body: &mut B,
    ) -> (Option<Arc<Route>>, Result<(), Refusal>)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        match self.route(uri, headers).await {
            Ok(route) => {
                route.account.metrics.received.inc();
                let result = self.store(client, &route, headers, body).await;
                (Some(route), result)
            }
            Err(refusal) => (None, Err(refusal)),
        }
    }

    async fn store<B>(
        &self,
        client: &Client,
        route: &Route,
        headers: &HeaderMap,
        body: &mut B,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Shared { config, total, metrics, clock, log, .. } = &*self.shared;
        let name = &route.broker.name;
        let (topic, partitions) = match &route.door {
            Door::Open { topic, partitions } => (topic, *partitions),
            Door::Closed { reason, .. } => {
                return Err(Refusal::NotReady { name: name.clone(), reason: reason.clone() });
            }
        };
        receive::check_coding(headers)?;
        let shares = Shares {
            client: &client.budget,
            broker: &route.account.budget,
            total,
            gauge: &metrics.in_flight_bytes,
            name,
        };
        let mut reservation = Reservation::new(shares);
        let max = if receive::is_batch(headers) { config.batch_bytes_max } else { config.body_bytes_max };
        let body = receive::collect(body, max, config.body_timeout, &mut reservation).await?;

        let metrics = &route.account.metrics;
        let began = Instant::now();
        let events = receive::decode(headers, body, config)?;
        let arrival = Arrival {
            time: Timestamp::from_millis(clock.unix_ms()),
            trace: http_form::trace_context(headers),
        };
        let random = |partitions| fastrand::u32(..partitions);
        let mut batch = append::batch(events, topic, partitions, &arrival, random)?;
        let decoded = Instant::now();
        metrics.decode.observe((decoded - began).as_secs_f64());

        let (events, bytes) = (batch.records.len() as u64, append::bytes_of(&batch));
        if events > 0 {
            let spans = traced::begin(&self.tracer, &mut batch, name);
            traced::end(spans, log.append(batch).await)?;
            metrics.append.observe(decoded.elapsed().as_secs_f64());
        }
        metrics.accepted_events.inc_by(events);
        metrics.accepted_bytes.inc_by(bytes);
        Ok(())
    }

    /// The broker of a request. A broker that is in force already but not yet open here is waited for, so that an event may
    /// follow at once on the command that made its broker.
    async fn route(&self, uri: &Uri, headers: &HeaderMap) -> Result<Arc<Route>, Refusal> {
        let path = uri.path();
        // HTTP/2 has the authority in the URI, HTTP/1.1 in the Host header.
        let host = uri.host().or_else(|| headers.get(header::HOST)?.to_str().ok());
        if let Some(route) = self.shared.routes.load().find(path, host) {
            return Ok(route.clone());
        }
        let newest = self.shared.snapshots.borrow().generation;
        let mut generation = self.shared.generation.subscribe();
        let caught_up = generation.wait_for(|made| made.is_some_and(|made| made >= newest));
        if tokio::time::timeout(limits::NEW_BROKER_WAIT, caught_up).await.is_err() {
            return Err(Refusal::Starting);
        }
        self.shared
            .routes
            .load()
            .find(path, host)
            .cloned()
            .ok_or_else(|| Refusal::NoSuchBroker { path: path.chars().take(200).collect() })
    }
}

/// The answer to a request whose body was not read to its end. An HTTP/1.1 connection ends with it unless the rest is little
/// (HTTP/2 has no such header: there only the stream ends).
async fn finish<B>(
    mut response: Response<ResponseBody>,
    version: Version,
    body: &mut B,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Unpin,
{
    if !receive::discard(body).await && version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
