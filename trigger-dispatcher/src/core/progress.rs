//! The saved form of a lane: the rows of a partition's progress.
//!
//! A row tells exactly what is settled: every matching event before its position that it does not name. Integers are LEB128
//! varints; offsets and times of open events are differences to the one before.
//!
//! ```text
//! events row  = version flags start position [deleted] [behind counted oldest] [replay end] open*
//! flags       = u8: 1 detached, 2 deleted, 4 behind is known, 8 replay
//! start       = length, text of `delivery.pelton.dev/start` as last applied
//! open        = offset flags time [attempts due] [key u64] [failure]
//! open flags  = u8: 1 attempts, 2 key, 4 keyless, 8 dead letter sink
//! failure     = reason u8, status, destination, message, body (each length, bytes)
//! retry row   = version position (offset attempts due)*
//! damaged row = version (first count)*, `first` as the difference to the end of the run before
//! ```
//!
//! A row that is attached (not detached) stands for everything before the head *or* its position, whichever is further, so
//! that rows and head need not be saved together as long as the head never passes an event that a row lacks.

use bytes::Bytes;
use pelton_event::{DeadLetterReason, Failure, Timestamp};
use pelton_event_log::{LaneProgress, Offset};

use super::action::Target;
use super::open::{Key, Open};
use crate::dead_letter;

const VERSION: u8 = 1;

/// What a row of the events topic says beside its open events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct EventsRow {
    /// `delivery.pelton.dev/start` as last applied.
    pub start: Box<str>,
    /// Everything before it has been considered.
    pub position: Offset,
    /// Whether the lane no longer follows the head.
    pub detached: bool,
    /// When the trigger was deleted.
    pub deleted_at: Option<Timestamp>,
    /// What is known about the events ahead of a detached lane.
    pub behind: Option<Behind>,
    /// The first offset that a replay no longer delivers.
    pub replay_end: Option<Offset>,
}

/// Matching events between the position of a detached lane and the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Behind {
    /// How many.
    pub count: u64,
    /// Up to where they were counted.
    pub counted_to: Offset,
    /// When the first of them was accepted.
    pub oldest: Timestamp,
}

/// An open event as a row names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedOpen {
    pub offset: Offset,
    pub time: Timestamp,
    pub attempts: u32,
    pub due: Timestamp,
    pub key: Key,
    pub failure: Option<Box<Failure>>,
}

/// A row of the retry topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RetryRow {
    /// Entries from here on are open.
    pub position: Offset,
    /// Open entries before it, with the attempts made by now and the time the next is due.
    pub opens: Vec<(Offset, u32, Timestamp)>,
}

