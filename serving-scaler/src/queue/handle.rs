//! The core behind a lock: futures that wait, guards that give places back, measurements.
//!
//! Under the lock nothing is done that grows with the number of waiters, and nobody is woken.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::concurrency::{Concurrency, Measured};
use super::core::{Arrival, Class, Closed, Core, Grant, NoPlace, Place, Taken};
use super::replicas::Load;
use super::waiters::WaiterId;

/// Wakers that one call hands out without an allocation.
const WOKEN_INLINE: usize = 4;

/// What happened to a replica. It is named by its authority (`host:port`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It takes requests from now on. One that drained does so again.
    Ready(Arc<str>),
    /// It gets no new requests; those in flight go on.
    Draining(Arc<str>),
    /// It is no more. Another one may come under the same name.
    Gone(Arc<str>),
}

/// What was measured since the last report, each class apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// HTTP requests.
    pub requests: Measured,
    /// Deliveries of events.
    pub deliveries: Measured,
}

/// The queue of one revision. A clone is the same queue.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    started: Instant,
    poke: Arc<Notify>,
}

struct State {
    core: Core<Arc<str>, Waker>,
    random: fastrand::Rng,
    requests: Concurrency,
    deliveries: Concurrency,
    was_starved: bool,
}

impl State {
    const fn concurrency(&mut self, class: Class) -> &mut Concurrency {
        match class {
            Class::Request => &mut self.requests,
            Class::Delivery => &mut self.deliveries,
        }
    }
}

/// Wakers that may be woken or dropped only once the lock is free: that can run anything, even what takes it.
#[derive(Default)]
struct Afterwards {
    woken: SmallVec<[Waker; WOKEN_INLINE]>,
    discarded: Option<Waker>,
}

impl Queue {
    /// Without replicas; each will have at most `container_concurrency` requests at a time, 0: any number. `poke` is told
    ///
    /// * when somebody waits and no replica takes requests, once until that has changed: a replica is needed now,
    /// * when a replica that drains has nothing in flight: it can be stopped.
    ///
    /// Several queues may share one; [`Queue::is_starved`] and [`Queue::loads`] tell which of them it was.
    #[must_use]
    pub fn new(container_concurrency: u32, poke: Arc<Notify>) -> Self {
        let state = State {
            core: Core::new(container_concurrency),
            random: fastrand::Rng::new(),
            requests: Concurrency::default(),
            deliveries: Concurrency::default(),
            was_starved: false,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), started: Instant::now(), poke }))
    }

    /// Waits for a place. Dropping the future gives up the place in the queue, or on a replica. It fails if the queue is or
    /// becomes closed, and at once if too many wait.
    pub fn acquire(&self, class: Class) -> Acquire {
        Acquire { shared: Arc::clone(&self.0), class, step: Step::Comes }
    }

    /// Takes over what happened to replicas; what belongs together in one call, so that those that wait are spread over all
    /// new replicas and not crowded onto the first.
    pub fn replicas(&self, changes: &[Change]) {
        self.0.locked(|state, _| {
            for change in changes {
                match change {
                    Change::Ready(replica) => state.core.ready(Arc::clone(replica)),
                    Change::Draining(replica) => state.core.drain(replica),
                    Change::Gone(replica) => state.core.gone(replica),
                }
            }
        });
    }

    /// All who wait get this error, and all who come. Places in use stay until they come back.
    pub fn close(&self, why: Closed) {
        self.0.locked(|state, _| state.core.close(why));
    }

    /// Who comes from now on is let in again.
    pub fn open(&self) {
        self.0.locked(|state, _| state.core.open());
    }

    /// What was measured since the last report. To be called every second: it also sees to it that waiters who were told of a
    /// place and do not come for it do not keep others from being told.
    #[must_use = "the next report begins where this one ends"]
    pub fn report(&self) -> Report {
        self.0.locked(|state, _| {
            let now = self.0.started.elapsed();
            state.core.wait_no_longer();
            Report { requests: state.requests.report(now), deliveries: state.deliveries.report(now) }
        })
    }

    /// How many of a class wait and have no place.
    #[must_use]
    pub fn waiting(&self, class: Class) -> usize {
        self.0.lock().core.waiting(class)
    }

    /// How many of a class wait or are in flight.
    #[must_use]
    pub fn present(&self, class: Class) -> u64 {
        self.0.lock().concurrency(class).present()
    }

    /// Whether somebody waits while no replica takes requests.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.0.lock().core.is_starved()
    }

    /// Every replica, those that take requests first, each kind the oldest first.
    #[must_use]
    pub fn loads(&self) -> Vec<Load<Arc<str>>> {
        self.0.lock().core.loads().collect()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Queue")
            .field("requests", &state.requests.present())
            .field("deliveries", &state.deliveries.present())
            .field("replicas", &state.core.taking())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the state, grants what places there are then, and after the lock wakes who got one.
    fn locked<T>(&self, change: impl FnOnce(&mut State, &mut Afterwards) -> T) -> T {
        let mut afterwards = Afterwards::default();
        let mut guard = self.lock();
        let state = &mut *guard;
        let result = change(state, &mut afterwards);
        state.core.grant(&mut state.random, &mut afterwards.woken);
        let is_starved = state.core.is_starved();
        let poke = state.core.has_drained() | (is_starved && !state.was_starved);
        state.was_starved = is_starved;
        drop(guard);
        if poke {
            self.poke.notify_one();
        }
        afterwards.woken.into_iter().for_each(Waker::wake);
        drop(afterwards.discarded);
        result
    }
}

