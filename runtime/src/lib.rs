//! The walls and pipes every role needs: configuration, clock, graceful stop, HTTP listener, HTTP client, telemetry.
//!
//! Nothing here knows what an event is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod body;
pub mod client;
pub mod clock;
pub mod config;
pub mod drain;
pub mod egress;
pub mod limits;
pub mod listen;
mod stream;
pub mod telemetry;
#[cfg(test)]
mod tls_tests;
