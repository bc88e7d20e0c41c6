//! Troubles that last fill no log.

use std::time::Duration;

use tokio::time::Instant;

/// What was told of a trouble last: it is told when it changes, and of one that stays now and then.
#[derive(Debug, Default)]
pub struct Told(Option<(String, Instant)>);

impl Told {
    /// Whether to tell of the trouble now; it then counts as told.
    pub fn is_due(&mut self, trouble: &str, every: Duration) -> bool {
        let now = Instant::now();
        if self.0.as_ref().is_some_and(|(told, at)| told == trouble && now - *at < every) {
            return false;
        }
        self.0 = Some((trouble.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_told_when_it_changes_and_now_and_then() {
        const EVERY: Duration = Duration::from_secs(60);
        let mut told = Told::default();
        assert!(told.is_due("away", EVERY));
        assert!(!told.is_due("away", EVERY));
        assert!(told.is_due("refused", EVERY));
        tokio::time::advance(EVERY - Duration::from_millis(1)).await;
        assert!(!told.is_due("refused", EVERY));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(told.is_due("refused", EVERY));
    }
}
