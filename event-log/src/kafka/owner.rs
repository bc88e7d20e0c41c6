//! The partitions of one events topic that this process owns, and their progress.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster::Cluster;
use super::incarnation::{Both, Identities, TopicId};
use super::mirror::Mirror;
use super::producer::Outgoing;
use super::progress::{Book, Changed, Loaded, Loader, Of, ProgressRecord};
use super::topics::{grow_beside, ids, progress_topic, restore_progress};
use crate::lease::LeaseHolder;
use crate::limits::{KAFKA_ADOPTION_WAIT, KAFKA_IDENTITY_INTERVAL, KAFKA_RETRY_MAX, KAFKA_RETRY_MIN};
use crate::{
    AppendError, Epoch, LogError, Offset, OwnershipChange, Partition, Progress, ProgressUpdate, Release,
    TopicName,
};

/// What this process owns of an events topic.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) events: TopicName,
    progress: TopicName,
    pub(super) cluster: Arc<Cluster>,
    pub(super) runtime: Handle,
    held: Mutex<HashMap<Partition, Held>>,
    pub(super) lease: LeaseHolder,
    pub(super) mirror: Mirror,
    /// The progress topic that this process has written to last.
    written_to: Mutex<TopicId>,
    changes: mpsc::UnboundedSender<OwnershipChange>,
}

/// A partition that Kafka has given to this process.
#[derive(Debug)]
enum Held {
    /// Its progress is being read.
    Gaining(AbortHandle),
    /// Its progress.
    Owned(Box<Book>),
    /// Its progress cannot be read.
    Damaged(Box<str>),
}

impl Owner {
    pub(super) fn new(
        events: TopicName,
        cluster: Arc<Cluster>,
        runtime: Handle,
        changes: mpsc::UnboundedSender<OwnershipChange>,
    ) -> Self {
        let progress = progress_topic(&events);
        let (held, lease) = (Mutex::default(), LeaseHolder::new());
        let (mirror, written_to) = (Mirror::default(), Mutex::default());
        Self { events, progress, cluster, runtime, held, lease, mirror, written_to, changes }
    }

