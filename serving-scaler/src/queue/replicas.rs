//! The replicas of a revision, and which of them gets the next request.

use std::num::NonZeroU32;

/// With at most so many requests at a time the first replica with room gets the next: the fewest replicas are busy, and those
/// that started last idle first.
const FIRST_FREE_MAX: u32 = 3;
const WORD_BITS: usize = 64;

/// A replica and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load<R> {
    /// The replica.
    pub replica: R,
    /// Requests that it has, those included that are granted a place on it and have not come yet.
    pub in_flight: u32,
    /// Whether it gets new requests.
    pub is_taking: bool,
}

#[derive(Debug)]
struct Replica<R> {
    /// Rises with age: a newer replica has a higher one. Never given twice.
    number: u64,
    replica: R,
    in_flight: u32,
}

/// Both lists are in the order of the numbers.
#[derive(Debug)]
pub(super) struct Replicas<R> {
    /// Requests that each may have at a time; `None`: any number.
    concurrency: Option<NonZeroU32>,
    taking: Vec<Replica<R>>,
    draining: Vec<Replica<R>>,
    /// A bit for each in `taking`, set while it has room. Unused if any number of requests is room enough.
    room: Vec<u64>,
    /// How many of `taking` have room.
    with_room: usize,
    newest: u64,
    /// The number of the replica that was chosen last.
    last: u64,
    /// Whether one that drains has come to have nothing in flight, since that was asked last.
    has_drained: bool,
}

impl<R: Clone + PartialEq> Replicas<R> {
    pub(super) const fn new(container_concurrency: u32) -> Self {
        Self {
            concurrency: NonZeroU32::new(container_concurrency),
            taking: Vec::new(),
            draining: Vec::new(),
            room: Vec::new(),
            with_room: 0,
            newest: 0,
            last: 0,
            has_drained: false,
        }
    }

    /// A replica takes requests from now on; one that drains does so again.
    pub(super) fn ready(&mut self, replica: R) {
        if self.taking.iter().any(|known| known.replica == replica) {
            return;
        }
        let known = self.draining.iter().position(|known| known.replica == replica);
        let known = known.map(|index| self.draining.remove(index)).unwrap_or_else(|| {
            self.newest += 1;
            Replica { number: self.newest, replica, in_flight: 0 }
        });
        insert(&mut self.taking, known);
        self.count_room();
    }

    /// A replica gets no new requests; its number, if it had got any.
    pub(super) fn drain(&mut self, replica: &R) -> Option<u64> {
        let index = self.taking.iter().position(|known| known.replica == *replica)?;
        let known = self.taking.remove(index);
        let number = known.number;
        self.has_drained |= known.in_flight == 0;
        insert(&mut self.draining, known);
        self.count_room();
        Some(number)
    }

    /// A replica is no more; its number, if it was there.
    pub(super) fn gone(&mut self, replica: &R) -> Option<u64> {
        if let Some(index) = self.draining.iter().position(|known| known.replica == *replica) {
            return Some(self.draining.remove(index).number);
        }
        let index = self.taking.iter().position(|known| known.replica == *replica)?;
        let number = self.taking.remove(index).number;
        self.count_room();
        Some(number)
    }

    /// Whether a replica other than `not_on` has room.
    pub(super) fn has_room(&self, not_on: Option<u64>) -> bool {
        let excluded = not_on.and_then(|number| self.taking_index(number));
        let one = excluded.is_some_and(|index| self.index_has_room(index));
        self.with_room > usize::from(one)
    }

    /// Takes a place on a replica other than `not_on`; its number and the replica.
    ///
    /// Any number at a time: of two replicas by chance the one that has less. Up to three: the first with room, the oldest
    /// first. More: each with room in turn. These are the choices of Knative's activator.
    pub(super) fn take(&mut self, not_on: Option<u64>, random: &mut fastrand::Rng) -> Option<(u64, R)> {
        if !self.has_room(not_on) {
            return None;
        }
        let not_on = not_on.and_then(|number| self.taking_index(number));
        let index = match self.concurrency {
            None => self.less_busy_of_two(not_on, random),
            Some(most) if most.get() <= FIRST_FREE_MAX => self.first_with_room(0, not_on)?,
            Some(_) => {
                let next = self.taking.partition_point(|known| known.number <= self.last);
                self.first_with_room(next, not_on).or_else(|| self.first_with_room(0, not_on))?
            }
        };
        let chosen = &mut self.taking[index];
        chosen.in_flight += 1;
        self.last = chosen.number;
        let taken = (chosen.number, chosen.replica.clone());
        self.mark_room(index);
        Some(taken)
    }

