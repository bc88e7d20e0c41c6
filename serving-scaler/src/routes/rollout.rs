//! The gradual rollout of a new latest revision (Knative Serving, annotation `serving.knative.dev/rollout-duration`).
//!
//! A new revision gets one percent at once. How long it takes until that is in force says how long a step is at least; the
//! rest moves in equal steps from then on, so that the rollout ends about its duration after its start. A revision that
//! comes while another is rolled out gets its percent from that one; the older ones wait until the newer of them are
//! drained.
//!
//! It differs from Knative's in two cases that Knative does not meet: where the latest revision is one that the rollout
//! moves away from, since the newest has failed, all goes back to it at once; and what belongs to a revision that is gone
//! goes to the newest that is left.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A revision and its part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The revision.
    pub revision: String,
    /// Its part, in percent.
    pub percent: u8,
}

impl Share {
    /// So many percent to `revision`.
    #[must_use]
    pub fn new(revision: &str, percent: u8) -> Self {
        Self { revision: revision.to_owned(), percent }
    }
}

/// How the traffic that follows the latest revision is spread while it moves. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rollout {
    /// What is spread, in percent of all traffic.
    percent: u8,
    /// Oldest revision first; they add up to `percent`, and of several none has nothing.
    shares: Vec<Share>,
    /// How it goes on; `None`: all is where it belongs.
    moving: Option<Moving>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Moving {
    /// When the newest revision got its first percent.
    started: u64,
    /// `None` until the first percent is in force.
    pace: Option<Pace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Pace {
    next_step: u64,
    /// The time between two steps in milliseconds.
    step_duration: u64,
    /// What moves in a step, in percent of all traffic.
    step_size: u8,
}

impl Rollout {
    /// Everything at `latest`.
    #[must_use]
    pub fn at_once(latest: &str, percent: u8) -> Self {
        Self { percent, shares: vec![Share::new(latest, percent)], moving: None }
    }

    /// Where the traffic is, oldest revision first.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Whether traffic is still to move.
    #[must_use]
    pub const fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// When [`Rollout::advance`] has something to do; `None`: not by time alone.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        Some(self.moving?.pace?.next_step)
    }

    /// Follows `percent` and `latest`, and takes the next step if it is time.
    pub fn advance(&mut self, percent: u8, latest: &str, duration: Duration, now: u64) {
        // One percent cannot be split, and what had none has nothing to move from.
        if duration.is_zero() || percent <= 1 || self.percent == 0 || self.shares.is_empty() {
            *self = Self::at_once(latest, percent);
            return;
        }
        self.adjust(percent);
        match self.shares.iter().position(|share| share.revision == latest) {
            None => self.begin(latest, now),
            Some(index) if index + 1 == self.shares.len() && index > 0 => self.step_if_due(now),
            Some(_) => *self = Self::at_once(latest, percent),
        }
    }

    /// Notes that the shares are in force: with that a rollout that has just begun has its pace.
    pub fn in_force(&mut self, duration: Duration, now: u64) {
        if let Some(moving) = &mut self.moving
            && moving.pace.is_none()
        {
            moving.pace = Some(Pace::new(self.percent, duration, moving.started, now));
        }
    }

    /// Gives what belongs to revisions that are gone to the newest that is left.
    pub(super) fn drop_missing(&mut self, exists: impl Fn(&str) -> bool) {
        self.shares.retain(|share| exists(&share.revision));
        let left: u8 = self.percents().sum();
        if let Some(newest) = self.shares.last_mut() {
            newest.percent += self.percent.saturating_sub(left);
        }
    }

    /// Whether it can have been written by this code.
    pub(super) fn is_sound(&self) -> bool {
        let step_fits = |moving: Moving| {
            moving.pace.is_none_or(|pace| (1..=100).contains(&pace.step_size) && pace.step_duration > 0)
        };
        let only_shares_move = self.moving.is_none() == (self.shares.len() <= 1);
        let none_is_empty = self.shares.len() <= 1 || self.percents().all(|percent| percent > 0);
        let fits = self.percent <= 100 && (self.shares.is_empty() || self.sum() == u32::from(self.percent));
        fits && only_shares_move && none_is_empty && self.moving.is_none_or(step_fits)
    }

    /// What the shares add up to, in percent of all traffic.
    pub(super) fn sum(&self) -> u32 {
        self.percents().map(u32::from).sum()
    }

    fn percents(&self) -> impl Iterator<Item = u8> {
        self.shares.iter().map(|share| share.percent)
    }

    /// Makes the shares add up to `percent`: the newest gets more, the oldest get less.
    fn adjust(&mut self, percent: u8) {
        if let Some(newest) = self.shares.last_mut() {
            newest.percent += percent.saturating_sub(self.percent);
        }
        let mut less = self.percent.saturating_sub(percent);
        while less > 0
            && let Some(oldest) = self.shares.first_mut()
        {
            let taken = less.min(oldest.percent);
            oldest.percent -= taken;
            less -= taken;
            if oldest.percent == 0 {
                self.shares.remove(0);
            }
        }
        self.percent = percent;
    }

    /// Gives `latest` one percent of the newest share.
    fn begin(&mut self, latest: &str, now: u64) {
        if let Some(newest) = self.shares.last_mut() {
            newest.percent -= 1;
        }
        self.shares.retain(|share| share.percent > 0);
        self.shares.push(Share::new(latest, 1));
        self.moving = Some(Moving { started: now, pace: None });
    }

    fn step_if_due(&mut self, now: u64) {
        let Some(Moving { pace: Some(pace), .. }) = &mut self.moving else { return };
        if now < pace.next_step {
            return;
        }
        pace.next_step = now.saturating_add(pace.step_duration);
        let step_size = pace.step_size;
        let Some(mut newest) = self.shares.pop() else { return };
        let mut left = step_size;
        while left > 0
            && let Some(newest_but_one) = self.shares.last_mut()
        {
            let moved = left.min(newest_but_one.percent);
            newest_but_one.percent -= moved;
            newest.percent += moved;
            left -= moved;
            if newest_but_one.percent == 0 {
                self.shares.pop();
            }
        }
        self.shares.push(newest);
        if self.shares.len() == 1 {
            self.moving = None;
        }
    }
}

impl Pace {
    /// Of a rollout of `percent` that began at `started` and whose first percent is in force since `now`.
    fn new(percent: u8, duration: Duration, started: u64, now: u64) -> Self {
        let to_first_percent = now.saturating_sub(started).div_ceil(1000).max(1) as f64;
        let seconds = (duration.as_secs_f64() - to_first_percent).max(1.0);
        let rest = f64::from(percent.saturating_sub(1).max(1));
        let steps = (seconds / to_first_percent).max(1.0).min(rest);
        let step_duration = Duration::try_from_secs_f64(seconds / steps).unwrap_or(Duration::MAX);
        let step_duration = u64::try_from(step_duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            next_step: now.saturating_add(step_duration),
            step_duration,
            step_size: (rest / steps).round() as u8,
        }
    }
}

#[cfg(test)]
mod tests;
