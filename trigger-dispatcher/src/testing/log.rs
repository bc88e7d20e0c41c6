//! An event log in memory that refuses and fences as a test asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use pelton_event::{Record, Timestamp};
use pelton_event_log::{
    Append, AppendError, Appended, Batch, Bounds, BrokerTopics, Chunk, ConsumerGroups, Content, Entry, Epoch,
    EventLog, Lease, LogError, LogStatus, Offset, Ownership, OwnershipChange, Partition, Progress, ReadLimit,
    Release, Stored, TopicInfo, TopicName, TopicSpec,
};
use tokio::sync::{mpsc, watch};

use super::groups::Groups;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    state: Mutex<State>,
    grown: watch::Sender<()>,
    /// What the groups have committed, in a log that has groups.
    pub(crate) groups: Groups,
    has_groups: bool,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<TopicName, Vec<Vec<Content>>>,
    progress: HashMap<(TopicName, Partition), Progress>,
    owners: HashMap<TopicName, Vec<mpsc::UnboundedSender<OwnershipChange>>>,
    epochs: HashMap<(TopicName, Partition), Epoch>,
    refusals: Vec<AppendError>,
    panics: bool,
    /// Appends that hang, with whom to answer, while some do.
    held: Option<Vec<(Batch, Appended)>>,
    /// So many more questions for topics fail.
    topics_fail: u32,
    reads: u64,
    appends: u64,
}

impl MemoryLog {
    /// An empty log.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty log whose lanes are consumer groups to the outside.
    pub(crate) fn with_groups() -> Arc<Self> {
        Arc::new(Self { has_groups: true, ..Self::default() })
    }

    /// Forgets what is saved of an events topic and of its retry topic.
    pub(super) fn forget_progress(&self, events: &TopicName) {
        let retry = BrokerTopics::of(events.as_str()).retry;
        let mut state = self.state.lock().unwrap();
        state.progress.retain(|(topic, _), _| topic != events && *topic != retry);
    }

    /// The next appends are answered with these errors, the last of the list first.
    pub(crate) fn refuse(&self, errors: Vec<AppendError>) {
        self.state.lock().unwrap().refusals = errors;
    }

    /// The next append panics.
    pub(crate) fn panic_once(&self) {
        self.state.lock().unwrap().panics = true;
    }

    /// Appends hang from now on, in their order.
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().held = Some(Vec::new());
    }

    /// Stores what hangs; further appends go through.
    pub(crate) fn release(&self) {
        let held = self.state.lock().unwrap().held.take();
        for (batch, appended) in held.into_iter().flatten() {
            let _ = appended.send(self.store(batch));
        }
        self.grown.send_replace(());
    }

    /// The next so many questions for topics fail.
    pub(crate) fn fail_topics(&self, times: u32) {
        self.state.lock().unwrap().topics_fail = times;
    }

    /// All records of a topic, partition after partition.
    pub(crate) fn records(&self, topic: &TopicName) -> Vec<Record> {
        let state = self.state.lock().unwrap();
        let contents = state.topics.get(topic).into_iter().flatten().flatten();
        contents
            .filter_map(|content| match content {
                Content::Record(record) => Some(record.clone()),
                Content::Undecodable { .. } => None,
            })
            .collect()
    }

    /// Puts something into a topic that no append would.
    pub(crate) fn put(&self, topic: &TopicName, partition: Partition, content: Content) {
        let mut state = self.state.lock().unwrap();
        state.topics.get_mut(topic).unwrap()[partition as usize].push(content);
        drop(state);
        self.grown.send_replace(());
    }

    /// The saved progress as it is now.
    pub(crate) fn saved(&self, topic: &TopicName, partition: Partition) -> Progress {
        self.state.lock().unwrap().progress.get(&(topic.clone(), partition)).cloned().unwrap_or_default()
    }

    /// Calls of `read` and `append` so far.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.reads, state.appends)
    }

    /// Somebody else takes the partition: saves of the present owner are refused from now on.
    pub(crate) fn fence(&self, topic: &TopicName, partition: Partition) {
        let mut state = self.state.lock().unwrap();
        state.epochs.entry((topic.clone(), partition)).or_default().0 += 1;
    }

    /// Tells the owners of a topic about a change.
    pub(crate) fn tell(&self, topic: &TopicName, change: OwnershipChange) {
        let state = self.state.lock().unwrap();
        let _ = state.owners[topic].last().unwrap().send(change);
    }

    /// Asks the owner to give the partition up; the future ends when it did.
    pub(crate) async fn revoke(&self, topic: &TopicName, partition: Partition) {
        let (release, released) = Release::pair();
        self.tell(topic, OwnershipChange::Revoked { partition, release });
        let _ = released.await;
        self.fence(topic, partition);
    }

    fn chunk(
        &self,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Chunk, LogError> {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        let missing = || LogError::NoSuchPartition(topic.clone(), partition);
        let contents = state.topics.get(topic).and_then(|t| t.get(partition as usize)).ok_or_else(missing)?;
        let entries: Vec<Entry> = (from..)
            .zip(contents.iter().skip(from as usize))
            .take(limit.entries.max(1))
            .map(|(offset, content)| Entry { offset, content: content.clone() })
            .collect();
        let next = entries.last().map_or(from, |last| last.offset + 1);
        Ok(Chunk::new(entries, next))
    }

    fn store(&self, batch: Batch) -> Result<Stored, AppendError> {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.panics) {
            drop(state);
            panic!("a defect that the test asked for");
        }
        state.appends += 1;
        if let Some(error) = state.refusals.pop() {
            return Err(error);
        }
        for update in &batch.progress {
            let known =
                state.epochs.get(&(update.topic.clone(), update.partition)).copied().unwrap_or_default();
            if update.epoch < known {
                return Err(AppendError::Fenced(update.topic.clone(), update.partition));
            }
        }
        let mut stored = Stored::default();
        for (topic, partition, record) in batch.records {
            let missing = AppendError::NoSuchPartition(topic.clone(), partition);
            let contents =
                state.topics.get_mut(&topic).and_then(|t| t.get_mut(partition as usize)).ok_or(missing)?;
            stored.positions.push((partition, contents.len() as Offset));
            contents.push(Content::Record(record));
        }
        for update in batch.progress {
            let progress = state.progress.entry((update.topic, update.partition)).or_default();
            progress.head = update.head.unwrap_or(progress.head);
            for (lane, row) in update.lanes {
                match row {
                    Some(row) => drop(progress.lanes.insert(lane, row)),
                    None => drop(progress.lanes.remove(&lane)),
                }
            }
        }
        Ok(stored)
    }
}