    /// The replica with `number`.
    pub(super) fn replica(&self, number: u64) -> Option<&R> {
        let known = self.taking_index(number).map(|index| &self.taking[index]);
        known
            .or_else(|| find(&self.draining, number).map(|index| &self.draining[index]))
            .map(|known| &known.replica)
    }

    /// A place comes back. One on a replica that is gone goes nowhere.
    pub(super) fn give_back(&mut self, number: u64) {
        if let Some(index) = self.taking_index(number) {
            self.taking[index].in_flight = self.taking[index].in_flight.saturating_sub(1);
            self.mark_room(index);
        } else if let Some(index) = find(&self.draining, number) {
            let draining = &mut self.draining[index];
            draining.in_flight = draining.in_flight.saturating_sub(1);
            self.has_drained |= draining.in_flight == 0;
        }
    }

    /// Whether one that drains has come to have nothing in flight since the last call.
    pub(super) const fn has_drained(&mut self) -> bool {
        std::mem::replace(&mut self.has_drained, false)
    }

    /// How many take requests.
    pub(super) const fn taking(&self) -> usize {
        self.taking.len()
    }

    /// All of them, those that take requests first, each kind the oldest first.
    pub(super) fn loads(&self) -> impl Iterator<Item = Load<R>> {
        let load = |known: &Replica<R>, is_taking| Load {
            replica: known.replica.clone(),
            in_flight: known.in_flight,
            is_taking,
        };
        let taking = self.taking.iter().map(move |known| load(known, true));
        taking.chain(self.draining.iter().map(move |known| load(known, false)))
    }

    /// Two different replicas if there are. Which is drawn first is chance, so it may win a tie.
    fn less_busy_of_two(&self, not_on: Option<usize>, random: &mut fastrand::Rng) -> usize {
        let choices = self.taking.len() - usize::from(not_on.is_some());
        let past = |index: usize, left_out: Option<usize>| match left_out {
            Some(left_out) if index >= left_out => index + 1,
            _ => index,
        };
        let first = random.usize(..choices);
        if choices == 1 {
            return past(first, not_on);
        }
        let second = past(random.usize(..choices - 1), Some(first));
        let (first, second) = (past(first, not_on), past(second, not_on));
        if self.taking[second].in_flight < self.taking[first].in_flight { second } else { first }
    }

    fn first_with_room(&self, from: usize, not_on: Option<usize>) -> Option<usize> {
        let found = self.next_bit(from)?;
        if Some(found) == not_on { self.next_bit(found + 1) } else { Some(found) }
    }

    /// The first set bit of `room` at `from` or later: a step for each 64 replicas.
    fn next_bit(&self, from: usize) -> Option<usize> {
        let first = from / WORD_BITS;
        let after = |word: u64| word & (u64::MAX << (from % WORD_BITS));
        self.room.iter().enumerate().skip(first).find_map(|(index, word)| {
            let word = if index == first { after(*word) } else { *word };
            (word != 0).then(|| index * WORD_BITS + word.trailing_zeros() as usize)
        })
    }

    fn taking_index(&self, number: u64) -> Option<usize> {
        find(&self.taking, number)
    }

    fn index_has_room(&self, index: usize) -> bool {
        self.concurrency.is_none_or(|most| self.taking[index].in_flight < most.get())
    }

    /// After the number in flight at `index` has changed.
    fn mark_room(&mut self, index: usize) {
        if self.concurrency.is_none() {
            return;
        }
        let has_room = self.index_has_room(index);
        let (word, bit) = (&mut self.room[index / WORD_BITS], 1 << (index % WORD_BITS));
        match (has_room, *word & bit != 0) {
            (true, false) => self.with_room += 1,
            (false, true) => self.with_room -= 1,
            _ => return,
        }
        *word ^= bit;
    }

    /// After `taking` has changed.
    fn count_room(&mut self) {
        if self.concurrency.is_none() {
            self.with_room = self.taking.len();
            return;
        }
        self.room.clear();
        self.room.resize(self.taking.len().div_ceil(WORD_BITS), 0);
        self.with_room = 0;
        for index in 0..self.taking.len() {
            self.mark_room(index);
        }
    }
}

fn find<R>(replicas: &[Replica<R>], number: u64) -> Option<usize> {
    replicas.binary_search_by_key(&number, |known| known.number).ok()
}

fn insert<R>(replicas: &mut Vec<Replica<R>>, replica: Replica<R>) {
    let index = replicas.partition_point(|known| known.number < replica.number);
    replicas.insert(index, replica);
}

#[cfg(test)]
mod tests;