impl RetryRow {
    /// Reads a row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        decode_retry(bytes)
    }

    /// Whether the entry at `offset` is open, where everything before `head` was read when the row was saved.
    pub(crate) fn holds(&self, offset: Offset, head: Offset) -> bool {
        offset >= self.position.max(head) || self.opens.iter().any(|(open, ..)| *open == offset)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    /// In an allocation of just its size: rows are kept.
    fn finish(self) -> Bytes {
        Bytes::from(self.0.into_boxed_slice())
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A difference that may be negative (zigzag).
    fn difference(&mut self, from: u64, to: u64) {
        let difference = to.wrapping_sub(from).cast_signed();
        self.number(((difference << 1) ^ (difference >> 63)).cast_unsigned());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn failure(&mut self, failure: &Failure) {
        self.0.push(failure.reason as u8);
        self.number(u64::from(failure.status));
        self.bytes(failure.destination.as_bytes());
        self.bytes(failure.message.as_bytes());
        self.bytes(&failure.body);
    }
}

/// The row of a lane.
pub(super) fn encode_events<'a>(row: &EventsRow, opens: impl Iterator<Item = &'a Open>) -> LaneProgress {
    let mut writer = Writer(Vec::with_capacity(64));
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    writer.0.push(VERSION);
    writer.0.push(
        flag(row.detached, 1)
            | flag(row.deleted_at.is_some(), 2)
            | flag(row.behind.is_some(), 4)
            | flag(row.replay_end.is_some(), 8),
    );
    writer.bytes(row.start.as_bytes());
    writer.number(row.position);
    if let Some(deleted) = row.deleted_at {
        writer.number(deleted.as_millis());
    }
    if let Some(behind) = row.behind {
        writer.number(behind.count);
        writer.number(behind.counted_to);
        writer.number(behind.oldest.as_millis());
    }
    if let Some(end) = row.replay_end {
        writer.number(end);
    }
    let mut low = row.detached.then_some(row.position);
    let (mut offset, mut time) = (0, 0);
    for open in opens {
        low = Some(low.map_or(open.offset, |low| low.min(open.offset)));
        writer.number(open.offset - offset);
        let sink = open.target == Target::DeadLetterSink;
        let attempts = open.recorded_attempts();
        let tried = attempts > 0 || open.due > Timestamp::EPOCH;
        let (hash, keyless) = match open.key {
            Key::Hash(hash) => (Some(hash), false),
            Key::None => (None, true),
            Key::Unknown => (None, false),
        };
        writer.0.push(flag(tried, 1) | flag(hash.is_some(), 2) | flag(keyless, 4) | flag(sink, 8));
        writer.difference(time, open.time.as_millis());
        (offset, time) = (open.offset, open.time.as_millis());
        if tried {
            writer.number(u64::from(attempts));
            writer.difference(time, open.due.as_millis());
        }
        if let Some(hash) = hash {
            writer.0.extend_from_slice(&hash.to_le_bytes());
        }
        if sink {
            writer.failure(open.known_failure().unwrap_or(&dead_letter::unknown_failure()));
        }
    }
    LaneProgress { low, state: writer.finish() }
}

/// The row of a trigger in the retry topic: its open entries before `position`. Answers how many there are, too.
pub(super) fn encode_retry<'a>(
    position: Offset,
    opens: impl Iterator<Item = &'a Open>,
) -> (usize, LaneProgress) {
    let mut writer = Writer(Vec::with_capacity(64));
    writer.0.push(VERSION);
    writer.number(position);
    let (mut low, mut count) = (None, 0);
    let (mut offset, mut due) = (0, 0);
    for open in opens {
        low = low.or(Some(open.offset));
        writer.number(open.offset - offset);
        writer.number(u64::from(open.recorded_attempts()));
        writer.difference(due, open.due.as_millis());
        (offset, due) = (open.offset, open.due.as_millis());
        count += 1;
    }
    (count, LaneProgress { low, state: writer.finish() })
}

/// The row that names damaged entries of the events topic whose dead letters are durable: runs of offsets.
pub(super) fn encode_damaged(runs: &[(Offset, u64)]) -> LaneProgress {
    let mut writer = Writer(Vec::with_capacity(16));
    writer.0.push(VERSION);
    let mut end = 0;
    for &(first, count) in runs {
        writer.number(first - end);
        writer.number(count);
        end = first + count;
    }
    LaneProgress { low: None, state: writer.finish() }
}

/// Reads a row that names damaged entries.
pub(super) fn decode_damaged(bytes: &[u8]) -> Read<Vec<(Offset, u64)>> {
    let mut reader = Reader(bytes);
    reader.version()?;
    let (mut runs, mut end) = (Vec::new(), 0_u64);
    while !reader.0.is_empty() {
        let first = end.checked_add(reader.number()?).ok_or("an offset is too large")?;
        let count = reader.number()?;
        end = first.checked_add(count).ok_or("an offset is too large")?;
        runs.push((first, count));
    }
    Ok(runs)
}