impl EventLog for MemoryLog {
    fn groups(&self) -> Option<&dyn ConsumerGroups> {
        self.has_groups.then_some(self)
    }

    fn append(&self, batch: Batch) -> Append {
        let (appended, append) = Append::pair();
        if let Some(held) = &mut self.state.lock().unwrap().held {
            held.push((batch, appended));
            return append;
        }
        let answer = self.store(batch);
        self.grown.send_replace(());
        let _ = appended.send(answer);
        append
    }

    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Chunk, LogError>> {
        Box::pin(async move {
            let mut grown = self.grown.subscribe();
            loop {
                let chunk = self.chunk(topic, partition, from, limit)?;
                if !limit.wait || !chunk.entries.is_empty() {
                    return Ok(chunk);
                }
                grown.changed().await.map_err(|_| LogError::Closed)?;
            }
        })
    }

    fn ownership(&self, topic: &TopicName) -> Ownership {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock().unwrap();
        let partitions = state.topics.get(topic).map_or(0, Vec::len);
        for partition in 0..u32::try_from(partitions).unwrap() {
            let epoch = state.epochs.get(&(topic.clone(), partition)).copied().unwrap_or_default();
            let _ = sender.send(OwnershipChange::Gained { partition, epoch, lease: Lease::unending() });
        }
        state.owners.entry(topic.clone()).or_default().push(sender);
        Ownership::new(receiver)
    }

    fn progress<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Progress, LogError>> {
        Box::pin(async move { Ok(self.saved(topic, partition)) })
    }

    fn bounds<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Bounds, LogError>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap();
            let end = state.topics.get(topic).map_or(0, |topic| topic[partition as usize].len());
            Ok(Bounds { start: 0, end: end as Offset })
        })
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset, LogError>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap();
            let contents = &state.topics[topic][partition as usize];
            let at = contents.iter().position(
                |content| matches!(content, Content::Record(record) if record.envelope.time >= time),
            );
            Ok(at.unwrap_or(contents.len()) as Offset)
        })
    }

    fn ensure_topic<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo, LogError>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            let topic = state.topics.entry(spec.name.clone()).or_default();
            topic.resize_with(topic.len().max(spec.partitions as usize), Vec::new);
            let partitions = u32::try_from(topic.len()).unwrap();
            Ok(TopicInfo { name: spec.name.clone(), partitions, bytes: 0, lifetime: None })
        })
    }

    fn delete_topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            self.state.lock().unwrap().topics.remove(topic);
            Ok(())
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, LogError>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            if state.topics_fail > 0 {
                state.topics_fail -= 1;
                return Err(LogError::Unavailable("it does not answer".into()));
            }
            let info = |(name, partitions): (&TopicName, &Vec<Vec<Content>>)| TopicInfo {
                name: name.clone(),
                partitions: u32::try_from(partitions.len()).unwrap(),
                bytes: 0,
                lifetime: None,
            };
            Ok(state.topics.iter().map(info).collect())
        })
    }

    fn status(&self) -> LogStatus {
        LogStatus::default()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}
