//! The features as users meet them: the real binary, real sockets, the embedded log.

mod bad_input;
mod full;
mod offline;
mod partitions;
#[path = "../suite/mod.rs"]
mod suite;
mod traces;

use pelton_tests::pelton::Site;
use suite::{BROKER, send, trigger};

/// Where a case of the suite runs: on the embedded log.
async fn site(yaml: &str) -> Option<Site> {
    Some(Site::new(yaml))
}
