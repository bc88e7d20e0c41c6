//! What a broker task starts: reads, saves, attempts. Each is a task of its own that ends with one message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use pelton_event::Timestamp;
use pelton_event_log::{
    Append, Bounds, BrokerTopics, EventLog, Lease, LogError, Offset, Partition, ReadLimit, TopicName,
};
use pelton_resources::contracts::{Delivery, Outcome};
use pelton_resources::{NamespacedName, Start};
use pelton_runtime::clock::Clock;
use tokio::sync::mpsc;

use super::message::{Input, Message};
use crate::core::{self, FetchId, Opened, ResolveId, SaveId, Source, SweepId, Target};
use crate::deliver::{Attempt, Ended};
use crate::limits;
use crate::metrics::BrokerMetrics;
use crate::status::BrokerStatus;

/// What everything that a broker task starts needs.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) topics: BrokerTopics,
    pub(super) attempt: Attempt,
    pub(super) clock: Clock,
    pub(super) status: Arc<BrokerStatus>,
    pub(super) metrics: BrokerMetrics,
    pub(super) messages: mpsc::Sender<Message>,
}

/// Where the answers of one partition go.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) io: Arc<Io>,
    pub(super) partition: Partition,
    pub(super) generation: u64,
}

impl Io {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.unix_ms())
    }

    /// What the log holds of the events of each partition.
    pub(super) async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        let mut all = BTreeMap::new();
        for &partition in partitions {
            let bounds = self.patiently(|| self.log.bounds(&self.topics.events, partition)).await?;
            all.insert(partition, bounds);
        }
        Ok(all)
    }

    /// Asks the log until it answers. What passes by itself is waited for, and shown in the status meanwhile; the rest is
    /// the caller's.
    pub(super) async fn patiently<T, F>(&self, ask: impl FnMut() -> F) -> Result<T, LogError>
    where
        F: Future<Output = Result<T, LogError>>,
    {
        let waits = ExponentialBuilder::default()
            .with_min_delay(limits::LOG_RETRY_MIN)
            .with_max_delay(limits::LOG_RETRY_MAX)
            .without_max_times()
            .with_jitter();
        let mut failed = false;
        let answer = ask
            .retry(waits)
            .when(|error| matches!(error, LogError::Unavailable(_) | LogError::Io { .. }))
            .notify(|error: &LogError, _wait: Duration| {
                failed = true;
                self.status.set_problem(Some(error.to_string().into()));
            })
            .await;
        if failed && answer.is_ok() {
            self.status.set_problem(None);
        }
        answer
    }
}

impl Line {
    async fn tell(&self, input: Input) {
        let Self { partition, generation, .. } = *self;
        // A broker task that is gone has no use for it.
        let _ = self.io.messages.send(Message { partition, generation, input }).await;
    }

    async fn answer<T>(&self, answer: Result<T, LogError>, input: impl FnOnce(T) -> Input) {
        match answer {
            Ok(answer) => self.tell(input(answer)).await,
            // The stream of ownership ends as well and stops the broker task.
            Err(LogError::Closed) => {}
            Err(error) => self.tell(Input::Broken(error)).await,
        }
    }

