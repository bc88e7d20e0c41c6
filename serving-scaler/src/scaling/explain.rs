//! "Why 7?": a decision in words.

use std::fmt;
use std::time::Duration;

use crate::decision::combined::{Events, Reason};

/// What has led to a number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It has just begun, with its initial scale.
    Begun,
    /// The Service is paused: the number stays.
    Paused,
    /// Policy `kpa`.
    Kpa {
        /// Whether it panics.
        is_panicking: bool,
    },
    /// Policy `combined`.
    Combined(Reason),
}

/// A decision with all that it was made from. Its text is for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explained {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// What was decided, before bounds.
    pub desired: u32,
    /// What came of it.
    pub replicas: u32,
    /// Replicas that were ready.
    pub ready: u32,
    /// Replicas that were starting.
    pub starting: u32,
    /// Requests at a time, over the stable and the panic window.
    pub requests: (f64, f64),
    /// The events that waited; `None`: that was not known.
    pub events: Option<Events>,
    /// The concurrency that one replica is to have.
    pub target: f64,
    /// Room for a burst; policy `kpa` only.
    pub excess_burst_capacity: Option<i32>,
    /// What has led to it.
    pub cause: Cause,
}

impl Explained {
    pub(super) const fn begun(replicas: u32) -> Self {
        Self {
            at: Duration::ZERO,
            desired: replicas,
            replicas,
            ready: 0,
            starting: 0,
            requests: (0.0, 0.0),
            events: None,
            target: 0.0,
            excess_burst_capacity: None,
            cause: Cause::Begun,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "its initial scale",
            Self::Paused => "the Service is paused, so the number stays",
            Self::Kpa { is_panicking: true } => {
                "far more requests than its replicas are to have: it only grows"
            }
            Self::Kpa { is_panicking: false } => "its requests",
            Self::Combined(reason) => match reason {
                Reason::Idle => "there is nothing to do",
                Reason::Requests => "its requests",
                Reason::Events => "its events",
                Reason::RequestsAndEvents => "its requests and events",
                Reason::Panic => "far more work than its replicas, starting ones included, are to have",
                Reason::Decay => "less is needed, and replicas are taken away step by step",
                Reason::Unknown => "fewer would do, but how many events wait is not known",
                Reason::Delay => "more were needed within scale-down-delay",
                Reason::ActivationScale => "activation-scale: so many if any",
            },
        })
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.replicas, self.cause)?;
        if matches!(self.cause, Cause::Begun | Cause::Paused) {
            return Ok(());
        }
        let (stable, panic) = self.requests;
        write!(f, "; requests at a time {stable:.2} (lately {panic:.2})")?;
        if let Some(events) = self.events {
            write!(
                f,
                ", events due {}, in flight {}, {:.1}/s, {:.3} s each",
                events.due,
                events.in_flight,
                events.rate,
                events.service_time.as_secs_f64()
            )?;
        }
        if self.desired != self.replicas {
            write!(f, "; without bounds it would be {}", self.desired)?;
        }
        Ok(())
    }
}
