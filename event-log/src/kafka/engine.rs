//! The log on Kafka as the roles see it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_core::future::BoxFuture;
use pelton_event::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster::Cluster;
use super::config::{Config, Connection};
use super::known::KnownIdentities;
use super::member::{Member, group_of};
use super::mirror;
use super::native::Commits;
use super::owner::Owner;
use super::producer::{Failed, Outgoing};
use super::progress::{Of, ProgressRecord};
use super::take_over::compare_topics;
use super::topics::{self, progress_topic};
use crate::limits::{KAFKA_COMMITS_KEPT, KAFKA_FORGET_INTERVAL};
use crate::{
    Append, AppendError, Appended, Batch, Bounds, Chunk, ConsumerGroups, EventLog, HeldLanes, LogError,
    LogStatus, MirroredLane, Offset, Ownership, Partition, Progress, ProgressUpdate, ReadLimit, Stored,
    TopicInfo, TopicName, TopicSpec,
};

/// A log on Kafka, shared with other processes.
#[derive(Clone)]
pub struct KafkaLog(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) runtime: Handle,
    pub(super) clusters: Mutex<HashMap<Connection, Arc<Cluster>>>,
    /// The cluster of each events topic that was seen to.
    pub(super) routes: RwLock<HashMap<TopicName, Arc<Cluster>>>,
    pub(super) owners: Mutex<HashMap<TopicName, Arc<Owner>>>,
    /// What groups have committed, asked for a moment ago.
    pub(super) commits: Mutex<HashMap<(TopicName, Arc<str>), KnownCommits>>,
    /// Which topics the partitions of others are of.
    pub(super) identities: KnownIdentities,
    /// The threads of members, that ended ones included until the next starts.
    members: Mutex<Vec<JoinHandle<()>>>,
    closed: AtomicBool,
    /// Tells the members to leave.
    closing: Arc<AtomicBool>,
}

/// What a group has committed, and when it was asked; one asks while the others wait.
pub(super) type KnownCommits = Arc<tokio::sync::Mutex<Option<(Arc<Commits>, Instant)>>>;

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaLog").field(&self.0.config.connection).finish()
    }
}

impl KafkaLog {
    /// A log over the cluster of `config`. Connections are made as they are needed; a cluster that cannot be reached is
    /// waited for, and [`EventLog::status`] says so.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the settings of the connection cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(config: Config) -> Result<Self, LogError> {
        let log = Self(Arc::new(Shared {
            config,
            runtime: Handle::current(),
            clusters: Mutex::default(),
            routes: RwLock::default(),
            owners: Mutex::default(),
            commits: Mutex::default(),
            identities: KnownIdentities::default(),
            members: Mutex::default(),
            closed: AtomicBool::new(false),
            closing: Arc::default(),
        }));
        log.0.cluster(&log.0.config.connection)?;
        log.0.runtime.spawn(tidy(Arc::downgrade(&log.0)));
        Ok(log)
    }
}

impl Shared {
    /// Forgets what nobody asks for any more.
    fn tidy(&self) {
        lock(&self.commits).retain(|_, slot| {
            // Who holds it is asking.
            let Ok(slot) = slot.try_lock() else { return true };
            slot.as_ref().is_some_and(|(_, at)| at.elapsed() < KAFKA_COMMITS_KEPT)
        });
        // What one holds until its member has left may still be saved.
        let is_over =
            |_: &TopicName, owner: &mut Arc<Owner>| owner.is_abandoned() && owner.partitions().is_empty();
        let over: Vec<_> = lock(&self.owners).extract_if(is_over).collect();
        if !over.is_empty() {
            drop(over);
            self.give_up_clusters();
        }
    }

    pub(super) fn owner(&self, events: &TopicName) -> Option<Arc<Owner>> {
        lock(&self.owners).get(events).cloned()
    }

