//! The kafka engine: topics of a Kafka cluster as the log, shared by any number of processes.
//!
//! # What is where
//!
//! A broker's events are in a topic of their own (`knative-broker-<namespace>-<name>` by default), in the CloudEvents Kafka
//! binding ([`pelton_event::kafka`]), so that other clients read and write them, too. Beside it are `_retry`, `_dead-letter`
//! and `_progress`, each with a partition for every partition of the events.
//!
//! * **Appending** (`producer`): an idempotent producer with `acks=all`. An append is answered when every record of it is
//!   acknowledged; what is not certain is *unknown*, never success.
//! * **Reading** (`readers`): cursors that continue where they stand, `read_committed`; gaps of transactions and compaction
//!   are passed, not waited for.
//! * **Ownership** (`member`, `take_over`, `owner`): one consumer group for each events topic shares its partitions out among the
//!   dispatchers. The member only keeps its session alive; a [`Lease`](crate::Lease) says for how long that is known.
//! * **Progress** (`progress`): see there; late writers are fenced by keys, not by luck.
//! * **Offsets** (`incarnation`): a topic that is deleted and made anew gives none twice.
//! * **Groups** (`mirror`): the consumer groups of triggers follow their lanes; commits that others left are where lanes
//!   without progress start.
//! * **Clusters** (`routes`): each topic is on one; those without a topic are given up.
//! * **Topics** (`topics`): made where they are missing; one that exists keeps its settings.

mod client;
mod cluster;
mod config;
mod cursor;
mod engine;
mod incarnation;
mod known;
mod member;
mod mirror;
#[cfg(test)]
mod mocked;
mod native;
mod owner;
mod positions;
mod producer;
mod progress;
mod readers;
mod routes;
mod sizes;
mod take_over;
mod topics;

pub use config::{Config, Connection, Mechanism, Protocol, Sasl};
pub use engine::KafkaLog;
