//! Who gets which place. A synchronous state machine without clock and randomness of its own.
//!
//! A waiter's way: [`Core::arrive`] gives it a place at once or lets it wait; [`Core::grant`] grants places to those that wait
//! and says whom to wake; with [`Core::take`] it comes for its place; [`Core::give_back`] ends it, and so does [`Core::leave`]
//! at any time before. After every call that can make a place or a waiter, `grant` is to be called.

use std::sync::Arc;

use super::replicas::{Load, Replicas};
use super::waiters::{End, List, State, Waiter, WaiterId, Waiters};
use crate::limits::{QUEUE_MAX, WAKES_MAX};

/// What a place is for. Both share the places fairly: while both wait, grants alternate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An HTTP request.
    Request,
    /// The delivery of an event.
    Delivery,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 2] = [Self::Request, Self::Delivery];

    const fn other(self) -> Self {
        match self {
            Self::Request => Self::Delivery,
            Self::Delivery => Self::Request,
        }
    }
}

/// A place on a replica. It comes back through [`Core::give_back`] or [`Core::take_another`], else it is lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that does not come back is lost"]
pub struct Place {
    /// The number of the replica.
    replica: u64,
    class: Class,
}

/// A place and where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<R> {
    /// What has to come back.
    pub place: Place,
    /// The replica.
    pub replica: R,
}

/// What became of who came.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<R> {
    /// It has a place.
    Granted(Grant<R>),
    /// It waits.
    Waits(WaiterId),
}

/// What became of a waiter.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<R> {
    /// It has a place, and waits no more.
    Granted(Grant<R>),
    /// It waits on.
    Waits,
    /// There will be no place, and it waits no more.
    Ended(Closed),
}

/// Why there will be no place at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The revision is gone.
    #[error("the revision is gone")]
    Gone,
    /// It did not start within its progress deadline.
    #[error("the revision does not start: {0}")]
    DoesNotStart(Arc<str>),
}

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Too many wait already; later there may be room.
    #[error("{QUEUE_MAX} requests wait for a place already")]
    Full,
    /// There will never be one.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Grants the places on replicas `R` of one revision. `W` is what wakes a waiter.
#[derive(Debug)]
pub struct Core<R, W> {
    replicas: Replicas<R>,
    waiters: Waiters<W>,
    /// The class of the last grant.
    last: Class,
    /// How many of those that were told and have not come are not waited for.
    not_waited_for: usize,
    closed: Option<Closed>,
}

impl<R: Clone + PartialEq, W> Core<R, W> {
    /// Without replicas; each will have at most `container_concurrency` requests at a time, 0: any number.
    #[must_use]
    pub const fn new(container_concurrency: u32) -> Self {
        Self {
            replicas: Replicas::new(container_concurrency),
            waiters: Waiters::new(),
            last: Class::Delivery,
            not_waited_for: 0,
            closed: None,
        }
    }

    /// A replica takes requests from now on; one that drains does so again.
    pub fn ready(&mut self, replica: R) {
        self.replicas.ready(replica);
    }

    /// A replica gets no new requests. What it has in flight goes on; who was granted a place on it and has not come for it
    /// waits again, at the head.
    pub fn drain(&mut self, replica: &R) {
        if let Some(number) = self.replicas.drain(replica) {
            self.revoke(number);
        }
    }

    /// A replica is no more. Places on it that come back later go nowhere.
    pub fn gone(&mut self, replica: &R) {
        if let Some(number) = self.replicas.gone(replica) {
            self.revoke(number);
        }
    }

