//! One event that a lane has taken and that has no durable end yet.

use std::collections::VecDeque;

use pelton_event::{Event, Failure, Record, Step, Timestamp};
use pelton_event_log::Offset;

use super::action::Target;
use super::body::Body;

/// One event that a lane has taken, or one open entry of the retry topic.
#[derive(Debug)]
pub(super) struct Open {
    /// Where its record is, in the topic of the [`Queue`] that holds it.
    pub offset: Offset,
    /// Where the event is in the events topic.
    pub origin: Offset,
    /// When the event was accepted.
    pub time: Timestamp,
    /// Attempts made, in the present phase.
    pub attempts: u32,
    /// When the next one is due; the epoch before the first.
    pub due: Timestamp,
    /// The destination of the present phase.
    pub target: Target,
    /// Why the subscriber's delivery failed, in the phase of the dead letter sink. Entries of the retry topic have it in
    /// their record.
    pub failure: Option<Box<Failure>>,
    /// The attempts that a row tells instead: it is at the dead letter sink and the row of the retry topic cannot say so.
    pub attempts_to_repeat: Option<u32>,
    /// What it is ordered by.
    pub key: Key,
    /// The next event of its chain.
    pub follower: Option<Offset>,
    /// Whether it waits for the end of its predecessor in the chain.
    pub blocked: bool,
    /// Whether its successor in the chain waits until its end, which comes with a record, is durable.
    pub holds: bool,
    /// What happens to it.
    pub state: State,
    /// Its record, while it is sent or ready to be.
    pub body: Option<Body>,
}

/// What an event of a keyed lane is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Not known until its record is read.
    Unknown,
    /// It has no key.
    None,
    /// The hash of its key.
    Hash(u64),
}

/// What happens to an open event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits: for its turn, for its predecessor, for the time it is due.
    Idle,
    /// It is about to be sent, its record is read again.
    Fetching {
        /// Number of the fetch.
        sequence: u64,
    },
    /// An attempt is under way.
    Sent {
        /// Number of the attempt.
        sequence: u64,
        /// Whether it is on its way, not waiting for a slot.
        started: bool,
    },
    /// It has an end that is not durable yet.
    Ended {
        /// The end.
        end: End,
        /// Whether a record has to be stored with it.
        recorded: bool,
        /// The save that makes it durable; 0 before.
        save: u64,
    },
}

/// How an event ends for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Taken by the subscriber.
    Delivered,
    /// Taken by the dead letter sink.
    DeadLettered,
    /// Kept in the dead-letter topic.
    Kept,
    /// No end for the event: it goes on as an entry of the retry topic.
    Moved,
    /// No end for the event: another entry of the retry topic stands for it.
    Superseded,
    /// The log no longer keeps it.
    Expired,
    /// Discarded by command.
    Discarded,
    /// Its trigger was deleted long ago.
    Withdrawn,
}

impl Open {
    /// An event at `offset` of the events topic, not tried yet.
    pub(super) fn fresh(offset: Offset, time: Timestamp, key: Key, body: Option<Body>) -> Self {
        Self {
            offset,
            origin: offset,
            time,
            attempts: 0,
            due: Timestamp::EPOCH,
            target: Target::Subscriber,
            failure: None,
            attempts_to_repeat: None,
            key,
            follower: None,
            blocked: false,
            holds: false,
            state: State::Idle,
            body,
        }
    }

