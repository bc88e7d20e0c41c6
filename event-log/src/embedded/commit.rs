//! Group commit: many appends become one batch, one write and one sync.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use pelton_event::Timestamp;

use super::core::{Core, Failure, Fatal, Room};
use super::format::{Kind, RecordPlace};
use super::partition::Partition;
use super::prepare::Work;
use super::runs::Piece;
use super::segment::Segment;
use super::stats::Counters;
use super::topics::{Account, Topic};
use super::{progress, retain};
use crate::limits::{BUDGET_RESERVE, BUDGET_SLACK};
use crate::{AppendError, OnFull, Stored};

/// A record of the commit under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct StagedRecord {
    /// Topic and partition in one number, so that the records of a partition stand together in the batch.
    home: u64,
    offset: u64,
    /// Which append.
    work: u32,
    /// Which of its records.
    record: u32,
    /// Position of its frame within the batch.
    at: u32,
}

/// What recent commits left in the tails of partitions, oldest first.
#[derive(Debug, Default)]
pub(super) struct TailCache {
    groups: VecDeque<(Arc<Partition>, usize, usize)>,
    bytes: usize,
}

/// Bytes that a cached record takes beside its payload.
const CACHED_OVERHEAD: usize = 64;

impl TailCache {
    fn add(&mut self, partition: &Arc<Partition>, records: usize, bytes: usize) {
        self.groups.push_back((Arc::clone(partition), records, bytes));
        self.bytes += bytes;
    }

    fn shrink(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes
            && let Some((partition, records, bytes)) = self.groups.pop_front()
        {
            let tail = &mut partition.view().tail;
            tail.drain(..records.min(tail.len()));
            self.bytes -= bytes;
        }
    }
}

impl Core {
    /// Stores the appends and answers them all. After an error the process must stop; then they are answered *unknown*.
    pub(super) fn commit(&mut self, works: &mut Vec<Work>, now: Timestamp) -> Result<(), Fatal> {
        let committed = self.try_commit(works, now);
        self.staged.clear();
        if let Err(Fatal(why)) = &committed {
            for work in works.drain(..) {
                let _ = work.answer.send(Err(AppendError::Unknown(why.clone())));
            }
        }
        committed
    }

    fn try_commit(&mut self, works: &mut Vec<Work>, now: Timestamp) -> Result<(), Fatal> {
        self.refuse(works, now)?;
        if works.is_empty() {
            return Ok(());
        }
        let mut room =
            if works.iter().all(|work| work.records.is_empty()) { Room::Reserve } else { Room::Normal };
        loop {
            self.stage(works);
            let mut batch = mem::take(&mut self.buffer);
            self.fill(&mut batch, works);
            let written = self.write(&mut batch, 0, room, now);
            self.buffer = batch;
            match written {
                Ok((segment, at)) => {
                    self.publish(works, &segment, at);
                    self.answer(works);
                    return Ok(());
                }
                Err(Failure::Fatal(fatal)) => return Err(fatal),
                Err(Failure::DiskFull) => {
                    self.unstage(works);
                    self.refuse_for_space(works, room);
                    if works.is_empty() {
                        return Ok(());
                    }
                    room = Room::Reserve;
                }
            }
        }
    }

    /// Answers the appends that cannot be stored, and takes them out.
    fn refuse(&mut self, works: &mut Vec<Work>, now: Timestamp) -> Result<(), Fatal> {
        let mut index = 0;
        while let Some(work) = works.get(index) {
            let refused = match self.refusal(work) {
                None => self.over_budget(work, now)?,
                refused => refused,
            };
            match refused {
                None => index += 1,
                Some(error) => {
                    let work = works.remove(index);
                    let _ = work.answer.send(Err(error));
                }
            }
        }
        for record in works.iter().flat_map(|work| &work.records) {
            record.topic.account.unstage(record.frame_bytes());
        }
        Ok(())
    }

