//! The triggers of one broker, and the index that finds those an event is for.

use std::sync::Arc;

use pelton_event::Event;
use pelton_filter::{FilterIndex, Matches};
use pelton_resources::{NamespacedName, Snapshot, Trigger};

/// The triggers of one broker at one moment. Immutable; a change of resources makes a new one.
#[derive(Debug, Default)]
pub(crate) struct TriggerTable {
    triggers: Vec<Arc<Trigger>>,
    index: FilterIndex,
}

impl TriggerTable {
    /// The triggers of `broker` in `snapshot`. Those that are paused or not ready are among them: their events wait.
    pub(crate) fn of(broker: &NamespacedName, snapshot: &Snapshot) -> Self {
        Self::new(snapshot.triggers.values().filter(|trigger| trigger.broker == *broker).cloned().collect())
    }

    /// A table of these triggers.
    pub(crate) fn new(triggers: Vec<Arc<Trigger>>) -> Self {
        let filters = triggers.iter().zip(0_u32..).map(|(trigger, id)| (id, trigger.filter.as_ref().clone()));
        let index = FilterIndex::build(filters);
        Self { triggers, index }
    }

    /// The triggers, in the order of the numbers that [`matches`](Self::matches) finds.
    pub(crate) fn triggers(&self) -> &[Arc<Trigger>] {
        &self.triggers
    }

    /// Whether both tables hold the same triggers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.triggers.len() == other.triggers.len()
            && self.triggers.iter().zip(&other.triggers).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// Finds the numbers of the triggers that want `event`.
    pub(crate) fn matches(&self, event: &Event, matches: &mut Matches) {
        self.index.matches(event, matches);
    }
}
