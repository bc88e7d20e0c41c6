//! The actor of one broker: it owns the core, runs what the core asks for, and feeds back what comes of it.
//!
//! Everything that takes time runs in a task of its own and ends with one message; the actor itself never waits for any of
//! them. It sleeps until there is something to do: an idle broker costs its waiting reads and nothing else.

mod io;
mod message;
mod owned;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_event_log::{
    Bounds, BrokerTopics, EventLog, HeldLanes, LogError, MirroredLane, Ownership, OwnershipChange, Partition,
};
use pelton_resources::{NamespacedName, Trigger};
use pelton_runtime::clock::Clock;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use self::io::{Io, Line};
use self::message::{Input, Message};
use self::owned::Owned;
use crate::admission::Share;
use crate::core::{Action, BodyBudget, BrokerCore, CoreConfig, Expired, Sizes, Turn};
use crate::deliver::Attempt;
use crate::limits;
use crate::metrics::BrokerMetrics;
use crate::select::TriggerTable;
use crate::status::BrokerStatus;

/// What a broker task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) broker: NamespacedName,
    pub(crate) topics: BrokerTopics,
    pub(crate) partitions: u32,
    /// Whether triggers without progress go on where their consumer groups have stopped.
    pub(crate) take_over: bool,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) attempt: Attempt,
    pub(crate) share: Share,
    pub(crate) budget: BodyBudget,
    pub(crate) lane_concurrency_max: u32,
    pub(crate) sizes: Sizes,
    pub(crate) save_interval: Duration,
    pub(crate) wait_in_place_max: Duration,
    /// How long deliveries in flight may take once the broker task or a partition stops.
    pub(crate) stop_grace: Duration,
    pub(crate) clock: Clock,
    pub(crate) status: Arc<BrokerStatus>,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) tables: watch::Receiver<Arc<TriggerTable>>,
    pub(crate) stop: CancellationToken,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct BrokerTask {
    broker: NamespacedName,
    core: BrokerCore,
    share: Share,
    io: Arc<Io>,
    ownership: Ownership,
    owned: HashMap<Partition, Owned>,
    /// Partitions that will be gained.
    coming: HashSet<Partition>,
    /// How many partitions were gained so far: the number of the next one.
    generation: u64,
    received: mpsc::Receiver<Message>,
    tables: watch::Receiver<Arc<TriggerTable>>,
    take_over: bool,
    /// Triggers whose consumer groups are in use by others; on an engine that has such.
    held: Option<watch::Receiver<HeldLanes>>,
    /// Asks what the log holds for the newest triggers, while they are not in force yet.
    bounds: JoinSet<Result<BTreeMap<Partition, Bounds>, LogError>>,
    /// The log did not say what it holds; the status tells of it.
    bounds_failed: bool,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    sleep: Pin<Box<Sleep>>,
    stop: CancellationToken,
    is_stopping: bool,
    stop_grace: Duration,
}

/// Why the actor woke up.
enum Wake {
    Stop,
    Ownership(Option<OwnershipChange>),
    Messages,
    Table,
    Bounds(Result<BTreeMap<Partition, Bounds>, LogError>),
    Held,
    Room,
    Time,
}

