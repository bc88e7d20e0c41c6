//! The harness of the tests that run the real binary: start and kill Pelton, play subscribers, send events, keep the account
//! book in which every event must come to its end, and start a real Kafka.

pub mod account;
pub mod fleet;
pub mod http;
pub mod kafka;
pub mod pelton;
pub mod producer;
pub mod subscriber;

use std::time::Duration;

/// How long a condition may take before the test fails. Generous: a slow machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` answers a value; panics with `what` when patience is at its end.
pub async fn eventually<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut condition: F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The directory with conformance data of others, if there is one. Without it the caller skips; in CI that is a failure.
#[must_use]
pub fn testdata(part: &str) -> Option<std::path::PathBuf> {
    let found = std::env::var_os("PELTON_TESTDATA").map(|dir| std::path::PathBuf::from(dir).join(part));
    if found.as_ref().is_some_and(|path| path.exists()) {
        return found;
    }
    skip(&format!("PELTON_TESTDATA has no {part}"));
    None
}

/// Says that a test is skipped and why; where skips are failures (`PELTON_NO_SKIPS`), fails.
pub fn skip(why: &str) {
    assert!(std::env::var_os("PELTON_NO_SKIPS").is_none(), "must not be skipped here: {why}");
    eprintln!("skipped: {why}");
}
