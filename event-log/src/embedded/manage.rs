//! What the log writes about itself: topics, bounds, checkpoints; and the regular look at age and space.

use std::sync::Arc;
use std::time::Duration;

use pelton_event::Timestamp;

use super::carry::Carry;
use super::core::{Core, Failure, Fatal, Room};
use super::disk::DiskFile;
use super::format::{BatchBuffer, Kind, flags};
use super::partition::{Partition, View};
use super::retain::{self, Candidate, Reason, Sealed, Trim};
use super::segment::Segment;
use super::stats::Counters;
use super::topics::{self, Account, Topic};
use super::{closing, progress};
use crate::limits::SEGMENT_AGE_SHARE;
use crate::{LogError, TopicInfo, TopicName, TopicSpec};

/// Why a topic was not changed.
#[derive(Debug)]
pub(super) enum TopicFailure {
    Refused(LogError),
    Fatal(Fatal),
}

impl From<LogError> for TopicFailure {
    fn from(error: LogError) -> Self {
        Self::Refused(error)
    }
}

impl Core {
    /// Writes everything that is known beside records into `batch`: a checkpoint.
    pub(super) fn state_all(&self, batch: &mut BatchBuffer) {
        batch.clear();
        batch.frame(Kind::Log, |out| {
            out.extend_from_slice(&self.next_topic.to_le_bytes());
        });
        for (id, topic) in &self.topics {
            batch.frame(Kind::Topic, |out| topics::encode(out, *id, &topic.spec));
            for partition in &topic.partitions {
                let view = partition.view();
                if view.end > 0 {
                    batch.frame(Kind::Bounds, |out| encode_bounds(out, partition, view.start, view.end));
                }
                let progress = &view.progress;
                if progress.head > 0 || !progress.lanes.is_empty() {
                    let rows = progress.lanes.iter().map(|(name, row)| (&**name, Some(&**row)));
                    batch.frame(Kind::Progress, |out| {
                        progress::encode(out, partition.home, Some(progress.head), rows);
                    });
                }
            }
        }
    }

    /// Writes one batch of the log's own.
    fn write_own(
        &mut self,
        marks: u32,
        room: Room,
        now: Timestamp,
        fill: impl FnOnce(&Self, &mut BatchBuffer),
    ) -> Result<(Arc<Segment>, u64), Failure> {
        // Not `self.own`: a change of segments on the way uses that.
        let mut batch = BatchBuffer::default();
        batch.clear();
        fill(self, &mut batch);
        self.write(&mut batch, marks, room, now)
    }

    pub(super) fn ensure_topic(
        &mut self,
        spec: &TopicSpec,
        now: Timestamp,
    ) -> Result<TopicInfo, TopicFailure> {
        topics::validate(spec)?;
        let old = self.shared.topics.load().get(&spec.name).cloned();
        let known = old.as_ref().map_or(0, |topic| topic.spec.partitions);
        let spec = TopicSpec { partitions: spec.partitions.max(known), ..spec.clone() };
        if let Some(topic) = old.as_ref().filter(|topic| topic.spec == spec) {
            return Ok(topic.info());
        }
        let id = old.as_ref().map_or(self.next_topic, |topic| topic.id);
        self.write_own(0, Room::Normal, now, |_, batch| {
            batch.frame(Kind::Topic, |out| topics::encode(out, id, &spec));
        })
        .map_err(|failure| topic_failure(failure, &spec.name))?;
        self.next_topic = self.next_topic.max(id + 1);
        let mut partitions = old.as_ref().map(|topic| topic.partitions.clone()).unwrap_or_default();
        partitions.extend(
            (known..spec.partitions)
                .map(|number| Arc::new(Partition::new(spec.name.clone(), (id, number), View::default()))),
        );
        let account = self.account(&spec.retention.account);
        if let Some(old) = &old {
            let bytes = old.bytes();
            old.account.free(bytes);
            account.keep(bytes);
            self.unblock(&old.account);
        }
        self.unblock(&account);
        let topic = Arc::new(Topic { id, spec, account, partitions });
        self.topics.insert(id, Arc::clone(&topic));
        self.shared.publish_topic(&topic, known);
        Ok(topic.info())
    }

