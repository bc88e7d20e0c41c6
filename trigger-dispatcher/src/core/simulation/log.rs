//! A log in memory: three topics, and the progress saved with them.

use std::collections::BTreeSet;

use pelton_event::Record;
use pelton_event_log::{
    Batch, BrokerTopics, Chunk, Content, Entry, Offset, Partition, Progress, ProgressUpdate, TopicName,
};

/// One partition of a topic.
#[derive(Debug, Default, Clone)]
pub(super) struct Kept {
    pub contents: Vec<Content>,
    /// What the disk has spoilt since.
    pub damaged: BTreeSet<Offset>,
    /// The first offset still kept.
    pub start: Offset,
    pub progress: Progress,
}

impl Kept {
    pub(super) fn end(&self) -> Offset {
        self.contents.len() as Offset
    }

    /// The record, as it was written.
    pub(super) fn record(&self, offset: Offset) -> Option<&Record> {
        match self.contents.get(usize::try_from(offset).ok()?)? {
            Content::Record(record) => Some(record),
            Content::Undecodable { .. } => None,
        }
    }

    pub(super) fn get(&self, offset: Offset) -> Option<Entry> {
        let content = self.contents.get(usize::try_from(offset).ok()?).filter(|_| offset >= self.start)?;
        let content = match content {
            Content::Record(_) if self.damaged.contains(&offset) => {
                Content::Undecodable { reason: "spoilt".into(), bytes: bytes::Bytes::new() }
            }
            content => content.clone(),
        };
        Some(Entry { offset, content })
    }

    /// Whether a read that waits at the end is answered.
    pub(super) fn has_any(&self, from: Offset) -> bool {
        from.max(self.start) < self.end()
    }

    /// Whether who has read up to `head` has read all there is.
    pub(super) fn is_read_by(&self, head: Offset) -> bool {
        head.max(self.start) >= self.end()
    }

    pub(super) fn read(&self, from: Offset, most: usize) -> Chunk {
        let first = from.max(self.start);
        let entries: Vec<_> =
            (first..self.end()).take(most.max(1)).filter_map(|offset| self.get(offset)).collect();
        let next = entries.last().map_or(first.min(self.end()).max(from), |last| last.offset + 1);
        Chunk::new(entries, next)
    }
}

/// All partitions of a broker's topics.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub topics: BrokerTopics,
    pub events: Vec<Kept>,
    pub retry: Vec<Kept>,
    pub dead: Vec<Kept>,
}

impl Log {
    pub(super) fn new(partitions: usize) -> Self {
        let kept = || vec![Kept::default(); partitions];
        Self { topics: BrokerTopics::of("events"), events: kept(), retry: kept(), dead: kept() }
    }

    /// There is one more partition.
    pub(super) fn grow(&mut self) {
        for topic in [&mut self.events, &mut self.retry, &mut self.dead] {
            topic.push(Kept::default());
        }
    }

    pub(super) fn topic(&mut self, topic: &TopicName) -> &mut Vec<Kept> {
        if *topic == self.topics.events {
            &mut self.events
        } else if *topic == self.topics.retry {
            &mut self.retry
        } else {
            assert_eq!(*topic, self.topics.dead_letter);
            &mut self.dead
        }
    }

    /// Stores a batch, all of it; answers where its records are.
    pub(super) fn apply(&mut self, batch: &Batch) -> Vec<(TopicName, Partition, Offset)> {
        let mut stored = Vec::new();
        for (topic, partition, record) in &batch.records {
            let kept = &mut self.topic(topic)[*partition as usize];
            stored.push((topic.clone(), *partition, kept.end()));
            kept.contents.push(Content::Record(record.clone()));
        }
        for ProgressUpdate { topic, partition, head, lanes, .. } in &batch.progress {
            let progress = &mut self.topic(topic)[*partition as usize].progress;
            if let Some(head) = head {
                assert!(
                    *head >= progress.head,
                    "the head of {topic} went back from {} to {head}",
                    progress.head
                );
                progress.head = *head;
            }
            for (name, row) in lanes {
                match row {
                    Some(row) => progress.lanes.insert(name.clone(), row.clone()),
                    None => progress.lanes.remove(name),
                };
            }
        }
        stored
    }
}