    /// Whether it was sent before, so that its place in the order no longer matters.
    pub(super) fn has_begun(&self) -> bool {
        self.attempts > 0 || self.target == Target::DeadLetterSink
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Whether it still keeps its successor in the chain back.
    pub(super) fn is_in_chain(&self) -> bool {
        self.holds || !self.is_ended()
    }

    /// Attempts whose outcome the row may tell: the one that led to an end whose record is not stored is made again after a
    /// crash.
    pub(super) fn recorded_attempts(&self) -> u32 {
        self.attempts_to_repeat.unwrap_or_else(|| self.attempts.saturating_sub(u32::from(self.is_ended())))
    }

    /// Whether it may be sent once it is due.
    pub(super) fn is_startable(&self) -> bool {
        self.state == State::Idle && (!self.blocked || self.has_begun())
    }

    /// Why the subscriber's delivery failed: from the row, else from the record in the retry topic.
    pub(super) fn known_failure(&self) -> Option<&Failure> {
        self.failure.as_deref().or_else(|| match self.body.as_ref()?.record().envelope.step()? {
            Step::Retry { failure, .. } => failure.as_deref(),
            _ => None,
        })
    }
}

impl Key {
    /// The key of a record: the event's `partitionkey`, else the key of its envelope.
    pub(super) fn of(record: &Record) -> Self {
        let of_event = record.event.as_ref().and_then(Event::partition_key);
        match of_event.as_ref().or(record.envelope.key.as_ref()) {
            Some(key) => Self::Hash(fnv(key)),
            None => Self::None,
        }
    }
}

/// FNV-1a. It is saved, so it must never change. Keys that collide are ordered among each other, which harms nobody.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The open events of a lane in one topic, by offset.
#[derive(Debug, Default)]
pub(super) struct Queue {
    opens: VecDeque<Open>,
    ended: usize,
    /// Those of the ended whose records wait to be stored.
    recorded: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.opens.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.opens.is_empty()
    }

    /// How many have an end that is not durable yet.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Whether some have an end whose record waits to be stored.
    pub(super) fn waits_for_records(&self) -> bool {
        self.recorded > 0
    }

    /// Takes out all from the `index`th on.
    pub(super) fn split_off(&mut self, index: usize) -> VecDeque<Open> {
        debug_assert!(self.opens.range(index..).all(|open| !open.is_ended()));
        self.opens.split_off(index)
    }

    /// How many have no end.
    pub(super) fn unended(&self) -> usize {
        self.opens.len() - self.ended
    }