    pub(super) fn delete_topic(&mut self, name: &TopicName, now: Timestamp) -> Result<(), TopicFailure> {
        let Some(topic) = self.shared.topics.load().get(name).cloned() else { return Ok(()) };
        self.write_own(0, Room::Reserve, now, |_, batch| {
            batch.frame(Kind::TopicDeleted, |out| out.extend_from_slice(&topic.id.to_le_bytes()));
        })
        .map_err(|failure| topic_failure(failure, name))?;
        self.topics.remove(&topic.id);
        self.deleted.insert(topic.id, name.clone());
        self.shared.withdraw_topic(&topic);
        for partition in &topic.partitions {
            let freed = {
                let mut view = partition.view();
                view.deleted = true;
                view.tail.clear();
                let end = view.end;
                view.start = end;
                view.runs.trim(end)
            };
            partition.arrived.notify_waiters();
            let bytes = self.freed(&freed);
            topic.account.free(bytes);
        }
        self.unblock(&topic.account);
        Ok(())
    }

    /// The account of that name; topics share it.
    fn account(&self, name: &Arc<str>) -> Arc<Account> {
        let known = self.topics.values().map(|topic| &topic.account).find(|account| account.name == *name);
        known.map_or_else(|| Arc::new(Account::new(Arc::clone(name))), Arc::clone)
    }

    /// Something of the account changed: the next append looks again whether there is room.
    pub(super) fn unblock(&self, account: &Account) {
        if account.block(None).is_some() {
            self.shared.full(&account.name, None);
        }
    }

    /// The partitions of an account as retention sees them.
    pub(super) fn of_account(&self, account: &Account) -> Vec<Candidate> {
        let topics = self.topics.values().filter(|topic| topic.account.name == account.name);
        let candidates = topics.flat_map(|topic| {
            let dead_letters = !topic.is_owed();
            topic.partitions.iter().map(move |partition| candidate(partition, dead_letters))
        });
        candidates.filter(|candidate| !candidate.pieces.is_empty()).collect()
    }

    /// Counts what the accounts use from what is kept: parts of pieces are estimates, so that sums drift.
    pub(super) fn count_accounts(&self) {
        for topic in self.topics.values() {
            topic.account.free(u64::MAX);
        }
        for topic in self.topics.values() {
            topic.account.keep(topic.bytes());
        }
    }

    /// Moves starts: durable first, then shown, then counted.
    pub(super) fn trim(&mut self, trims: &[Trim], reason: Reason, now: Timestamp) -> Result<(), Failure> {
        if trims.is_empty() {
            return Ok(());
        }
        self.write_own(0, Room::Reserve, now, |_, batch| {
            for trim in trims {
                let end = trim.partition.view().end;
                batch.frame(Kind::Bounds, |out| encode_bounds(out, &trim.partition, trim.start, end));
            }
        })?;
        for trim in trims {
            let (freed, records) = {
                let mut view = trim.partition.view();
                let before = view.start;
                view.start = before.max(trim.start);
                (view.runs.trim(trim.start), view.start - before)
            };
            let bytes = self.freed(&freed);
            Counters::add(&self.shared.counters.expired_records, trim.expired);
            if let Some(topic) = self.topics.get(&trim.partition.home.0) {
                topic.account.free(bytes);
                self.unblock(&topic.account);
                // Nobody reads dead letters by duty, so nobody else would notice.
                if !topic.is_owed() && records > 0 {
                    self.shared.let_dead_letters_go(&topic.spec.name, records, reason);
                }
            }
        }
        Ok(())
    }

    /// The regular look: closes an old active segment, lets old records go, chooses a segment to retire. Answers whether
    /// there is more to do at once.
    pub(super) fn housekeep(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        match self.try_housekeep(now) {
            Ok(more) => Ok(more),
            Err(Failure::DiskFull) => Ok(false),
            Err(Failure::Fatal(fatal)) => Err(fatal),
        }
    }

