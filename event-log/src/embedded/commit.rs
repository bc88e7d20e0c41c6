//! Group commit: many appends become one batch, one write and one sync.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use pelton_event::Timestamp;

use super::core::{Core, Failure, Fatal, Room};
use super::format::{Kind, RecordPlace};
use super::index::{Framed, Home};
use super::partition::Partition;
use super::prepare::{NewRecord, Work};
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
    /// Topic and partition in one number: the records of a partition stand together in the batch.
    home: u64,
    /// Which append, and which of its records, in one number: their order.
    number: u64,
    offset: u64,
    /// Position of its frame within the batch.
    at: u32,
}

impl StagedRecord {
    fn work(&self) -> usize {
        (self.number >> 32) as usize
    }

    fn record(&self) -> usize {
        self.number as u32 as usize
    }

    fn of<'a>(&self, works: &'a [Work]) -> &'a NewRecord {
        &works[self.work()].records[self.record()]
    }
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
    fn add(&mut self, partition: Arc<Partition>, records: usize, bytes: usize) {
        self.groups.push_back((partition, records, bytes));
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
        let mut refused = Vec::new();
        for (index, work) in works.iter().enumerate() {
            let error = match self.refusal(work) {
                None => self.over_budget(work, now)?,
                refused => refused,
            };
            refused.extend(error.map(|error| (index, error)));
        }
        if !refused.is_empty() {
            let mut refused = refused.into_iter().peekable();
            for (index, work) in mem::take(works).into_iter().enumerate() {
                match refused.next_if(|(at, _)| *at == index) {
                    Some((_, error)) => drop(work.answer.send(Err(error))),
                    None => works.push(work),
                }
            }
        }
        self.unstage(works.iter().flat_map(|work| &work.records));
        Ok(())
    }

    fn refusal(&self, work: &Work) -> Option<AppendError> {
        if let Some(record) = work.records.iter().find(|record| !self.topics.contains_key(&record.home.0)) {
            // It was there when the append was checked, so it was deleted since.
            let name = self.deleted[&record.home.0].clone();
            return Some(AppendError::NoSuchPartition(name, record.home.1));
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
            let topic = &self.topics[&record.home.0];
            let (account, budget) = (&topic.account, topic.spec.retention.bytes);
            account.stage(record.frame_bytes());
            let reserve = if record.derived { budget / BUDGET_RESERVE } else { 0 };
            // What nothing else is left for but its dead letter must not wait for replies, which may fill the reserve. Dead
            // letters displace each other, so that one more than the reserve is all that they take.
            let own = if record.derived && !topic.is_owed() { record.frame_bytes() } else { 0 };
            let allowed = budget.saturating_add(reserve + own);
            if account.used() <= allowed {
                continue;
            }
            let topic = Arc::clone(topic);
            let account = &topic.account;
            if account.holder().is_none() || own > 0 {
                // For one dead letter no more goes than it takes.
                let slack = if own > 0 { 0 } else { budget / BUDGET_SLACK };
                let need = account.used() - allowed + slack;
                self.make_room(&topic, need, now)?;
                if account.used() <= allowed {
                    continue;
                }
            }
            self.unstage(&work.records[..=index]);
            Counters::add(&self.shared.counters.refused_full, 1);
            return Ok(Some(self.full(account, budget)));
        }
        Ok(None)
    }

    fn unstage<'a>(&self, records: impl IntoIterator<Item = &'a NewRecord>) {
        for record in records {
            self.topics[&record.home.0].account.unstage(record.frame_bytes());
        }
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

    /// Orders the records by partition, and gives every one its offset: for good once they are published.
    fn stage(&mut self, works: &mut [Work]) {
        self.staged.clear();
        for (work, number) in works.iter_mut().zip(0u64..) {
            work.positions.clear();
            work.positions.extend(work.records.iter().map(|record| (record.home.1, 0)));
            self.staged.extend(work.records.iter().zip(0u64..).map(|(NewRecord { home, .. }, record)| {
                let home = u64::from(home.0) << 32 | u64::from(home.1);
                StagedRecord { home, number: number << 32 | record, offset: 0, at: 0 }
            }));
        }
        self.staged.sort_unstable_by_key(|staged| (staged.home, staged.number));
        for group in self.staged.chunk_by_mut(|left, right| left.home == right.home) {
            let home = group[0].of(works).home;
            let end = partition(&self.topics, home).view().end;
            for (staged, offset) in group.iter_mut().zip(end..) {
                staged.offset = offset;
                works[staged.work()].positions[staged.record()].1 = offset;
            }
        }
    }

    fn fill(&mut self, batch: &mut super::format::BatchBuffer, works: &[Work]) {
        batch.clear();
        for staged in &mut self.staged {
            let record = staged.of(works);
            let (topic, partition) = record.home;
            let place = RecordPlace { topic, partition, offset: staged.offset, time: record.time };
            staged.at = batch.record(place, &works[staged.work()].payload[record.start..record.end]);
        }
        for change in works.iter().flat_map(|work| &work.progress) {
            batch.frame(Kind::Progress, |out| out.extend_from_slice(&change.frame));
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

    /// Shows the new records of one partition.
    fn publish_group(
        &mut self,
        works: &mut [Work],
        group: &[StagedRecord],
        segment: &Arc<Segment>,
        base: u64,
    ) {
        let home = group[0].of(works).home;
        let (mut bytes, mut cached, mut max_time) = (0, 0, 0);
        for record in group.iter().map(|staged| staged.of(works)) {
            bytes += record.frame_bytes();
            cached += record.end - record.start + CACHED_OVERHEAD;
            max_time = max_time.max(record.time);
        }
        let framed = group.iter().map(|staged| {
            let record = staged.of(works);
            let (at, size) = (base as u32 + staged.at, record.frame_bytes() as u32);
            Framed { offset: staged.offset, time: record.time, at, size }
        });
        segment.with_index(|index| index.add_all(home, framed));
        let (first, last) = (group[0].offset, group[group.len() - 1].offset);
        let partition = Arc::clone(partition(&self.topics, home));
        let mut view = partition.view();
        view.runs.insert(Piece { first, last, segment: segment.number, bytes, max_time });
        view.tail.extend(group.iter().map(|staged| works[staged.work()].take_payload(staged.record())));
        view.end = last + 1;
        let waiting = mem::take(&mut view.waiting);
        drop(view);
        if waiting {
            partition.arrived.notify_waiters();
        }
        self.keep(segment.number, bytes);
        self.topics[&home.0].account.keep(bytes);
        self.tail.add(partition, group.len(), cached);
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

/// The partition of a record that was not refused: its topic is there, and partitions are never taken away.
fn partition(topics: &BTreeMap<u32, Arc<Topic>>, home: Home) -> &Arc<Partition> {
    &topics[&home.0].partitions[home.1 as usize]
}
