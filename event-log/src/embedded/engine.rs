//! The embedded log as the roles see it.

use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use pelton_event::Timestamp;
use pelton_runtime::clock::Clock;
use tokio::sync::oneshot;

use super::config::Config;
use super::core::{Core, Settings};
use super::directory;
use super::disk::Disk;
use super::partition::{Partition, lock};
use super::prepare;
use super::queue::{Job, Queue};
use super::read::{self, Plan, Stretch};
use super::recover;
use super::shared::{Shared, io_error};
use super::stats::Stats;
use super::topics::Topic;
use super::writer::Writer;
use crate::limits;
use crate::{
    Append, Batch, Bounds, Chunk, EventLog, LogError, LogStatus, Offset, Ownership,
    Partition as PartitionNumber, Progress, ReadLimit, TopicInfo, TopicName, TopicSpec,
};

/// A log on the local disk. Dropping it finishes what waits; [`EventLog::close`] also marks the stop as clean.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    append_bytes: usize,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log, or makes it. Blocks: it reads the index of every segment, and after a crash the last segment.
    ///
    /// # Errors
    /// [`LogError::Locked`], [`LogError::Foreign`] and [`LogError::Format`] when the directory cannot be ours,
    /// [`LogError::Io`] when the operating system refuses.
    pub fn open(config: Config, clock: Clock) -> Result<Self, LogError> {
        let directory = directory::take(&config.dir, fastrand::u64(..))?;
        let segment_bytes = config
            .segment_bytes
            .clamp(limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_MAX)
            .next_multiple_of(super::format::BLOCK);
        let quarter = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX);
        let settings = Settings {
            segment_bytes,
            tail_cache_bytes: config.tail_cache_bytes,
            append_bytes: quarter.min(limits::APPEND_BYTES_MAX),
            carry_bytes: quarter.min(limits::CARRY_BYTES),
            #[cfg(test)]
            mutation: None,
        };
        let now = Timestamp::from_millis(clock.unix_ms());
        let disk: Arc<dyn Disk> = Arc::new(directory.disk);
        let core = recover::open(&disk, directory.log_id, settings, now)?;
        if let Some(notice) = directory.notice {
            core.shared.notice(notice);
        }
        Self::serve(core, config, clock, Some(directory.lock))
    }

    /// Starts the writer.
    pub(super) fn serve(
        core: Core,
        config: Config,
        clock: Clock,
        lock: Option<File>,
    ) -> Result<Self, LogError> {
        let (shared, append_bytes) = (Arc::clone(&core.shared), core.settings.append_bytes);
        let queue = Arc::new(Queue::new(config.queue_bytes));
        let writer = Writer { core, queue: Arc::clone(&queue), clock, on_fatal: config.on_fatal, lock };
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(io_error("start the writer of", config.dir.display().to_string()))?;
        Ok(Self { shared, queue, append_bytes, writer: Mutex::new(Some(thread)) })
    }

    /// What the engine counted since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }

    fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.shared.topics.load().get(name).map(Arc::clone)
    }

    fn partition(&self, name: &TopicName, number: PartitionNumber) -> Result<Arc<Partition>, LogError> {
        if self.shared.is_closed() {
            return Err(LogError::Closed);
        }
        self.topic(name)
            .and_then(|topic| topic.partitions.get(number as usize).map(Arc::clone))
            .ok_or_else(|| LogError::NoSuchPartition(name.clone(), number))
    }

    async fn read_partition(
        &self,
        partition: &Arc<Partition>,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Chunk, LogError> {
        loop {
            // Before the look, so that what arrives in between is not missed.
            let arrived = partition.arrived.notified();
            match read::plan(&self.shared, partition, from, limit) {
                Plan::Gone => {
                    return Err(LogError::NoSuchPartition(partition.topic.clone(), partition.home.1));
                }
                Plan::AtEnd { next } if !limit.wait => return Ok(Chunk::new(Vec::new(), next)),
                Plan::AtEnd { .. } if self.shared.is_closed() => return Err(LogError::Closed),
                Plan::AtEnd { .. } => arrived.await,
                Plan::Tail { first, payloads } => return Ok(read::decode_tail(first, payloads)),
                Plan::Lost { from, to } => return Ok(read::lost(from, to, limit)),
                Plan::Disk { segment, from, to } => {
                    let (shared, home) = (Arc::clone(&self.shared), partition.home);
                    let number = segment.number;
                    let read = move || read::from_disk(&shared, &segment, home, (from, to), limit);
                    return blocking(read).await?.map_err(io_error("read", format!("log segment {number}")));
                }
            }
        }
    }

    async fn job<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Job,
    ) -> Result<T, LogError> {
        let (answer, answered) = oneshot::channel();
        self.queue.push_job(job(answer)).map_err(|_| LogError::Closed)?;
        answered.await.unwrap_or(Err(LogError::Closed))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LogError::Unavailable(format!("a read was given up: {error}").into()))
}