/// Ends when the triggers that are held back are others; never without an engine that holds any.
async fn changed(held: &mut Option<watch::Receiver<HeldLanes>>) {
    let changed = match held {
        Some(held) => held.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
}

impl BrokerTask {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut tables = parts.tables;
        let table = tables.borrow_and_update().clone();
        let ownership = parts.log.ownership(&parts.topics.events);
        let (messages, received) = mpsc::channel(limits::MESSAGES_MAX);
        let core = BrokerCore::new(
            CoreConfig {
                topics: parts.topics.clone(),
                partitions: parts.partitions,
                take_over: parts.take_over,
                budget: parts.budget,
                lane_concurrency_max: parts.lane_concurrency_max,
                save_interval: parts.save_interval,
                sizes: parts.sizes,
                wait_in_place_max: parts.wait_in_place_max,
                seed: fastrand::u64(..),
            },
            table,
        );
        let io = Io {
            log: parts.log,
            topics: parts.topics,
            attempt: parts.attempt,
            clock: parts.clock,
            status: parts.status,
            metrics: parts.metrics,
            messages,
        };
        let mut task = Self {
            broker: parts.broker,
            core,
            share: parts.share,
            io: Arc::new(io),
            ownership,
            owned: HashMap::new(),
            coming: HashSet::new(),
            generation: 0,
            received,
            tables,
            take_over: parts.take_over,
            held: None,
            bounds: JoinSet::new(),
            bounds_failed: false,
            actions: Vec::new(),
            wake_at: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            stop: parts.stop,
            is_stopping: false,
            stop_grace: parts.stop_grace,
        };
        task.publish_triggers();
        task.mirror();
        task
    }

    /// Runs until it is told to stop and has stopped, or the log is closed.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(limits::MESSAGES_AT_ONCE);
        loop {
            match self.wait(&mut messages).await {
                Wake::Stop => self.stop_all(),
                Wake::Ownership(change) => {
                    if !self.ownership_changes(change) {
                        tracing::debug!(broker = %self.broker, "the log is closed; the broker task ends");
                        return;
                    }
                }
                // All that came in is applied before anything new starts.
                Wake::Messages => messages.drain(..).for_each(|message| self.apply(message)),
                Wake::Table => self.table_changed(),
                Wake::Bounds(Ok(bounds)) => self.triggers_changed(&bounds),
                Wake::Bounds(Err(error)) => self.bounds_unknown(&error),
                Wake::Held => self.hold(),
                Wake::Room => self.turn(BrokerCore::admission_room),
                Wake::Time => self.rearm(),
            }
            self.tick_if_due();
            self.run_actions();
            if self.is_stopping && self.owned.is_empty() {
                return;
            }
        }
    }

    async fn wait(&mut self, messages: &mut Vec<Message>) -> Wake {
        tokio::select! {
            () = self.stop.cancelled(), if !self.is_stopping => Wake::Stop,
            change = self.ownership.next() => Wake::Ownership(change),
            _ = self.received.recv_many(messages, limits::MESSAGES_AT_ONCE) => Wake::Messages,
            // The end of the channel means that the dispatcher is gone; its stop follows.
            Ok(()) = self.tables.changed(), if !self.is_stopping => Wake::Table,
            Some(Ok(bounds)) = self.bounds.join_next() => Wake::Bounds(bounds),
            () = changed(&mut self.held) => Wake::Held,
            () = self.share.room() => Wake::Room,
            () = &mut self.sleep, if self.wake_at.is_some() => Wake::Time,
        }
    }

    fn turn<T>(&mut self, input: impl FnOnce(&mut BrokerCore, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn { now: self.io.now(), admission: &mut self.share, actions: &mut self.actions };
        input(&mut self.core, &mut turn)
    }

    fn tick_if_due(&mut self) {
        // Checked on every round: with messages always at hand the timer might never be looked at.
        if self.wake_at.is_some_and(|at| at <= self.io.now()) {
            self.wake_at = None;
            self.turn(BrokerCore::tick);
            if self.core.take_forgotten() {
                self.publish_triggers();
            }
            self.publish_partitions();
            for (trigger, what) in self.io.status.look_for_expiry(self.io.now()) {
                tracing::warn!(%trigger, "events are about to be lost: {what}");
            }
        }
    }

    /// What needs no look into the log (a pause, another subscriber) is in force at once.
    fn table_changed(&mut self) {
        let table = self.tables.borrow().clone();
        if self.core.needs_bounds(&table) {
            return self.ask_bounds(Duration::ZERO);
        }
        let table = self.tables.borrow_and_update().clone();
        self.turn(|core, turn| core.triggers_changed(table, &BTreeMap::new(), turn));
        self.publish_triggers();
        self.mirror();
    }

    /// The newest triggers come into force once it is known what the log holds at this moment.
    fn ask_bounds(&mut self, after: Duration) {
        if !self.bounds.is_empty() {
            // What is under way will do for these triggers too: an answer from before they came in force makes them start
            // a little early, never late.
            return;
        }
        let partitions: Vec<Partition> = self.owned.keys().copied().collect();
        let io = self.io.clone();
        self.bounds.spawn(async move {
            tokio::time::sleep(after).await;
            io.bounds(&partitions).await
        });
    }

    fn triggers_changed(&mut self, bounds: &BTreeMap<Partition, Bounds>) {
        let is_complete =
            self.owned.iter().all(|(partition, owned)| !owned.is_open() || bounds.contains_key(partition));
        if !is_complete {
            return self.ask_bounds(Duration::ZERO);
        }
        if std::mem::take(&mut self.bounds_failed) {
            self.io.status.set_problem(None);
        }
        let table = self.tables.borrow_and_update().clone();
        self.turn(|core, turn| core.triggers_changed(table, bounds, turn));
        self.publish_triggers();
        self.mirror();
    }

    /// Tells the engine which consumer groups stand for the triggers.
    fn mirror(&mut self) {
        let Some(groups) = self.io.log.groups() else { return };
        let table = self.tables.borrow().clone();
        let lane = |trigger: &Arc<Trigger>| MirroredLane {
            lane: trigger.name.to_shared(),
            group: trigger.group.as_str().into(),
        };
        let lanes = table.triggers().iter().map(lane).collect();
        let mut held = groups.mirror(&self.io.topics.events, lanes, self.take_over);
        held.mark_changed();
        self.held = Some(held);
    }

    fn hold(&mut self) {
        let Some(held) = self.held.as_mut().map(|held| held.borrow_and_update().clone()) else { return };
        self.turn(|core, turn| core.hold(&held, turn));
        self.io.status.set_held(held);
    }

    fn bounds_unknown(&mut self, error: &LogError) {
        // The end of the stream of ownership tells of a closed log.
        if !matches!(error, LogError::Closed) {
            tracing::error!(broker = %self.broker, code = error.code(), "changed triggers are not in force: {error}");
            self.io.status.set_problem(Some(error.to_string().into()));
            self.bounds_failed = true;
            self.ask_bounds(limits::LOG_RETRY_MAX);
        }
    }

    fn apply(&mut self, message: Message) {
        let Message { partition, generation, input } = message;
        if self.owned.get(&partition).is_some_and(|owned| owned.generation == generation) {
            self.apply_input(partition, input);
        }
    }

    fn apply_input(&mut self, partition: Partition, input: Input) {
        match input {
            Input::Opened(opened) => self.opened(partition, *opened),
            Input::HeadRead(chunk) => {
                let start = Instant::now();
                self.turn(|core, turn| core.head_read(partition, chunk, turn));
                self.io.metrics.select.observe(start.elapsed().as_secs_f64());
            }
            Input::RetryRead(chunk) => self.turn(|core, turn| core.retry_read(partition, chunk, turn)),
            Input::SweepRead(sweep, chunk) => self.turn(|core, turn| core.sweep_read(sweep, chunk, turn)),
            Input::Fetched(fetch, entry) => self.turn(|core, turn| core.fetched(fetch, entry, turn)),
            Input::Resolved(resolve, offset) => self.turn(|core, turn| core.resolved(resolve, offset, turn)),
            Input::Started(attempt) => self.turn(|core, turn| core.attempt_started(attempt, turn)),
            Input::Ended(attempt, outcome) => {
                self.turn(|core, turn| core.attempt_ended(attempt, outcome, turn));
            }
            Input::Saved(save, Ok(())) => {
                self.turn(|core, turn| core.saved(save, turn));
                self.publish_partitions();
            }
            Input::Saved(save, Err(error)) => {
                self.turn(|core, turn| core.save_failed(save, &error, turn));
                self.publish_partitions();
            }
            Input::StopOverdue => self.stop_overdue(partition),
            Input::Broken(error) => self.broken(partition, &error),
        }
    }

    /// Runs what the core asked for, and what it asks for because of that.
    fn run_actions(&mut self) {
        while !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                self.run_action(action);
            }
            // The list keeps its memory; what was asked for meanwhile comes next.
            actions.append(&mut self.actions);
            self.actions = actions;
        }
        for owned in self.owned.values_mut() {
            owned.reap();
        }
    }

    fn run_action(&mut self, action: Action) {
        match action {
            Action::ReadHead { partition, from } => self.read(partition, |line| line.read_head(from)),
            Action::ReadRetry { partition, from } => self.read(partition, |line| line.read_retry(from)),
            Action::Sweep { sweep, from, entries, .. } => {
                self.read(sweep.partition, |line| line.sweep(sweep, from, entries));
            }
            Action::Fetch(fetch) => self.read(fetch.partition, |line| line.fetch(fetch)),
            Action::Resolve { resolve, group, start } => {
                self.read(resolve.partition, |line| line.resolve(resolve, group, start));
            }
            Action::Attempt(attempt) => {
                let partition = attempt.id.partition;
                if let Some((line, owned)) = self.line(partition) {
                    owned.attempts.spawn(line.attempt(attempt, owned.lease.clone()));
                }
            }
            Action::Save { save, batch } => {
                // Handed over here, so that saves reach the log in the core's order.
                let append = self.io.log.append(batch);
                self.read(save.partition, |line| line.save(save, append));
            }
            Action::Expired(expired) => self.expired(expired),
            Action::WakeAt(at) => self.wake_at(at),
            Action::Stopped(partition) => self.forget(partition),
            Action::Lost(partition) => {
                tracing::warn!(broker = %self.broker, partition, "somebody else owns the partition now");
                self.forget(partition);
            }
        }
    }

    fn expired(&self, expired: Expired) {
        let Expired { trigger, partition, offsets } = expired.clone();
        if self.io.status.note_expired(expired) {
            let trigger = trigger.map_or_else(|| "all".to_owned(), |name| name.to_string());
            tracing::warn!(broker = %self.broker, trigger, partition, from = offsets.start, to = offsets.end - 1,
                "the log has let events go before their end");
        }
    }

    fn line(&mut self, partition: Partition) -> Option<(Line, &mut Owned)> {
        let owned = self.owned.get_mut(&partition)?;
        Some((Line { io: self.io.clone(), partition, generation: owned.generation }, owned))
    }

    fn read<F>(&mut self, partition: Partition, start: impl FnOnce(Line) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some((line, owned)) = self.line(partition) {
            owned.io.spawn(start(line));
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        if self.wake_at == Some(at) {
            return;
        }
        self.wake_at = Some(at);
        // A point in time beyond what a timer takes is for ever.
        let wait = at.since(self.io.now()).min(limits::SLEEP_MAX);
        self.sleep.as_mut().reset(Instant::now() + wait);
    }

    /// The timer rang before its time because that is further away than a timer goes.
    fn rearm(&mut self) {
        if let Some(at) = self.wake_at.take_if(|at| *at > self.io.now()) {
            self.wake_at(at);
        }
    }

    fn publish_triggers(&self) {
        self.io.status.set_triggers(self.core.counters());
    }

    fn publish_partitions(&self) {
        self.io.status.set_partitions(self.core.partitions());
    }
}
