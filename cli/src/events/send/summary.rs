//! What became of the events: the last words of `pelton send`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::compose::SourceError;
use super::post::Outcome;
use crate::failure::Failure;
use crate::output::counted;

/// The code of the ingress for a broker that is not there.
const NO_SUCH_BROKER: &str = "PEL-1002";

/// Events by what became of them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Those of `refused` whose broker is not there.
    without_broker: AtomicU64,
    unknown: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, outcome: &Outcome) {
        let one = match outcome {
            Outcome::Accepted => &self.accepted,
            Outcome::Unknown { .. } => &self.unknown,
            Outcome::Refused { code, .. } => {
                if code == NO_SUCH_BROKER {
                    self.without_broker.fetch_add(1, Ordering::Relaxed);
                }
                &self.refused
            }
        };
        one.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Summary {
            accepted: of(&self.accepted),
            refused: of(&self.refused),
            without_broker: of(&self.without_broker),
            unknown: of(&self.unknown),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    accepted: u64,
    refused: u64,
    without_broker: u64,
    unknown: u64,
}

impl Summary {
    /// Events that have an end, if an unknown one.
    pub(super) fn ended(&self) -> u64 {
        self.accepted + self.refused + self.unknown
    }

    /// Of a run that came to its end; the rate is told where there was enough to tell one.
    pub(super) fn whole(&self, seconds: f64, with_rate: bool) -> String {
        let mut text = format!("{} accepted, {} not accepted", counted(self.accepted, "event"), self.refused);
        if self.unknown > 0 {
            text.push_str(&format!(", {} unknown (may be stored)", self.unknown));
        }
        text.push_str(&format!(", in {seconds:.1}s"));
        if with_rate {
            text.push_str(&format!(" ({:.0}/s)", self.accepted as f64 / seconds.max(0.001)));
        }
        text
    }

    /// Of a run that was cut short; how many were not sent is not known of standard input.
    pub(super) fn cut(&self, not_sent: Option<u64>) -> String {
        let mut text = format!("{} accepted", self.accepted);
        if self.refused > 0 {
            text.push_str(&format!(", {} not accepted", self.refused));
        }
        text.push_str(&format!(", {} unknown (may be stored)", self.unknown));
        match not_sent {
            Some(count) => text.push_str(&format!(", {count} not sent")),
            None => text.push_str(", the rest of standard input not sent"),
        }
        text
    }

    /// The failure of a line that is no event.
    pub(super) fn failed_at(&self, error: &SourceError) -> Failure {
        let Some(line) = error.line else { return Failure::usage(Some("PEL-1708"), error.message.as_str()) };
        let (before, were) =
            (counted(self.accepted, "event"), if self.accepted == 1 { "was" } else { "were" });
        let message = format!(
            "{}; {before} before it {were} accepted, nothing from line {line} on was sent",
            error.message
        );
        Failure::usage(Some("PEL-1709"), message)
    }

    /// Whether every event was accepted; `broker` is where they were sent.
    pub(super) fn judge(&self, broker: &str) -> Result<(), Failure> {
        let bad = self.refused + self.unknown;
        if bad == 0 {
            return Ok(());
        }
        if self.without_broker == self.ended() {
            let message =
                format!("there is no Broker {broker}; `pelton get brokers -A` lists those that are");
            return Err(Failure::not_found(Some(NO_SUCH_BROKER), message));
        }
        let was = if bad == 1 { "was" } else { "were" };
        Err(Failure::failed(Some("PEL-1707"), format!("{} {was} not accepted", counted(bad, "event"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn counts(accepted: usize, codes: &[&str], unknown: usize) -> Summary {
        let counts = Counts::default();
        (0..accepted).for_each(|_| counts.add(&Outcome::Accepted));
        for code in codes {
            counts.add(&Outcome::Refused { code: (*code).to_owned(), message: String::new() });
        }
        (0..unknown).for_each(|_| counts.add(&Outcome::Unknown { message: String::new() }));
        counts.summary()
    }

    #[test]
    fn every_event_is_in_the_summary() {
        assert_eq!(counts(3, &[], 0).whole(0.42, false), "3 events accepted, 0 not accepted, in 0.4s");
        assert_eq!(
            counts(1, &["PEL-1003"], 2).whole(2.0, true),
            "1 event accepted, 1 not accepted, 2 unknown (may be stored), in 2.0s (0/s)"
        );
        assert_eq!(counts(3, &[], 1).cut(Some(6)), "3 accepted, 1 unknown (may be stored), 6 not sent");
        assert!(counts(3, &["x"], 0).cut(None).contains("1 not accepted, 0 unknown"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_not_found() {
        assert!(counts(2, &[], 0).judge("default/shop").is_ok());
        let exit = |summary: Summary| summary.judge("default/shop").unwrap_err().exit();
        assert_eq!(exit(counts(0, &["PEL-1002", "PEL-1002"], 0)), Exit::NotFound);
        assert_eq!(exit(counts(1, &["PEL-1002"], 0)), Exit::Failed);
        assert_eq!(exit(counts(0, &["PEL-1002", "PEL-1003"], 0)), Exit::Failed);
        assert_eq!(exit(counts(0, &[], 1)), Exit::Failed);
    }

    #[test]
    fn a_wrong_line_tells_what_was_sent_before_it() {
        let error = SourceError { message: "ev.jsonl, line 3, column 2: not JSON".to_owned(), line: Some(3) };
        let failure = counts(2, &[], 0).failed_at(&error);
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(
            failure.to_string(),
            "ev.jsonl, line 3, column 2: not JSON; 2 events before it were accepted, nothing from line 3 on was sent"
        );
    }
}
