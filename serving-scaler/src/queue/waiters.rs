//! Waiters in one slab, linked into lists by their indices: to join at either end, to leave from anywhere and to change the
//! list cost the same however many there are, and no waiter has an allocation of its own.

use super::core::Class;

const NONE: u32 = u32::MAX;
/// What an empty slab keeps allocated, in waiters. A revision that is busy at times should not allocate each time; thousands of
/// idle ones should hold nothing that was needed in their worst minute.
const KEPT: usize = 64;
const LISTS: usize = 5;

/// Names a waiter. One that has left is never confused with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaiterId {
    index: u32,
    serial: u64,
}

/// Where a waiter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Had a place and lost it through no fault of its own; goes first.
    Again(Class),
    /// Never had a place.
    Fresh(Class),
    /// Has been told what became of its waiting, and has not come for it yet.
    Told,
}

impl List {
    const fn index(self) -> usize {
        match self {
            Self::Again(Class::Request) => 0,
            Self::Again(Class::Delivery) => 1,
            Self::Fresh(Class::Request) => 2,
            Self::Fresh(Class::Delivery) => 3,
            Self::Told => 4,
        }
    }
}

/// The end of a list to join at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waits,
    /// Has a place on the replica with this number.
    Granted(u64),
    /// There will be no place.
    Ended,
}

#[derive(Debug)]
pub(super) struct Waiter<W> {
    pub(super) class: Class,
    pub(super) state: State,
    /// The number of the replica that it must not come to.
    pub(super) not_on: Option<u64>,
    pub(super) notify: Option<W>,
}

#[derive(Debug)]
struct Entry<W> {
    /// `None`: unoccupied, `next` is the next such entry.
    waiter: Option<Waiter<W>>,
    serial: u64,
    list: List,
    previous: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    head: u32,
    tail: u32,
    length: usize,
}

#[derive(Debug)]
pub(super) struct Waiters<W> {
    entries: Vec<Entry<W>>,
    unoccupied: u32,
    occupied: usize,
    serial: u64,
    lists: [Ends; LISTS],
}

impl<W> Waiters<W> {
    pub(super) const fn new() -> Self {
        let empty = Ends { head: NONE, tail: NONE, length: 0 };
        Self { entries: Vec::new(), unoccupied: NONE, occupied: 0, serial: 0, lists: [empty; LISTS] }
    }

    pub(super) const fn len(&self, list: List) -> usize {
        self.lists[list.index()].length
    }

    pub(super) fn head(&self, list: List) -> Option<WaiterId> {
        self.id(self.lists[list.index()].head)
    }

    pub(super) fn tail(&self, list: List) -> Option<WaiterId> {
        self.id(self.lists[list.index()].tail)
    }

    /// The one that stands before `id` in its list.
    pub(super) fn before(&self, id: WaiterId) -> Option<WaiterId> {
        self.id(self.entry(id)?.previous)
    }

