//! From averages to a number of replicas.

mod delay;
pub mod kpa;
pub mod sizing;
