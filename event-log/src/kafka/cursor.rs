//! A position in a partition, and what was fetched from there on.

use std::collections::VecDeque;

use bytes::Bytes;
use pelton_event::kafka::KafkaRecord;
use tokio::time::Instant;

use super::native::{Fetched, NativeError};
use super::readers::{Kind, Seated};
use crate::limits;
use crate::{Chunk, Content, Entry, Offset, ReadLimit};

/// Reads a partition on from a position.
pub(super) struct Cursor {
    pub(super) kind: Kind,
    seated: Seated,
    /// Fetched and not handed out.
    fetched: VecDeque<Entry>,
    fetched_bytes: usize,
    /// What comes next if nothing is fetched: everything before was handed out or skipped.
    position: Offset,
    /// The end of the partition, if the reader has come there.
    end: Option<Offset>,
    failed: Option<NativeError>,
    pub(super) idle_since: Instant,
}

impl Cursor {
    /// One of what was seated to read from `from` on.
    pub(super) fn new(seated: Seated, kind: Kind, from: Offset) -> Self {
        Self {
            kind,
            seated,
            fetched: VecDeque::new(),
            fetched_bytes: 0,
            position: from,
            end: None,
            failed: None,
            idle_since: Instant::now(),
        }
    }

    /// Its reader and the seat of that.
    pub(super) const fn seated(&self) -> &Seated {
        &self.seated
    }

    /// Ends once something may have come.
    pub(super) async fn ready(&self) {
        self.seated.reader().ready().await;
    }

    /// Ends once its seat is free again.
    pub(super) async fn stop(self) {
        self.seated.stop().await;
    }

    /// Why reading does not go on, if it does not.
    pub(super) const fn failed(&self) -> Option<&NativeError> {
        self.failed.as_ref()
    }

    /// Whether a read from `from` can go on here. One that does not wait has to learn anew where the end is.
    pub(super) fn stands_at(&self, from: Offset) -> bool {
        let reached = self.fetched.back().map_or(self.position, |last| last.offset + 1);
        let is_at_end = from == reached && self.end.is_some();
        let knows = self.kind == Kind::Tail || !is_at_end;
        self.failed.is_none() && self.position <= from && from <= reached && knows
    }

    /// Takes what the fetcher has, as far as there is room.
    pub(super) fn fetch(&mut self) {
        let Self { seated, fetched, fetched_bytes, end, failed, .. } = self;
        while *fetched_bytes < limits::KAFKA_CURSOR_BYTES {
            let any = seated.reader_mut().take(|found| match found {
                Fetched::Record(offset, record) => {
                    *end = None;
                    let content = content(record);
                    *fetched_bytes += size_of(&content);
                    fetched.push_back(Entry { offset, content });
                }
                Fetched::End(offset) => *end = Some(offset),
                Fetched::Failed(error) => *failed = Some(error),
            });
            if !any {
                return;
            }
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.fetched.pop_front()?;
        self.fetched_bytes -= size_of(&entry.content);
        self.position = entry.offset + 1;
        Some(entry)
    }

    pub(super) fn skip_to(&mut self, from: Offset) {
        while self.fetched.front().is_some_and(|entry| entry.offset < from) {
            self.pop();
        }
        self.position = self.position.max(from);
    }

    /// What there is to hand out.
    pub(super) fn chunk(&mut self, from: Offset, limit: ReadLimit) -> Option<Chunk> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.fetched.front()
            && entries.len() < limit.entries.max(1)
        {
            let size = size_of(&entry.content);
            if !entries.is_empty() && bytes + size > limit.bytes.min(limits::READ_BYTES_MAX) {
                break;
            }
            bytes += size;
            entries.extend(self.pop());
        }
        if let (Some(end), true) = (self.end, self.fetched.is_empty()) {
            // Gaps before the end are passed: markers of transactions, what compaction took.
            self.position = self.position.max(end);
        }
        let is_over = !limit.wait && self.end.is_some() && self.fetched.is_empty();
        let next = self.position;
        (!entries.is_empty() || next > from || is_over).then_some(Chunk::new(entries, next))
    }
}

fn content(record: KafkaRecord<'_>) -> Content {
    match pelton_event::kafka::decode(record) {
        Ok(record) => Content::Record(record),
        Err(error) => Content::Undecodable {
            reason: error.to_string().into(),
            bytes: record.value.map(Bytes::copy_from_slice).unwrap_or_default(),
        },
    }
}

/// Bytes in memory, about.
fn size_of(content: &Content) -> usize {
    let bytes = match content {
        Content::Record(record) => record
            .event
            .as_ref()
            .map_or(0, |event| event.attribute_bytes().len() + event.data().map_or(0, Bytes::len)),
        Content::Undecodable { bytes, .. } => bytes.len(),
    };
    bytes + std::mem::size_of::<Entry>()
}