    /// Whether nobody listens to changes of ownership any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.changes.is_closed()
    }

    /// Kafka gives us the partition: its progress is taken over, then its dispatcher is told.
    pub(super) fn gain(self: &Arc<Self>, partition: Partition) {
        self.begin(partition, None, &mut self.held());
    }

    /// Takes a partition over from itself: its topics are not what its progress speaks of. Only who is known to own it still
    /// may do so: what it knows becomes what counts.
    fn gain_again(self: &Arc<Self>, partition: Partition, held: &mut HashMap<Partition, Held>) {
        if !self.lease.lease().holds() {
            return;
        }
        match held.remove(&partition) {
            Some(Held::Owned(book)) => {
                let _ = self.changes.send(OwnershipChange::Lost { partition });
                self.begin(partition, Some(book), held);
            }
            Some(other) => drop(held.insert(partition, other)),
            None => {}
        }
    }

    fn begin(
        self: &Arc<Self>,
        partition: Partition,
        known: Option<Box<Book>>,
        held: &mut HashMap<Partition, Held>,
    ) {
        // Under the lock, so that nothing overtakes it.
        let _ = self.changes.send(OwnershipChange::Coming { partition });
        let owner = self.clone();
        let task = self.runtime.spawn(async move { owner.take_over(partition, known).await });
        held.insert(partition, Held::Gaining(task.abort_handle()));
    }

    async fn take_over(self: Arc<Self>, partition: Partition, known: Option<Box<Book>>) {
        let mut wait = KAFKA_RETRY_MIN;
        let taken = loop {
            match self.try_take_over(partition, known.as_deref()).await {
                Ok(book) => break Held::Owned(Box::new(book)),
                Err(TakeOverError::Damaged(reason)) => break Held::Damaged(reason),
                Err(TakeOverError::Log(error)) => {
                    tracing::warn!(topic = %self.events, partition, %error, "a partition cannot be taken over yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(KAFKA_RETRY_MAX);
                }
            }
        };
        let mut held = self.held();
        // It may be gone by now.
        let Some(place @ Held::Gaining(_)) = held.get_mut(&partition) else { return };
        let epoch = match &taken {
            Held::Owned(book) => book.epoch(),
            _ => Epoch(0),
        };
        *place = taken;
        let lease = self.lease.lease();
        // Under the lock, so that a loss does not overtake it.
        let _ = self.changes.send(OwnershipChange::Gained { partition, epoch, lease });
    }

    async fn try_take_over(&self, partition: Partition, known: Option<&Book>) -> Result<Book, TakeOverError> {
        let topics = crate::BrokerTopics::of(self.events.as_str());
        let beside = [topics.retry, topics.dead_letter, self.progress.clone()];
        grow_beside(&self.cluster, &beside, partition + 1).await?;
        let (ids, progress) = self.ids().await?;
        let missing =
            || LogError::Unavailable(format!("topic {} or one beside it is missing", self.events).into());
        let (ids, progress) = ids.all().zip(progress).ok_or_else(missing)?;
        self.wait_for_adoption(partition).await?;
        let claim = self.write(partition, vec![ProgressRecord::claim(&claimant())]).await?;
        let [(_, claim)] = claim[..] else {
            return Err(LogError::Unavailable("Kafka did not say where the claim is".into()).into());
        };
        let mut loaded = match known {
            Some(book) => book.as_loaded(),
            None => load(&self.cluster, &self.progress, partition, Some(claim)).await?,
        };
        let now = loaded.identities.now(&ids);
        for of in [Of::Events, Of::Retry] {
            if now.of(of).incarnation > loaded.identities.of(of).incarnation {
                tracing::warn!(topic = %self.events, partition, ?of, "the topic was made anew: what it held before is gone");
            }
        }
        loaded.identities = now;
        let book = Book::new(Book::epoch_of_claim(claim), &loaded);
        let Changed { rows, heads } = book.snapshot();
        self.write(partition, rows).await?;
        self.write(partition, heads).await?;
        self.write(partition, vec![book.completion()]).await?;
        self.write(partition, loaded.removals).await?;
        *self.written_to() = progress;
        Ok(book)
    }

    /// Who has made the progress topic for events that were there before writes down where these end; a process that is
    /// quicker to own the partition would take them for new ones.
    async fn wait_for_adoption(&self, partition: Partition) -> Result<(), LogError> {
        let began = Instant::now();
        loop {
            let (events, progress) = (self.events.clone(), self.progress.clone());
            let ends = move |cluster: &Cluster| {
                Ok((cluster.bounds(&events, partition)?.end, cluster.bounds(&progress, partition)?.end))
            };
            let (events, progress) = self.cluster.ask(ends).await?;
            let may_be_on_its_way = events > 0 && progress == 0;
            if !may_be_on_its_way || began.elapsed() >= KAFKA_ADOPTION_WAIT {
                return Ok(());
            }
            tokio::time::sleep(KAFKA_RETRY_MIN).await;
        }
    }

    /// The ids of the topics whose progress is saved, and that of the topic it is saved in.
    async fn ids(&self) -> Result<(Both<Option<TopicId>>, Option<TopicId>), LogError> {
        let retry = crate::BrokerTopics::of(self.events.as_str()).retry;
        let [events, retry, progress] =
            ids(&self.cluster, [self.events.clone(), retry, self.progress.clone()]).await?;
        Ok((Both { events, retry }, progress))
    }

    async fn write(
        &self,
        partition: Partition,
        records: Vec<ProgressRecord>,
    ) -> Result<Vec<(Partition, Offset)>, TakeOverError> {
        Ok(self.cluster.store(self.outgoing(partition, records)).await?)
    }

    fn outgoing(&self, partition: Partition, records: Vec<ProgressRecord>) -> Vec<Outgoing> {
        records.into_iter().map(|record| record.outgoing(&self.progress, partition)).collect()
    }

    /// Takes those partitions over anew whose topics are others than their progress was written for.
    async fn compare(self: &Arc<Self>) -> Result<(), LogError> {
        let owned = |held: &Held| matches!(held, Held::Owned(_));
        if !self.held().values().any(owned) {
            return Ok(());
        }
        // While one is not there, it is waited for.
        let (Some(ids), progress) = self.ids().await.map(|(ids, progress)| (ids.all(), progress))? else {
            return Ok(());
        };
        let Some(progress) = progress else {
            tracing::error!(topic = %self.progress, "somebody has deleted it: it is made again from what is in memory");
            return restore_progress(&self.cluster, &self.events).await;
        };
        let is_lost = !progress.may_be(&self.written_to());
        let mut held = self.held();
        let is_other = |(partition, held): (&Partition, &Held)| match held {
            Held::Owned(book) if is_lost || book.identities().now(&ids) != *book.identities() => {
                Some(*partition)
            }
            _ => None,
        };
        let others: Vec<_> = held.iter().filter_map(is_other).collect();
        for partition in others {
            self.gain_again(partition, &mut held);
        }
        Ok(())
    }

    /// A partition ends at `end`, as Kafka counts, before what is saved of it: Kafka has lost records, or the topic was made
    /// anew. Either way its progress has to be brought in line.
    pub(super) fn ends_early(self: &Arc<Self>, of: Of, partition: Partition, end: Offset) {
        let mut held = self.held();
        if let Some(Held::Owned(book)) = held.get(&partition)
            && book.identities().of(of).incarnation.lasting(end) < book.head(of)
        {
            self.gain_again(partition, &mut held);
        }
    }

    /// The topics as the progress of a partition knows them, if this process owns it.
    pub(super) fn identities(&self, partition: Partition) -> Option<Identities> {
        match self.held().get(&partition)? {
            Held::Owned(book) => Some(book.identities().clone()),
            Held::Damaged(_) | Held::Gaining(_) => None,
        }
    }

    /// The saved progress, if this process owns the partition.
    pub(super) fn progress(&self, of: Of, partition: Partition) -> Option<Result<Progress, LogError>> {
        match self.held().get(&partition)? {
            Held::Owned(book) => Some(Ok(book.progress(of))),
            Held::Damaged(reason) => Some(Err(LogError::Topic(self.progress.clone(), reason.clone()))),
            Held::Gaining(_) => None,
        }
    }

    /// Takes changes of progress in; answers what has to be written: the rows, then the heads.
    pub(super) fn apply(
        &self,
        updates: Vec<ProgressUpdate>,
    ) -> Result<(Vec<Outgoing>, Vec<Outgoing>), AppendError> {
        let (mut rows, mut heads) = (Vec::new(), Vec::new());
        let mut held = self.held();
        let is_current = |update: &ProgressUpdate| match held.get(&update.partition) {
            Some(Held::Owned(book)) => book.epoch() == update.epoch,
            _ => false,
        };
        if let Some(late) = updates.iter().find(|update| !is_current(update)) {
            return Err(AppendError::Fenced(late.topic.clone(), late.partition));
        }
        for update in updates {
            let partition = update.partition;
            let Some(Held::Owned(book)) = held.get_mut(&partition) else { continue };
            let (_, of) = Of::topic(&update.topic);
            let mut changed = Changed::default();
            book.apply(of, update, &mut changed);
            rows.extend(self.outgoing(partition, changed.rows));
            heads.extend(self.outgoing(partition, changed.heads));
        }
        Ok((rows, heads))
    }

    /// The saved head of each partition that is owned, as Kafka counts.
    pub(super) fn heads(&self) -> Vec<(Partition, Offset)> {
        let held = self.held();
        let head = |(partition, held): (&Partition, &Held)| match held {
            Held::Owned(book) => Some((*partition, of_kafka(book, book.head(Of::Events)))),
            Held::Gaining(_) | Held::Damaged(_) => None,
        };
        held.iter().filter_map(head).collect()
    }

    /// The lowest offset that each lane still needs, for each partition that is owned, as Kafka counts: what its group is
    /// to have committed.
    pub(super) fn positions(&self) -> BTreeMap<Arc<str>, Vec<(Partition, Offset)>> {
        let mut positions: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (partition, held) in &*self.held() {
            let Held::Owned(book) = held else { continue };
            for (lane, row) in book.rows() {
                let needed = row.low.unwrap_or_else(|| book.head(Of::Events));
                positions.entry(lane.clone()).or_default().push((*partition, of_kafka(book, needed)));
            }
        }
        positions.values_mut().for_each(|offsets| offsets.sort_unstable());
        positions
    }

    /// Kafka wants the partition back: its dispatcher is asked to finish. Answers what tells that it has; `None` if there is
    /// nothing to wait for.
    pub(super) fn revoke(&self, partition: Partition) -> Option<tokio::sync::oneshot::Receiver<()>> {
        let mut held = self.held();
        match held.get(&partition)? {
            Held::Gaining(task) => {
                task.abort();
                held.remove(&partition);
                let _ = self.changes.send(OwnershipChange::Lost { partition });
                None
            }
            Held::Owned(_) | Held::Damaged(_) => {
                let (release, released) = Release::pair();
                self.changes.send(OwnershipChange::Revoked { partition, release }).ok()?;
                Some(released)
            }
        }
    }

    /// The partition is given up: nothing more is saved.
    pub(super) fn release(&self, partition: Partition) {
        let mut held = self.held();
        if let Some(Held::Gaining(task)) = held.remove(&partition) {
            task.abort();
            // It began to be taken over anew when it was on its way out.
            let _ = self.changes.send(OwnershipChange::Lost { partition });
        }
    }

    /// Somebody else has the partition already, or time is up.
    pub(super) fn lose(&self, partition: Partition) {
        let mut held = self.held();
        match held.remove(&partition) {
            Some(Held::Gaining(task)) => task.abort(),
            Some(Held::Owned(_) | Held::Damaged(_)) => {}
            None => return,
        }
        // Under the lock, so that a gain does not overtake it.
        let _ = self.changes.send(OwnershipChange::Lost { partition });
    }

    /// All partitions that Kafka has given to this process.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.held().keys().copied().collect()
    }

    fn written_to(&self) -> MutexGuard<'_, TopicId> {
        self.written_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Partition, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kafka's offset for a position in the events topic.