    pub(super) fn open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    fn append(self: &Arc<Self>, batch: Batch, appended: Appended) {
        let Batch { records, progress, urgency: _ } = batch;
        let first = records.first().map(|(topic, ..)| topic).or(progress.first().map(|update| &update.topic));
        let Some(first) = first else {
            let shared = self.clone();
            self.runtime.spawn(async move { answer(appended, shared.prove().await) });
            return;
        };
        let cluster = match self.route(first).and_then(|cluster| cluster.reachable().map(|()| cluster)) {
            Ok(cluster) => cluster,
            Err(error) => return answer(appended, Err(not_stored(&error))),
        };
        let outgoing = |(topic, partition, record)| Outgoing::of(topic, partition, &record);
        let outgoing = records.into_iter().map(outgoing).collect();
        let shared = self.clone();
        let producer = cluster.clone();
        producer.producer.send(
            outgoing,
            Box::new(move |result| match result {
                // Part of a save may be there: its owner writes all of it again, and needs to know what is wrong.
                Err(Failed { error, .. }) if !progress.is_empty() => answer(appended, Err(error)),
                Err(Failed { error, in_part: false }) => answer(appended, Err(error)),
                Err(Failed { error, in_part: true }) => {
                    answer(appended, Err(AppendError::Unknown(error.to_string().into())));
                }
                Ok(positions) if progress.is_empty() => answer(appended, Ok(Stored { positions })),
                Ok(positions) => shared.save(&cluster, progress, positions, appended),
            }),
        );
    }

    /// Writes the rows of a save whose records are stored, then its heads.
    fn save(
        &self,
        cluster: &Arc<Cluster>,
        updates: Vec<ProgressUpdate>,
        positions: Vec<(Partition, Offset)>,
        appended: Appended,
    ) {
        let fenced = |update: &ProgressUpdate| AppendError::Fenced(update.topic.clone(), update.partition);
        let (events, _) = Of::topic(&updates[0].topic);
        let Some(owner) = self.owner(&events) else { return answer(appended, Err(fenced(&updates[0]))) };
        let (rows, heads) = match owner.apply(updates) {
            Ok(changed) => changed,
            Err(error) => return answer(appended, Err(error)),
        };
        let cluster = cluster.clone();
        let producer = cluster.clone();
        producer.producer.send(
            rows,
            Box::new(move |result| match result {
                Err(failed) => answer(appended, Err(failed.error)),
                Ok(_) => cluster.producer.send(
                    heads,
                    Box::new(move |result| {
                        let stored = result.map(|_| Stored { positions });
                        answer(appended, stored.map_err(|failed| failed.error));
                    }),
                ),
            }),
        );
    }

