//! How a partition is taken over: from whoever had it before, or from oneself when its topics are no longer what its progress
//! speaks of.
//!
//! 1. A *claim* is appended to the progress partition; its offset is the epoch.
//! 2. Everything before it is read, and brought in line with what the topics are now.
//! 3. The group takes a commit that was sent after the claim. It takes none from who has lost the partition; so whoever comes
//!    later claims later, and a process that is stopped in between and wakes up writes what no longer counts.
//! 4. The whole is written under the new epoch, then marked complete, then what earlier epochs left is removed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::time::{Instant, timeout};

use super::cluster::Cluster;
use super::incarnation::{Both, Identities, TopicId};
use super::owner::{Held, Owned, Owner, Rounds};
use super::progress::{Book, Changed, Loaded, Loader, Of, ProgressRecord};
use super::topics::{grow_beside, ids, progress_topic, restore_progress};
use crate::limits::{
    KAFKA_ADOPTION_WAIT, KAFKA_IDENTITY_INTERVAL, KAFKA_LEASE_SHARE, KAFKA_RETRY_MAX, KAFKA_RETRY_MIN,
};
use crate::{Bounds, BrokerTopics, Epoch, LogError, Offset, OwnershipChange, Partition, Progress, TopicName};

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

impl Owner {
    /// Kafka gives us the partition: its progress is taken over, then its dispatcher is told.
    pub(super) fn gain(self: &Arc<Self>, partition: Partition) {
        self.begin(partition, None, &mut self.held());
    }

    /// Takes a partition over from itself.
    fn gain_again(self: &Arc<Self>, partition: Partition, held: &mut HashMap<Partition, Held>) {
        match held.remove(&partition) {
            Some(Held::Owned(owned)) => {
                let _ = self.changes.send(OwnershipChange::Lost { partition });
                self.begin(partition, Some(owned), held);
            }
            Some(other) => drop(held.insert(partition, other)),
            None => {}
        }
    }

    fn begin(
        self: &Arc<Self>,
        partition: Partition,
        known: Option<Box<Owned>>,
        held: &mut HashMap<Partition, Held>,
    ) {
        // What was fetched may be of topics that are gone.
        for topic in [&self.events, &BrokerTopics::of(self.events.as_str()).retry] {
            self.cluster.readers.forget(topic, partition);
        }
        // Under the lock, so that nothing overtakes it.
        let _ = self.changes.send(OwnershipChange::Coming { partition });
        let owner = self.clone();
        let task = self.runtime.spawn(async move { owner.take_over(partition, known).await });
        held.insert(partition, Held::Gaining { task: task.abort_handle(), head: None });
    }

