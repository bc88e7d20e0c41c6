//! What the dispatcher knows about triggers and brokers: for `describe`, for the scaler, for metrics.

mod expiry;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_event_log::HeldLanes;
use pelton_resources::contracts::{BacklogSource, ResourceStatus, StatusSource, TriggerBacklog};
use pelton_resources::{Broker, Kind, NamespacedName, Readiness, Snapshot, Trigger};
use tokio::sync::watch;

use self::expiry::Expiry;
use crate::core::{Expired, PartitionStatus, TriggerCounters};

/// What the broker tasks tell about themselves. It holds one row per trigger, whatever the number of events.
#[derive(Debug, Default)]
pub(crate) struct Board {
    brokers: RwLock<BTreeMap<NamespacedName, Arc<BrokerStatus>>>,
}

/// What one broker task tells about itself.
#[derive(Debug, Default)]
pub(crate) struct BrokerStatus {
    triggers: RwLock<Arc<[TriggerRow]>>,
    partitions: Mutex<Vec<PartitionStatus>>,
    unserved: Mutex<BTreeMap<u32, Box<str>>>,
    problem: Mutex<Option<Box<str>>>,
    held: Mutex<HeldLanes>,
    /// Triggers that cannot start yet.
    waiting: Mutex<BTreeMap<NamespacedName, Box<str>>>,
    expiry: Mutex<Expiry>,
    /// Whether every partition that this process was given so far, and one at least, knows the triggers.
    settled_in: AtomicBool,
}

/// A trigger and its counters.
pub(crate) type TriggerRow = (NamespacedName, Arc<TriggerCounters>);

impl Board {
    /// The status of a broker, empty at first.
    pub(crate) fn broker(&self, name: &NamespacedName) -> Arc<BrokerStatus> {
        let mut brokers = self.brokers.write().unwrap_or_else(PoisonError::into_inner);
        brokers.entry(name.clone()).or_default().clone()
    }

