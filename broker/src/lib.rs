//! The front door: CloudEvents over HTTP into the log.
//!
//! ```text
//! receive   method, path and Host → the broker; the body within its limit; the events, decoded and validated once
//! admit     the client's, the broker's and the process's share of the bytes in flight         → or a Refusal
//! append    partition and envelope; one batch, all or nothing; durable before anything is said → or a Refusal
//! answer    202, empty
//! ```
//!
//! The paths: `POST /NAMESPACE/BROKER` (a trailing slash does not count). Where the path names no broker, a Host of the form
//! `BROKER.NAMESPACE`, `BROKER.NAMESPACE.localhost`, `BROKER.NAMESPACE.svc` or `BROKER.NAMESPACE.svc.cluster.local` does, whatever
//! its port. `GET /healthz` and `GET /readyz` are probes, and so is any GET with `K-Network-Probe: probe`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod receive;
mod routes;

mod admit;
mod append;
mod traced;

mod answer;
mod refusal;

mod ingress;
pub mod limits;
mod metrics;
mod status;

#[cfg(test)]
mod tests;

pub use admit::Client;
pub use ingress::{Config, Error, Handle, Ingress, ResponseBody};
pub use refusal::Refusal;
