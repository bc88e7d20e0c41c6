//! What a shim tells Pelton of its replica.

use std::fmt;
use std::str::FromStr;

/// A step in the life of a replica; its text is a line between shim and Pelton, which are always of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The program runs; the process that leads its group.
    Started(i32),
    /// The program could not be started.
    Failed(String),
    /// It has ended, and nothing is left of it.
    Ended(Ended),
}

/// How a replica has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// Nobody saw it.
    Unknown,
}

/// Goes on after the name of the replica.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown => f.write_str("is gone, and nobody saw how"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(leader) => write!(f, "started {leader}"),
            // One line, whatever the system says.
            Self::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
            Self::Ended(Ended::Exited(code)) => write!(f, "exited {code}"),
            Self::Ended(Ended::Killed(signal)) => write!(f, "killed {signal}"),
            Self::Ended(Ended::Unknown) => f.write_str("ended unseen"),
        }
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let (word, rest) = line.split_once(' ').ok_or(())?;
        let number = || rest.parse().map_err(|_| ());
        match word {
            "started" => Ok(Self::Started(number()?)),
            "failed" => Ok(Self::Failed(rest.to_owned())),
            "exited" => Ok(Self::Ended(Ended::Exited(number()?))),
            "killed" => Ok(Self::Ended(Ended::Killed(number()?))),
            "ended" => Ok(Self::Ended(Ended::Unknown)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        for report in [
            Report::Started(4711),
            Report::Failed("No such file or directory (os error 2)".into()),
            Report::Ended(Ended::Exited(137)),
            Report::Ended(Ended::Killed(9)),
            Report::Ended(Ended::Unknown),
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for line in ["", "started", "started x", "gone 1"] {
            assert_eq!(line.parse::<Report>(), Err(()), "{line}");
        }
    }
}
