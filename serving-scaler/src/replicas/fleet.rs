//! Which replicas of a revision there are, and what is to be done to have as many as are wanted. Pure.
//!
//! A replica *starts*, is *ready*, *drains* (takes nothing new, finishes what it has) and *ends*. One that ends unasked is
//! started again, at once if it had run steadily, else after a while that grows with every failure.

use std::fmt;
use std::time::Duration;

use crate::limits::{RESTART_WAIT_MAX, RESTART_WAIT_MIN, STEADY_AFTER};

/// A replica, unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// The name that people see: the revision and a number.
    #[must_use]
    pub fn name(self, revision: &str) -> String {
        format!("{revision}-{}", self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a replica is in its life. Times are since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its program is started, and is not ready yet.
    Starting,
    /// It takes requests on this port.
    Ready {
        /// The port.
        port: u16,
        /// Since when.
        since: Duration,
    },
    /// It was ready, and says that it is not at the moment.
    NotReady,
    /// It finishes what it has, at most until then.
    Draining {
        /// Then it is told to end, whatever it still has.
        until: Duration,
    },
    /// It was told to end.
    Ending,
}

/// A replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub id: ReplicaId,
    /// Where it is in its life.
    pub phase: Phase,
    /// When it was started.
    pub began: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start this replica.
    Start(ReplicaId),
    /// Send requests to it, on this port.
    Admit(ReplicaId, u16),
    /// Send nothing new to it.
    Withdraw(ReplicaId),
    /// Tell it to end.
    End(ReplicaId),
}

/// What a replica tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It takes requests on this port.
    Ready(u16),
    /// It takes none at the moment.
    NotReady,
    /// It is gone; why.
    Ended(Box<str>),
}

/// The replicas of a revision.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: Vec<Member>,
    desired: u32,
    /// Ends in a row that nobody had asked for.
    failures: u32,
    /// Before that, no replica is started.
    start_at: Duration,
    /// Why the last replica ended that nobody had told to.
    last_failure: Option<Box<str>>,
}

impl Fleet {
    /// The replicas, oldest first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Why the last replica ended that nobody had told to, as long as none was ready since.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// Ends in a row that nobody had asked for, and when the next replica is started.
    #[must_use]
    pub const fn failures(&self) -> (u32, Duration) {
        (self.failures, self.start_at)
    }

    /// Replicas that take requests.
    #[must_use]
    pub fn ready(&self) -> u32 {
        self.count(|phase| matches!(phase, Phase::Ready { .. }))
    }

    /// Replicas that will take requests, as far as one can know.
    #[must_use]
    pub fn starting(&self) -> u32 {
        self.count(|phase| matches!(phase, Phase::Starting | Phase::NotReady))
    }

