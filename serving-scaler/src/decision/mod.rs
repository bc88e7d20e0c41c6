//! From averages to a number of replicas.

pub mod combined;
mod delay;
pub mod kpa;
pub mod sizing;