    fn refusal(&self, work: &Work) -> Option<AppendError> {
        let gone = |topic: &Topic| !self.topics.contains_key(&topic.id);
        if let Some(record) = work.records.iter().find(|record| gone(&record.topic)) {
            let name = record.topic.spec.name.clone();
            return Some(AppendError::NoSuchPartition(name, record.partition));
        }
        for change in &work.progress {
            let partition = &change.partition;
            if !self.topics.contains_key(&partition.home.0) {
                return Some(AppendError::NoSuchPartition(partition.topic.clone(), partition.home.1));
            }
            if change.epoch != self.shared.epoch {
                return Some(AppendError::Fenced(partition.topic.clone(), partition.home.1));
            }
        }
        None
    }

    /// Counts the append against its budgets; whether one is spent. What is counted is staged until the end of `refuse`.
    fn over_budget(&mut self, work: &Work, now: Timestamp) -> Result<Option<AppendError>, Fatal> {
        for (index, record) in work.records.iter().enumerate() {
            let (account, budget) = (&record.topic.account, record.topic.spec.retention.bytes);
            account.stage(record.frame_bytes());
            let allowed =
                if record.derived { budget.saturating_add(budget / BUDGET_RESERVE) } else { budget };
            if account.used() <= allowed {
                continue;
            }
            if account.holder().is_none() {
                let need = account.used() - allowed + budget / BUDGET_SLACK;
                self.make_room(&record.topic, need, now)?;
                if account.used() <= allowed {
                    continue;
                }
            }
            for record in &work.records[..=index] {
                record.topic.account.unstage(record.frame_bytes());
            }
            Counters::add(&self.shared.counters.refused_full, 1);
            return Ok(Some(self.full(&record.topic.account, budget)));
        }
        Ok(None)
    }

    /// Lets the oldest records of the account go: settled ones, then dead letters, and with `expire` owed ones.
    fn make_room(&mut self, topic: &Topic, need: u64, now: Timestamp) -> Result<(), Fatal> {
        let expire = topic.spec.retention.on_full == OnFull::Expire;
        let candidates = self.of_account(&topic.account);
        let trims = retain::make_room(&candidates, need, expire);
        match self.trim(&trims, retain::Reason::Space, now) {
            Ok(()) | Err(Failure::DiskFull) => Ok(()),
            Err(Failure::Fatal(fatal)) => Err(fatal),
        }
    }

    fn full(&self, account: &Account, bytes: u64) -> AppendError {
        let holder = account.holder().unwrap_or_else(|| {
            let holder: Arc<str> = retain::holder(&self.of_account(account)).into();
            account.block(Some(Arc::clone(&holder)));
            self.shared.full(&account.name, Some(&holder));
            holder
        });
        AppendError::Full { account: Arc::clone(&account.name), bytes, holder: Box::from(&*holder) }
    }

    /// Gives every record its offset, and orders the records by partition.
    fn stage(&mut self, works: &mut [Work]) {
        self.staged.clear();
        for (number, work) in works.iter_mut().enumerate() {
            work.positions.clear();
            work.positions.reserve_exact(work.records.len());
            for (index, record) in work.records.iter().enumerate() {
                let partition = record.home();
                let offset = partition.stage();
                work.positions.push((record.partition, offset));
                let home = u64::from(partition.home.0) << 32 | u64::from(partition.home.1);
                self.staged.push(StagedRecord {
                    home,
                    offset,
                    work: number as u32,
                    record: index as u32,
                    at: 0,
                });
            }
        }
        self.staged.sort_unstable_by_key(|staged| (staged.home, staged.offset));
    }

    fn fill(&mut self, batch: &mut super::format::BatchBuffer, works: &[Work]) {
        batch.clear();
        for staged in &mut self.staged {
            let work = &works[staged.work as usize];
            let record = &work.records[staged.record as usize];
            let (topic, partition) = record.home().home;
            let place = RecordPlace { topic, partition, offset: staged.offset, time: record.time };
            staged.at = batch.record(place, &work.payload[record.start..record.end]);
        }
        for change in works.iter().flat_map(|work| &work.progress) {
            batch.frame(Kind::Progress, |out| out.extend_from_slice(&change.frame));
        }
    }