    pub(super) fn get(&self, id: WaiterId) -> Option<&Waiter<W>> {
        self.entry(id)?.waiter.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waiter<W>> {
        self.entry(id)?;
        self.entries[id.index as usize].waiter.as_mut()
    }

    pub(super) fn insert(&mut self, list: List, waiter: Waiter<W>) -> WaiterId {
        self.serial += 1;
        let entry = Entry { waiter: Some(waiter), serial: self.serial, list, previous: NONE, next: NONE };
        let index = if self.unoccupied == NONE {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("each holds a connection, and those are fewer")
        } else {
            let index = self.unoccupied;
            let unoccupied = std::mem::replace(&mut self.entries[index as usize], entry);
            self.unoccupied = unoccupied.next;
            index
        };
        self.occupied += 1;
        self.link(index, list, End::Back);
        WaiterId { index, serial: self.serial }
    }

    /// Puts `id` at an end of another list.
    pub(super) fn move_to(&mut self, id: WaiterId, list: List, end: End) {
        if self.entry(id).is_none() {
            return;
        }
        self.unlink(id.index);
        self.link(id.index, list, end);
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter<W>> {
        self.entry(id)?;
        self.unlink(id.index);
        let entry = &mut self.entries[id.index as usize];
        let waiter = entry.waiter.take();
        entry.next = self.unoccupied;
        self.unoccupied = id.index;
        self.occupied -= 1;
        if self.occupied == 0 {
            self.unoccupied = NONE;
            self.entries.clear();
            self.entries.shrink_to(KEPT);
        }
        waiter
    }

    fn id(&self, index: u32) -> Option<WaiterId> {
        let entry = self.entries.get(index as usize)?;
        Some(WaiterId { index, serial: entry.serial })
    }

    fn entry(&self, id: WaiterId) -> Option<&Entry<W>> {
        self.entries
            .get(id.index as usize)
            .filter(|entry| entry.serial == id.serial && entry.waiter.is_some())
    }

    fn link(&mut self, index: u32, list: List, end: End) {
        let ends = &mut self.lists[list.index()];
        ends.length += 1;
        let (previous, next) = match end {
            End::Front => (NONE, std::mem::replace(&mut ends.head, index)),
            End::Back => (std::mem::replace(&mut ends.tail, index), NONE),
        };
        let neighbour = if previous == NONE { next } else { previous };
        match (neighbour, end) {
            (NONE, _) => (ends.head, ends.tail) = (index, index),
            (_, End::Front) => self.entries[next as usize].previous = index,
            (_, End::Back) => self.entries[previous as usize].next = index,
        }
        let entry = &mut self.entries[index as usize];
        (entry.list, entry.previous, entry.next) = (list, previous, next);
    }

    fn unlink(&mut self, index: u32) {
        let Entry { list, previous, next, .. } = self.entries[index as usize];
        let ends = &mut self.lists[list.index()];
        ends.length -= 1;
        match previous {
            NONE => ends.head = next,
            _ => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => ends.tail = previous,
            _ => self.entries[next as usize].previous = previous,
        }
    }

    /// Bytes that are allocated for waiters.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<W>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const ALL: [List; LISTS] = [
        List::Again(Class::Request),
        List::Again(Class::Delivery),
        List::Fresh(Class::Request),
        List::Fresh(Class::Delivery),
        List::Told,
    ];

    fn waiter(name: u32) -> Waiter<u32> {
        Waiter { class: Class::Request, state: State::Waits, not_on: None, notify: Some(name) }
    }

    fn listed(waiters: &Waiters<u32>, list: List) -> Vec<WaiterId> {
        let mut backwards = Vec::new();
        let mut at = waiters.tail(list);
        while let Some(id) = at {
            backwards.push(id);
            at = waiters.before(id);
        }
        backwards.reverse();
        backwards
    }

    #[test]
    fn who_left_is_not_confused_with_who_came() {
        let mut waiters = Waiters::new();
        let first = waiters.insert(List::Told, waiter(1));
        assert_eq!(waiters.remove(first).and_then(|waiter| waiter.notify), Some(1));
        let second = waiters.insert(List::Told, waiter(2));
        assert!(waiters.get(first).is_none() && waiters.remove(first).is_none());
        waiters.move_to(first, List::Fresh(Class::Request), End::Front);
        assert_eq!(listed(&waiters, List::Told), [second]);
    }

    #[test]
    fn an_empty_slab_gives_its_memory_back() {
        let mut waiters = Waiters::new();
        let ids: Vec<_> = (0..10_000).map(|name| waiters.insert(List::Told, waiter(name))).collect();
        assert!(waiters.allocated_bytes() > 10_000);
        for id in ids {
            waiters.remove(id);
        }
        assert!(waiters.allocated_bytes() <= KEPT * size_of::<Entry<u32>>(), "{}", waiters.allocated_bytes());
    }

    proptest::proptest! {
        /// Whatever is done, the lists are those that queues of their own would be.
        #[test]
        fn lists_are_lists(steps in proptest::collection::vec((0..4_u8, 0..LISTS, 0_usize..64), 1..300)) {
            let mut waiters = Waiters::new();
            let mut model: [VecDeque<WaiterId>; LISTS] = Default::default();
            for (name, (step, list, pick)) in (0..).zip(steps) {
                let all: Vec<(usize, WaiterId)> =
                    model.iter().enumerate().flat_map(|(list, ids)| ids.iter().map(move |id| (list, *id))).collect();
                match (step, all.get(pick % all.len().max(1))) {
                    (1, Some(&(from, id))) => {
                        proptest::prop_assert!(waiters.remove(id).is_some());
                        model[from].retain(|other| *other != id);
                    }
                    (2 | 3, Some(&(from, id))) => {
                        let end = if step == 2 { End::Front } else { End::Back };
                        waiters.move_to(id, ALL[list], end);
                        model[from].retain(|other| *other != id);
                        if end == End::Front { model[list].push_front(id) } else { model[list].push_back(id) }
                    }
                    _ => model[list].push_back(waiters.insert(ALL[list], waiter(name))),
                }
                for (list, ids) in ALL.into_iter().zip(&model) {
                    proptest::prop_assert_eq!(listed(&waiters, list), ids.iter().copied().collect::<Vec<_>>());
                    proptest::prop_assert_eq!(waiters.head(list), ids.front().copied());
                    proptest::prop_assert_eq!(waiters.len(list), ids.len());
                }
            }
        }
    }
}