    fn count(&self, is_one: impl Fn(Phase) -> bool) -> u32 {
        let count = self.members.iter().filter(|member| is_one(member.phase)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// So many are wanted from now on.
    pub const fn want(&mut self, desired: u32) {
        self.desired = desired;
    }

    /// Takes in what a replica tells; answers what is to be done at once.
    pub fn hear(&mut self, id: ReplicaId, news: News, now: Duration) -> Option<Order> {
        let index = self.members.iter().position(|member| member.id == id)?;
        let member = &mut self.members[index];
        match (news, member.phase) {
            (News::Ready(port), Phase::Starting | Phase::NotReady) => {
                member.phase = Phase::Ready { port, since: now };
                self.last_failure = None;
                Some(Order::Admit(id, port))
            }
            (News::NotReady, Phase::Ready { .. }) => {
                member.phase = Phase::NotReady;
                Some(Order::Withdraw(id))
            }
            (News::Ready(_) | News::NotReady, _) => None,
            (News::Ended(why), phase) => {
                self.members.remove(index);
                if !matches!(phase, Phase::Draining { .. } | Phase::Ending) {
                    self.failed(phase, why, now);
                }
                Some(Order::Withdraw(id))
            }
        }
    }

    fn failed(&mut self, phase: Phase, why: Box<str>, now: Duration) {
        self.last_failure = Some(why);
        let ran_steadily =
            matches!(phase, Phase::Ready { since, .. } if now.saturating_sub(since) >= STEADY_AFTER);
        if ran_steadily {
            (self.failures, self.start_at) = (0, now);
            return;
        }
        if now < self.start_at {
            // Those that fail together are one failure.
            return;
        }
        let wait = RESTART_WAIT_MIN.saturating_mul(1 << self.failures.min(16)).min(RESTART_WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        self.start_at = now + wait;
    }

    /// What is to be done now. `in_flight` tells the requests that a replica has; `drain` how long they may take; `next`
    /// gives ids of replicas.
    pub fn step(
        &mut self,
        now: Duration,
        drain: Duration,
        in_flight: impl Fn(ReplicaId) -> u32,
        mut next: impl FnMut() -> ReplicaId,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        self.forget_failures(now);
        self.end_drained(now, &in_flight, &mut orders);
        let there = (self.ready() + self.starting()) as usize;
        let desired = self.desired as usize;
        if there > desired {
            self.drain(there - desired, now + drain, &in_flight, &mut orders);
            self.end_drained(now, &in_flight, &mut orders);
        } else if there < desired && now >= self.start_at {
            let count = match self.failures {
                0 => desired - there,
                _ if self.waits_for_one() => 0,
                _ => 1,
            };
            for _ in 0..count {
                let id = next();
                self.members.push(Member { id, phase: Phase::Starting, began: now });
                orders.push(Order::Start(id));
            }
        }
        orders
    }

    /// One that was started after the last failure and runs steadily shows that it is over.
    fn forget_failures(&mut self, now: Duration) {
        let is_proof = |member: &Member| {
            matches!(member.phase, Phase::Ready { since, .. } if now.saturating_sub(since) >= STEADY_AFTER)
                && member.began >= self.start_at
        };
        if self.failures > 0 && self.members.iter().any(is_proof) {
            self.failures = 0;
        }
    }

    /// After a failure one is tried before the others.
    fn waits_for_one(&self) -> bool {
        self.failures > 0 && self.starting() > 0
    }

    /// Those who start go first, then those with the least to finish, the youngest first.
    fn drain(
        &mut self,
        count: usize,
        until: Duration,
        in_flight: &impl Fn(ReplicaId) -> u32,
        orders: &mut Vec<Order>,
    ) {
        let mut candidates: Vec<_> = self
            .members
            .iter()
            .filter_map(|member| match member.phase {
                Phase::Starting | Phase::NotReady => Some((0, in_flight(member.id), member.id)),
                Phase::Ready { .. } => Some((1, in_flight(member.id), member.id)),
                Phase::Draining { .. } | Phase::Ending => None,
            })
            .collect();
        candidates.sort_by_key(|(rank, in_flight, id)| (*rank, *in_flight, std::cmp::Reverse(*id)));
        for (_, _, id) in candidates.into_iter().take(count) {
            orders.push(Order::Withdraw(id));
            if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
                member.phase = Phase::Draining { until };
            }
        }
    }

    fn end_drained(&mut self, now: Duration, in_flight: &impl Fn(ReplicaId) -> u32, orders: &mut Vec<Order>) {
        for member in &mut self.members {
            if let Phase::Draining { until } = member.phase
                && (now >= until || in_flight(member.id) == 0)
            {
                member.phase = Phase::Ending;
                orders.push(Order::End(member.id));
            }
        }
    }

    /// When there is something to do, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let drained = self.members.iter().filter_map(|member| match member.phase {
            Phase::Draining { until } => Some(until),
            _ => None,
        });
        let is_short = self.ready() + self.starting() < self.desired;
        drained.chain((is_short && !self.waits_for_one()).then_some(self.start_at)).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A fleet with its ids and the requests of its replicas.
    #[derive(Default)]
    struct World {
        fleet: Fleet,
        next: u64,
        in_flight: BTreeMap<u64, u32>,
    }