    fn unstage(&self, works: &[Work]) {
        for record in works.iter().flat_map(|work| &work.records) {
            record.home().unstage();
        }
    }

    /// Answers the appends for which the disk has no space: those with records, and, where even the reserve is spent, all.
    fn refuse_for_space(&self, works: &mut Vec<Work>, room: Room) {
        self.shared.unavailable(Some(AppendError::DiskFull.to_string()));
        let (refused, kept) =
            works.drain(..).partition::<Vec<_>, _>(|work| room == Room::Reserve || !work.records.is_empty());
        Counters::add(&self.shared.counters.refused_disk_full, refused.len() as u64);
        for work in refused {
            let _ = work.answer.send(Err(AppendError::DiskFull));
        }
        *works = kept;
    }

    /// Shows what is durable now to the readers.
    fn publish(&mut self, works: &mut [Work], segment: &Arc<Segment>, base: u64) {
        let staged = mem::take(&mut self.staged);
        for group in staged.chunk_by(|left, right| left.home == right.home) {
            self.publish_group(works, group, segment, base);
        }
        let mut changes = 0;
        for change in works.iter_mut().flat_map(|work| &mut work.progress) {
            let partition = &change.partition;
            progress::apply(&mut partition.view().progress, mem::take(&mut change.changes));
            changes += 1;
            // What was owed may be settled now: the next append looks again.
            if let Some(topic) = self.topics.get(&partition.home.0) {
                self.unblock(&topic.account);
            }
        }
        Counters::add(&self.shared.counters.progress_updates, changes);
        self.staged = staged;
        self.tail.shrink(self.settings.tail_cache_bytes);
    }

    fn publish_group(&mut self, works: &[Work], group: &[StagedRecord], segment: &Arc<Segment>, base: u64) {
        let record = |staged: &StagedRecord| &works[staged.work as usize].records[staged.record as usize];
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let (topic, partition) = (&record(first).topic, record(first).home());
        let (mut bytes, mut cached, mut max_time) = (0, 0, 0);
        segment.with_index(|index| {
            for staged in group {
                let record = record(staged);
                let size = record.frame_bytes();
                let (topic, partition) = partition.home;
                let place = RecordPlace { topic, partition, offset: staged.offset, time: record.time };
                index.add(&place, base as u32 + staged.at, size as u32);
                bytes += size;
                cached += record.end - record.start + CACHED_OVERHEAD;
                max_time = max_time.max(record.time);
            }
        });
        let piece =
            Piece { first: first.offset, last: last.offset, segment: segment.number, bytes, max_time };
        let mut view = partition.view();
        view.runs.insert(piece);
        for staged in group {
            let record = record(staged);
            let payload: Bytes = works[staged.work as usize].payload.slice(record.start..record.end);
            view.tail.push_back(payload);
        }
        view.end = last.offset + 1;
        let waiting = mem::take(&mut view.waiting);
        drop(view);
        if waiting {
            partition.arrived.notify_waiters();
        }
        self.tail.add(partition, group.len(), cached);
        self.keep(segment.number, bytes);
        topic.account.keep(bytes);
        Counters::add(&self.shared.counters.appended_records, group.len() as u64);
        Counters::add(&self.shared.counters.appended_bytes, bytes);
    }

    #[cfg(not(test))]
    fn answer(&mut self, works: &mut Vec<Work>) {
        for work in works.drain(..) {
            let _ = work.answer.send(Ok(Stored { positions: work.positions }));
        }
    }

    /// As in production, but the mutation that does not wait for a sync also answers only after the next one.
    #[cfg(test)]
    fn answer(&mut self, works: &mut Vec<Work>) {
        let answers = works.drain(..).map(|work| (work.answer, Stored { positions: work.positions }));
        self.held.extend(answers);
        let unsynced = self.broken(super::core::Mutation::OvertakeSync) && !self.sequence.is_multiple_of(2);
        if !unsynced {
            for (answer, stored) in self.held.drain(..) {
                let _ = answer.send(Ok(stored));
            }
        }
    }
}
