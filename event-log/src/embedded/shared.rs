//! What the writer and the readers look at together.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::partition::lock;
use super::retain::Reason;
use super::segment::{IndexCache, Segment};
use super::segment_file::Unreadable;
use super::stats::Counters;
use super::topics::{Topic, Topics};
use crate::limits::NOTICES_MAX;
use crate::{Epoch, Lease, LogError, LogStatus, Ownership, OwnershipChange, TopicName};

#[derive(Debug)]
pub(super) struct Shared {
    /// All topics; replaced when one changes.
    pub(super) topics: ArcSwap<Topics>,
    pub(super) segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    pub(super) indexes: IndexCache,
    pub(super) counters: Counters,
    pub(super) epoch: Epoch,
    status: Mutex<LogStatus>,
    /// Dead letters that were let go since the log was opened, by topic: for their age, and for space.
    dead_letters: Mutex<BTreeMap<TopicName, (u64, u64)>>,
    owners: Mutex<Owners>,
}

#[derive(Debug, Default)]
struct Owners {
    streams: HashMap<TopicName, Vec<mpsc::UnboundedSender<OwnershipChange>>>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(topics: Topics, segments: BTreeMap<u64, Arc<Segment>>, epoch: Epoch) -> Self {
        Self {
            topics: ArcSwap::from_pointee(topics),
            segments: Mutex::new(segments),
            indexes: IndexCache::default(),
            counters: Counters::default(),
            epoch,
            status: Mutex::default(),
            dead_letters: Mutex::default(),
            owners: Mutex::default(),
        }
    }

    /// Shows the topic as it is now, and tells its owners of partitions `known..`.
    pub(super) fn publish_topic(&self, topic: &Arc<Topic>, known: u32) {
        let mut owners = lock(&self.owners);
        self.topics.rcu(|topics| {
            let mut topics = Topics::clone(topics);
            topics.insert(topic.spec.name.clone(), Arc::clone(topic));
            topics
        });
        if let Some(streams) = owners.streams.get_mut(&topic.spec.name) {
            streams.retain(|stream| self.gained(stream, known..topic.spec.partitions));
        }
    }

    /// Takes the topic away.
    pub(super) fn withdraw_topic(&self, topic: &Topic) {
        let mut owners = lock(&self.owners);
        self.topics.rcu(|topics| {
            let mut topics = Topics::clone(topics);
            topics.remove(&topic.spec.name);
            topics
        });
        if let Some(streams) = owners.streams.get_mut(&topic.spec.name) {
            streams.retain(|stream| {
                (0..topic.spec.partitions)
                    .all(|partition| stream.send(OwnershipChange::Lost { partition }).is_ok())
            });
        }
    }

    /// A stream of ownership: everything, since the log belongs to one process.
    pub(super) fn own(&self, topic: &TopicName) -> Ownership {
        let (stream, changes) = mpsc::unbounded_channel();
        let mut owners = lock(&self.owners);
        if owners.closed {
            return Ownership::new(changes);
        }
        let partitions = self.topics.load().get(topic).map_or(0, |topic| topic.spec.partitions);
        self.gained(&stream, 0..partitions);
        owners.streams.entry(topic.clone()).or_default().push(stream);
        Ownership::new(changes)
    }

    fn gained(
        &self,
        stream: &mpsc::UnboundedSender<OwnershipChange>,
        partitions: std::ops::Range<u32>,
    ) -> bool {
        let epoch = self.epoch;
        let gained = |partition| OwnershipChange::Gained { partition, epoch, lease: Lease::unending() };
        !stream.is_closed() && partitions.into_iter().all(|partition| stream.send(gained(partition)).is_ok())
    }

    /// Ends all streams of ownership and wakes all waiting readers.
    pub(super) fn close(&self) {
        let mut owners = lock(&self.owners);
        owners.closed = true;
        owners.streams.clear();
        drop(owners);
        for topic in self.topics.load().values() {
            for partition in &topic.partitions {
                partition.arrived.notify_waiters();
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.owners).closed
    }

    pub(super) fn status(&self) -> LogStatus {
        let mut status = lock(&self.status).clone();
        // One notice for each topic, so that they do not crowd out the others.
        status.notices.extend(lock(&self.dead_letters).iter().map(|(topic, (aged, displaced))| {
            format!(
                "topic {topic} let dead letters go since the start: {aged} for their age, {displaced} because the budget \
                 needed their space"
            )
        }));
        status
    }

    /// Counts dead letters that are let go, and tells an operator.
    pub(super) fn let_dead_letters_go(&self, topic: &TopicName, records: u64, reason: Reason) {
        let mut topics = lock(&self.dead_letters);
        let (aged, displaced) = topics.entry(topic.clone()).or_default();
        match reason {
            Reason::Age => {
                *aged += records;
                Counters::add(&self.counters.aged_dead_letters, records);
                tracing::info!(
                    "{records} dead letters of topic {topic} are older than their retention age, and gone"
                );
            }
            Reason::Space => {
                *displaced += records;
                Counters::add(&self.counters.displaced_dead_letters, records);
                tracing::warn!(
                    "{records} dead letters of topic {topic} are gone: the budget needed their space"
                );
            }
        }
    }

    /// Says why appends cannot succeed; `None`: they can again.
    pub(super) fn unavailable(&self, why: Option<String>) {
        lock(&self.status).unavailable = why;
    }

    /// Says that an account is full and what holds it; `None`: it has room again.
    pub(super) fn full(&self, account: &str, holder: Option<&str>) {
        let mut status = lock(&self.status);
        match holder {
            Some(holder) => drop(status.full.insert(account.to_owned(), holder.to_owned())),
            None => drop(status.full.remove(account)),
        }
    }

    /// Tells an operator.
    pub(super) fn notice(&self, text: String) {
        tracing::warn!("{text}");
        let mut status = lock(&self.status);
        if status.notices.len() == NOTICES_MAX {
            status.notices.remove(0);
        }
        status.notices.push(text);
    }

    /// Counts and reports what the disk could not read of a segment.
    pub(super) fn unreadable(&self, segment: &Segment) {
        for Unreadable { at, error } in segment.file.take_unreadable() {
            self.damaged(segment, at, &format!("the disk cannot read it ({error})"));
        }
    }

    /// Counts and reports damage in a segment, once per place.
    pub(super) fn damaged(&self, segment: &Segment, at: u64, what: &str) {
        if segment.note_damage(at) {
            Counters::add(&self.counters.corrupt, 1);
            self.notice(format!(
                "segment {} is damaged at byte {at}: {what}; it is skipped and never served",
                segment.number
            ));
        }
    }
}

/// An error of the disk.
pub(super) fn io_error(
    action: &'static str,
    path: impl AsRef<str>,
) -> impl FnOnce(std::io::Error) -> LogError {
    let path = Box::from(path.as_ref());
    move |source| LogError::Io { action, path, source }
}
