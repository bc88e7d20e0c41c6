//! Membership of the group that shares an events topic out among dispatchers (the classic protocol, cooperative-sticky).
//!
//! The member reads nothing: its partitions are paused, readers of their own read them. It commits the saved heads every
//! quarter of the session time-out. A commit that Kafka acknowledges proves that the session was alive when it was sent;
//! deliveries start only while the last proof is younger than half the session time-out, so that a process that was stopped
//! and wakes up sends nothing for partitions that are somebody else's by now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::client::{self, Health};
use super::owner::Owner;
use crate::limits::{
    KAFKA_COMMITS_A_SESSION, KAFKA_LEASE_SHARE, KAFKA_POLL, KAFKA_POLL_BUSY, KAFKA_RETRY_MIN,
};
use crate::{LogError, Partition, TopicName};

/// The group of the dispatchers of an events topic; `_` keeps it apart from the groups of triggers.
pub(super) fn group_of(events: &TopicName) -> String {
    format!("{events}_dispatchers")
}

/// A member of the group, in a thread of its own.
pub(super) struct Member {
    owner: Arc<Owner>,
    consumer: Arc<BaseConsumer<Events>>,
    session: Duration,
    revoke_grace: Duration,
    revoking: Vec<Revoking>,
    commit_at: Instant,
    /// When the commit was sent that is not answered yet.
    committing: Option<Instant>,
    /// Told by the engine when it closes.
    closing: Arc<AtomicBool>,
}

/// Partitions that are being given up together.
struct Revoking {
    partitions: Vec<Partition>,
    waiting: Vec<(Partition, oneshot::Receiver<()>)>,
    until: Instant,
}

/// What librdkafka tells the member.
enum Event {
    Assigned(Vec<Partition>),
    Revoked { partitions: Vec<Partition>, lost: bool },
    Committed(KafkaResult<()>),
}

/// Collects what comes in during a poll.
struct Events {
    health: Arc<Health>,
    list: Mutex<Vec<Event>>,
    /// Nobody looks at the list any more: what is revoked is given up at once.
    leaving: AtomicBool,
}