type Read<T> = Result<T, &'static str>;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.0.split_first().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| "a number is too large")
    }

    fn difference(&mut self, from: u64) -> Read<u64> {
        let zigzag = self.number()?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Ok(from.wrapping_add_signed(difference))
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| "a length is too large")?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Read<Box<str>> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8")?.into())
    }

    fn version(&mut self) -> Read<()> {
        if self.byte()? == VERSION { Ok(()) } else { Err("a later version of Pelton wrote it") }
    }

    fn failure(&mut self) -> Read<Box<Failure>> {
        use DeadLetterReason::{BadReply, Exhausted, Forbidden, Loop, Rejected, Undecodable};
        let known = [Exhausted, Rejected, BadReply, Loop, Undecodable, Forbidden];
        let reason = self.byte()?;
        let reason = known.into_iter().find(|known| *known as u8 == reason).ok_or("an unknown reason")?;
        Ok(Box::new(Failure {
            reason,
            status: u16::try_from(self.number()?).map_err(|_| "a status is too large")?,
            destination: self.text()?,
            message: self.text()?,
            body: Bytes::copy_from_slice(self.bytes()?),
        }))
    }
}

/// Reads a row of the events topic.
pub(super) fn decode_events(bytes: &[u8]) -> Read<(EventsRow, Vec<SavedOpen>)> {
    let mut reader = Reader(bytes);
    reader.version()?;
    let flags = reader.byte()?;
    let mut row = EventsRow {
        start: reader.text()?,
        position: reader.number()?,
        detached: flags & 1 != 0,
        ..EventsRow::default()
    };
    if flags & 2 != 0 {
        row.deleted_at = Some(Timestamp::from_millis(reader.number()?));
    }
    if flags & 4 != 0 {
        row.behind = Some(Behind {
            count: reader.number()?,
            counted_to: reader.number()?,
            oldest: Timestamp::from_millis(reader.number()?),
        });
    }
    if flags & 8 != 0 {
        row.replay_end = Some(reader.number()?);
    }
    let mut opens = Vec::new();
    let (mut offset, mut time) = (0_u64, 0);
    while !reader.0.is_empty() {
        offset = offset.checked_add(reader.number()?).ok_or("an offset is too large")?;
        let flags = reader.byte()?;
        time = reader.difference(time)?;
        let mut open = SavedOpen {
            offset,
            time: Timestamp::from_millis(time),
            attempts: 0,
            due: Timestamp::EPOCH,
            key: if flags & 4 != 0 { Key::None } else { Key::Unknown },
            failure: None,
        };
        if flags & 1 != 0 {
            open.attempts = reader.small()?;
            open.due = Timestamp::from_millis(reader.difference(time)?);
        }
        if flags & 2 != 0 {
            let (hash, rest) = reader.0.split_first_chunk::<8>().ok_or("it ends too early")?;
            open.key = Key::Hash(u64::from_le_bytes(*hash));
            reader.0 = rest;
        }
        if flags & 8 != 0 {
            open.failure = Some(reader.failure()?);
        }
        opens.push(open);
    }
    Ok((row, opens))
}

