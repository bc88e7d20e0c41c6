//! How a sink answers: a pure choice.

use std::fmt;
use std::str::FromStr;

use crate::failure::Failure;

/// A part of the requests that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fail {
    reaction: Reaction,
    percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    Take,
    Status(u16),
    Reset,
    Hang,
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take => f.write_str("taken"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Reset => f.write_str("reset"),
            Self::Hang => f.write_str("hang"),
        }
    }
}

impl FromStr for Fail {
    type Err = String;

    /// Reads `500:10%`, `reset:5%`, `hang:0.5%`; without a percentage: always.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no failure; write it like 500:10%, reset:5% or hang:1%");
        let (reaction, percent) = text.split_once(':').unwrap_or((text, "100%"));
        let reaction = match reaction {
            "reset" => Reaction::Reset,
            "hang" => Reaction::Hang,
            status => {
                Reaction::Status(status.parse().ok().filter(|code| is_status(*code)).ok_or_else(wrong)?)
            }
        };
        let percent: f64 = percent.trim_end_matches('%').parse().map_err(|_| wrong())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(wrong());
        }
        Ok(Self { reaction, percent })
    }
}

/// Statuses that a whole answer can have.
fn is_status(code: u16) -> bool {
    (200..=599).contains(&code)
}

/// Refuses what cannot be done.
pub(super) fn check(status: u16, fails: &[Fail]) -> Result<(), Failure> {
    if !is_status(status) {
        return Err(Failure::usage(
            Some("PEL-1708"),
            format!("--status {status}: a status is between 200 and 599"),
        ));
    }
    let percent: f64 = fails.iter().map(|fail| fail.percent).sum();
    if percent > 100.0 {
        return Err(Failure::usage(
            Some("PEL-1708"),
            format!("--fail: the parts make {percent}%, more than all"),
        ));
    }
    Ok(())
}

/// What to do with a request for which `drawn` of 0 to 100 was drawn.
pub(super) fn react(fails: &[Fail], drawn: f64) -> Reaction {
    let mut end = 0.0;
    for fail in fails {
        end += fail.percent;
        if drawn < end {
            return fail.reaction;
        }
    }
    Reaction::Take
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_share_the_requests_in_their_order() {
        let fails: Vec<Fail> = ["500:10%", "reset:5%", "hang:0.5%"].map(|text| text.parse().unwrap()).into();
        for (drawn, expected) in [
            (0.0, Reaction::Status(500)),
            (9.9, Reaction::Status(500)),
            (10.0, Reaction::Reset),
            (15.2, Reaction::Hang),
            (15.5, Reaction::Take),
            (99.9, Reaction::Take),
        ] {
            assert_eq!(react(&fails, drawn), expected, "{drawn}");
        }
        assert_eq!("503".parse(), Ok(Fail { reaction: Reaction::Status(503), percent: 100.0 }));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for text in ["", "500:", "500:101%", "500:-1%", "99:5%", "600:5%", "drop:5%", "500:nan%"] {
            assert!(text.parse::<Fail>().is_err(), "{text}");
        }
        let half: Fail = "500:60%".parse().unwrap();
        assert!(check(204, &[half, half]).is_err());
        assert!(check(100, &[]).is_err());
        assert!(check(204, &[half]).is_ok());
    }
}