fn of_kafka(book: &Book, position: Offset) -> Offset {
    book.identities().events.incarnation.of_kafka(position).unwrap_or(0)
}

/// The progress in a partition of a progress topic: all of it, or what is before the offset `until`.
async fn load(
    cluster: &Arc<Cluster>,
    topic: &TopicName,
    partition: Partition,
    until: Option<Offset>,
) -> Result<Loaded, TakeOverError> {
    let asked = topic.clone();
    let bounds = cluster.ask(move |cluster| cluster.bounds(&asked, partition)).await?;
    let mut loader = Loader::default();
    let mut damaged = None;
    let each = |key: Option<&[u8]>, value: Option<&[u8]>| {
        if let Err(reason) = loader.record(key, value) {
            damaged = Some(reason);
        }
    };
    cluster.readers.scan(topic, partition, bounds.start, until.unwrap_or(bounds.end), each).await?;
    match damaged {
        Some(reason) => Err(TakeOverError::Damaged(format!("topic {topic}: {reason}").into())),
        None => Ok(loader.finish()),
    }
}

/// The progress of a partition that somebody else owns, or nobody.
pub(super) async fn progress_of_others(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    of: Of,
    partition: Partition,
) -> Result<Progress, LogError> {
    let topic = progress_topic(events);
    match load(cluster, &topic, partition, None).await {
        Ok(loaded) => Ok(match of {
            Of::Events => loaded.events,
            Of::Retry => loaded.retry,
        }),
        Err(TakeOverError::Damaged(reason)) => Err(LogError::Topic(topic, reason)),
        Err(TakeOverError::Log(error)) => Err(error),
    }
}

