//! Which of a filter's keys the index takes.

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use super::access::{Access, Key, KeyKind};

/// The keys under which a filter is found: an event that has none of them does not pass.
#[derive(Debug)]
pub(super) struct Choice<'f> {
    pub(super) keys: SmallVec<[Key<'f>; 2]>,
    /// Whether an event that has one of them passes.
    pub(super) is_sufficient: bool,
    /// An estimate of how often an event leads here; the absolute value means nothing.
    cost: u64,
}

/// The cost of a filter that is evaluated for every event.
const ALWAYS: u64 = u64::MAX;

/// How many filters offer each key. A value that many filters name (`type = order`) is taken to be frequent in events too.
pub(super) fn count<'f>(accesses: &[Access<'f>]) -> HashMap<Key<'f>, u32> {
    let mut sharing = HashMap::with_capacity(accesses.len());
    for access in accesses {
        count_keys(access, &mut sharing);
    }
    sharing
}

fn count_keys<'f>(access: &Access<'f>, sharing: &mut HashMap<Key<'f>, u32>) {
    match access {
        Access::Always => {}
        Access::Key { key, .. } => *sharing.entry(*key).or_default() += 1,
        Access::All(parts) | Access::Any(parts) => parts.iter().for_each(|part| count_keys(part, sharing)),
    }
}

impl<'f> Choice<'f> {
    pub(super) fn of(access: &Access<'f>, sharing: &HashMap<Key<'f>, u32>) -> Self {
        match access {
            Access::Always => Self { keys: SmallVec::new(), is_sufficient: false, cost: ALWAYS },
            Access::Key { key, sufficient } => Self {
                keys: smallvec![*key],
                is_sufficient: *sufficient,
                cost: weight(key).saturating_mul(u64::from(sharing.get(key).copied().unwrap_or(1))),
            },
            Access::All(parts) => {
                let best = parts.iter().map(|part| Self::of(part, sharing)).min_by_key(|choice| choice.cost);
                let none = Self { keys: SmallVec::new(), is_sufficient: false, cost: ALWAYS };
                Self { is_sufficient: false, ..best.unwrap_or(none) }
            }
            Access::Any(parts) => {
                let mut all = Self { keys: SmallVec::new(), is_sufficient: true, cost: 0 };
                for part in parts.iter().map(|part| Self::of(part, sharing)) {
                    all.keys.extend(part.keys);
                    all.is_sufficient &= part.is_sufficient;
                    all.cost = all.cost.saturating_add(part.cost);
                }
                all.keys.sort_unstable();
                all.keys.dedup();
                all
            }
        }
    }

    pub(super) const fn is_always(&self) -> bool {
        self.cost == ALWAYS
    }
}

/// How much more often than an equality with as many sharers a key is expected to be met, and to be of no use.
const fn weight(key: &Key<'_>) -> u64 {
    match key.kind {
        KeyKind::Equal => 1,
        KeyKind::Prefix | KeyKind::Suffix if key.text.len() >= 8 => 4,
        KeyKind::Prefix | KeyKind::Suffix => 16,
        KeyKind::Gram => 64,
        KeyKind::Present => 256,
    }
}