    fn try_housekeep(&mut self, now: Timestamp) -> Result<bool, Failure> {
        if self.active.is_none() {
            unless_full(self.open_segment(now))?;
        }
        if self.carry.is_some() {
            return self.carry_on(now);
        }
        unless_full(self.close_old_segment(now))?;
        let trims = self.aged(now);
        unless_full(self.trim(&trims, Reason::Age, now))?;
        // Never the newest: if the checkpoint of the active segment should be damaged, its own is the next one.
        let sealed = self.sealed.iter().rev().skip(1).map(|(number, sealed)| Sealed {
            number: *number,
            size: sealed.size,
            live: sealed.live,
        });
        // One that cannot be read waits until there is nothing to carry.
        let sealed = sealed.filter(|segment| {
            !self.sealed[&segment.number].segment.file.is_unreadable() || !self.is_kept(segment.number)
        });
        let segment = self.settings.segment_bytes;
        let room = segment.saturating_sub(self.checkpoint_bytes + self.reserve()).max(segment / 2);
        let Some(number) = retain::to_retire(sealed, room) else { return Ok(false) };
        self.carry = Carry::start(self, number);
        Ok(true)
    }

    /// So that its oldest record need not wait for a full segment to be let go.
    fn close_old_segment(&mut self, now: Timestamp) -> Result<(), Failure> {
        let shortest = self.topics.values().map(|topic| topic.spec.retention.age).min();
        let (Some(shortest), Some(active)) = (shortest, &self.active) else { return Ok(()) };
        let empty = active.segment.with_index(|index| index.is_empty()).unwrap_or(true);
        let limit = (shortest / SEGMENT_AGE_SHARE).max(Duration::from_secs(1));
        if empty || now.since(active.since) < limit {
            return Ok(());
        }
        self.roll(now)
    }

    pub(super) fn aged(&self, now: Timestamp) -> Vec<Trim> {
        let active = self.active.as_ref().map(|active| active.segment.number);
        let mut trims = Vec::new();
        for topic in self.topics.values() {
            let deadline = (now - topic.spec.retention.age).as_millis();
            for partition in &topic.partitions {
                let view = partition.view();
                let owed = if topic.is_owed() { progress::owed(&view.progress).0 } else { u64::MAX };
                if let Some(start) = retain::by_age(&view.runs, owed, deadline, active) {
                    trims.push(Trim { partition: Arc::clone(partition), start, expired: 0 });
                }
            }
        }
        trims
    }

    /// Closes cleanly: a last checkpoint, the footer, and the mark that says that nothing is missing.
    pub(super) fn close(&mut self, now: Timestamp) -> Result<(), Fatal> {
        let closed = self.try_close(now);
        match closed {
            Ok(()) => Ok(()),
            // Not a clean stop, but nothing is lost: the next start scans.
            Err(Failure::DiskFull) => Ok(()),
            Err(Failure::Fatal(fatal)) => Err(fatal),
        }
    }

    fn try_close(&mut self, now: Timestamp) -> Result<(), Failure> {
        if let Some(prepared) = self.prepared.take() {
            self.remove_segment_file(prepared.number).map_err(Failure::Fatal)?;
        }
        let (segment, at) = self.write_own(flags::CHECKPOINT, Room::Reserve, now, Self::state_all)?;
        if let Some(active) = &mut self.active {
            active.checkpoint = at;
        }
        self.seal_active(now)?;
        let size = segment.file.size();
        let mark = size.and_then(|size| {
            segment.file.sync()?;
            closing::write(&*self.disk, self.log_id, segment.number, size)
        });
        mark.map_err(|error| Failure::Fatal(Fatal(format!("the closing mark: {error}").into())))
    }
}

/// A step of housekeeping for which the disk has no space is left for later: the steps after it may need none, and make some.
fn unless_full(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::DiskFull) => Ok(()),
        result => result,
    }
}

fn topic_failure(failure: Failure, name: &TopicName) -> TopicFailure {
    match failure {
        Failure::DiskFull => {
            TopicFailure::Refused(LogError::Topic(name.clone(), "the disk that holds the log is full".into()))
        }
        Failure::Fatal(fatal) => TopicFailure::Fatal(fatal),
    }
}

fn candidate(partition: &Arc<Partition>, dead_letters: bool) -> Candidate {
    let view = partition.view();
    let (owed, lane) = if dead_letters { (u64::MAX, None) } else { progress::owed(&view.progress) };
    Candidate {
        partition: Arc::clone(partition),
        pieces: view.runs.iter().copied().collect(),
        owed,
        lane: lane.map(Box::from),
        dead_letters,
    }
}

/// The body of a bounds frame.
fn encode_bounds(out: &mut Vec<u8>, partition: &Partition, start: u64, end: u64) {
    out.extend_from_slice(&partition.home.0.to_le_bytes());
    out.extend_from_slice(&partition.home.1.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&end.to_le_bytes());
}
