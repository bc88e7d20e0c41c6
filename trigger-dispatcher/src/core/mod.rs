//! What decides. A synchronous state machine without I/O, clock or randomness inside.

mod action;
mod body;
mod broker;
mod counters;

pub(crate) use action::{
    Action, Admission, Attempt, AttemptId, FetchId, ResolveId, SaveId, Source, SweepId, Target, Turn,
};
pub(crate) use body::{Body, BodyBudget};
pub(crate) use broker::{BrokerCore, CoreConfig, Opened, PartitionStatus};
pub(crate) use counters::TriggerCounters;
