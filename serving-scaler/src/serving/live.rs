//! A revision that may have replicas: its scaling, its queue, its replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pelton_resources::contracts::TriggerBacklog;
use pelton_resources::{NamespacedName, RevisionTemplate};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::condition::Cause;
use crate::decision::combined::Events;
use crate::gateway::{Answers, Backend, Woken};
use crate::limits::REPLICA_GRACE;
use crate::queue::{Class, Closed, Queue};
use crate::replicas::{Lines, Machine, Order, Phase, Replica, ReplicaId, ReplicaSpec, Step};
use crate::revisions::{Revision, RevisionState};
use crate::scaling::{Rules, Scaling, Second, ServiceTimes, TriggerRates};

/// Which revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) service: NamespacedName,
    pub(super) revision: Arc<str>,
    /// 0 as long as the book has it; then another number each, since a new one may come under the same name.
    retired: u64,
}

impl Key {
    pub(super) fn new(service: &NamespacedName, revision: &str) -> Self {
        Self { service: service.clone(), revision: revision.into(), retired: 0 }
    }

    /// The key once it is retired; `number` is no other's.
    pub(super) fn retired(&self, number: u64) -> Self {
        Self { retired: number, ..self.clone() }
    }

    pub(super) const fn is_retired(&self) -> bool {
        self.retired > 0
    }
}

/// How long deliveries held their places; added to by whoever gives one back.
#[derive(Debug, Default)]
pub struct Held {
    nanoseconds: AtomicU64,
    count: AtomicU64,
}

impl Held {
    /// A place was held for so long.
    pub fn add(&self, time: Duration) {
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> (Duration, u64) {
        let count = self.count.swap(0, Ordering::Relaxed);
        (Duration::from_nanos(self.nanoseconds.swap(0, Ordering::Relaxed)), count)
    }
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) scaling: Scaling,
    pub(super) backend: Arc<Backend>,
    /// Where replicas take requests.
    pub(super) addresses: HashMap<ReplicaId, Arc<str>>,
    pub(super) lines: Lines,
    container: Arc<pelton_resources::Container>,
    replicas: HashMap<ReplicaId, Replica>,
    /// Since when a replica is in the phase of its start.
    starts: HashMap<ReplicaId, Instant>,
    /// Since when somebody waits for the first replica.
    waited_for_since: Option<Instant>,
    service_times: ServiceTimes,
    /// How long a request may take, and so a replica that drains.
    drain: Duration,
    /// Its part of the Service's traffic, and so of its events.
    pub(super) share: f64,
    /// Whether its first replica was ever ready.
    has_run: bool,
    /// It was never ready, and its time is over.
    has_failed: bool,
    is_retired: bool,
}

/// What became of replicas that did not get ready in time.
#[derive(Debug)]
pub(super) enum GivenUp {
    /// They are tried again when somebody comes.
    ForNow(String),
    /// The revision was never ready, and is not tried again.
    Failed(Cause),
}

/// What the gateway knows of a revision, with a queue of its own.
fn backend(name: &Arc<str>, template: &RevisionTemplate, poke: &Arc<Notify>) -> Arc<Backend> {
    Arc::new(Backend {
        revision: name.clone(),
        queue: Queue::new(template.container_concurrency, poke.clone()),
        protocol: template.container.protocol,
        timeout: template.timeout,
        response_start_timeout: template.response_start_timeout,
        idle_timeout: template.idle_timeout,
        held: Held::default(),
        answers: Answers::default(),
        woken: Woken::default(),
    })
}

impl Live {
    pub(super) fn new(
        key: &Key,
        revision: &Revision,
        rules: Rules,
        now: Duration,
        poke: &Arc<Notify>,
    ) -> Self {
        let template = &revision.template;
        let has_run = !matches!(revision.state, RevisionState::Starting | RevisionState::Untried);
        Self {
            scaling: Scaling::new(rules, has_run, now),
            backend: backend(&key.revision, template, poke),
            addresses: HashMap::new(),
            lines: Lines::default(),
            container: Arc::new(template.container.clone()),
            replicas: HashMap::new(),
            starts: HashMap::new(),
            waited_for_since: None,
            service_times: ServiceTimes::default(),
            drain: template.timeout,
            share: 0.0,
            has_run,
            has_failed: matches!(revision.state, RevisionState::Failed(_)),
            is_retired: false,
        }
    }

    /// Takes over the rules, and begins anew if it is called failed no more.
    pub(super) fn follow(&mut self, revision: &Revision, rules: Rules, now: Duration) {
        if self.has_failed && !matches!(revision.state, RevisionState::Failed(_)) {
            self.pardon();
            self.scaling.begin_again(rules, now);
        } else {
            self.scaling.set_rules(rules, now);
        }
    }