    async fn read(
        &self,
        topic: &TopicName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<pelton_event_log::Chunk, LogError> {
        self.io.patiently(|| self.io.log.read(topic, self.partition, from, limit)).await
    }

    pub(super) async fn open(self, epoch: pelton_event_log::Epoch) {
        let opened = async {
            let (log, topics) = (&self.io.log, &self.io.topics);
            let (events, retry, partition) = (&topics.events, &topics.retry, self.partition);
            // A save that an earlier owner in this process has left behind must not land after the progress was read.
            self.io.patiently(|| log.settled(events, partition)).await?;
            Ok(Box::new(Opened {
                epoch,
                events: self.io.patiently(|| log.progress(events, partition)).await?,
                retry: self.io.patiently(|| log.progress(retry, partition)).await?,
                events_bounds: self.io.patiently(|| log.bounds(events, partition)).await?,
                retry_bounds: self.io.patiently(|| log.bounds(retry, partition)).await?,
            }))
        };
        self.answer(opened.await, Input::Opened).await;
    }

    pub(super) async fn read_head(self, from: Offset) {
        let limit = ReadLimit { bytes: limits::READ_BYTES, entries: limits::READ_ENTRIES, wait: true };
        let chunk = self.read(&self.io.topics.events, from, limit).await;
        self.answer(chunk, Input::HeadRead).await;
    }

    pub(super) async fn read_retry(self, from: Offset) {
        let limit = ReadLimit { bytes: limits::READ_BYTES, entries: limits::READ_ENTRIES, wait: true };
        let chunk = self.read(&self.io.topics.retry, from, limit).await;
        self.answer(chunk, Input::RetryRead).await;
    }

    pub(super) async fn sweep(self, sweep: SweepId, from: Offset, entries: usize) {
        let entries = entries.clamp(1, limits::READ_ENTRIES);
        let limit = ReadLimit { bytes: limits::READ_BYTES, entries, wait: false };
        let chunk = self.read(&self.io.topics.events, from, limit).await;
        self.answer(chunk, |chunk| Input::SweepRead(sweep, chunk)).await;
    }

    pub(super) async fn fetch(self, fetch: FetchId) {
        let topic = match fetch.source {
            Source::Events => &self.io.topics.events,
            Source::Retry => &self.io.topics.retry,
        };
        let limit = ReadLimit { bytes: 1, entries: 1, wait: false };
        let ask = || async {
            let chunk = self.io.log.read(topic, self.partition, fetch.offset, limit).await?;
            // Nothing is there yet: a node that has just become leader may not know how far it may show its records.
            let is_at_end =
                chunk.entries.is_empty() && chunk.next <= fetch.offset && chunk.kept_from.is_none();
            let not_yet = || {
                format!(
                    "partition {} of topic {topic} does not show offset {} at the moment",
                    self.partition, fetch.offset
                )
            };
            if is_at_end { Err(LogError::Unavailable(not_yet().into())) } else { Ok(chunk) }
        };
        let chunk = self.io.patiently(ask).await;
        let entry = |chunk: pelton_event_log::Chunk| {
            chunk.entries.into_iter().next().filter(|entry| entry.offset == fetch.offset)
        };
        self.answer(chunk, |chunk| Input::Fetched(fetch, entry(chunk))).await;
    }

    pub(super) async fn resolve(self, resolve: ResolveId, group: Option<Arc<str>>, start: Start) {
        let offset = async {
            if let Some(group) = &group
                && let Some(offset) = self.committed(&resolve.trigger, group).await?
            {
                let (trigger, partition) = (&resolve.trigger, self.partition);
                tracing::info!(%trigger, %group, partition, offset, "the trigger goes on where its consumer group has stopped");
                return Ok(offset);
            }
            let (log, topic) = (&self.io.log, &self.io.topics.events);
            match start {
                Start::At(time) => self.io.patiently(|| log.offset_at(topic, self.partition, time)).await,
                Start::Latest => Ok(self.io.patiently(|| log.bounds(topic, self.partition)).await?.end),
                Start::Earliest => Ok(self.io.patiently(|| log.bounds(topic, self.partition)).await?.start),
            }
        };
        let offset = offset.await;
        self.answer(offset, |offset| Input::Resolved(resolve, offset)).await;
    }

    /// Where the consumer group of a trigger has stopped. One that is in use is waited for; the trigger's status says so.
    async fn committed(&self, trigger: &NamespacedName, group: &str) -> Result<Option<Offset>, LogError> {
        let Some(groups) = self.io.log.groups() else { return Ok(None) };
        let topic = &self.io.topics.events;
        loop {
            let asked = self.io.patiently(|| groups.committed(topic, self.partition, group)).await;
            match asked {
                Err(error @ LogError::GroupInUse { .. }) => {
                    self.io.status.set_waiting(trigger, Some(error.to_string().into()));
                    tokio::time::sleep(limits::LOG_RETRY_MAX).await;
                }
                other => {
                    self.io.status.set_waiting(trigger, None);
                    return other;
                }
            }
        }
    }

    pub(super) async fn save(self, save: SaveId, append: Append) {
        let saved = append.await;
        if saved.is_err() {
            self.io.metrics.failed_saves.inc();
        }
        self.tell(Input::Saved(save, saved.map(drop))).await;
    }

    pub(super) async fn attempt(self, attempt: core::Attempt, lease: Lease) {
        let io = &self.io;
        let delivery = Delivery {
            trigger: attempt.trigger.clone(),
            destination: attempt.destination().clone(),
            replica: None,
            event: attempt.event.clone(),
            trace: attempt.trace().cloned(),
            hops: attempt.hops(),
            attempts: attempt.attempts,
        };
        let has_slot = self.tell(Input::Started(attempt.id));
        let outcome = match io.attempt.run(delivery, has_slot, &lease).await {
            Ended::Sent { outcome, took } => {
                io.metrics.attempted(&outcome, took);
                self.observe_end(&attempt, &outcome);
                outcome
            }
            Ended::NoSlot(none) => {
                io.metrics.no_slot();
                Outcome::Unreachable { message: none.to_string().into() }
            }
        };
        let id = attempt.id;
        // Its share of the budget is free before the core hears of the end.
        drop(attempt);
        self.tell(Input::Ended(id, outcome)).await;
    }

    fn observe_end(&self, attempt: &core::Attempt, outcome: &Outcome) {
        let taken =
            matches!(outcome, Outcome::Response(r) if (200..300).contains(&r.status) && r.reply.is_ok());
        if taken && attempt.destination == Target::Subscriber {
            let age = self.io.now().since(attempt.body.record().envelope.time);
            self.io.metrics.end_to_end.observe(age.as_secs_f64());
        }
    }

    pub(super) async fn overdue(self, after: Duration) {
        tokio::time::sleep(after).await;
        self.tell(Input::StopOverdue).await;
    }
}
