//! What a caller does for its own append, before the writer sees it: look up, check, encode.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::format::RECORD_OVERHEAD;
use super::index::Home;
use super::partition::Partition;
use super::progress;
use super::topics::{Topic, Topics};
use crate::limits::{APPEND_RECORDS_MAX, NAME_BYTES_MAX};
use crate::{AppendError, Appended, Batch, Epoch, Offset, Partition as PartitionNumber, TopicName, Urgency};

/// An append, ready to be written.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) records: SmallVec<[NewRecord; 1]>,
    /// The payloads of all records, one after the other.
    pub(super) payload: Bytes,
    pub(super) progress: Vec<NewProgress>,
    /// Bytes of frames, for the queue's limit.
    pub(super) bytes: usize,
    /// When it must go although nothing urgent came; `None`: now.
    pub(super) deadline: Option<Instant>,
    pub(super) answer: Appended,
    /// Filled by the writer.
    pub(super) positions: Vec<(PartitionNumber, Offset)>,
}

impl Work {
    /// The payload of one record. Each is taken once: that of a single record need not be shared.
    pub(super) fn take_payload(&mut self, record: usize) -> Bytes {
        match &self.records[..] {
            [_] => mem::take(&mut self.payload),
            records => self.payload.slice(records[record].start..records[record].end),
        }
    }
}

/// A record of an append.
#[derive(Debug)]
pub(super) struct NewRecord {
    /// Numbers, not the topic itself: all callers and the writer would meet at its reference count.
    pub(super) home: Home,
    /// Milliseconds since the epoch.
    pub(super) time: u64,
    /// Its part of the payload.
    pub(super) start: usize,
    pub(super) end: usize,
    /// It comes from a delivery, so that its storing lets something else go.
    pub(super) derived: bool,
}

impl NewRecord {
    pub(super) fn frame_bytes(&self) -> u64 {
        (self.end - self.start + RECORD_OVERHEAD) as u64
    }
}

/// Saved progress of an append.
#[derive(Debug)]
pub(super) struct NewProgress {
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: Epoch,
    pub(super) changes: progress::Changes,
    /// The body of its frame.
    pub(super) frame: Vec<u8>,
}

/// Checks and encodes a batch.
pub(super) fn prepare(
    batch: Batch,
    topics: &Topics,
    max_bytes: usize,
    answer: Appended,
) -> Result<Work, (AppendError, Appended)> {
    match encode(&batch, topics, max_bytes) {
        Ok((records, payload, bytes)) => match encode_progress(batch, topics, bytes, max_bytes) {
            Ok((progress, bytes, deadline)) => {
                Ok(Work { records, payload, progress, bytes, deadline, answer, positions: Vec::new() })
            }
            Err(error) => Err((error, answer)),
        },
        Err(error) => Err((error, answer)),
    }
}

type EncodedRecords = (SmallVec<[NewRecord; 1]>, Bytes, usize);

fn encode(batch: &Batch, topics: &Topics, max_bytes: usize) -> Result<EncodedRecords, AppendError> {
    let payload_bytes: usize = batch.records.iter().map(|(_, _, record)| record.encoded_len()).sum();
    let bytes = payload_bytes + batch.records.len() * RECORD_OVERHEAD;
    if bytes > max_bytes || batch.records.len() > APPEND_RECORDS_MAX {
        return Err(AppendError::TooLarge { bytes, max: Some(max_bytes) });
    }
    let mut payload = Vec::with_capacity(payload_bytes);
    let mut records = SmallVec::with_capacity(batch.records.len());
    for (name, partition, record) in &batch.records {
        let topic = find(topics, name, *partition)?;
        let start = payload.len();
        record.encode(&mut payload);
        records.push(NewRecord {
            home: (topic.id, *partition),
            time: record.envelope.time.as_millis(),
            start,
            end: payload.len(),
            derived: record.envelope.origin.is_some(),
        });
    }
    Ok((records, Bytes::from(payload), bytes))
}

type EncodedProgress = (Vec<NewProgress>, usize, Option<Instant>);

fn encode_progress(
    batch: Batch,
    topics: &Topics,
    mut bytes: usize,
    max_bytes: usize,
) -> Result<EncodedProgress, AppendError> {
    let mut progress = Vec::with_capacity(batch.progress.len());
    for update in batch.progress {
        let topic = find(topics, &update.topic, update.partition)?;
        let partition = Arc::clone(&topic.partitions[update.partition as usize]);
        let mut frame = Vec::new();
        let rows = update.lanes.iter().map(|(name, row)| (&**name, row.as_deref()));
        progress::encode(&mut frame, partition.home, update.head, rows);
        bytes += frame.len() + RECORD_OVERHEAD;
        if let Some((name, _)) = update.lanes.iter().find(|(name, _)| name.len() > NAME_BYTES_MAX) {
            return Err(AppendError::TooLarge { bytes: name.len(), max: Some(NAME_BYTES_MAX) });
        }
        progress.push(NewProgress {
            partition,
            epoch: update.epoch,
            changes: (update.head, update.lanes),
            frame,
        });
    }
    if bytes > max_bytes {
        return Err(AppendError::TooLarge { bytes, max: Some(max_bytes) });
    }
    let deadline = match batch.urgency {
        Urgency::Now => None,
        Urgency::Within(wait) => Some(Instant::now() + wait),
    };
    Ok((progress, bytes, deadline))
}

fn find<'a>(
    topics: &'a Topics,
    name: &TopicName,
    partition: PartitionNumber,
) -> Result<&'a Arc<Topic>, AppendError> {
    topics
        .get(name)
        .filter(|topic| partition < topic.spec.partitions)
        .ok_or_else(|| AppendError::NoSuchPartition(name.clone(), partition))
}