/// The first offset of `partition` whose record was accepted at or after `time`. Blocks.
fn find_time(shared: &Shared, partition: &Partition, time: u64) -> std::io::Result<Offset> {
    let (pieces, end) = {
        let view = partition.view();
        let pieces: Vec<_> = view.runs.iter().filter(|piece| piece.max_time >= time).copied().collect();
        (pieces, view.end)
    };
    for piece in pieces {
        let Some(segment) = lock(&shared.segments).get(&piece.segment).map(Arc::clone) else { continue };
        let (extents, _) = segment.extents(&shared.indexes, partition.home, piece.first, usize::MAX)?;
        let Some(extent) = extents.iter().find(|extent| extent.max_time >= time) else { continue };
        let from = extent.first.max(piece.first);
        let wanted = Stretch { home: partition.home, from, to: piece.last, bytes: limits::READ_BYTES_MAX };
        let mut found = None;
        read::stretch(shared, &segment, wanted, |place, _| {
            found = (place.time >= time).then_some(place.offset);
            found.is_none()
        })?;
        if let Some(offset) = found {
            return Ok(offset);
        }
    }
    Ok(end)
}

impl EventLog for EmbeddedLog {
    fn append(&self, batch: Batch) -> Append {
        let (answer, append) = Append::pair();
        match prepare::prepare(batch, &self.shared.topics.load(), self.append_bytes, answer) {
            Ok(work) => self.queue.push(work, &self.shared.counters),
            Err((error, answer)) => {
                let _ = answer.send(Err(error));
            }
        }
        append
    }

    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: PartitionNumber,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Chunk, LogError>> {
        Box::pin(async move {
            let partition = self.partition(topic, partition)?;
            let mut chunk = self.read_partition(&partition, from, limit).await?;
            // It may have grown since, but not beyond what was read.
            let first = chunk.entries.first().map_or(chunk.next, |entry| entry.offset);
            chunk.kept_from = Some(partition.view().start.min(first)).filter(|start| *start > from);
            Ok(chunk)
        })
    }

    fn ownership(&self, topic: &TopicName) -> Ownership {
        self.shared.own(topic)
    }

    fn progress<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: PartitionNumber,
    ) -> BoxFuture<'a, Result<Progress, LogError>> {
        Box::pin(async move { Ok(self.partition(topic, partition)?.view().progress.clone()) })
    }

    fn bounds<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: PartitionNumber,
    ) -> BoxFuture<'a, Result<Bounds, LogError>> {
        Box::pin(async move {
            let partition = self.partition(topic, partition)?;
            let view = partition.view();
            Ok(Bounds { start: view.start, end: view.end })
        })
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: PartitionNumber,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset, LogError>> {
        Box::pin(async move {
            let partition = self.partition(topic, partition)?;
            let shared = Arc::clone(&self.shared);
            let find = move || find_time(&shared, &partition, time.as_millis());
            blocking(find).await?.map_err(io_error("read", format!("topic {topic}")))
        })
    }

    fn ensure_topic<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo, LogError>> {
        Box::pin(self.job(|answer| Job::EnsureTopic(spec.clone(), answer)))
    }

    fn delete_topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(self.job(|answer| Job::DeleteTopic(topic.clone(), answer)))
    }

    fn topic<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<Option<TopicInfo>, LogError>> {
        Box::pin(async move {
            if self.shared.is_closed() {
                return Err(LogError::Closed);
            }
            Ok(self.shared.topics.load().get(topic).map(|topic| topic.info()))
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, LogError>> {
        Box::pin(async move {
            if self.shared.is_closed() {
                return Err(LogError::Closed);
            }
            let mut topics: Vec<TopicInfo> =
                self.shared.topics.load().values().map(|topic| topic.info()).collect();
            topics.sort_by(|left, right| left.name.cmp(&right.name));
            Ok(topics)
        })
    }

    fn status(&self) -> LogStatus {
        self.shared.status()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            match self.job(Job::Close).await {
                // Closed already.
                Err(LogError::Closed) => Ok(()),
                closed => closed,
            }
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // After `close` the queue takes nothing; the thread has ended.
        let _ = self.queue.push_job(Job::Stop);
        if let Some(writer) = lock(&self.writer).take() {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
