//! Which filters a key leads to.

/// One filter behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting {
    /// The entry of the filter in the index.
    pub(super) entry: u32,
    /// Whether an event with the key passes without further checks.
    pub(super) is_sufficient: bool,
    /// Whether one event can lead here more than once.
    pub(super) is_repeated: bool,
}

/// Postings of many keys, one behind the other.
pub(super) type Postings = Box<[Posting]>;

/// A range of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: to_u32(start), end: to_u32(end) }
    }

    pub(super) fn of<T>(self, whole: &[T]) -> &[T] {
        &whole[self.start as usize..self.end as usize]
    }

    pub(super) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Positions in the index: it would have to hold 4 GiB of filter text to leave 32 bits.
pub(super) fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("an index has less than 4 GiB of text and 4 billion filters")
}