    /// Forgets a broker that is no longer dispatched.
    pub(crate) fn remove(&self, name: &NamespacedName) {
        self.brokers.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The brokers that are dispatched.
    pub(crate) fn brokers(&self) -> Vec<(NamespacedName, Arc<BrokerStatus>)> {
        let brokers = self.brokers.read().unwrap_or_else(PoisonError::into_inner);
        brokers.iter().map(|(name, status)| (name.clone(), status.clone())).collect()
    }

    fn get(&self, name: &NamespacedName) -> Option<Arc<BrokerStatus>> {
        self.brokers.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl BrokerStatus {
    /// The triggers the broker task knows, those deleted that still own something included, by name.
    pub(crate) fn triggers(&self) -> Arc<[TriggerRow]> {
        self.triggers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the triggers.
    pub(crate) fn set_triggers(&self, mut triggers: Vec<TriggerRow>) {
        triggers.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        *self.triggers.write().unwrap_or_else(PoisonError::into_inner) = triggers.into();
    }

    /// Replaces what is known about the partitions.
    pub(crate) fn set_partitions(&self, partitions: Vec<PartitionStatus>) {
        *lock(&self.partitions) = partitions;
    }

    /// Says why a partition is not served, or that it is.
    pub(crate) fn set_unserved(&self, partition: u32, reason: Option<Box<str>>) {
        let mut unserved = lock(&self.unserved);
        match reason {
            Some(reason) => drop(unserved.insert(partition, reason)),
            None => drop(unserved.remove(&partition)),
        }
    }

    /// Says what is wrong with the log as the broker task sees it; `None` once it works again.
    pub(crate) fn set_problem(&self, problem: Option<Box<str>>) {
        *lock(&self.problem) = problem;
    }

    /// Says whether every partition that this process was given so far, and one at least, knows the triggers.
    pub(crate) fn set_settled_in(&self, settled_in: bool) {
        self.settled_in.store(settled_in, Relaxed);
    }

    /// Says which triggers are held back because their consumer groups are in use by others, and why.
    pub(crate) fn set_held(&self, held: HeldLanes) {
        *lock(&self.held) = held;
    }

    /// Says that a trigger cannot start yet because its consumer group is in use; `None`: no longer.
    pub(crate) fn set_waiting(&self, trigger: &NamespacedName, reason: Option<Box<str>>) {
        let mut waiting = lock(&self.waiting);
        match reason {
            Some(reason) => drop(waiting.insert(trigger.clone(), reason)),
            None => drop(waiting.remove(trigger)),
        }
    }

    /// Says at which age the log lets events go, owed or not; `None`: it spares what is owed.
    pub(crate) fn set_lifetime(&self, lifetime: Option<Duration>) {
        lock(&self.expiry).set_lifetime(lifetime);
    }

    /// Events are lost. Answers whether they do not just continue a known stretch.
    pub(crate) fn note_expired(&self, expired: Expired) -> bool {
        lock(&self.expiry).note(expired)
    }

    /// Looks which triggers are about to lose events. Answers those that were not a moment ago, with what is to be said.
    pub(crate) fn look_for_expiry(&self, now: Timestamp) -> Vec<(NamespacedName, String)> {
        let triggers = self.triggers();
        lock(&self.expiry).look(triggers.iter().map(|(name, counters)| (name, &**counters)), now)
    }

    /// Who else uses the consumer group of a trigger.
    fn group_in_use(&self, trigger: &NamespacedName) -> Option<String> {
        if let Some(reason) = lock(&self.waiting).get(trigger) {
            return Some(String::from(&**reason));
        }
        lock(&self.held).get(trigger.as_str()).map(|reason| String::from(&**reason))
    }

    fn counters(&self, trigger: &NamespacedName) -> Option<Arc<TriggerCounters>> {
        let triggers = self.triggers();
        let found = triggers.binary_search_by(|row| row.0.cmp(trigger)).ok()?;
        Some(triggers[found].1.clone())
    }

    /// Why the broker is not dispatched as it should be.
    fn trouble(&self) -> Option<String> {
        if let Some((partition, reason)) = lock(&self.unserved).first_key_value() {
            return Some(format!("partition {partition} is not served: {reason}"));
        }
        if let Some(problem) = lock(&self.problem).as_deref() {
            return Some(problem.to_owned());
        }
        let partitions = lock(&self.partitions);
        let error = partitions.iter().find_map(|p| p.save_error.as_ref().map(|error| (p.partition, error)));
        error.map(|(partition, error)| format!("progress of partition {partition} cannot be saved: {error}"))
    }
}

/// Asks the dispatcher while it runs. A clone asks the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    board: Arc<Board>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Handle {
    pub(crate) fn new(board: Arc<Board>, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { board, snapshots }
    }

    /// Whether `trigger` is on its way into service: its Broker is ready, but some partition does not dispatch yet or has not
    /// registered it durably. An event that comes in meanwhile may count as one from before its time.
    #[must_use]
    pub fn is_registering(&self, trigger: &NamespacedName) -> bool {
        let snapshot = self.snapshot();
        let Some(broker) = snapshot.triggers.get(trigger).and_then(|t| snapshot.brokers.get(&t.broker))
        else {
            return false;
        };
        if !broker.readiness.is_ready() {
            return false;
        }
        let Some(status) = self.board.get(&broker.name) else { return true };
        // On Kafka other processes have the other partitions.
        let is_opening = lock(&status.partitions).iter().any(|partition| !partition.ready);
        let counters = status.counters(trigger);
        is_opening
            || !status.settled_in.load(Relaxed)
            || counters.is_none_or(|counters| counters.unregistered.load(Relaxed) > 0)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    fn trigger_status(&self, name: &NamespacedName) -> Option<ResourceStatus> {
        let snapshot = self.snapshot();
        let Some(trigger) = snapshot.triggers.get(name) else { return self.deleted_trigger_status(name) };
        let broker = self.board.get(&trigger.broker);
        let counters = broker.as_ref().and_then(|broker| broker.counters(name));
        let readiness = trigger_readiness(&snapshot, trigger, broker.as_deref(), counters.as_deref());
        let mut status = ResourceStatus { readiness, ..ResourceStatus::default() };
        if let Some(counters) = counters {
            fill(&mut status, &counters);
        }
        if let Some(broker) = broker {
            let expiry = lock(&broker.expiry);
            let facts =
                [("about to expire", expiry.threat_to(name)), ("expired offsets", expiry.lost_of(name))];
            status.facts.extend(facts.into_iter().filter_map(|(label, text)| Some((label, text?))));
        }
        Some(status)
    }

    /// A trigger that is gone but still has events or attempts under way.
    fn deleted_trigger_status(&self, name: &NamespacedName) -> Option<ResourceStatus> {
        let counters = self.board.brokers().into_iter().find_map(|(_, broker)| broker.counters(name))?;
        let message = "the Trigger was deleted; its progress is kept for 7 days in case it comes back";
        let readiness = Readiness::not_ready("Deleted", message);
        let mut status = ResourceStatus { readiness, ..ResourceStatus::default() };
        fill(&mut status, &counters);
        Some(status)
    }

    fn broker_status(&self, name: &NamespacedName) -> Option<ResourceStatus> {
        let snapshot = self.snapshot();
        let broker = snapshot.brokers.get(name)?;
        let Some(status) = self.board.get(name) else {
            let readiness = match &broker.readiness {
                Readiness::Ready if broker.kafka.handed_back => handed_back(broker),
                Readiness::Ready => {
                    Readiness::not_ready("Starting", "the dispatcher has not taken it up yet")
                }
                not_ready @ Readiness::NotReady(_) => not_ready.clone(),
            };
            return Some(ResourceStatus { readiness, ..ResourceStatus::default() });
        };
        let readiness = match status.trouble() {
            Some(trouble) => Readiness::not_ready("DispatchImpaired", trouble),
            None => broker.readiness.clone(),
        };
        let triggers = status.triggers();
        let backlog = triggers.iter().map(|(_, counters)| owed(counters)).sum::<Option<u64>>();
        let oldest = triggers.iter().filter_map(|(_, counters)| counters.oldest()).min();
        let partitions = lock(&status.partitions).clone();
        let ready = partitions.iter().filter(|partition| partition.ready).count();
        let facts = vec![("dispatched partitions", format!("{ready} of {}", broker.partitions))];
        Some(ResourceStatus { readiness, backlog, oldest, facts, ..ResourceStatus::default() })
    }
}

impl StatusSource for Handle {
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus> {
        match kind {
            Kind::Trigger => self.trigger_status(name),
            Kind::Broker => self.broker_status(name),
            _ => None,
        }
    }
}

impl BacklogSource for Handle {
    fn backlog(&self) -> Vec<TriggerBacklog> {
        let snapshot = self.snapshot();
        let mut all = Vec::new();
        for (_, broker) in self.board.brokers() {
            for (name, counters) in &*broker.triggers() {
                if let Some(trigger) = snapshot.triggers.get(name) {
                    all.push(trigger_backlog(trigger, counters));
                }
            }
        }
        all
    }
}

fn trigger_readiness(
    snapshot: &Snapshot,
    trigger: &Trigger,
    broker: Option<&BrokerStatus>,
    counters: Option<&TriggerCounters>,
) -> Readiness {
    if !trigger.readiness.is_ready() {
        return trigger.readiness.clone();
    }
    match snapshot.brokers.get(&trigger.broker).map(|broker| &broker.readiness) {
        None => {
            let message =
                format!("there is no Broker {}; its events wait until there is one", trigger.broker);
            return Readiness::not_ready("BrokerDoesNotExist", message);
        }
        Some(Readiness::NotReady(reason)) => {
            let message = format!("Broker {}: {}", trigger.broker, reason.message);
            return Readiness::not_ready("BrokerNotReady", message);
        }
        Some(Readiness::Ready) => {}
    }
    if let Some(broker) = snapshot.brokers.get(&trigger.broker).filter(|broker| broker.kafka.handed_back) {
        return handed_back(broker);
    }
    if trigger.paused {
        let message =
            format!("deliveries are held back by command; `pelton resume trigger {}`", trigger.name);
        return Readiness::not_ready("Paused", message);
    }
    if let Some(reason) = broker.and_then(|broker| broker.group_in_use(&trigger.name)) {
        return Readiness::not_ready("GroupInUse", reason);
    }
    if let Some(trouble) = broker.and_then(BrokerStatus::trouble) {
        return Readiness::not_ready("DispatchImpaired", trouble);
    }
    // A partition that is not open yet has not said what is unregistered there.
    let settled_in = broker.is_some_and(|broker| broker.settled_in.load(Relaxed));
    if !settled_in || counters.is_none_or(|counters| counters.unregistered.load(Relaxed) > 0) {
        return Readiness::not_ready("Registering", "it is being registered in the partitions of its Broker");
    }
    Readiness::Ready
}

/// Its events come in here and are left to Knative.
fn handed_back(broker: &Broker) -> Readiness {
    let message = format!(
        "its events are left to Knative; `pelton hand-back {} --undo` takes it over again",
        broker.name
    );
    Readiness::not_ready("HandedBack", message)
}

fn fill(status: &mut ResourceStatus, counters: &TriggerCounters) {
    status.backlog = owed(counters);
    status.oldest = counters.oldest();
    status.last_error = counters.last_error().map(|(time, text)| (time, text.into()));
    status.counters = vec![
        ("matched", counters.matched.load(Relaxed)),
        ("delivered", counters.delivered.load(Relaxed)),
        ("failed attempts", counters.failed_attempts.load(Relaxed)),
        ("retried", counters.retried.load(Relaxed)),
        ("replies", counters.replies.load(Relaxed)),
        ("taken by dead letter sink", counters.dead_lettered.load(Relaxed)),
        ("kept as dead letters", counters.kept.load(Relaxed)),
        ("expired", counters.expired.load(Relaxed)),
        ("discarded", counters.discarded.load(Relaxed)),
        ("withdrawn", counters.withdrawn.load(Relaxed)),
    ];
    status.facts = vec![("in flight", gauge(counters.in_flight.load(Relaxed)).to_string())];
    if let Some(due) = due(counters) {
        status.facts.push(("due", due.to_string()));
    }
    let probed = counters.probed.load(Relaxed);
    if probed > 0 {
        let partitions = if probed == 1 { "partition" } else { "partitions" };
        let text = format!("broken: probed with one event at a time in {probed} {partitions}");
        status.facts.push(("subscriber", text));
    }
    if counters.paused.load(Relaxed) {
        status.facts.push(("paused", "yes".to_owned()));
    }
}

fn trigger_backlog(trigger: &Trigger, counters: &TriggerCounters) -> TriggerBacklog {
    let is_in_order = trigger.order != pelton_resources::Order::Unordered;
    let parallelism = is_in_order.then(|| clamped(counters.parallelism.load(Relaxed)));
    TriggerBacklog {
        trigger: trigger.name.clone(),
        subscriber: trigger.subscriber.clone(),
        due: due(counters),
        owed: owed(counters),
        in_flight: clamped(counters.in_flight.load(Relaxed)),
        matched_total: counters.matched.load(Relaxed),
        oldest: counters.oldest(),
        parallelism,
        max_concurrency: trigger.max_concurrency,
        max_rate: trigger.max_rate,
        probed: counters.probed.load(Relaxed) > 0,
    }
}

/// Matched events without an end; `None` while a lane cannot tell.
pub(crate) fn owed(counters: &TriggerCounters) -> Option<u64> {
    (counters.uncertain.load(Relaxed) <= 0).then(|| gauge(counters.owed.load(Relaxed)))
}

/// Matched events that could be sent now; `None` while a lane cannot tell.
pub(crate) fn due(counters: &TriggerCounters) -> Option<u64> {
    (counters.uncertain.load(Relaxed) <= 0).then(|| gauge(counters.due.load(Relaxed)))
}

/// A gauge is changed by differences, so a reader between two of them may see it below zero.
pub(crate) fn gauge(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn clamped(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// Age of the oldest event without an end.
pub(crate) fn oldest_age(counters: &TriggerCounters, now: Timestamp) -> Option<std::time::Duration> {
    counters.oldest().map(|oldest| now.since(oldest))
}

/// Nothing panics while these locks are held, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
