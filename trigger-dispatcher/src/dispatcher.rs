//! One broker task for each Broker that is ready, as the snapshots come.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use pelton_event_log::{EventLog, LogError};
use pelton_resources::contracts::Slots;
use pelton_resources::{Broker, Change, NamespacedName, Snapshot, SnapshotDiff, Trigger};
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::Drain;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::broker_task::{BrokerTask, Parts};
use crate::core::{BodyBudget, Sizes};
use crate::deliver::{Attempt, Senders};
use crate::error::Error;
use crate::limits;
use crate::metrics::Metrics;
use crate::select::TriggerTable;
use crate::status::{Board, Handle};
use crate::topics;

/// How the dispatcher behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Deliveries in flight in the whole process: what all triggers share. A trigger without any may always start one, so
    /// that up to twice as many may be in flight.
    pub deliveries_in_flight: u32,
    /// Bytes of all events that are held for delivery.
    pub body_budget_bytes: usize,
    /// Deliveries at a time of one trigger in one partition.
    pub lane_concurrency_max: u32,
    /// Open events of one trigger in one partition; a lane with more detaches. Ordered lanes hold at most
    /// [`limits::WINDOW_ORDERED`].
    pub lane_window: usize,
    /// Open retries of one trigger in one partition of the retry topic; a lane with more takes no new events.
    pub retries_open_max: usize,
    /// Progress that nobody waits for is durable after this time.
    pub save_interval: Duration,
    /// An unordered retry that waits longer moves to the retry topic.
    pub wait_in_place_max: Duration,
    /// How long deliveries in flight may take once the dispatcher or a partition stops.
    pub stop_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deliveries_in_flight: limits::DELIVERIES_IN_FLIGHT,
            body_budget_bytes: limits::BODY_BUDGET_BYTES,
            lane_concurrency_max: limits::LANE_CONCURRENCY_MAX,
            lane_window: limits::WINDOW,
            retries_open_max: limits::RETRIES_OPEN_MAX,
            save_interval: limits::SAVE_INTERVAL,
            wait_in_place_max: limits::WAIT_IN_PLACE_MAX,
            stop_grace: limits::STOP_GRACE,
        }
    }
}

impl Config {
    fn sizes(&self) -> Sizes {
        let window = self.lane_window.max(1);
        let window_ordered = window.min(limits::WINDOW_ORDERED);
        Sizes { window, window_ordered, retries_open_max: self.retries_open_max.max(1), ..Sizes::default() }
    }
}

/// Delivers the events of all Brokers to the subscribers of their Triggers.
#[derive(Debug)]
pub struct Dispatcher {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The snapshot that is in force.
    current: Arc<Snapshot>,
    shared: Arc<Shared>,
    running: HashMap<NamespacedName, Running>,
    /// Brokers whose task ended by a defect and was not started again yet.
    defective: HashSet<NamespacedName>,
    tasks: JoinSet<()>,
}

/// What all broker tasks share.
#[derive(Debug)]
struct Shared {
    config: Config,
    log: Arc<dyn EventLog>,
    attempt: Attempt,
    clock: Clock,
    admission: Admission,
    budget: BodyBudget,
    board: Arc<Board>,
    metrics: Metrics,
}

/// A broker task that runs.
#[derive(Debug)]
struct Running {
    task: Id,
    tables: watch::Sender<Arc<TriggerTable>>,
    stop: CancellationToken,
}

/// Why [`Dispatcher::run`] woke up.
enum Wake {
    Stop,
    Snapshot,
    Ended(Result<(Id, ()), JoinError>),
}

