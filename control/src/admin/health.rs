//! `/healthz`, `/readyz`, `/metrics`, `/api/v1/status`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pelton_runtime::telemetry::METRICS_CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::Admin;

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    if admin.parts.drain.is_signaled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Pelton is stopping\n".to_owned());
    }
    match (admin.parts.ready)().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

type Text = (StatusCode, [(http::HeaderName, &'static str); 1], String);

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Text {
    match admin.parts.metrics.encode() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, METRICS_CONTENT_TYPE)], text),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], format!("{error}\n"))
        }
    }
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let (snapshot, log) = (admin.snapshot(), admin.parts.log.status());
    let listeners =
        admin.config.listeners.iter().map(|(name, address)| ((*name).to_owned(), json!(address.to_string())));
    let uptime_ms = admin.parts.clock.unix_ms().saturating_sub(admin.started_ms);
    Json(json!({
        "version": admin.config.version,
        "uptimeSeconds": uptime_ms / 1000,
        "listeners": listeners.collect::<Map<_, _>>(),
        "log": {"unavailable": log.unavailable, "notices": log.notices, "full": log.full},
        "resources": {
            "generation": snapshot.generation,
            "brokers": snapshot.brokers.len(),
            "triggers": snapshot.triggers.len(),
            "services": snapshot.services.len(),
            "problems": snapshot.problems.len(),
        },
    }))
}
