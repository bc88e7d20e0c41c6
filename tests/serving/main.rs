//! Services as users meet them: the real binary, real replicas.

mod commands;
mod events;
mod failures;
mod fixture;
mod gateway;
mod restart;
mod revisions;
mod scale;
mod shim;