/// Reads a row of the retry topic.
pub(super) fn decode_retry(bytes: &[u8]) -> Read<RetryRow> {
    let mut reader = Reader(bytes);
    reader.version()?;
    let mut row = RetryRow { position: reader.number()?, opens: Vec::new() };
    let (mut offset, mut due) = (0_u64, 0);
    while !reader.0.is_empty() {
        offset = offset.checked_add(reader.number()?).ok_or("an offset is too large")?;
        let attempts = reader.small()?;
        due = reader.difference(due)?;
        row.opens.push((offset, attempts, Timestamp::from_millis(due)));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure() -> impl Strategy<Value = Option<Box<Failure>>> {
        let failure = (0_u16..999, ".{0,9}", proptest::collection::vec(any::<u8>(), 0..9)).prop_map(
            |(status, text, body)| {
                Box::new(Failure {
                    reason: DeadLetterReason::Rejected,
                    destination: "http://there/".into(),
                    status,
                    message: text.into(),
                    body: body.into(),
                })
            },
        );
        proptest::option::of(failure)
    }

    fn open() -> impl Strategy<Value = SavedOpen> {
        let key = prop_oneof![Just(Key::Unknown), Just(Key::None), any::<u64>().prop_map(Key::Hash)];
        let time = || any::<u64>().prop_map(Timestamp::from_millis);
        (any::<u32>(), time(), any::<u32>(), time(), key, failure()).prop_map(
            |(offset, time, attempts, due, key, failure)| SavedOpen {
                offset: offset.into(),
                time,
                attempts,
                due,
                key,
                failure,
            },
        )
    }

    fn row() -> impl Strategy<Value = EventsRow> {
        let behind = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(count, counted_to, oldest)| {
            Behind { count, counted_to, oldest: Timestamp::from_millis(oldest) }
        });
        let deleted = proptest::option::of(any::<u64>().prop_map(Timestamp::from_millis));
        let parts = (".{0,9}", any::<u64>(), any::<bool>(), deleted, proptest::option::of(behind));
        (parts, proptest::option::of(any::<u64>())).prop_map(
            |((start, position, detached, deleted_at, behind), replay_end)| EventsRow {
                start: start.into(),
                position,
                detached,
                deleted_at,
                behind,
                replay_end,
            },
        )
    }

    fn as_open(saved: &SavedOpen) -> Open {
        Open {
            attempts: saved.attempts,
            due: saved.due,
            target: if saved.failure.is_some() { Target::DeadLetterSink } else { Target::Subscriber },
            failure: saved.failure.clone(),
            ..Open::fresh(saved.offset, saved.time, saved.key, None)
        }
    }

    proptest! {
        #[test]
        fn rows_are_read_back(row in row(), mut saved in proptest::collection::vec(open(), 0..20)) {
            saved.sort_by_key(|open| open.offset);
            saved.dedup_by_key(|open| open.offset);
            let opens: Vec<_> = saved.iter().map(as_open).collect();
            let progress = encode_events(&row, opens.iter());
            let lowest = saved.first().map(|open| open.offset);
            let low = [row.detached.then_some(row.position), lowest].into_iter().flatten().min();
            prop_assert_eq!(progress.low, low);
            prop_assert_eq!(decode_events(&progress.state), Ok((row, saved)));
        }

        #[test]
        fn retry_rows_are_read_back(position: u64, mut saved in proptest::collection::vec(open(), 0..20)) {
            saved.sort_by_key(|open| open.offset);
            saved.dedup_by_key(|open| open.offset);
            let opens: Vec<_> = saved.iter().map(as_open).collect();
            let (count, progress) = encode_retry(position, opens.iter());
            let expected = saved.iter().map(|open| (open.offset, open.attempts, open.due)).collect();
            prop_assert_eq!(count, saved.len());
            prop_assert_eq!(progress.low, saved.first().map(|open| open.offset));
            prop_assert_eq!(decode_retry(&progress.state), Ok(RetryRow { position, opens: expected }));
        }

        #[test]
        fn runs_of_damaged_entries_are_read_back(gaps in proptest::collection::vec((1_u64..900, 1_u64..900), 0..20)) {
            let mut end = 0;
            let runs: Vec<_> = gaps
                .into_iter()
                .map(|(gap, count)| {
                    let first = end + gap;
                    end = first + count;
                    (first, count)
                })
                .collect();
            let row = encode_damaged(&runs);
            prop_assert_eq!(decode_damaged(&row.state), Ok(runs));
        }

        #[test]
        fn damaged_rows_are_errors_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_events(&bytes);
            let _ = decode_retry(&bytes);
            let _ = decode_damaged(&bytes);
            let mut versioned = vec![VERSION];
            versioned.extend(bytes);
            let _ = decode_events(&versioned);
            let _ = decode_retry(&versioned);
            let _ = decode_damaged(&versioned);
        }
    }

    /// Rows of this form are on disks: it may grow, but what was written must stay readable.
    #[test]
    fn the_form_stays() {
        let row = EventsRow { start: "latest".into(), position: 300, detached: true, ..EventsRow::default() };
        let open = Open {
            attempts: 2,
            due: Timestamp::from_millis(9),
            ..Open::fresh(5, Timestamp::from_millis(7), Key::None, None)
        };
        let progress = encode_events(&row, [open].iter());
        assert_eq!(&progress.state[..], b"\x01\x01\x06latest\xac\x02\x05\x05\x0e\x02\x04");
    }
}
