//! The admin address: health, metrics, and the API under `/api/v1` (`docs/admin-api.md` is its reference).
//!
//! Commands are records in the log or files in the folder of resources, so that any process can take them and none is lost.

mod dead_letters;
mod extract;
mod guard;
mod hand_back;
mod health;
mod json;
mod letters;
mod refusal;
mod replay;
mod resources;
mod serving;
mod tail;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use futures_core::future::BoxFuture;
use pelton_event::Timestamp;
use pelton_event_log::EventLog;
use pelton_resources::contracts::{HandBack, ResourceWriter, ServingSource, StatusSource};
use pelton_resources::{Broker, Kind, NamespacedName, Snapshot};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::Secret;
use pelton_runtime::drain::Drain;
use pelton_runtime::telemetry::Metrics;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::limits;
use refusal::Refusal;

/// Settings of the admin address.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The address it listens on. On a loopback address only requests with a loopback `Host` are answered.
    pub address: SocketAddr,
    /// The bearer token that is asked for; not set: none.
    pub token: Secret,
    /// The version of this Pelton.
    pub version: &'static str,
    /// Name and address of every listener, for `/api/v1/status`.
    pub listeners: Vec<(&'static str, SocketAddr)>,
}

/// Tells whether Pelton can do its work, as `/readyz` answers: an append has succeeded, or why not.
pub type ReadyCheck = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the admin address shows and changes.
#[derive(Clone)]
pub struct AdminParts {
    /// The resources as the roles see them.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Changes them.
    pub writer: Arc<dyn ResourceWriter>,
    /// What each role knows about them.
    pub statuses: Vec<Arc<dyn StatusSource>>,
    /// What runs the Services; `None`: this process runs none.
    pub serving: Option<Arc<dyn ServingSource>>,
    /// Returns Brokers to Knative.
    pub hand_back: Arc<dyn HandBack>,
    /// The log, for dead letters, replays and tails.
    pub log: Arc<dyn EventLog>,
    /// The time.
    pub clock: Clock,
    /// For `/readyz`.
    pub ready: ReadyCheck,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// Tails end with it.
    pub drain: Drain,
}

impl fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminParts")
            .field("log", &self.log)
            .field("statuses", &self.statuses)
            .finish_non_exhaustive()
    }
}

/// The service of the admin address.
pub fn router(config: AdminConfig, parts: AdminParts) -> Router {
    let admin = Arc::new(Admin {
        started_ms: parts.clock.unix_ms(),
        tails: Arc::new(Semaphore::new(limits::TAILS_MAX)),
        closing: Mutex::default(),
        config,
        parts,
    });
    let letters = "/api/v1/brokers/{namespace}/{name}/dead-letters";
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/status", get(health::status))
        .route("/api/v1/problems", get(resources::problems))
        .route("/api/v1/apply", post(resources::apply))
        .route("/api/v1/{kind}/{namespace}/{name}/pause", post(resources::pause))
        .route("/api/v1/{kind}/{namespace}/{name}/resume", post(resources::resume))
        .route("/api/v1/services/{namespace}/{name}/traffic", post(serving::traffic))
        .route("/api/v1/services/{namespace}/{name}/rollback", post(serving::rollback))
        .route("/api/v1/services/{namespace}/{name}/logs", get(serving::logs))
        .route("/api/v1/revisions", get(serving::revisions))
        .route("/api/v1/revisions/{namespace}/{name}", get(serving::revision))
        .route("/api/v1/routes", get(serving::routes))
        .route("/api/v1/routes/{namespace}/{name}", get(serving::route))
        .route("/api/v1/triggers/{namespace}/{name}/replay", post(replay::replay))
        .route("/api/v1/brokers/{namespace}/{name}/tail", get(tail::tail))
        .route(
            "/api/v1/brokers/{namespace}/{name}/hand-back",
            post(hand_back::hand_back).delete(hand_back::undo),
        )
        .route(letters, get(dead_letters::list))
        .route(&format!("{letters}/replay"), post(dead_letters::replay))
        .route(&format!("{letters}/discard"), post(dead_letters::discard))
        .route(&format!("{letters}/{{id}}"), get(dead_letters::show))
        .route("/api/v1/{kind}", get(resources::list))
        .route("/api/v1/{kind}/{namespace}/{name}", get(resources::show).delete(resources::delete))
        .fallback(async || Refusal::NoSuchPath)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(middleware::from_fn_with_state(admin.clone(), guard::guard))
        .with_state(admin)
}

/// What the handlers share.
struct Admin {
    config: AdminConfig,
    parts: AdminParts,
    started_ms: u64,
    tails: Arc<Semaphore>,
    /// Held while dead letters are closed, so that none is closed twice.
    closing: Mutex<()>,
}

impl Admin {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.parts.snapshots.borrow().clone()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.parts.clock.unix_ms())
    }

    fn broker(&self, name: &NamespacedName) -> Result<Arc<Broker>, Refusal> {
        let snapshot = self.snapshot();
        let broker = snapshot.brokers.get(name).cloned();
        broker.ok_or_else(|| Refusal::NoSuchResource(Kind::Broker, name.clone()))
    }
}
