//! From a decision to the replicas that there are to be: bounds, the first scale, and the way to zero, as Knative goes it.
//!
//! A revision is *activating* until enough replicas are ready, then *active*, and *inactive* once it has nothing to do. Zero
//! is reached from inactive only, so that requests that are still on their way to a replica find it there.

use std::time::Duration;

/// What a revision that does not get ready is given on top of its deadline.
const ACTIVATION_BUFFER: Duration = Duration::from_secs(30);

/// What bounds the replicas of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// At least so many, as long as a route leads to the revision.
    pub min: u32,
    /// At most so many; `None`: no bound.
    pub max: Option<u32>,
    /// So many must have been ready once before fewer will do.
    pub initial: u32,
    /// Whether the last replica may go.
    pub to_zero: bool,
    /// The window of the decision: a revision stays active at least so long.
    pub stable_window: Duration,
    /// How long the gateway has to be in the way before the last replica goes.
    pub grace: Duration,
    /// How long the last replica is kept when there is nothing to do.
    pub retention: Duration,
    /// How long replicas may take to get ready.
    pub start_deadline: Duration,
}

/// Whether a route leads to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// It is not known yet; bounds are kept.
    Unknown,
    /// At least one.
    Reachable,
    /// None: nothing keeps its replicas.
    Unreachable,
}

/// What a revision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Replicas are starting.
    Activating,
    /// Enough replicas are ready.
    Active,
    /// There is nothing to do.
    Inactive,
}

/// What is known at the time of a sizing. Times are since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// What was decided; `None`: nothing is known yet.
    pub desired: Option<u32>,
    /// Replicas there are to be by now.
    pub replicas: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Whether a route leads here.
    pub reachability: Reachability,
    /// Since when every request comes through the gateway; `None`: not all do.
    pub gateway_since: Option<Duration>,
}

/// The state of a revision between sizings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizing {
    activity: Activity,
    since: Duration,
    /// Whether the initial scale was reached.
    is_initialized: bool,
    /// Why it is inactive.
    has_timed_out: bool,
}

/// What comes of a sizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Replicas there are to be from now on.
    pub replicas: u32,
    /// When it is to be looked at again, if nothing else happens.
    pub again_at: Option<Duration>,
}

/// What the rules answer: what is wanted, and what is put into force.
#[derive(Debug, Clone, Copy)]
struct Step {
    wanted: Option<u32>,
    applied: Option<u32>,
    again_at: Option<Duration>,
}

