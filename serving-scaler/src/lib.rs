//! Serving: Services whose replicas start, are sized and stop by themselves.
//!
//! Three ways go through here. That of a *document*: a changed template makes a new one of the [`revisions`], and [`routes`]
//! say how much of the traffic it gets. That of a *request*: the [`gateway`] looks up its revision, and it waits in a
//! [`queue`] for a place on one of the [`replicas`]. That of a *decision*: [`signals`] are averaged over windows, a
//! [`decision`] turns them into a number, [`scaling`] sees to as many replicas. [`serving`] is the task that all three meet
//! in. What decides is synchronous and pure: time and randomness are arguments, so that one code serves tests, simulation
//! and production.

mod condition;
pub mod decision;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod limits;
pub mod queue;
pub mod replicas;
pub mod revisions;
pub mod routes;
pub mod scaling;
pub mod serving;
pub mod signals;
pub mod simulator;
mod state_file;

pub use condition::{Cause, Condition};
pub use state_file::StateError;
