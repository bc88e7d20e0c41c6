//! The triggers of one broker, and the index that finds those an event is for.

use std::sync::Arc;

use pelton_event::Event;
use pelton_filter::{FilterIndex, Matches};
use pelton_resources::Trigger;

/// The triggers of one broker at one moment. Immutable; a change of resources makes a new one.
#[derive(Debug, Default)]
pub(crate) struct TriggerTable {
    triggers: Vec<Arc<Trigger>>,
    index: FilterIndex,
}

impl TriggerTable {
    /// A table of these triggers. Those that are paused or not ready are among them: their events wait.
    pub(crate) fn new(triggers: Vec<Arc<Trigger>>) -> Self {
        let filters = triggers.iter().zip(0_u32..).map(|(trigger, id)| (id, trigger.filter.as_ref().clone()));
        let index = FilterIndex::build(filters);
        Self { triggers, index }
    }

    /// The triggers, in the order of the numbers that [`matches`](Self::matches) finds.
    pub(crate) fn triggers(&self) -> &[Arc<Trigger>] {
        &self.triggers
    }

    /// Finds the numbers of the triggers that want `event`.
    pub(crate) fn matches(&self, event: &Event, matches: &mut Matches) {
        self.index.matches(event, matches);
    }
}

#[cfg(test)]
mod tests {
    use pelton_filter::{Expression, Filter};

    use super::*;
    use crate::testing::{event_with, trigger};

    #[test]
    fn finds_the_numbers_of_the_triggers_that_want_an_event() {
        let only = |color: &str| {
            let exact = Expression::Exact([("color".to_owned(), color.to_owned())].into_iter().collect());
            Arc::new(Filter::compile(&exact).unwrap())
        };
        let red = Trigger { filter: only("red"), ..trigger("red") };
        let paused = Trigger { filter: only("blue"), paused: true, ..trigger("paused") };
        let table = TriggerTable::new([red, trigger("all"), paused].map(Arc::new).into());
        let mut matches = Matches::default();
        for (color, wanted) in [("red", vec![0, 1]), ("blue", vec![1, 2]), ("green", vec![1])] {
            table.matches(&event_with("1", &[("color", color)]), &mut matches);
            let mut found = matches.ids().to_vec();
            found.sort_unstable();
            assert_eq!(found, wanted, "{color}");
        }
    }
}
