//! All filters of a broker at once.

use pelton_event::Event;

use crate::attributes::{AttributeList, Attributes};
use crate::filter::Filter;

/// The filters of a broker, built once and read from many threads.
#[derive(Debug, Default)]
pub struct FilterIndex {
    filters: Vec<(u32, Filter)>,
}

/// What [`FilterIndex::matches`] finds; kept and passed again, it needs no new memory.
#[derive(Debug, Default)]
pub struct Matches {
    ids: Vec<u32>,
    errors: usize,
}

impl Matches {
    /// The ids of the filters that the event passes, in no particular order, each once for each time it was given.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many filters met an error in a CESQL expression. Filters that the index rules out unevaluated are not among them.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }
}

impl FilterIndex {
    /// Builds the index. Each filter comes with the id by which the caller knows it.
    #[must_use]
    pub fn build(filters: impl IntoIterator<Item = (u32, Filter)>) -> Self {
        Self { filters: filters.into_iter().collect() }
    }

    /// Finds the filters that `event` passes.
    pub fn matches(&self, event: &Event, matches: &mut Matches) {
        matches.ids.clear();
        matches.errors = 0;
        let mut list = AttributeList::new();
        let attributes = Attributes::of(event, &mut list);
        for (id, filter) in &self.filters {
            let evaluation = filter.evaluate_attributes(attributes);
            matches.errors += usize::from(evaluation.error.is_some());
            if evaluation.matches {
                matches.ids.push(*id);
            }
        }
    }

    /// How many filters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there is no filter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }
}
