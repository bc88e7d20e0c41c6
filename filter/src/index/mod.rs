//! All filters of a broker at once.
//!
//! For each filter the index takes something that an event *must* have to pass it, a key: an attribute equal to a text, or
//! starting or ending with one, or containing three bytes of it, or at least present. Where a filter offers several, the one
//! that the fewest filters share is taken. An event then leads from its own attributes to the few filters whose key it has,
//! and only those are evaluated. Filters without any key are evaluated for every event.

mod access;
mod attribute;
mod choice;
mod postings;
mod prefixes;

#[cfg(test)]
mod tests;

use hashbrown::HashMap;
use pelton_event::Event;

use self::access::{Access, Key, KeyKind};
use self::attribute::AttributeIndex;
use self::choice::Choice;
use self::postings::{Posting, Span, to_u32};
use crate::attributes::{AttributeList, Attributes};
use crate::filter::Filter;

/// The filters of a broker, built once and read from many threads.
#[derive(Debug, Default)]
pub struct FilterIndex {
    /// Each different filter once.
    entries: Box<[Entry]>,
    /// The ids of all filters, grouped by entry.
    ids: Box<[u32]>,
    attributes: HashMap<Box<str>, AttributeIndex>,
    /// One bit for each [`name_mark`] of `attributes`, as most attributes of an event are asked for by no filter.
    names: u64,
    /// The filters without a key.
    always: Box<[Posting]>,
}

#[derive(Debug)]
struct Entry {
    filter: Filter,
    ids: Span,
}

/// What [`FilterIndex::matches`] finds; kept and passed again, it needs no new memory.
#[derive(Debug, Default)]
pub struct Matches {
    ids: Vec<u32>,
    errors: usize,
    /// One bit for each entry that one event can lead to more than once; all zero between two events.
    seen: Vec<u64>,
    /// The entries whose bit is set.
    seen_entries: Vec<u32>,
    reversed: Vec<u8>,
}

impl Matches {
    /// The ids of the filters that the event passes, in no particular order.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many different filters met an error in a CESQL expression. Filters that the index rules out unevaluated, for
    /// example because an attribute is missing, are not among them.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    fn reset(&mut self, entries: usize) {
        self.ids.clear();
        self.errors = 0;
        for entry in self.seen_entries.drain(..) {
            self.seen[entry as usize / 64] = 0;
        }
        if self.seen.len() * 64 < entries {
            self.seen.resize(entries.div_ceil(64), 0);
        }
    }

    /// Whether this is the first time that the event leads to `entry`.
    fn is_first(&mut self, entry: u32) -> bool {
        let (word, bit) = (&mut self.seen[entry as usize / 64], 1 << (entry % 64));
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.seen_entries.push(entry);
        true
    }
}

impl FilterIndex {
    /// Builds the index. Each filter comes with the id by which the caller knows it; equal filters are kept and evaluated
    /// once.
    #[must_use]
    pub fn build(filters: impl IntoIterator<Item = (u32, Filter)>) -> Self {
        let (filters, ids, spans) = group(filters);
        let (attributes, always) = index(&filters);
        let entries = filters.into_iter().zip(spans).map(|(filter, ids)| Entry { filter, ids }).collect();
        let names = attributes.keys().fold(0, |names, name| names | name_mark(name));
        Self { entries, ids, attributes, names, always }
    }

    /// Finds the filters that `event` passes and leaves their ids in `matches`.
    pub fn matches(&self, event: &Event, matches: &mut Matches) {
        matches.reset(self.entries.len());
        if self.entries.is_empty() {
            return;
        }
        let mut list = AttributeList::new();
        let attributes = Attributes::of(event, &mut list);
        for posting in &self.always {
            self.candidate(*posting, attributes, matches);
        }
        let mut reversed = std::mem::take(&mut matches.reversed);
        for attribute in attributes.iter() {
            if self.names & name_mark(attribute.name) != 0
                && let Some(index) = self.attributes.get(attribute.name)
            {
                index.find(attribute.value.text.as_bytes(), &mut reversed, |posting| {
                    self.candidate(posting, attributes, matches);
                });
            }
        }
        matches.reversed = reversed;
    }

    fn candidate(&self, posting: Posting, attributes: Attributes<'_, '_>, matches: &mut Matches) {
        if posting.is_repeated && !matches.is_first(posting.entry) {
            return;
        }
        let entry = &self.entries[posting.entry as usize];
        if !posting.is_sufficient {
            let evaluation = entry.filter.evaluate_attributes(attributes);
            matches.errors += usize::from(evaluation.error.is_some());
            if !evaluation.matches {
                return;
            }
        }
        matches.ids.extend_from_slice(entry.ids.of(&self.ids));
    }

    /// How many filters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no filter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many filters are evaluated for every event because the index finds nothing to look up.
    #[must_use]
    pub const fn scanned(&self) -> usize {
        self.always.len()
    }
}

/// A bit that stands for a name, and for many others.
fn name_mark(name: &str) -> u64 {
    let first = name.as_bytes().first().copied().unwrap_or(0);
    1 << ((usize::from(first) + name.len() * 7) % 64)
}

/// Each different filter once, and the ids of each.
fn group(filters: impl IntoIterator<Item = (u32, Filter)>) -> (Vec<Filter>, Box<[u32]>, Vec<Span>) {
    let mut different: Vec<Filter> = Vec::new();
    let mut entry_of: HashMap<Filter, u32> = HashMap::new();
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (id, filter) in filters {
        let entry = *entry_of.entry(filter).or_insert_with_key(|filter| {
            different.push(filter.clone());
            to_u32(different.len() - 1)
        });
        pairs.push((entry, id));
    }
    pairs.sort_by_key(|(entry, _)| *entry);
    let mut spans = Vec::with_capacity(different.len());
    let mut start = 0;
    for group in pairs.chunk_by(|left, right| left.0 == right.0) {
        spans.push(Span::new(start, start + group.len()));
        start += group.len();
    }
    (different, pairs.into_iter().map(|(_, id)| id).collect(), spans)
}

/// Chooses the keys of every filter and sorts them by attribute.
fn index(filters: &[Filter]) -> (HashMap<Box<str>, AttributeIndex>, Box<[Posting]>) {
    let accesses: Vec<Access<'_>> = filters.iter().map(|filter| Access::of(filter.root())).collect();
    let sharing = choice::count(&accesses);
    let mut always = Vec::new();
    let mut keys: Vec<(Key<'_>, Posting)> = Vec::with_capacity(filters.len());
    for (at, access) in accesses.iter().enumerate() {
        let choice = Choice::of(access, &sharing);
        let is_repeated = choice.keys.len() > 1;
        let posting = Posting { entry: to_u32(at), is_sufficient: choice.is_sufficient, is_repeated };
        if choice.is_always() {
            always.push(Posting { is_sufficient: false, ..posting });
            continue;
        }
        keys.extend(choice.keys.into_iter().map(|key| {
            // The same three bytes may occur in a text more than once.
            (key, Posting { is_repeated: is_repeated || key.kind == KeyKind::Gram, ..posting })
        }));
    }
    keys.sort_unstable();
    let groups = keys.chunk_by(|(left, _), (right, _)| left.name == right.name);
    let attributes =
        groups.map(|group| (group[0].0.name.as_str().into(), AttributeIndex::build(group))).collect();
    (attributes, always.into())
}
