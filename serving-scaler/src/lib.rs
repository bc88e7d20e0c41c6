//! Serving: how many replicas a revision needs, decided from what is measured.
//!
//! The modules are in the order of a decision's way: *signals* are averaged over windows, a *decision* turns them into a
//! number of replicas. Both are synchronous and pure: time is an argument, so that one code serves tests, simulation and
//! production. No Service is run yet: only `pelton simulate decide` asks, and it asks for policy `kpa`.

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