    /// Somebody comes. It gets a place at once if there is one, nobody of its class waits for that, and it is not the other
    /// class's turn.
    ///
    /// # Errors
    /// If the queue is closed, or [`QUEUE_MAX`] of its class wait.
    pub fn arrive(&mut self, class: Class, random: &mut fastrand::Rng) -> Result<Arrival<R>, NoPlace> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone().into());
        }
        if self.candidate(class).is_none()
            && self.is_turn_of(class)
            && let Some(grant) = self.grant_place(class, None, random)
        {
            return Ok(Arrival::Granted(grant));
        }
        if self.waiting(class) >= QUEUE_MAX {
            return Err(NoPlace::Full);
        }
        Ok(Arrival::Waits(self.wait(List::Fresh(class), class, None)))
    }

    /// Gives a place back for one on another replica: for a request that could not be sent, not even in part. It waits before
    /// all that never had a place, and whatever their number, until another replica than this one takes it.
    ///
    /// # Errors
    /// If the queue is closed.
    #[expect(clippy::needless_pass_by_value, reason = "a place that came back is not to be used any more")]
    pub fn take_another(&mut self, place: Place, random: &mut fastrand::Rng) -> Result<Arrival<R>, Closed> {
        let Place { replica, class } = place;
        self.replicas.give_back(replica);
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        if self.waiters.len(List::Again(class)) == 0
            && self.is_turn_of(class)
            && let Some(grant) = self.grant_place(class, Some(replica), random)
        {
            return Ok(Arrival::Granted(grant));
        }
        Ok(Arrival::Waits(self.wait(List::Again(class), class, Some(replica))))
    }

    /// Grants the places there are, in turn, and hands out what wakes those that got one; once the queue is closed, what wakes
    /// those that will get none. At most [`WAKES_MAX`] are told and have not come, so it is to be called again whenever one
    /// has come or left.
    pub fn grant(&mut self, random: &mut fastrand::Rng, woken: &mut impl Extend<W>) {
        while self.waiters.len(List::Told) - self.not_waited_for < WAKES_MAX
            && let Some(id) = self.next()
        {
            self.tell(id, random, woken);
        }
    }

    /// No more waits for those that were told and have not come, so that they cannot keep others from being told. To be called
    /// now and then.
    pub fn wait_no_longer(&mut self) {
        self.not_waited_for = self.waiters.len(List::Told);
    }

    /// A waiter comes for its place. `Waits` also for who is not known.
    pub fn take(&mut self, id: WaiterId) -> Taken<R> {
        let Some(waiter) = self.waiters.get(id) else { return Taken::Waits };
        let (class, state) = (waiter.class, waiter.state);
        let taken = match (state, &self.closed) {
            (State::Granted(number), _) => {
                // A grant on a replica that is not there was revoked.
                let Some(replica) = self.replicas.replica(number).cloned() else { return Taken::Waits };
                Taken::Granted(Grant { place: Place { replica: number, class }, replica })
            }
            (_, Some(closed)) => Taken::Ended(closed.clone()),
            (_, None) => return Taken::Waits,
        };
        self.remove(id);
        taken
    }

    /// What wakes a waiter from now on; what did so before, if it was not woken since. (It is given back and not dropped since
    /// dropping can run anything.)
    #[must_use = "it may not be dropped where a lock is held"]
    pub fn notify(&mut self, id: WaiterId, notify: W) -> Option<W> {
        match self.waiters.get_mut(id) {
            Some(waiter) => waiter.notify.replace(notify),
            None => Some(notify),
        }
    }

    /// A waiter gives up. A place that it was granted is free again. What would have woken it comes back.
    #[must_use = "it may not be dropped where a lock is held"]
    pub fn leave(&mut self, id: WaiterId) -> Option<W> {
        let waiter = self.remove(id)?;
        if let State::Granted(number) = waiter.state {
            self.replicas.give_back(number);
        }
        waiter.notify
    }

    /// A place comes back.
    #[expect(clippy::needless_pass_by_value, reason = "a place that came back is not to be used any more")]
    pub fn give_back(&mut self, place: Place) {
        let Place { replica, .. } = place;
        self.replicas.give_back(replica);
    }

    /// Whether a replica that drains has come to have nothing in flight since the last call: it can be stopped.
    pub const fn has_drained(&mut self) -> bool {
        self.replicas.has_drained()
    }

    /// There will be no place any more. Who has been granted one keeps it.
    pub fn close(&mut self, why: Closed) {
        self.closed.get_or_insert(why);
    }

    /// Who comes from now on is let in again.
    pub fn open(&mut self) {
        self.closed = None;
    }

    /// How many of a class wait and have no place.
    #[must_use]
    pub const fn waiting(&self, class: Class) -> usize {
        self.waiters.len(List::Again(class)) + self.waiters.len(List::Fresh(class))
    }

    /// How many replicas take requests.
    #[must_use]
    pub const fn taking(&self) -> usize {
        self.replicas.taking()
    }

    /// Whether somebody waits while no replica takes requests.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.closed.is_none() && self.taking() == 0 && Class::ALL.iter().any(|class| self.waiting(*class) > 0)
    }

    /// Every replica, those that take requests first, each kind the oldest first.
    pub fn loads(&self) -> impl Iterator<Item = Load<R>> {
        self.replicas.loads()
    }

    /// The one to be told next.
    fn next(&self) -> Option<WaiterId> {
        if self.closed.is_some() {
            let lists = Class::ALL.into_iter().flat_map(|class| [List::Again(class), List::Fresh(class)]);
            return lists.filter_map(|list| self.waiters.head(list)).next();
        }
        self.candidate(self.last.other()).or_else(|| self.candidate(self.last))
    }

    /// The first of a class for whom there is a place. One that waits for another replica than the only one with room does not
    /// keep those behind it from that.
    fn candidate(&self, class: Class) -> Option<WaiterId> {
        if !self.replicas.has_room(None) {
            return None;
        }
        if let Some(id) = self.waiters.head(List::Again(class))
            && self.waiters.get(id).is_some_and(|waiter| self.replicas.has_room(waiter.not_on))
        {
            return Some(id);
        }
        self.waiters.head(List::Fresh(class))
    }

    fn is_turn_of(&self, class: Class) -> bool {
        self.last != class || self.candidate(class.other()).is_none()
    }

    fn grant_place(
        &mut self,
        class: Class,
        not_on: Option<u64>,
        random: &mut fastrand::Rng,
    ) -> Option<Grant<R>> {
        let (number, replica) = self.replicas.take(not_on, random)?;
        self.last = class;
        Some(Grant { place: Place { replica: number, class }, replica })
    }

    fn wait(&mut self, list: List, class: Class, not_on: Option<u64>) -> WaiterId {
        self.waiters.insert(list, Waiter { class, state: State::Waits, not_on, notify: None })
    }

    fn tell(&mut self, id: WaiterId, random: &mut fastrand::Rng, woken: &mut impl Extend<W>) {
        let Some(waiter) = self.waiters.get_mut(id) else { return };
        waiter.state = State::Ended;
        if self.closed.is_none()
            && let Some((number, _)) = self.replicas.take(waiter.not_on, random)
        {
            waiter.state = State::Granted(number);
            self.last = waiter.class;
        }
        woken.extend(waiter.notify.take());
        self.waiters.move_to(id, List::Told, End::Back);
    }

    fn remove(&mut self, id: WaiterId) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(id);
        self.not_waited_for = self.not_waited_for.min(self.waiters.len(List::Told));
        waiter
    }

    /// Who was granted a place on the replica with `number` and has not come waits again, before all others. From the back, so
    /// that they keep their order.
    fn revoke(&mut self, number: u64) {
        let mut at = self.waiters.tail(List::Told);
        while let Some(id) = at {
            at = self.waiters.before(id);
            let Some(waiter) = self.waiters.get_mut(id) else { return };
            if waiter.state != State::Granted(number) {
                continue;
            }
            waiter.state = State::Waits;
            let again = List::Again(waiter.class);
            self.waiters.move_to(id, again, End::Front);
            self.replicas.give_back(number);
        }
        self.not_waited_for = self.not_waited_for.min(self.waiters.len(List::Told));
    }

    /// Bytes that are allocated for waiters.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.waiters.allocated_bytes()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
