//! Against a real Apache Kafka. Skipped where there is none (tests/kafka/fetch.sh).

mod harness;