impl Dispatcher {
    /// A dispatcher that delivers what `log` holds as `snapshots` say; it starts with [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Metrics`] if there is a dispatcher in this registry already.
    pub fn new(
        config: Config,
        log: Arc<dyn EventLog>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        senders: Senders,
        slots: Arc<dyn Slots>,
        clock: Clock,
        registry: &prometheus::Registry,
    ) -> Result<(Self, Handle), Error> {
        let board = Arc::new(Board::default());
        let admission = Admission::new(config.deliveries_in_flight);
        let budget = BodyBudget::new(config.body_budget_bytes);
        let metrics =
            Metrics::register(registry, board.clone(), admission.clone(), budget.clone(), clock.clone())
                .map_err(Error::Metrics)?;
        let handle = Handle::new(board.clone(), snapshots.clone());
        let attempt = Attempt { senders, slots };
        let shared = Shared { config, log, attempt, clock, admission, budget, board, metrics };
        let dispatcher = Self {
            snapshots,
            current: Arc::default(),
            shared: Arc::new(shared),
            running: HashMap::new(),
            defective: HashSet::new(),
            tasks: JoinSet::new(),
        };
        Ok((dispatcher, handle))
    }

    /// Delivers until `drain` says to stop; then nothing new starts, deliveries in flight may finish for the grace period,
    /// and progress is saved.
    pub async fn run(mut self, drain: Drain) {
        self.snapshots.mark_changed();
        loop {
            match self.wait(&drain).await {
                Wake::Stop => break,
                Wake::Snapshot => self.take_snapshot().await,
                Wake::Ended(Ok((task, ()))) => self.ended(task, None),
                Wake::Ended(Err(error)) => self.ended(error.id(), Some(&error)),
            }
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    async fn wait(&mut self, drain: &Drain) -> Wake {
        tokio::select! {
            biased;
            () = drain.signaled() => Wake::Stop,
            // Without a source of snapshots the last one stays in force.
            Ok(()) = self.snapshots.changed() => Wake::Snapshot,
            Some(ended) = self.tasks.join_next_with_id() => Wake::Ended(ended),
        }
    }

    /// Brings the newest snapshot into force: brokers come and go, and those whose triggers changed get a new table.
    async fn take_snapshot(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let diff = snapshot.diff(&self.current);
        self.current = snapshot;
        for change in &diff.brokers {
            self.broker_changed(change);
        }
        let concerned = self.concerned(&diff);
        for (name, table) in self.tables(concerned).await {
            match self.running.get(&name) {
                Some(running) => drop(running.tables.send_replace(Arc::new(table))),
                None => self.start(&name, Arc::new(table)),
            }
        }
    }

    fn broker_changed(&mut self, change: &Change<Broker>) {
        match change {
            Change::Added(_) => {}
            Change::Removed(broker) => self.stop(&broker.name),
            Change::Changed { before, after } => {
                let same_log = before.topic == after.topic
                    && before.partitions == after.partitions
                    && before.kafka == after.kafka;
                // Another retention does not concern what the broker task does.
                if !is_dispatched(after) || !same_log {
                    self.stop(&after.name);
                }
            }
        }
    }

    /// The brokers that need a table: those whose triggers changed, and those that are ready and do not run yet.
    fn concerned(&self, diff: &SnapshotDiff) -> BTreeSet<NamespacedName> {
        let mut concerned: BTreeSet<NamespacedName> = BTreeSet::new();
        for change in &diff.triggers {
            match change {
                Change::Added(trigger) | Change::Removed(trigger) => {
                    concerned.insert(trigger.broker.clone());
                }
                Change::Changed { before, after } => {
                    concerned.insert(before.broker.clone());
                    concerned.insert(after.broker.clone());
                }
            }
        }
        let ready = |name: &NamespacedName| self.current.brokers.get(name).is_some_and(|b| is_dispatched(b));
        concerned.retain(|name| ready(name));
        let brokers =
            self.current.brokers.keys().filter(|name| !self.running.contains_key(*name) && ready(name));
        concerned.extend(brokers.cloned());
        concerned
    }

    /// Builds the tables of `brokers` beside the event path.
    async fn tables(&self, brokers: BTreeSet<NamespacedName>) -> Vec<(NamespacedName, TriggerTable)> {
        if brokers.is_empty() {
            return Vec::new();
        }
        let snapshot = self.current.clone();
        let build = move || {
            let mut triggers: BTreeMap<NamespacedName, Vec<Arc<Trigger>>> =
                brokers.into_iter().map(|broker| (broker, Vec::new())).collect();
            for trigger in snapshot.triggers.values() {
                if let Some(of_broker) = triggers.get_mut(&trigger.broker) {
                    of_broker.push(trigger.clone());
                }
            }
            triggers.into_iter().map(|(broker, triggers)| (broker, TriggerTable::new(triggers))).collect()
        };
        match tokio::task::spawn_blocking(build).await {
            Ok(tables) => tables,
            // Only a panic ends it, which is the caller's then.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Vec::new(),
            },
        }
    }

    fn start(&mut self, name: &NamespacedName, table: Arc<TriggerTable>) {
        let Some(broker) = self.current.brokers.get(name).cloned() else { return };
        let after = if self.defective.remove(name) { limits::RESTART_AFTER } else { Duration::ZERO };
        let (tables, received) = watch::channel(table);
        let stop = CancellationToken::new();
        let serve = serve(self.shared.clone(), broker, received, stop.clone(), after);
        let task = self.tasks.spawn(serve).id();
        self.running.insert(name.clone(), Running { task, tables, stop });
    }

    fn stop(&mut self, name: &NamespacedName) {
        if let Some(running) = self.running.get(name) {
            running.stop.cancel();
        }
    }

    /// A broker task has ended: it was told to, or by a defect. If its Broker is to be dispatched (again), the next round
    /// starts a new one with the newest triggers.
    fn ended(&mut self, task: Id, defect: Option<&JoinError>) {
        let ended =
            self.running.iter().find(|(_, running)| running.task == task).map(|(name, _)| name.clone());
        let Some(name) = ended else { return };
        self.running.remove(&name);
        self.shared.board.remove(&name);
        if let Some(error) = defect {
            tracing::error!(broker = %name, "the broker task ended by a defect and starts again: {error}");
            self.defective.insert(name.clone());
        }
        if !self.current.brokers.contains_key(&name) {
            self.shared.metrics.remove(&name);
        }
        self.snapshots.mark_changed();
    }
}

/// Whether the events of a Broker are delivered here: it is ready, and not handed back to Knative.
fn is_dispatched(broker: &Broker) -> bool {
    broker.readiness.is_ready() && !broker.kafka.handed_back
}

/// Runs the broker task of `broker`, once its topics are there.
async fn serve(
    shared: Arc<Shared>,
    broker: Arc<Broker>,
    tables: watch::Receiver<Arc<TriggerTable>>,
    stop: CancellationToken,
    after: Duration,
) {
    let status = shared.board.broker(&broker.name);
    let topics = async {
        tokio::time::sleep(after).await;
        let waits = ExponentialBuilder::default()
            .with_min_delay(limits::LOG_RETRY_MIN)
            .with_max_delay(limits::LOG_RETRY_MAX)
            .without_max_times();
        let tell = |error: &LogError, _wait: Duration| status.set_problem(Some(error.to_string().into()));
        (|| topics::find(&*shared.log, &broker))
            .retry(waits)
            .when(|error| !matches!(error, LogError::Closed))
            .notify(tell)
            .await
    };
    let Some(Ok(events)) = stop.run_until_cancelled(topics).await else { return };
    status.set_problem(None);
    status.set_lifetime(events.lifetime);
    let Config { lane_concurrency_max, save_interval, wait_in_place_max, stop_grace, .. } = shared.config;
    let parts = Parts {
        broker: broker.name.clone(),
        topics: topics::names(&broker),
        partitions: events.partitions,
        take_over: broker.kafka.take_over,
        log: shared.log.clone(),
        attempt: shared.attempt.clone(),
        share: shared.admission.share(),
        budget: shared.budget.clone(),
        lane_concurrency_max,
        sizes: shared.config.sizes(),
        save_interval,
        wait_in_place_max,
        stop_grace,
        clock: shared.clock.clone(),
        metrics: shared.metrics.broker(&broker.name),
        status: status.clone(),
        tables,
        stop,
    };
    BrokerTask::new(parts).run().await;
}

#[cfg(test)]
mod tests;