    async fn take_over(self: Arc<Self>, partition: Partition, known: Option<Box<Owned>>) {
        let mut wait = KAFKA_RETRY_MIN;
        let taken = loop {
            match self.try_take_over(partition, known.as_deref()).await {
                Ok(owned) => break Held::Owned(Box::new(owned)),
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
        let Some(place @ Held::Gaining { .. }) = held.get_mut(&partition) else { return };
        let epoch = match &taken {
            Held::Owned(owned) => owned.book.epoch(),
            _ => Epoch(0),
        };
        *place = taken;
        let lease = self.lease.lease();
        // Under the lock, so that a loss does not overtake it.
        let _ = self.changes.send(OwnershipChange::Gained { partition, epoch, lease });
    }

    async fn try_take_over(
        &self,
        partition: Partition,
        known: Option<&Owned>,
    ) -> Result<Owned, TakeOverError> {
        let BrokerTopics { retry, dead_letter, .. } = BrokerTopics::of(self.events.as_str());
        grow_beside(&self.cluster, &[retry, dead_letter, self.progress.clone()], partition + 1).await?;
        let (ids, progress) = self.ids().await?;
        let missing =
            || LogError::Unavailable(format!("topic {} or one beside it is missing", self.events).into());
        let (ids, written_to) = ids.all().zip(progress).ok_or_else(missing)?;
        self.wait_for_adoption(partition).await?;
        let claim = self.write(partition, vec![ProgressRecord::claim(&claimant())]).await?;
        let claimed_at = Instant::now();
        let [(_, claim)] = claim[..] else {
            return Err(LogError::Unavailable("Kafka did not say where the claim is".into()).into());
        };
        let found = load(&self.cluster, &self.progress, partition, Some(claim)).await?;
        let loaded = self.in_line(partition, newest(found, known), &ids).await?;
        let book = Book::new(Book::epoch_of_claim(claim), &loaded);
        self.prove(partition, &book, claimed_at).await?;
        let Changed { rows, heads } = book.snapshot();
        self.write(partition, rows).await?;
        self.write(partition, heads).await?;
        self.write(partition, vec![book.completion()]).await?;
        self.write(partition, loaded.removals).await?;
        Ok(Owned { book, written_to })
    }

    /// Who has made the progress topic for events that were there before writes down where these end; a process that is
    /// quicker to own the partition would take them for new ones.
    async fn wait_for_adoption(&self, partition: Partition) -> Result<(), LogError> {
        let began = Instant::now();
        loop {
            let events = self.bounds(&self.events, partition).await?;
            let progress = self.bounds(&self.progress, partition).await?;
            let may_be_on_its_way = events.end > 0 && progress.end == 0;
            if !may_be_on_its_way || began.elapsed() >= KAFKA_ADOPTION_WAIT {
                return Ok(());
            }
            tokio::time::sleep(KAFKA_RETRY_MIN).await;
        }
    }

    /// What was saved, for the topics as they are now: those that were made anew have lost what they held, and one that ends
    /// before its head has lost its end. What comes there is new.
    async fn in_line(
        &self,
        partition: Partition,
        mut loaded: Loaded,
        ids: &Both<TopicId>,
    ) -> Result<Loaded, LogError> {
        let identities = loaded.identities.now(ids);
        let retry = BrokerTopics::of(self.events.as_str()).retry;
        for (of, topic) in [(Of::Events, &self.events), (Of::Retry, &retry)] {
            let Bounds { start, end } = self.bounds(topic, partition).await?;
            let (before, now) = (loaded.identities.of(of).incarnation, identities.of(of).incarnation);
            let head = match of {
                Of::Events => &mut loaded.events.head,
                Of::Retry => &mut loaded.retry.head,
            };
            if now > before {
                tracing::warn!(topic = %topic, partition, "the topic was made anew: what it held before is gone");
                *head = now.lasting(start);
            } else if *head > now.lasting(end) {
                tracing::error!(topic = %topic, partition, head = *head, end = now.lasting(end), "Kafka has lost records that it had acknowledged");
                *head = now.lasting(end);
            }
        }
        loaded.identities = identities;
        Ok(loaded)
    }

    /// Waits until the group has taken a commit that was sent after the claim.
    async fn prove(&self, partition: Partition, book: &Book, claimed_at: Instant) -> Result<(), LogError> {
        if let Some(Held::Gaining { head, .. }) = self.held().get_mut(&partition) {
            *head = Some(super::owner::of_kafka(book, book.head(Of::Events)));
        }
        self.ask_for_proof();
        let session = self.cluster.settings.session_timeout;
        let proven = self.lease.lease();
        let proven = proven.lasts_until(claimed_at + session / KAFKA_LEASE_SHARE);
        let late = || LogError::Unavailable("the group of the dispatchers does not answer".into());
        timeout(session, proven).await.map_err(|_| late())
    }

    async fn bounds(&self, topic: &TopicName, partition: Partition) -> Result<Bounds, LogError> {
        let topic = topic.clone();
        self.cluster.ask(move |cluster| cluster.bounds(&topic, partition)).await
    }

    /// The ids of the topics whose progress is saved, and that of the topic it is saved in.
    async fn ids(&self) -> Result<(Both<Option<TopicId>>, Option<TopicId>), LogError> {
        let retry = BrokerTopics::of(self.events.as_str()).retry;
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

    /// Takes those partitions over anew whose topics are others than their progress was written for, or written to.
    async fn compare(self: &Arc<Self>) -> Result<(), LogError> {
        let is_owned = |held: &Held| matches!(held, Held::Owned(_));
        if !self.held().values().any(is_owned) {
            return Ok(());
        }
        let (ids, progress) = self.ids().await?;
        // While one is not there, it is waited for.
        let Some(ids) = ids.all() else { return Ok(()) };
        let Some(progress) = progress else {
            tracing::error!(topic = %self.progress, "somebody has deleted it: it is made again from what is in memory");
            return restore_progress(&self.cluster, &self.events).await;
        };
        let mut held = self.held();
        let is_other = |(partition, held): (&Partition, &Held)| match held {
            Held::Owned(owned) => owned.is_of_others(&ids, &progress).then_some(*partition),
            Held::Gaining { .. } | Held::Damaged(_) => None,
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
        if let Some(Held::Owned(owned)) = held.get(&partition)
            && owned.book.identities().of(of).incarnation.lasting(end) < owned.book.head(of)
        {
            self.gain_again(partition, &mut held);
        }
    }
}

/// What was found, unless this process knows more: somebody may have deleted what it had written.
fn newest(found: Loaded, known: Option<&Owned>) -> Loaded {
    match known {
        Some(Owned { book, .. }) if found.epoch.is_none_or(|epoch| epoch <= book.epoch()) => {
            Loaded { removals: found.removals, ..book.as_loaded() }
        }
        _ => found,
    }
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

/// What is saved of a partition that somebody else owns, or nobody.
async fn saved_by_others(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    partition: Partition,
) -> Result<Loaded, LogError> {
    let topic = progress_topic(events);
    match load(cluster, &topic, partition, None).await {
        Ok(loaded) => Ok(loaded),
        Err(TakeOverError::Damaged(reason)) => Err(LogError::Topic(topic, reason)),
        Err(TakeOverError::Log(error)) => Err(error),
    }
}

/// The progress of a partition that somebody else owns, or nobody.
pub(super) async fn progress_of_others(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    of: Of,
    partition: Partition,
) -> Result<Progress, LogError> {
    let loaded = saved_by_others(cluster, events, partition).await?;
    Ok(match of {
        Of::Events => loaded.events,
        Of::Retry => loaded.retry,
    })
}

/// The topics as the progress of a partition knows them that somebody else owns, or nobody.
pub(super) async fn identities_of_others(
    cluster: &Arc<Cluster>,
    events: &TopicName,
    partition: Partition,
) -> Result<Identities, LogError> {
    let topic = progress_topic(events);
    let partitions = cluster.ask(move |cluster| cluster.partitions(&topic)).await?;
    if partitions.is_none_or(|partitions| partition >= partitions) {
        return Ok(Identities::default());
    }
    Ok(saved_by_others(cluster, events, partition).await?.identities)
}

/// Compares the topics of an owner with what its progress was written for, until nobody listens to it.
pub(super) async fn compare_topics(owner: Weak<Owner>) {
    let mut rounds = Rounds::new(owner, KAFKA_IDENTITY_INTERVAL);
    while let Some(owner) = rounds.next().await {
        if let Err(error) = owner.compare().await {
            tracing::debug!(topic = %owner.events, %error, "the ids of topics are not known");
        }
    }
}

/// Who claims, for people.
fn claimant() -> String {
    format!("process {}", std::process::id())
}