    impl World {
        fn step(&mut self, now: u64) -> Vec<Order> {
            let in_flight = |id: ReplicaId| self.in_flight.get(&id.0).copied().unwrap_or(0);
            let next = &mut self.next;
            self.fleet.step(at(now), DRAIN, in_flight, || {
                *next += 1;
                ReplicaId(*next)
            })
        }

        fn want(&mut self, desired: u32, now: u64) -> Vec<Order> {
            self.fleet.want(desired);
            self.step(now)
        }

        fn ready(&mut self, id: u64, now: u64) {
            let port = 20_000 + u16::try_from(id).unwrap();
            let order = self.fleet.hear(ReplicaId(id), News::Ready(port), at(now));
            assert_eq!(order, Some(Order::Admit(ReplicaId(id), port)));
        }

        fn ended(&mut self, id: u64, now: u64) {
            self.fleet.hear(ReplicaId(id), News::Ended("it exited with code 1".into()), at(now));
        }
    }

    fn start(ids: impl IntoIterator<Item = u64>) -> Vec<Order> {
        ids.into_iter().map(|id| Order::Start(ReplicaId(id))).collect()
    }

    #[test]
    fn as_many_are_started_as_are_wanted() {
        let mut world = World::default();
        assert_eq!(world.want(3, 0), start(1..=3));
        assert_eq!(world.step(1), []);
        world.ready(2, 1);
        assert_eq!((world.fleet.ready(), world.fleet.starting()), (1, 2));
        assert_eq!(world.want(5, 2), start(4..=5));
    }

    #[test]
    fn the_idle_go_first_and_the_busy_finish() {
        let mut world = World::default();
        world.want(4, 0);
        (1..=3).for_each(|id| world.ready(id, 1));
        world.in_flight = BTreeMap::from([(1, 1), (2, 0), (3, 0)]);
        let gone = |id| [Order::Withdraw(ReplicaId(id)), Order::End(ReplicaId(id))];
        assert_eq!(world.want(3, 2), gone(4), "who starts serves nobody yet");
        assert_eq!(world.want(2, 3), gone(3), "of two idle ones the younger");
        assert_eq!(
            world.want(0, 4),
            [Order::Withdraw(ReplicaId(2)), Order::Withdraw(ReplicaId(1)), Order::End(ReplicaId(2))]
        );
        assert_eq!(world.step(303), [], "the request goes on");
        assert_eq!(world.fleet.next_at(), Some(at(304)));
        assert_eq!(world.step(304), [Order::End(ReplicaId(1))], "until its time is over");
    }

    #[test]
    fn who_finishes_earlier_ends_earlier() {
        let mut world = World::default();
        world.want(1, 0);
        world.ready(1, 1);
        world.in_flight = BTreeMap::from([(1, 1)]);
        assert_eq!(world.want(0, 2), [Order::Withdraw(ReplicaId(1))]);
        world.in_flight.clear();
        assert_eq!(world.step(3), [Order::End(ReplicaId(1))]);
        world.ended(1, 4);
        assert_eq!(world.fleet.last_failure(), None, "it was told to");
        assert_eq!(world.want(1, 5), start([2]), "and nothing is waited for");
    }

    #[test]
    fn a_replica_that_ran_steadily_is_replaced_at_once() {
        let mut world = World::default();
        world.want(1, 0);
        world.ready(1, 1);
        world.ended(1, 11);
        assert_eq!(world.step(11), start([2]));
    }

    #[test]
    fn a_crash_loop_backs_off_and_one_is_tried_at_a_time() {
        let mut world = World::default();
        world.want(3, 0);
        (1..=3).for_each(|id| world.ended(id, 0));
        assert_eq!(world.fleet.next_at(), Some(at(1)), "those that fail together are one failure");
        assert_eq!(world.step(0), []);
        assert_eq!(world.step(1), start([4]));
        assert_eq!(world.step(2), [], "the others wait for it");
        world.ended(4, 5);
        assert_eq!(world.step(6), []);
        assert_eq!(world.step(7), start([5]), "2 s after the second failure");
        assert_eq!(world.fleet.last_failure(), Some("it exited with code 1"));
        for round in 0..10 {
            world.ended(5 + round, 100 * (round + 1));
            assert!(world.fleet.next_at().unwrap() <= at(100 * (round + 1)) + RESTART_WAIT_MAX);
            assert_eq!(world.step(100 * (round + 1) + 60).len(), 1);
        }
    }