/// The topics as the progress of a partition knows them that somebody else owns, or nobody.
pub(super) async fn identities_of_others(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    partition: Partition,
) -> Result<Identities, LogError> {
    let topic = progress_topic(events);
    let asked = topic.clone();
    let partitions = cluster.ask(move |cluster| cluster.partitions(&asked)).await?;
    if partitions.is_none_or(|partitions| partition >= partitions) {
        return Ok(Identities::default());
    }
    match load(cluster, &topic, partition, None).await {
        Ok(loaded) => Ok(loaded.identities),
        Err(TakeOverError::Damaged(reason)) => Err(LogError::Topic(topic, reason)),
        Err(TakeOverError::Log(error)) => Err(error),
    }
}

/// Compares the topics of an owner with what its progress was written for, until nobody listens to it.
pub(super) async fn compare_topics(owner: Weak<Owner>) {
    let mut tick = interval(KAFKA_IDENTITY_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(owner) = owner.upgrade() else { return };
        if owner.is_abandoned() {
            return;
        }
        if let Err(error) = owner.compare().await {
            tracing::debug!(topic = %owner.events, %error, "the ids of topics are not known");
        }
    }
}

/// Why a partition is not taken over.
enum TakeOverError {
    /// Its progress cannot be read, now or later.
    Damaged(Box<str>),
    /// It is tried again.
    Log(LogError),
}

impl From<LogError> for TakeOverError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Who claims, for people.
fn claimant() -> String {
    format!("process {}", std::process::id())
}
