//! The partitions of one events topic that this process owns, and their progress.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::cluster::Cluster;
use super::incarnation::{Both, Identities, TopicId};
use super::mirror::Mirror;
use super::producer::Outgoing;
use super::progress::{Book, Changed, Of, ProgressRecord};
use super::topics::progress_topic;
use crate::lease::LeaseHolder;
use crate::{
    AppendError, LogError, Offset, OwnershipChange, Partition, Progress, ProgressUpdate, Release, TopicName,
};

/// What this process owns of an events topic.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) events: TopicName,
    pub(super) progress: TopicName,
    pub(super) cluster: Arc<Cluster>,
    pub(super) runtime: Handle,
    held: Mutex<HashMap<Partition, Held>>,
    pub(super) lease: LeaseHolder,
    pub(super) mirror: Mirror,
    /// Whether somebody waits for a commit that is sent from now on.
    wants_proof: AtomicBool,
    pub(super) changes: mpsc::UnboundedSender<OwnershipChange>,
}

/// A partition that Kafka has given to this process.
#[derive(Debug)]
pub(super) enum Held {
    /// Its progress is being taken over.
    Gaining {
        task: AbortHandle,
        /// Its head as Kafka counts, once that is known.
        head: Option<Offset>,
    },
    /// Its progress.
    Owned(Box<Owned>),
    /// Its progress cannot be read.
    Damaged(Box<str>),
}

/// Tells now and then that there is something to do for an owner. The owner is not kept for this alone, since its stream of
/// changes ends with it.
pub(super) struct Rounds {
    owner: Weak<Owner>,
    tick: Interval,
}

impl Rounds {
    pub(super) fn new(owner: Weak<Owner>, period: Duration) -> Self {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { owner, tick }
    }

    /// The owner when its next round is due; `None` once nobody listens to it.
    pub(super) async fn next(&mut self) -> Option<Arc<Owner>> {
        self.tick.tick().await;
        self.owner.upgrade().filter(|owner| !owner.is_abandoned())
    }
}

/// What is known of a partition that is owned.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) book: Book,
    /// The progress topic that it is written to.
    pub(super) written_to: TopicId,
}

impl Owned {
    /// Whether the topics with these ids are others than those that the progress is of, or written to.
    pub(super) fn is_of_others(&self, ids: &Both<TopicId>, progress: &TopicId) -> bool {
        let known = self.book.identities();
        !progress.may_be(&self.written_to) || known.now(ids) != *known
    }
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
        let (mirror, wants_proof) = (Mirror::default(), AtomicBool::new(false));
        Self { events, progress, cluster, runtime, held, lease, mirror, wants_proof, changes }
    }

    /// Whether nobody listens to changes of ownership any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.changes.is_closed()
    }

    pub(super) fn outgoing(&self, partition: Partition, records: Vec<ProgressRecord>) -> Vec<Outgoing> {
        records.into_iter().map(|record| record.outgoing(&self.progress, partition)).collect()
    }

    /// The topics as the progress of a partition knows them, if this process owns it.
    pub(super) fn identities(&self, partition: Partition) -> Option<Identities> {
        match self.held().get(&partition)? {
            Held::Owned(owned) => Some(owned.book.identities().clone()),
            Held::Damaged(_) | Held::Gaining { .. } => None,
        }
    }

    /// The saved progress, if this process owns the partition.
    pub(super) fn progress(&self, of: Of, partition: Partition) -> Option<Result<Progress, LogError>> {
        match self.held().get(&partition)? {
            Held::Owned(owned) => Some(Ok(owned.book.progress(of))),
            Held::Damaged(reason) => Some(Err(LogError::Topic(self.progress.clone(), reason.clone()))),
            Held::Gaining { .. } => None,
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
            Some(Held::Owned(owned)) => owned.book.epoch() == update.epoch,
            _ => false,
        };
        if let Some(late) = updates.iter().find(|update| !is_current(update)) {
            return Err(AppendError::Fenced(late.topic.clone(), late.partition));
        }
        for update in updates {
            let partition = update.partition;
            let Some(Held::Owned(owned)) = held.get_mut(&partition) else { continue };
            let (_, of) = Of::topic(&update.topic);
            let mut changed = Changed::default();
            owned.book.apply(of, update, &mut changed);
            rows.extend(self.outgoing(partition, changed.rows));
            heads.extend(self.outgoing(partition, changed.heads));
        }
        Ok((rows, heads))
    }

    /// Somebody waits for a commit that is sent from now on.
    pub(super) fn ask_for_proof(&self) {
        self.wants_proof.store(true, Ordering::Release);
    }

    /// Whether somebody waits for a commit; it is about to be sent.
    pub(super) fn take_wish_for_proof(&self) -> bool {
        self.wants_proof.swap(false, Ordering::AcqRel)
    }

    /// Whether a partition is being taken over.
    pub(super) fn is_gaining(&self) -> bool {
        self.held().values().any(|held| matches!(held, Held::Gaining { .. }))
    }

    /// The saved head of each partition that is owned or about to be, as Kafka counts.
    pub(super) fn heads(&self) -> Vec<(Partition, Offset)> {
        let held = self.held();
        let head = |(partition, held): (&Partition, &Held)| match held {
            Held::Owned(owned) => Some((*partition, of_kafka(&owned.book, owned.book.head(Of::Events)))),
            Held::Gaining { head, .. } => Some((*partition, (*head)?)),
            Held::Damaged(_) => None,
        };
        held.iter().filter_map(head).collect()
    }

    /// The lowest offset that each lane still needs, for each partition that is owned, as Kafka counts: what its group is
    /// to have committed.
    pub(super) fn positions(&self) -> BTreeMap<Arc<str>, Vec<(Partition, Offset)>> {
        let mut positions: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (partition, held) in &*self.held() {
            let Held::Owned(owned) = held else { continue };
            let book = &owned.book;
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
            Held::Gaining { task, .. } => {
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
        if let Some(Held::Gaining { task, .. }) = held.remove(&partition) {
            task.abort();
            // It began to be taken over anew when it was on its way out.
            let _ = self.changes.send(OwnershipChange::Lost { partition });
        }
    }

    /// Somebody else has the partition already, or time is up.
    pub(super) fn lose(&self, partition: Partition) {
        let mut held = self.held();
        match held.remove(&partition) {
            Some(Held::Gaining { task, .. }) => task.abort(),
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

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Partition, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kafka's offset for a position in the events topic.
pub(super) fn of_kafka(book: &Book, position: Offset) -> Offset {
    book.identities().events.incarnation.of_kafka(position).unwrap_or(0)
}
