//! A revision that may have replicas: its scaling, its queue, its replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pelton_resources::NamespacedName;
use pelton_resources::contracts::TriggerBacklog;
use tokio::sync::{Notify, mpsc};

use crate::condition::Cause;
use crate::decision::combined::Events;
use crate::gateway::Backend;
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
    service_times: ServiceTimes,
    /// How long a request may take, and so a replica that drains.
    drain: Duration,
    /// Whether its first replica was ever ready.
    has_run: bool,
    is_retired: bool,
    is_told_to_fail: bool,
}

impl Live {
    pub(super) fn new(
        key: &Key,
        revision: &Revision,
        rules: Rules,
        now: Duration,
        poke: Arc<Notify>,
    ) -> Self {
        let template = &revision.template;
        let backend = Backend {
            revision: key.revision.clone(),
            queue: Queue::new(template.container_concurrency, poke),
            protocol: template.container.protocol,
            timeout: template.timeout,
            response_start_timeout: template.response_start_timeout,
            idle_timeout: template.idle_timeout,
            held: Held::default(),
        };
        let has_run = !matches!(revision.state, RevisionState::Starting | RevisionState::Untried);
        Self {
            scaling: Scaling::new(rules, has_run, now),
            backend: Arc::new(backend),
            addresses: HashMap::new(),
            lines: Lines::default(),
            container: Arc::new(template.container.clone()),
            replicas: HashMap::new(),
            service_times: ServiceTimes::default(),
            drain: template.timeout,
            has_run,
            is_retired: false,
            is_told_to_fail: false,
        }
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
        self.scaling.poke(now, second);
    }

    pub(super) fn decide(&mut self, now: Duration, backlogs: &[TriggerBacklog], rates: &TriggerRates) {
        if self.is_retired {
            return;
        }
        let service_time =
            self.scaling.rules().settings().service_time.unwrap_or_else(|| self.service_times.mean());
        let events = rates.events(backlogs, service_time).map(|events| self.with_waiting(events));
        self.scaling.decide(now, events);
    }

    /// A delivery that waits for a place is work, even where its trigger has not told of it yet.
    fn with_waiting(&self, events: Events) -> Events {
        let waiting = self.backend.queue.waiting(Class::Delivery);
        if waiting > 0 && events.due < 1.0 { Events { due: 1.0, ..events } } else { events }
    }

    /// Why it is to be called failed: its first replica did not get ready in time. Told once.
    pub(super) fn failed(&mut self) -> Option<Cause> {
        if self.has_run || self.is_told_to_fail || !self.scaling.does_not_start() {
            return None;
        }
        self.is_told_to_fail = true;
        let why = self.scaling.fleet.last_failure().unwrap_or("its replicas did not get ready in time");
        let cause = Cause::new("ProgressDeadlineExceeded", why);
        self.backend.queue.close(Closed::DoesNotStart(why.into()));
        Some(cause)
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
        self.replicas.insert(id, Replica::start(machine, spec, self.lines.clone(), steps));
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
