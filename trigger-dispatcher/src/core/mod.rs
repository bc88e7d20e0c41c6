//! What decides. A synchronous state machine without I/O, clock or randomness inside.
//!
//! [`BrokerCore`] takes inputs and answers [`Action`]s. It owns a [`partition::Partition`] per partition: the head reader
//! ([`read`]) offers every event to the lanes ([`lane`]) of the triggers that want it; lanes that cannot keep up catch up by
//! sweeps ([`sweep`]); [`deliver`] starts attempts and decides by their outcomes; waits that are long go through the retry
//! topic ([`retry_book`]); [`save`] makes ends durable.

mod action;
mod body;
mod broker;
mod counters;
mod damaged;
mod deliver;
mod gate;
mod health;
mod lane;
mod open;
mod partition;
mod places;
mod progress;
mod read;
mod registry;
mod replay;
mod retry_book;
mod save;
mod shared;
#[cfg(test)]
mod simulation;
mod sweep;
#[cfg(test)]
mod tests;

pub(crate) use action::{
    Action, Admission, Attempt, AttemptId, Expired, FetchId, ResolveId, SaveId, Source, SweepId, Target, Turn,
};
pub(crate) use body::BodyBudget;
pub(crate) use broker::{BrokerCore, CoreConfig, Opened, PartitionStatus};
pub(crate) use counters::TriggerCounters;
pub(crate) use lane::Sizes;
pub(crate) use progress::RetryRow;