    /// An empty append proves that appends work: it writes a record without meaning to the progress topic of some broker. The
    /// topics of one that was removed may be gone; that says nothing about the others.
    async fn prove(self: &Arc<Self>) -> Result<Stored, AppendError> {
        let mut refused = None;
        for (events, cluster) in self.routes_by_health() {
            match self.prove_on(&cluster, &events).await {
                Ok(true) => return Ok(Stored::default()),
                // Who has only its progress deleted keeps its way: that is made again.
                Ok(false) => match topics::find(&cluster, &events).await {
                    Ok(None) => self.forget_route(&events, &cluster),
                    Ok(Some(_)) => {}
                    Err(error) => refused = Some(not_stored(&error)),
                },
                // It may be stored, which takes too long to try the next.
                Err(error @ AppendError::Unknown(_)) => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            // Without any topic there is nothing to write to; that the cluster answers has to do.
            None => self.look().await.map(|()| Stored::default()).map_err(|error| not_stored(&error)),
        }
    }

    /// Whether an append to the progress of `events` works; `false` if there is none.
    async fn prove_on(&self, cluster: &Arc<Cluster>, events: &TopicName) -> Result<bool, AppendError> {
        let progress = progress_topic(events);
        // Asked first: librdkafka waits for a topic that it does not know, or no longer.
        if topics::find(cluster, &progress).await.map_err(|error| not_stored(&error))?.is_none() {
            return Ok(false);
        }
        let (told, told_of) = oneshot::channel();
        let done = Box::new(move |result| drop(told.send(result)));
        cluster.producer.send(vec![ProgressRecord::proof().outgoing(&progress, 0)], done);
        match told_of.await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Failed { error: AppendError::NoSuchPartition(..), .. })) => Ok(false),
            Ok(Err(Failed { error, .. })) => Err(error),
            Err(_) => Err(AppendError::Closed),
        }
    }

    async fn look(self: &Arc<Self>) -> Result<(), LogError> {
        self.cluster(&self.config.connection)?.ask(Cluster::topics).await.map(drop)
    }

    async fn ensure_topic(self: &Arc<Self>, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        self.open()?;
        let cluster = match &spec.kafka.connection {
            Some(connection) => self.cluster(&connection.or_servers(&self.config.connection))?,
            None => self.route(&spec.name)?,
        };
        let info = topics::ensure(&cluster, spec).await?;
        // Those beside an events topic are found through it.
        if !spec.name.is_beside() {
            self.set_route(&spec.name, cluster);
        }
        Ok(info)
    }

    async fn delete_topic(self: &Arc<Self>, topic: &TopicName) -> Result<(), LogError> {
        self.open()?;
        let cluster = self.route(topic)?;
        if !topic.is_beside() {
            topics::delete(&cluster, &progress_topic(topic)).await?;
        }
        topics::delete(&cluster, topic).await?;
        self.identities.forget(topic);
        let was = self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
        if was.is_some() {
            self.give_up_clusters();
        }
        Ok(())
    }

    async fn topics(self: &Arc<Self>) -> Result<Vec<TopicInfo>, LogError> {
        self.open()?;
        let clusters: Vec<_> = lock(&self.clusters).values().cloned().collect();
        let (mut all, mut failed) = (Vec::new(), None);
        for cluster in clusters {
            let found = match cluster.ask(Cluster::topics).await {
                Ok(found) => found,
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            all.extend(found.into_iter().map(|(name, partitions)| TopicInfo {
                name,
                partitions,
                bytes: 0,
                lifetime: None,
            }));
        }
        match failed {
            Some(error) if all.is_empty() => Err(error),
            _ => Ok(all),
        }
    }

    fn ownership(self: &Arc<Self>, topic: &TopicName) -> Ownership {
        let (changes, changed) = mpsc::unbounded_channel();
        let joined = self.open().and_then(|()| self.route(topic)).and_then(|cluster| {
            let owner = Arc::new(Owner::new(topic.clone(), cluster, self.runtime.clone(), changes));
            if lock(&self.owners).insert(topic.clone(), owner.clone()).is_some() {
                self.give_up_clusters();
            }
            self.runtime.spawn(mirror::run(Arc::downgrade(&owner)));
            self.runtime.spawn(compare_topics(Arc::downgrade(&owner)));
            let member = Member::start(&owner, self.closing.clone())?;
            let mut members = lock(&self.members);
            members.retain(|member| !member.is_finished());
            members.push(member);
            Ok(())
        });
        if let Err(error) = joined {
            tracing::error!(topic = %topic, code = error.code(), %error, "its partitions cannot be shared out");
        }
        Ownership::new(changed)
    }

    /// Why nothing can be appended; what is wrong with clusters of which some answer.
    fn status(&self) -> LogStatus {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut in_use: Vec<Arc<Cluster>> = Vec::new();
        for cluster in routes.values() {
            if !in_use.iter().any(|known| Arc::ptr_eq(known, cluster)) {
                in_use.push(cluster.clone());
            }
        }
        drop(routes);
        if in_use.is_empty() {
            in_use.extend(lock(&self.clusters).get(&self.config.connection).cloned());
        }
        let trouble = |cluster: &Arc<Cluster>| {
            let trouble = cluster.health.trouble()?;
            Some(format!("Kafka at {} {trouble}", cluster.connection.bootstrap_servers))
        };
        let troubles: Vec<_> = in_use.iter().filter_map(trouble).collect();
        let unavailable = (troubles.len() == in_use.len()).then(|| troubles.first().cloned()).flatten();
        let notices = if unavailable.is_some() { Vec::new() } else { troubles };
        LogStatus { unavailable, notices, ..LogStatus::default() }
    }

    async fn close(self: &Arc<Self>) -> Result<(), LogError> {
        self.closed.store(true, Ordering::Release);
        self.closing.store(true, Ordering::Relaxed);
        let clusters: Vec<_> = lock(&self.clusters).drain().map(|(_, cluster)| cluster).collect();
        let grace = self.config.delivery_timeout.min(Duration::from_secs(5));
        let members = std::mem::take(&mut *lock(&self.members));
        let flush = move || {
            // They say farewell to their groups, so that others need not wait for the end of their sessions.
            members.into_iter().for_each(|member| drop(member.join()));
            clusters.iter().for_each(|cluster| cluster.readers.close());
            // All of them, whatever becomes of one.
            let flushed: Vec<_> = clusters.iter().map(|cluster| cluster.flush(grace)).collect();
            flushed.into_iter().collect()
        };
        let flushed = tokio::task::spawn_blocking(flush).await.unwrap_or(Err(LogError::Closed));
        lock(&self.owners).clear();
        flushed
    }
}