impl Sizing {
    /// A revision that was just made.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self { activity: Activity::Activating, since: now, is_initialized: false, has_timed_out: false }
    }

    /// A revision that reached its initial scale before, and has nothing to do.
    #[must_use]
    pub const fn initialized(now: Duration) -> Self {
        Self { activity: Activity::Inactive, since: now, is_initialized: true, has_timed_out: false }
    }

    /// What the revision is about, and since when.
    #[must_use]
    pub const fn activity(&self) -> (Activity, Duration) {
        (self.activity, self.since)
    }

    /// Whether it is inactive because its replicas did not get ready in time.
    #[must_use]
    pub const fn has_timed_out(&self) -> bool {
        self.has_timed_out
    }

    /// Sizes the revision.
    pub fn size(&mut self, limits: &Limits, situation: Situation, now: Duration) -> Size {
        let step = self.step(limits, situation, now);
        self.proceed(limits, situation, step.wanted, now);
        Size { replicas: step.applied.unwrap_or(situation.replicas), again_at: step.again_at }
    }

    fn step(&self, limits: &Limits, situation: Situation, now: Duration) -> Step {
        let nothing = Step { wanted: None, applied: None, again_at: None };
        let Some(desired) = situation.desired else {
            return if self.activity == Activity::Activating { self.starting(limits, now) } else { nothing };
        };
        match self.bounded(limits, situation.reachability, desired) {
            0 => self.towards_zero(limits, situation, now),
            some => Step { wanted: Some(some), applied: Some(some), ..nothing },
        }
    }

    fn bounded(&self, limits: &Limits, reachability: Reachability, desired: u32) -> u32 {
        let is_reachable = reachability != Reachability::Unreachable;
        let mut min = if is_reachable { limits.min } else { 0 };
        if limits.initial > 1 && !self.is_initialized && is_reachable {
            min = min.max(limits.initial);
        }
        desired.max(min).min(limits.max.unwrap_or(u32::MAX))
    }

    fn towards_zero(&self, limits: &Limits, situation: Situation, now: Duration) -> Step {
        let one = Step { wanted: Some(1), applied: Some(1), again_at: None };
        if !limits.to_zero {
            return one;
        }
        match self.activity {
            Activity::Activating => self.starting(limits, now),
            Activity::Active => {
                let quiet_at = self.since + limits.stable_window;
                if now >= quiet_at {
                    Step { wanted: Some(0), applied: None, again_at: Some(now) }
                } else {
                    Step { again_at: Some(quiet_at), ..one }
                }
            }
            Activity::Inactive => self.leaving(limits, situation, now),
        }
    }

    /// Nothing is wanted while replicas start; those that do not get ready in time are given up.
    fn starting(&self, limits: &Limits, now: Duration) -> Step {
        let given_up_at = self.since + limits.start_deadline + ACTIVATION_BUFFER;
        if now > given_up_at {
            return Step { wanted: Some(0), applied: Some(0), again_at: None };
        }
        Step { wanted: None, applied: None, again_at: Some(given_up_at) }
    }

    fn leaving(&self, limits: &Limits, situation: Situation, now: Duration) -> Step {
        let is_kept = situation.reachability != Reachability::Unreachable;
        let retention = if is_kept { limits.retention } else { Duration::ZERO };
        let zero = Step { wanted: Some(0), applied: Some(0), again_at: None };
        if now >= self.since + limits.grace.max(retention) {
            return zero;
        }
        if now < self.since + retention {
            return Step { applied: None, again_at: Some(self.since + retention), ..zero };
        }
        match situation.gateway_since.map(|since| since + limits.grace) {
            Some(at) if at <= now => zero,
            again_at => {
                Step { applied: None, again_at: again_at.or(Some(self.since + limits.grace)), ..zero }
            }
        }
    }

    /// What the revision is about from now on.
    fn proceed(&mut self, limits: &Limits, situation: Situation, wanted: Option<u32>, now: Duration) {
        let is_kept = situation.reachability != Reachability::Unreachable;
        let min = if is_kept { limits.min } else { 0 };
        let needed = if self.is_initialized { min.max(1) } else { min.max(limits.initial) };
        let goes_on = wanted.is_some_and(|wanted| wanted > 0) || self.activity != Activity::Inactive;
        // With an initial scale of 0 that is so from the beginning.
        self.is_initialized |= situation.ready >= needed;
        if wanted == Some(0) || needed == 0 {
            self.has_timed_out = self.activity == Activity::Activating && wanted == Some(0);
            self.turn(Activity::Inactive, now);
        } else if situation.ready >= needed {
            if goes_on {
                self.turn(Activity::Active, now);
            }
        } else if goes_on {
            self.turn(Activity::Activating, now);
        }
    }

    fn turn(&mut self, activity: Activity, now: Duration) {
        if self.activity != activity {
            (self.activity, self.since) = (activity, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn limits() -> Limits {
        Limits {
            min: 0,
            max: None,
            initial: 1,
            to_zero: true,
            stable_window: seconds(60),
            grace: seconds(60),
            retention: Duration::ZERO,
            start_deadline: seconds(600),
        }
    }

    /// A revision that reached its initial scale and has been about something for so many seconds.
    fn sizing(activity: Activity, for_seconds: u64) -> Sizing {
        Sizing { activity, since: NOW - seconds(for_seconds), is_initialized: true, has_timed_out: false }
    }

    fn situation(replicas: u32, desired: u32) -> Situation {
        Situation {
            desired: Some(desired),
            replicas,
            ready: replicas,
            reachability: Reachability::Reachable,
            gateway_since: None,
        }
    }

    /// Replicas after one sizing, and in how many seconds it is to be looked at again.
    fn sized(sizing: &Sizing, limits: &Limits, situation: Situation) -> (u32, Option<u64>) {
        let Size { replicas, again_at } = sizing.clone().size(limits, situation, NOW);
        (replicas, again_at.map(|at| (at - NOW).as_secs()))
    }

    #[test]
    fn an_active_revision_stays_for_its_window() {
        let active = |for_seconds| sizing(Activity::Active, for_seconds);
        assert_eq!(sized(&active(59), &limits(), situation(1, 0)), (1, Some(1)));
        assert_eq!(sized(&active(59), &limits(), situation(10, 0)), (1, Some(1)));
        assert_eq!(sized(&active(60), &limits(), situation(1, 0)), (1, Some(0)), "inactive first");
        assert_eq!(sized(&active(5), &limits(), situation(1, 10)), (10, None));
        let always = Limits { to_zero: false, ..limits() };
        assert_eq!(sized(&active(600), &always, situation(3, 0)), (1, None));
    }

    #[test]
    fn an_inactive_revision_goes_once_the_gateway_is_in_the_way() {
        let inactive = |for_seconds| sizing(Activity::Inactive, for_seconds);
        let behind_gateway = |for_seconds: u64| Situation {
            gateway_since: Some(NOW - seconds(for_seconds)),
            ..situation(1, 0)
        };
        assert_eq!(sized(&inactive(59), &limits(), situation(1, 0)), (1, Some(1)));
        assert_eq!(sized(&inactive(60), &limits(), situation(1, 0)), (0, None));
        assert_eq!(sized(&inactive(59), &limits(), behind_gateway(60)), (0, None));
        assert_eq!(sized(&inactive(50), &limits(), behind_gateway(50)), (1, Some(10)));
        let kept = Limits { retention: seconds(120), ..limits() };
        assert_eq!(sized(&inactive(60), &kept, behind_gateway(600)), (1, Some(60)));
        assert_eq!(sized(&inactive(120), &kept, behind_gateway(600)), (0, None));
        let unreachable = Situation { reachability: Reachability::Unreachable, ..situation(1, 0) };
        assert_eq!(sized(&inactive(60), &kept, unreachable), (0, None));
    }

    #[test]
    fn bounds_hold_while_a_route_leads_there() {
        let two = Limits { min: 2, ..limits() };
        let active = sizing(Activity::Active, 600);
        for reachability in [Reachability::Reachable, Reachability::Unknown] {
            let situation = Situation { reachability, ..situation(10, 0) };
            assert_eq!(sized(&active, &two, situation), (2, None));
        }
        let unreachable = Situation { reachability: Reachability::Unreachable, ..situation(10, 0) };
        assert_eq!(sized(&sizing(Activity::Inactive, 600), &two, unreachable), (0, None));
        let eight = Limits { max: Some(8), ..limits() };
        assert_eq!(sized(&active, &eight, situation(1, 10)), (8, None));
        let unknown = Situation { desired: None, ..situation(3, 0) };
        assert_eq!(sized(&active, &limits(), unknown), (3, None), "nothing is known, nothing is changed");
    }

    #[test]
    fn an_initial_scale_of_zero_is_reached_at_once() {
        let mut sizing = Sizing::new(NOW);
        let limits = Limits { initial: 0, ..limits() };
        sizing.size(&limits, situation(0, 0), NOW);
        assert_eq!(sizing.activity(), (Activity::Inactive, NOW));
        let wanted = Situation { desired: Some(1), ..situation(0, 0) };
        assert_eq!(sizing.size(&limits, wanted, NOW + seconds(1)).replicas, 1);
        assert_eq!(
            sizing.activity(),
            (Activity::Activating, NOW + seconds(1)),
            "its start is under the deadline"
        );
    }

    #[test]
    fn the_initial_scale_is_reached_once() {
        let fresh = |activity, for_seconds| Sizing { is_initialized: false, ..sizing(activity, for_seconds) };
        let initial = |initial| Limits { initial, ..limits() };
        assert_eq!(sized(&fresh(Activity::Activating, 1), &initial(2), situation(0, 1)), (2, None));
        assert_eq!(sized(&fresh(Activity::Activating, 1), &initial(5), situation(5, 1)), (5, None));
        assert_eq!(sized(&sizing(Activity::Active, 1), &initial(2), situation(2, 0)).0, 1);
        let unreachable = Situation { reachability: Reachability::Unreachable, ..situation(2, 0) };
        assert_eq!(sized(&fresh(Activity::Active, 1), &initial(2), unreachable).0, 1);
    }

    #[test]
    fn replicas_that_do_not_get_ready_are_given_up() {
        let starting = |for_seconds| sizing(Activity::Activating, for_seconds);
        let not_ready = Situation { ready: 0, ..situation(1, 0) };
        assert_eq!(sized(&starting(300), &limits(), not_ready), (1, Some(330)));
        let mut late = starting(631);
        assert_eq!(late.size(&limits(), not_ready, NOW).replicas, 0);
        assert!(late.has_timed_out());
        assert_eq!(late.activity(), (Activity::Inactive, NOW));
    }

    #[test]
    fn a_day_of_a_revision() {
        let (mut sizing, limits) = (Sizing::new(NOW), limits());
        let mut at = |second: u64, desired: u32, replicas: u32, ready: u32| {
            let since = Some(NOW);
            let situation = Situation { ready, gateway_since: since, ..situation(replicas, desired) };
            let size = sizing.size(&limits, situation, NOW + seconds(second));
            (size.replicas, sizing.activity().0)
        };
        assert_eq!(at(0, 1, 0, 0), (1, Activity::Activating));
        assert_eq!(at(5, 1, 1, 1), (1, Activity::Active));
        assert_eq!(at(30, 4, 1, 1), (4, Activity::Active));
        assert_eq!(at(50, 0, 4, 4), (1, Activity::Active));
        assert_eq!(at(65, 0, 1, 1), (1, Activity::Inactive));
        assert_eq!(at(66, 0, 1, 1), (0, Activity::Inactive), "the gateway was in the way from the start");
        assert_eq!(at(100, 1, 0, 0), (1, Activity::Activating));
        assert_eq!(at(102, 1, 1, 1), (1, Activity::Active));
    }
}