/// Waits for a place; see [`Queue::acquire`].
#[must_use = "nobody waits until it is polled"]
pub struct Acquire {
    shared: Arc<Shared>,
    class: Class,
    step: Step,
}

enum Step {
    /// Nobody knows of it yet.
    Comes,
    /// Has a place and wants another.
    ComesAgain(Place),
    Waits(WaiterId),
    Done,
}

impl Step {
    fn advance(
        &mut self,
        class: Class,
        state: &mut State,
        waker: &Waker,
        afterwards: &mut Afterwards,
    ) -> Poll<Result<Grant<Arc<str>>, NoPlace>> {
        let State { core, random, .. } = state;
        let arrival = match std::mem::replace(self, Self::Done) {
            Self::Comes => core.arrive(class, random)?,
            Self::ComesAgain(place) => core.take_another(place, random).map_err(NoPlace::Closed)?,
            Self::Waits(id) => Arrival::Waits(id),
            Self::Done => return Poll::Pending,
        };
        let id = match arrival {
            Arrival::Granted(grant) => return Poll::Ready(Ok(grant)),
            Arrival::Waits(id) => id,
        };
        // There may be a place for who has just come, if the one before it was granted one just now.
        core.grant(random, &mut afterwards.woken);
        match core.take(id) {
            Taken::Granted(grant) => Poll::Ready(Ok(grant)),
            Taken::Ended(closed) => Poll::Ready(Err(closed.into())),
            Taken::Waits => {
                afterwards.discarded = core.notify(id, waker.clone());
                *self = Self::Waits(id);
                Poll::Pending
            }
        }
    }
}

impl Future for Acquire {
    type Output = Result<Slot, NoPlace>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, class, step } = &mut *self;
        let result = shared.locked(|state, afterwards| {
            if matches!(step, Step::Comes) {
                state.concurrency(*class).arrive(shared.started.elapsed());
            }
            let result = step.advance(*class, state, context.waker(), afterwards);
            if matches!(result, Poll::Ready(Err(_))) {
                state.concurrency(*class).end(shared.started.elapsed());
            }
            result
        });
        result.map_ok(|Grant { place, replica }| Slot {
            shared: Arc::clone(shared),
            class: *class,
            replica,
            place: Some(place),
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let step = std::mem::replace(&mut self.step, Step::Done);
        if matches!(step, Step::Comes | Step::Done) {
            return;
        }
        self.shared.locked(|state, afterwards| {
            state.concurrency(self.class).end(self.shared.started.elapsed());
            match step {
                Step::Waits(id) => afterwards.discarded = state.core.leave(id),
                Step::ComesAgain(place) => state.core.give_back(place),
                Step::Comes | Step::Done => {}
            }
        });
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("class", &self.class).finish_non_exhaustive()
    }
}

/// A place on a replica; dropping it gives it back.
#[must_use = "the place is given back when it is dropped"]
pub struct Slot {
    shared: Arc<Shared>,
    class: Class,
    replica: Arc<str>,
    /// `None` once it was exchanged.
    place: Option<Place>,
}

impl Slot {
    /// Authority (`host:port`) of the replica.
    #[must_use]
    pub const fn replica(&self) -> &Arc<str> {
        &self.replica
    }

    /// Exchanges the place for one on another replica. Only for a request of which nothing was sent: anything else could be
    /// done twice. It waits at the head until another replica has room, however long this one stays the only one.
    pub fn take_another(mut self) -> Acquire {
        let step = self.place.take().map_or(Step::Done, Step::ComesAgain);
        Acquire { shared: Arc::clone(&self.shared), class: self.class, step }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        self.shared.locked(|state, _| {
            state.concurrency(self.class).end(self.shared.started.elapsed());
            state.core.give_back(place);
        });
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("class", &self.class)
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