/// Sees to a log until nobody uses it any more.
async fn tidy(log: Weak<Shared>) {
    let mut tick = interval(KAFKA_FORGET_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(log) = log.upgrade() else { return };
        log.tidy();
    }
}

/// Nothing was stored, because of `error`.
fn not_stored(error: &LogError) -> AppendError {
    match error {
        LogError::Closed => AppendError::Closed,
        LogError::Unavailable(reason) => AppendError::Unavailable(reason.clone()),
        other => AppendError::Unavailable(other.to_string().into()),
    }
}

fn answer(appended: Appended, result: Result<Stored, AppendError>) {
    // Who no longer waits has no use for it.
    let _ = appended.send(result);
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConsumerGroups for KafkaLog {
    fn committed<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Offset>, LogError>> {
        Box::pin(self.0.committed(topic, partition, group))
    }

    fn mirror(
        &self,
        topic: &TopicName,
        lanes: Vec<MirroredLane>,
        take_over: bool,
    ) -> watch::Receiver<HeldLanes> {
        match self.0.owner(topic) {
            Some(owner) => owner.mirror.set(lanes, take_over),
            None => watch::channel(HeldLanes::default()).1,
        }
    }

    fn forget<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let cluster = self.0.route(topic)?;
            // The progress last: without it all retries that are there would be open.
            topics::delete(&cluster, &crate::BrokerTopics::of(topic.as_str()).retry).await?;
            topics::delete(&cluster, &progress_topic(topic)).await
        })
    }

    fn dispatchers<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Box<str>>, LogError>> {
        Box::pin(async move {
            let group = group_of(topic);
            self.0.route(topic)?.ask(move |cluster| mirror::members(cluster, &group)).await
        })
    }

    fn commit<'a>(
        &'a self,
        topic: &'a TopicName,
        group: &'a str,
        offsets: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'a, Result<Vec<(Partition, Offset)>, LogError>> {
        Box::pin(async move {
            let (asked, group) = (topic.clone(), group.to_owned());
            let mut offsets = offsets;
            for (partition, offset) in &mut offsets {
                let incarnation = self.0.incarnation(topic, *partition).await?;
                *offset = incarnation.of_kafka(*offset).unwrap_or(0);
            }
            let set = move |cluster: &Cluster| {
                mirror::set_commits(cluster, &asked, &group, &offsets).map(|()| offsets)
            };
            self.0.route(topic)?.ask(set).await
        })
    }
}

impl EventLog for KafkaLog {
    fn groups(&self) -> Option<&dyn ConsumerGroups> {
        Some(self)
    }

    fn append(&self, batch: Batch) -> Append {
        if self.0.closed.load(Ordering::Acquire) {
            return Append::refused(AppendError::Closed);
        }
        let (appended, append) = Append::pair();
        self.0.append(batch, appended);
        append
    }

    /// Each owner has an epoch of its own, so what an earlier one saves late is told by its key.
    fn settled<'a>(&'a self, _: &'a TopicName, _: Partition) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move { self.0.open() })
    }

    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Chunk, LogError>> {
        Box::pin(self.0.read(topic, partition, from, limit))
    }

    fn ownership(&self, topic: &TopicName) -> Ownership {
        self.0.ownership(topic)
    }

    fn progress<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Progress, LogError>> {
        Box::pin(self.0.progress(topic, partition))
    }

    fn bounds<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Bounds, LogError>> {
        Box::pin(self.0.bounds(topic, partition))
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset, LogError>> {
        Box::pin(self.0.offset_at(topic, partition, time))
    }

    fn ensure_topic<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo, LogError>> {
        Box::pin(self.0.ensure_topic(spec))
    }

    fn delete_topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(self.0.delete_topic(topic))
    }

    fn topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Option<TopicInfo>, LogError>> {
        Box::pin(async move {
            self.0.open()?;
            topics::find(&self.0.route(topic)?, topic).await
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, LogError>> {
        Box::pin(self.0.topics())
    }

    fn status(&self) -> LogStatus {
        self.0.status()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.0.close())
    }
}
