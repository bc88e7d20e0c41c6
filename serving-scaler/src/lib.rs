//! Serving: which revisions a Service has, which of them a request goes to, and how many replicas each needs.
//!
//! *Revisions* follow from the templates of Services, *routes* from their traffic and from what became of the revisions.
//! How many replicas one needs is decided from what is measured: *signals* are averaged over windows, a *decision* turns
//! them into a number. All of it is synchronous and pure: time and randomness are arguments, files are texts that somebody
//! else reads and writes, so that one code serves tests, simulation and production. No Service is run yet: only
//! `pelton simulate decide` asks, and it asks for policy `kpa`.

mod condition;
pub mod decision;
#[cfg(test)]
mod fixtures;
pub mod limits;
pub mod revisions;
pub mod routes;
pub mod signals;
pub mod simulator;
mod state_file;

pub use condition::{Cause, Condition};
pub use state_file::StateError;
