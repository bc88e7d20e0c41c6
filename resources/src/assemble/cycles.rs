//! Roads from broker to broker, and whether one leads back.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::NamespacedName;

/// From which broker events go on to which.
#[derive(Debug, Default, Clone)]
pub(super) struct Roads {
    onward: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
}

impl Roads {
    /// The brokers on the way from `to` back to `from`, both included, if a road `from` → `to` would close a cycle.
    pub(super) fn way_back(&self, from: &NamespacedName, to: &NamespacedName) -> Option<Vec<NamespacedName>> {
        let mut came_from: BTreeMap<&NamespacedName, &NamespacedName> = BTreeMap::new();
        let mut open = vec![to];
        let mut seen = BTreeSet::from([to]);
        while let Some(at) = open.pop() {
            if at == from {
                let mut way = vec![at.clone()];
                let mut at = at;
                while let Some(before) = came_from.get(at) {
                    way.push((*before).clone());
                    at = before;
                }
                way.reverse();
                return Some(way);
            }
            for next in self.onward.get(at).into_iter().flatten() {
                if seen.insert(next) {
                    came_from.insert(next, at);
                    open.push(next);
                }
            }
        }
        None
    }

    pub(super) fn add(&mut self, from: &NamespacedName, to: &NamespacedName) {
        self.onward.entry(from.clone()).or_default().insert(to.clone());
    }
}

/// `a -> b -> a`, for people: the road `from` → and the way back.
pub(super) fn describe(from: &NamespacedName, way_back: &[NamespacedName]) -> String {
    way_back.iter().fold(from.to_string(), |text, broker| format!("{text} -> {broker}"))
}
