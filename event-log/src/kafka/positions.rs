//! Where things are: reads, ends, times and commits, in offsets that never come again (`incarnation`).

use std::sync::Arc;

use pelton_event::Timestamp;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::engine::{Shared, lock};
use super::incarnation::Incarnation;
use super::mirror;
use super::progress::Of;
use super::readers::ReadError;
use super::take_over::progress_of_others;
use crate::limits::KAFKA_COMMITS_KEPT;
use crate::{Bounds, Chunk, LogError, Offset, Partition, Progress, ReadLimit, TopicName};

impl Shared {
    pub(super) async fn read(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Chunk, LogError> {
        let incarnation = self.incarnation(topic, partition).await?;
        let cluster = self.route(topic)?;
        let unknown =
            || format!("partition {partition} of topic {topic} is not known to have an offset {from}");
        let mut start = incarnation.of_kafka(from).ok_or_else(|| LogError::Unavailable(unknown().into()))?;
        let mut kept_from = None;
        loop {
            match cluster.readers.read(topic, partition, start, limit).await {
                Ok(mut chunk) => {
                    chunk.next = incarnation.lasting(chunk.next);
                    chunk.kept_from = kept_from.filter(|start| *start > from);
                    chunk
                        .entries
                        .iter_mut()
                        .for_each(|entry| entry.offset = incarnation.lasting(entry.offset));
                    return Ok(chunk);
                }
                Err(ReadError::Log(error)) => return Err(error),
                Err(ReadError::OutOfRange) => {
                    let bounds = self.kafka_bounds(&cluster, topic, partition).await?;
                    if start > bounds.end {
                        let (events, of) = Of::topic(topic);
                        if let Some(owner) = self.owner(&events) {
                            owner.ends_early(of, partition, bounds.end);
                        }
                        let why = format!(
                            "partition {partition} of topic {topic} ends at {}, before the position {from} that was to be \
                             read: records were lost, or the topic was made anew",
                            bounds.end
                        );
                        return Err(LogError::Unavailable(why.into()));
                    }
                    if start >= bounds.start {
                        tracing::error!(topic = %topic, partition, from, "Kafka has lost records that it had acknowledged; \
                         those that came in their place before this position may not be delivered");
                    }
                    start = start.max(bounds.start);
                    kept_from = Some(incarnation.lasting(start));
                }
            }
        }
    }

    pub(super) async fn bounds(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<Bounds, LogError> {
        let incarnation = self.incarnation(topic, partition).await?;
        let Bounds { start, end } = self.kafka_bounds(&self.route(topic)?, topic, partition).await?;
        Ok(Bounds { start: incarnation.lasting(start), end: incarnation.lasting(end) })
    }

    async fn kafka_bounds(
        &self,
        cluster: &Arc<Cluster>,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<Bounds, LogError> {
        let topic = topic.clone();
        cluster.ask(move |cluster| cluster.bounds(&topic, partition)).await
    }

    /// Which incarnation of a topic the positions in a partition are of.
    pub(super) async fn incarnation(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<Incarnation, LogError> {
        self.open()?;
        let (events, of) = Of::topic(topic);
        if events.is_beside() {
            // Nobody saves a position there.
            return Ok(Incarnation::default());
        }
        let identities = match self.owner(&events).and_then(|owner| owner.identities(partition)) {
            Some(identities) => identities,
            None => self.identities.of(&self.route(&events)?, &events, partition).await?,
        };
        Ok(identities.of(of).incarnation)
    }

    pub(super) async fn progress(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<Progress, LogError> {
        self.open()?;
        let (events, of) = Of::topic(topic);
        match self.owner(&events).and_then(|owner| owner.progress(of, partition)) {
            Some(progress) => progress,
            None => progress_of_others(&self.route(&events)?, &events, of, partition).await,
        }
    }

    /// Where a group has stopped; it is asked for all its partitions at once.
    pub(super) async fn committed(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
        group: &str,
    ) -> Result<Option<Offset>, LogError> {
        let incarnation = self.incarnation(topic, partition).await?;
        let key = (topic.clone(), Arc::<str>::from(group));
        let slot = lock(&self.commits).entry(key.clone()).or_default().clone();
        // One question for all partitions that ask at the same time.
        let mut slot = slot.lock().await;
        let commits = match &*slot {
            Some((commits, at)) if at.elapsed() < KAFKA_COMMITS_KEPT => commits.clone(),
            _ => {
                let (asked, name) = key;
                let ask = move |cluster: &Cluster| {
                    mirror::idle(cluster, &name)?;
                    mirror::commits(cluster, &asked, &name)
                };
                let commits = Arc::new(self.route(topic)?.ask(ask).await?);
                *slot = Some((commits.clone(), Instant::now()));
                commits
            }
        };
        let missed = || (!commits.is_empty()).then_some(0);
        let found = commits.get(&partition).map(|(offset, _)| *offset).or_else(missed);
        Ok(found.map(|offset| incarnation.lasting(offset)))
    }

    pub(super) async fn offset_at(
        self: &Arc<Self>,
        topic: &TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Offset, LogError> {
        let incarnation = self.incarnation(topic, partition).await?;
        let (cluster, asked, millis) = (self.route(topic)?, topic.clone(), time.as_millis());
        // The end first: what comes in after the question is after the time, too.
        let end = self.kafka_bounds(&cluster, topic, partition).await?.end;
        let found = cluster.ask(move |cluster| cluster.offset_at(&asked, partition, millis)).await?;
        Ok(incarnation.lasting(found.unwrap_or(end)))
    }
}