    /// Whether something of it still runs or waits.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_busy() || !self.scaling.fleet.members().is_empty()
    }

    /// Nothing leads to it any more and it is gone from the book: those who wait are told, those in flight finish.
    pub(super) fn retire(&mut self) {
        if !self.is_retired {
            self.is_retired = true;
            self.backend.queue.close(Closed::Gone);
            self.scaling.fleet.want(0);
        }
    }

    /// Whether nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.is_retired && self.scaling.fleet.members().is_empty()
    }

    pub(super) fn is_busy(&self) -> bool {
        let queue = &self.backend.queue;
        queue.present(Class::Request) + queue.present(Class::Delivery) > 0
    }

    /// Takes a second in.
    pub(super) fn record(&mut self, now: Duration) {
        let report = self.backend.queue.report();
        let (held, count) = self.backend.held.take();
        self.service_times.record(held, count);
        #[expect(clippy::cast_precision_loss, reason = "a count of one second")]
        let count = (report.requests.count + report.deliveries.count) as f64;
        let second = Second {
            requests: report.requests.concurrency,
            deliveries: report.deliveries.concurrency,
            count,
        };
        self.scaling.record(now, second);
    }

    /// Somebody waits and there is no replica.
    pub(super) fn poke(&mut self, now: Duration) {
        let waiting = |class| f64::from(u32::try_from(self.backend.queue.waiting(class)).unwrap_or(u32::MAX));
        let second =
            Second { requests: waiting(Class::Request), deliveries: waiting(Class::Delivery), count: 1.0 };
        if self.scaling.poke(now, second) {
            self.waited_for_since = Some(Instant::now());
        }
    }

    /// A replica is started; answers how long somebody has waited for that.
    pub(super) fn starts_for_someone(&mut self) -> Option<Duration> {
        self.waited_for_since.take().map(|since| since.elapsed())
    }

    pub(super) fn decide(&mut self, now: Duration, backlogs: &[TriggerBacklog], rates: &TriggerRates) {
        if self.is_retired {
            return;
        }
        let service_time =
            self.scaling.rules().settings().service_time.unwrap_or_else(|| self.service_times.mean());
        let events = rates.events(backlogs, service_time).map(|events| self.own_part(events));
        self.scaling.decide(now, events);
    }

    /// The Service's events that come to this revision. A delivery that waits for a place is work, even where its trigger has
    /// not told of it yet.
    fn own_part(&self, events: Events) -> Events {
        let Events { in_flight, due, rate, allowed, service_time } = events;
        let waits = self.backend.queue.waiting(Class::Delivery) > 0;
        Events {
            in_flight: in_flight * self.share,
            due: (due * self.share).max(if waits { 1.0 } else { 0.0 }),
            rate: rate * self.share,
            allowed: allowed.map(|allowed| allowed * self.share),
            service_time,
        }
    }

    /// Whether its replicas have just been given up because none got ready in time, however many wait. These are told; who comes
    /// later waits again, unless it was never ready before: then it is to be called failed.
    pub(super) fn given_up(&mut self, now: Duration) -> Option<GivenUp> {
        if self.is_retired || self.has_failed || !self.scaling.does_not_start(now) {
            return None;
        }
        let why =
            self.scaling.fleet.last_failure().unwrap_or("its replicas did not get ready in time").to_owned();
        self.backend.queue.close(Closed::DoesNotStart(why.as_str().into()));
        if self.has_run {
            self.backend.queue.open();
            self.scaling.try_again(now);
            return Some(GivenUp::ForNow(why));
        }
        self.has_failed = true;
        Some(GivenUp::Failed(Cause::new("ProgressDeadlineExceeded", why)))
    }

    /// It was called failed, and is to be tried all the same: somebody asks for it again, or a replica got ready late.
    pub(super) fn pardon(&mut self) {
        if self.has_failed && !self.is_retired {
            self.has_failed = false;
            self.backend.queue.open();
        }
    }

    pub(super) fn start(
        &mut self,
        key: &Key,
        id: ReplicaId,
        machine: Machine,
        steps: mpsc::UnboundedSender<(ReplicaId, Step)>,
    ) {
        let spec = ReplicaSpec {
            service: key.service.clone(),
            revision: key.revision.clone(),
            id,
            container: self.container.clone(),
            grace: REPLICA_GRACE,
        };
        self.starts.insert(id, Instant::now());
        self.replicas.insert(id, Replica::start(machine, spec, self.lines.clone(), steps));
    }

    /// Its program runs; answers how long that took.
    pub(super) fn runs(&mut self, id: ReplicaId) -> Option<Duration> {
        let since = self.starts.get_mut(&id)?;
        let took = since.elapsed();
        *since = Instant::now();
        Some(took)
    }

    /// It is ready; answers how long that took since its program runs, if it was the first time.
    pub(super) fn is_ready(&mut self, id: ReplicaId) -> Option<Duration> {
        self.starts.remove(&id).map(|since| since.elapsed())
    }

    pub(super) fn step(&mut self, now: Duration, next: impl FnMut() -> ReplicaId) -> Vec<Order> {
        let loads = self.backend.queue.loads();
        let addresses = &self.addresses;
        let in_flight = |id: ReplicaId| {
            let address = addresses.get(&id);
            let load = address.and_then(|address| loads.iter().find(|load| load.replica == *address));
            load.map_or(0, |load| load.in_flight)
        };
        let orders = self.scaling.fleet.step(now, self.drain, in_flight, next);
        self.has_run |= self.scaling.fleet.ready() > 0;
        orders
    }

    /// Whether a replica is known no more.
    pub(super) fn is_gone(&self, id: ReplicaId) -> bool {
        !self.scaling.fleet.members().iter().any(|member| member.id == id)
    }

    pub(super) fn end(&self, id: ReplicaId) {
        if let Some(replica) = self.replicas.get(&id) {
            replica.end();
        }
    }

    pub(super) fn ended(&mut self, id: ReplicaId, why: &str) {
        self.replicas.remove(&id);
        self.starts.remove(&id);
        let was_told =
            self.scaling.fleet.members().iter().any(|member| {
                member.id == id && matches!(member.phase, Phase::Draining { .. } | Phase::Ending)
            });
        if was_told {
            tracing::debug!(replica = %id, "ended: {why}");
        } else {
            tracing::warn!(replica = %id.name(&self.backend.revision), "{why}");
        }
    }

    pub(super) fn end_all(&mut self) {
        self.replicas.values().for_each(Replica::end);
    }
}
