//! Against a real Apache Kafka. Skipped where there is none (tests/kafka/fetch.sh).

mod book;
mod faults;
mod harness;
mod rebalance;
mod security;