impl Member {
    /// Joins the group; the thread runs until nobody listens to the owner or the engine closes.
    pub(super) fn start(owner: &Arc<Owner>, closing: Arc<AtomicBool>) -> Result<JoinHandle<()>, LogError> {
        let failed = |error: &dyn std::fmt::Display| {
            LogError::Unavailable(
                format!("the group of topic {} cannot be joined: {error}", owner.events).into(),
            )
        };
        let settings = &owner.cluster.settings;
        let session = settings.session_timeout;
        let mut config = owner.cluster.connection.client();
        config
            .set("group.id", group_of(&owner.events))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / 5).as_millis().max(1).to_string())
            .set(
                "max.poll.interval.ms",
                (session + settings.revoke_grace * 4).max(Duration::from_secs(300)).as_millis().to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // Nothing is read here; what slips through before a partition is paused shall be little.
            .set("fetch.message.max.bytes", "1024")
            .set("queued.max.messages.kbytes", "1");
        let context = Events {
            health: owner.cluster.health.clone(),
            list: Mutex::default(),
            leaving: AtomicBool::new(false),
        };
        let consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(|error| failed(&error))?;
        consumer.subscribe(&[owner.events.as_str()]).map_err(|error| failed(&error))?;
        let member = Self {
            revoke_grace: settings.revoke_grace,
            consumer: Arc::new(consumer),
            session,
            revoking: Vec::new(),
            commit_at: Instant::now(),
            committing: None,
            closing,
            owner: owner.clone(),
        };
        let thread = std::thread::Builder::new().name("kafka-member".to_owned());
        thread.spawn(move || member.run()).map_err(|error| failed(&error))
    }

    fn run(mut self) {
        while !self.owner.is_abandoned() && !self.closing.load(Ordering::Relaxed) {
            let is_calm = self.revoking.is_empty() && !self.owner.is_gaining();
            let idle = if is_calm { KAFKA_POLL } else { KAFKA_POLL_BUSY };
            let until_commit = self.commit_at.saturating_duration_since(Instant::now());
            self.poll(idle.min(until_commit.max(KAFKA_POLL_BUSY)));
            self.finish_revocations();
            self.commit();
        }
        self.leave();
    }

    fn poll(&mut self, wait: Duration) {
        if let Some(Err(error)) = self.consumer.poll(wait) {
            self.failed(&error);
        }
        let events =
            std::mem::take(&mut *self.consumer.context().list.lock().unwrap_or_else(PoisonError::into_inner));
        for event in events {
            match event {
                Event::Assigned(partitions) => self.assigned(&partitions),
                Event::Revoked { partitions, lost } => self.revoked(partitions, lost),
                Event::Committed(result) => self.committed(&result),
            }
        }
    }

    fn failed(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                tracing::warn!(topic = %self.owner.events, "the topic does not exist on Kafka; it is waited for");
            }
            _ => tracing::debug!(topic = %self.owner.events, %error, "the member of the group"),
        }
    }

    fn assigned(&mut self, partitions: &[Partition]) {
        if !partitions.is_empty() {
            tracing::info!(topic = %self.owner.events, ?partitions, "partitions gained");
        }
        let list = self.list(partitions);
        let assigned = self.consumer.incremental_assign(&list).and_then(|()| self.consumer.pause(&list));
        if let Err(error) = assigned {
            tracing::error!(topic = %self.owner.events, %error, "partitions that Kafka gave cannot be taken; the group is joined anew");
            // What we were given goes to others, or comes again.
            self.consumer.unsubscribe();
            if let Err(error) = self.consumer.subscribe(&[self.owner.events.as_str()]) {
                tracing::error!(topic = %self.owner.events, %error, "its group cannot be joined");
            }
            return;
        }
        for &partition in partitions {
            self.owner.gain(partition);
        }
        self.commit_at = Instant::now();
    }

    fn revoked(&mut self, partitions: Vec<Partition>, lost: bool) {
        if lost {
            tracing::warn!(topic = %self.owner.events, ?partitions, "partitions lost: Kafka did not hear of us in time");
            self.owner.lease.end();
            partitions.iter().for_each(|partition| self.owner.lose(*partition));
            self.give_up(&partitions);
            return;
        }
        tracing::info!(topic = %self.owner.events, ?partitions, "partitions go to another dispatcher");
        let waiting = partitions
            .iter()
            .filter_map(|partition| Some((*partition, self.owner.revoke(*partition)?)))
            .collect();
        self.revoking.push(Revoking { partitions, waiting, until: Instant::now() + self.revoke_grace });
    }

    /// Gives partitions up whose dispatchers have finished, or whose time is over.
    fn finish_revocations(&mut self) {
        let mut finished = Vec::new();
        for revoking in &mut self.revoking {
            revoking.waiting.retain_mut(|(_, released)| released.try_recv() == Err(TryRecvError::Empty));
            if Instant::now() >= revoking.until {
                for (partition, _) in revoking.waiting.drain(..) {
                    tracing::warn!(topic = %self.owner.events, partition, "what is in flight did not end in time; it may come twice");
                    self.owner.lose(partition);
                }
            }
            if revoking.waiting.is_empty() {
                finished.append(&mut revoking.partitions);
            }
        }
        self.revoking.retain(|revoking| !revoking.partitions.is_empty());
        if !finished.is_empty() {
            finished.iter().for_each(|partition| self.owner.release(*partition));
            self.give_up(&finished);
        }
    }

    fn give_up(&self, partitions: &[Partition]) {
        if let Err(error) = self.consumer.incremental_unassign(&self.list(partitions)) {
            tracing::error!(topic = %self.owner.events, ?partitions, %error, "partitions cannot be given up");
        }
    }

    fn list(&self, partitions: &[Partition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            let number = i32::try_from(partition).unwrap_or(-1);
            // An offset of its own for each, so that Kafka is not asked for commits.
            let _ = list.add_partition_offset(self.owner.events.as_str(), number, KafkaOffset::Offset(0));
        }
        list
    }

    /// Proves that the member is alive.
    fn commit(&mut self) {
        let now = Instant::now();
        if self.committing.is_some() || (!self.owner.take_wish_for_proof() && now < self.commit_at) {
            return;
        }
        self.commit_at = now + self.session / KAFKA_COMMITS_A_SESSION;
        let heads = self.owner.heads();
        if heads.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(heads.len());
        for (partition, head) in heads {
            let number = i32::try_from(partition).unwrap_or(-1);
            let offset = KafkaOffset::Offset(i64::try_from(head).unwrap_or(i64::MAX));
            let _ = list.add_partition_offset(self.owner.events.as_str(), number, offset);
        }
        self.committing = Some(now);
        // In a thread that may wait: of a commit that is not waited for, librdkafka does not tell what came of it. Not in one of
        // the runtime's: while the coordinator is away it waits without end, and the end of the runtime would wait for it.
        let consumer = self.consumer.clone();
        let commit = move || {
            let result = consumer.commit(&list, CommitMode::Sync);
            consumer.context().note(Event::Committed(result));
        };
        if let Err(error) = std::thread::Builder::new().name("kafka-proof".to_owned()).spawn(commit) {
            tracing::error!(topic = %self.owner.events, %error, "no thread for a sign of life");
            self.committing = None;
        }
    }

    fn committed(&mut self, result: &KafkaResult<()>) {
        let sent = self.committing.take();
        match (result, sent) {
            (Ok(()), Some(sent)) => self.owner.lease.extend(sent + self.session / KAFKA_LEASE_SHARE),
            (Ok(()), None) => {}
            (Err(error), _) => self.commit_failed(error),
        }
    }

    fn commit_failed(&mut self, error: &KafkaError) {
        tracing::debug!(topic = %self.owner.events, %error, "the heads are not committed");
        // A take-over waits for it: during a rebalance Kafka refuses commits for a moment.
        let wait = if self.owner.is_gaining() { KAFKA_RETRY_MIN } else { self.session / 40 };
        self.commit_at = self.commit_at.min(Instant::now() + wait);
    }

    /// Leaves the group: the dispatchers have finished, or the engine closes.
    fn leave(mut self) {
        if !self.owner.is_abandoned() {
            self.owner.partitions().into_iter().for_each(|partition| self.owner.lose(partition));
        }
        self.owner.lease.end();
        self.consumer.context().leaving.store(true, Ordering::Relaxed);
        self.revoking.drain(..).for_each(|revoking| drop(revoking.waiting));
        let owned = self.owner.partitions();
        owned.iter().for_each(|partition| self.owner.release(*partition));
        if let Ok(assigned) = self.consumer.assignment()
            && assigned.count() > 0
        {
            let _ = self.consumer.incremental_unassign(&assigned);
        }
        // Dropping the consumer sends the farewell.
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&self.health, &error, reason);
    }
}

impl ConsumerContext for Events {
    /// Only notes what happens. The partitions are assigned and given up in the member's own time, which librdkafka allows:
    /// the rebalance goes on once that is done.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.leaving.load(Ordering::Relaxed) {
            if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS {
                let _ = consumer.incremental_unassign(list);
            } else {
                let _ = consumer.incremental_assign(list);
            }
            return;
        }
        let elements = list.elements();
        let partitions =
            elements.iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        self.note(if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Event::Assigned(partitions)
        } else {
            Event::Revoked { partitions, lost: consumer.assignment_lost() }
        });
    }
}

impl Events {
    fn note(&self, event: Event) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}
