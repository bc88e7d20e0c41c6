//! Against a real Apache Kafka. Skipped where there is none (tests/kafka/fetch.sh).

mod anew;
mod book;
mod contract;
mod faults;
mod harness;
mod rebalance;
mod security;
#[path = "../suite/mod.rs"]
mod suite;
mod take_over;

use pelton_tests::pelton::Site;

/// Where a case of the suite runs: on the Kafka that all tests share.
async fn site(yaml: &str) -> Option<Site> {
    Some(pelton_tests::kafka::shared().await?.site(yaml))
}