    fn index(&self, offset: Offset) -> Option<usize> {
        let first = self.opens.front()?.offset;
        // Offsets grow by one at least, so this is the last place where it can be; without gaps it is the place.
        let last =
            usize::try_from(offset.checked_sub(first)?).unwrap_or(usize::MAX).min(self.opens.len() - 1);
        if self.opens[last].offset == offset {
            return Some(last);
        }
        self.opens.binary_search_by_key(&offset, |open| open.offset).ok()
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Open> {
        self.index(offset).map(|index| &self.opens[index])
    }

    pub(super) fn get_mut(&mut self, offset: Offset) -> Option<&mut Open> {
        self.index(offset).map(|index| &mut self.opens[index])
    }

    /// Adds one; answers whether it was not there yet.
    pub(super) fn insert(&mut self, open: Open) -> bool {
        if self.opens.back().is_none_or(|last| last.offset < open.offset) {
            self.opens.push_back(open);
            return true;
        }
        match self.opens.binary_search_by_key(&open.offset, |known| known.offset) {
            Ok(_) => false,
            Err(index) => {
                self.opens.insert(index, open);
                true
            }
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Open> {
        self.opens.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.opens.iter_mut()
    }

    /// Gives the open event at `offset` its end. Answers whether there was one without.
    pub(super) fn end(&mut self, offset: Offset, end: End, recorded: bool) -> bool {
        let Some(open) = self.get_mut(offset).filter(|open| !open.is_ended()) else { return false };
        open.state = State::Ended { end, recorded, save: 0 };
        open.body = None;
        self.ended += 1;
        self.recorded += usize::from(recorded);
        true
    }

    /// Takes the end of the event at `offset` back.
    pub(super) fn reopen(&mut self, offset: Offset) -> Option<&mut Open> {
        let index = self.index(offset).filter(|index| self.opens[*index].is_ended())?;
        self.ended -= 1;
        if let State::Ended { recorded: true, .. } = self.opens[index].state {
            self.recorded -= 1;
        }
        let open = &mut self.opens[index];
        (open.state, open.holds) = (State::Idle, false);
        Some(open)
    }

    /// The end of the event at `offset` becomes durable without a record.
    pub(super) fn end_without_record(&mut self, offset: Offset) {
        if let Some(State::Ended { recorded, .. }) = self.get_mut(offset).map(|open| &mut open.state)
            && std::mem::take(recorded)
        {
            self.recorded -= 1;
        }
    }

    /// Puts the ends that need no record into the save `save`.
    pub(super) fn enter_save(&mut self, id: u64) {
        for open in &mut self.opens {
            if let State::Ended { recorded: false, save, .. } = &mut open.state {
                *save = id;
            }
        }
    }

    /// Puts the end of the event at `offset`, whose record goes along, into the save `save`.
    pub(super) fn enter_save_with_record(&mut self, offset: Offset, id: u64) {
        if let Some(State::Ended { save, .. }) = self.get_mut(offset).map(|open| &mut open.state) {
            *save = id;
        }
    }

    /// The save failed: its ends are still to be made durable.
    pub(super) fn leave_save(&mut self, id: u64) {
        for open in &mut self.opens {
            if let State::Ended { save, .. } = &mut open.state
                && *save == id
            {
                *save = 0;
            }
        }
    }

    /// The save is durable: forgets what ended in it and tells `each`.
    pub(super) fn forget_saved(&mut self, id: u64, mut each: impl FnMut(&Open, End)) {
        let Self { opens, ended, recorded: waiting } = self;
        opens.retain(|open| match open.state {
            State::Ended { end, save, recorded } if save == id => {
                *ended -= 1;
                *waiting -= usize::from(recorded);
                each(open, end);
                false
            }
            _ => true,
        });
    }

    /// What a row saved as `id` has to name: everything whose end does not become durable with it.
    pub(super) fn owed_after(&self, id: u64) -> impl Iterator<Item = &Open> {
        self.opens.iter().filter(move |open| !matches!(open.state, State::Ended { save, .. } if save == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(offsets: &[Offset]) -> Queue {
        let mut queue = Queue::default();
        for offset in offsets {
            assert!(queue.insert(Open::fresh(*offset, Timestamp::EPOCH, Key::None, None)));
        }
        queue
    }

    #[test]
    fn stays_sorted_and_holds_each_offset_once() {
        let mut queue = queue(&[5, 9, 7, 20, 6]);
        assert!(!queue.insert(Open::fresh(7, Timestamp::EPOCH, Key::None, None)));
        assert_eq!(queue.iter().map(|open| open.offset).collect::<Vec<_>>(), [5, 6, 7, 9, 20]);
        assert!(queue.get(9).is_some() && queue.get(8).is_none());
    }

    #[test]
    fn an_end_leaves_only_with_the_save_that_holds_it() {
        let mut queue = queue(&[1, 2, 3]);
        assert!(queue.end(1, End::Delivered, false));
        assert!(!queue.end(1, End::Kept, false), "one end only");
        assert!(queue.end(2, End::Kept, true));
        queue.enter_save(7);
        let owed = |queue: &Queue| queue.owed_after(7).map(|open| open.offset).collect::<Vec<_>>();
        assert_eq!(owed(&queue), [2, 3], "the record of 2 is not in the save");
        queue.enter_save_with_record(2, 7);
        assert_eq!(owed(&queue), [3]);
        queue.leave_save(7);
        assert_eq!((queue.len(), queue.ended()), (3, 2));
        queue.enter_save(8);
        let mut gone = Vec::new();
        queue.forget_saved(8, |open, end| gone.push((open.offset, end)));
        assert_eq!(gone, [(1, End::Delivered)]);
        assert_eq!((queue.len(), queue.ended()), (2, 1));
    }

    #[test]
    fn key_hashes_never_change() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