    #[test]
    fn once_one_is_ready_after_failures_the_others_follow() {
        let mut world = World::default();
        world.want(3, 0);
        (1..=3).for_each(|id| world.ended(id, 0));
        assert_eq!(world.step(1), start([4]));
        world.ready(4, 5);
        assert_eq!(world.step(5), start([5]), "still one after the other");
        world.ready(5, 6);
        assert_eq!(world.step(6), start([6]));
    }

    #[test]
    fn while_one_is_tried_there_is_nothing_to_do_before_it_tells() {
        let mut world = World::default();
        world.want(3, 0);
        (1..=3).for_each(|id| world.ended(id, 0));
        assert_eq!(world.step(1), start([4]));
        assert_eq!(world.fleet.next_at(), None, "who looks at a time that is over would look without end");
        world.ready(4, 5);
        assert_eq!(world.fleet.next_at(), Some(at(1)), "the next one, at once");
    }

    #[test]
    fn a_failure_is_forgotten_once_one_that_came_after_it_runs_steadily() {
        let mut world = World::default();
        world.want(1, 0);
        world.ended(1, 0);
        assert_eq!(world.step(1), start([2]));
        world.ready(2, 2);
        assert_eq!(world.step(12), []);
        assert_eq!(world.want(4, 12), start(3..=5), "all at once again");
        // One that ran before is no proof.
        world.ended(3, 13);
        world.step(20);
        assert_eq!(world.fleet.failures().0, 1);
    }

    #[test]
    fn one_that_is_not_ready_for_a_while_takes_nothing() {
        let mut world = World::default();
        world.want(1, 0);
        world.ready(1, 1);
        let id = ReplicaId(1);
        assert_eq!(world.fleet.hear(id, News::NotReady, at(2)), Some(Order::Withdraw(id)));
        assert_eq!(world.step(2), [], "it counts as one that starts");
        world.ready(1, 3);
    }

    proptest! {
        /// Whatever happens: never more are started than wanted, and with good luck the number is reached.
        #[test]
        fn the_number_is_reached_and_never_passed(actions in proptest::collection::vec((0_u8..5, 0_u32..6), 1..60)) {
            let mut world = World::default();
            let mut now = 0;
            for (action, number) in actions {
                now += 1;
                let ids: Vec<u64> = world.fleet.members().iter().map(|member| member.id.0).collect();
                let chosen = ids.get(number as usize).map(|id| ReplicaId(*id));
                match (action, chosen) {
                    (0, _) => world.fleet.want(number),
                    (1, Some(id)) => { world.fleet.hear(id, News::Ready(1), at(now)); }
                    (2, Some(id)) => { world.fleet.hear(id, News::NotReady, at(now)); }
                    (3, Some(id)) => { world.fleet.hear(id, News::Ended("x".into()), at(now)); }
                    (4, Some(id)) => { world.in_flight.insert(id.0, number); }
                    _ => {}
                }
                let desired = world.fleet.desired;
                world.step(now);
                prop_assert!(world.fleet.ready() + world.fleet.starting() <= desired);
            }
            world.in_flight.clear();
            for _ in 0..20 {
                now += 100;
                world.step(now);
                for member in world.fleet.members().to_vec() {
                    let news = if member.phase == Phase::Ending { News::Ended("".into()) } else { News::Ready(1) };
                    world.fleet.hear(member.id, news, at(now));
                }
            }
            prop_assert_eq!(world.fleet.ready(), world.fleet.desired);
            prop_assert_eq!(world.fleet.members().len(), world.fleet.desired as usize);
        }
    }
}
