//! Which segment holds which offsets of a partition.

use std::collections::BTreeMap;

use crate::Offset;

/// Consecutive offsets of a partition that lie in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) segment: u64,
    /// Bytes of the frames; an estimate by share once a part was taken away.
    pub(super) bytes: u64,
    /// The latest time of the records, in milliseconds since the epoch.
    pub(super) max_time: u64,
}

impl Piece {
    fn records(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The part from `first` to `last`, with its share of the bytes.
    pub(super) fn part(&self, first: Offset, last: Offset) -> Self {
        let share = u128::from(self.bytes) * u128::from(last - first + 1) / u128::from(self.records());
        Self { first, last, bytes: u64::try_from(share).unwrap_or(self.bytes), ..*self }
    }
}

/// Bytes that a segment lost to this change (they are dead now).
pub(super) type Freed = Vec<(u64, u64)>;

/// The pieces of a partition, by offset, disjoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs(BTreeMap<Offset, Piece>);

impl Runs {
    /// Adds a piece. Where it overlaps others it replaces them: the later copy of a record counts.
    pub(super) fn insert(&mut self, piece: Piece) -> Freed {
        if let Some(mut last) = self.0.last_entry() {
            let last = last.get_mut();
            if last.last.wrapping_add(1) == piece.first && last.segment == piece.segment {
                last.last = piece.last;
                last.bytes += piece.bytes;
                last.max_time = last.max_time.max(piece.max_time);
                return Freed::new();
            }
        }
        let overlapping: Vec<Piece> = self
            .0
            .range(..=piece.last)
            .rev()
            .map(|(_, other)| *other)
            .take_while(|other| other.last >= piece.first)
            .collect();
        let mut freed = Freed::new();
        for other in overlapping {
            self.0.remove(&other.first);
            let mut kept = 0;
            if other.first < piece.first {
                let left = other.part(other.first, piece.first - 1);
                kept += left.bytes;
                self.0.insert(left.first, left);
            }
            if other.last > piece.last {
                let right = other.part(piece.last + 1, other.last);
                kept += right.bytes;
                self.0.insert(right.first, right);
            }
            freed.push((other.segment, other.bytes.saturating_sub(kept)));
        }
        self.0.insert(piece.first, piece);
        freed
    }

    /// Takes away everything before `start`.
    pub(super) fn trim(&mut self, start: Offset) -> Freed {
        let mut freed = Freed::new();
        while let Some(entry) = self.0.first_entry() {
            let piece = *entry.get();
            if piece.first >= start {
                break;
            }
            entry.remove();
            if piece.last < start {
                freed.push((piece.segment, piece.bytes));
                continue;
            }
            let rest = piece.part(start, piece.last);
            freed.push((piece.segment, piece.bytes - rest.bytes));
            self.0.insert(rest.first, rest);
        }
        freed
    }

    /// Takes away everything in `segment`.
    pub(super) fn forget(&mut self, segment: u64) {
        self.0.retain(|_, piece| piece.segment != segment);
    }

    /// The piece that holds `offset`, or the next one behind it.
    pub(super) fn at_or_after(&self, offset: Offset) -> Option<&Piece> {
        let holding = self.0.range(..=offset).next_back().map(|(_, piece)| piece);
        holding
            .filter(|piece| piece.last >= offset)
            .or_else(|| self.0.range(offset..).next().map(|(_, piece)| piece))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.0.values()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(|piece| piece.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Runs};

    fn piece(first: u64, last: u64, segment: u64) -> Piece {
        Piece { first, last, segment, bytes: (last - first + 1) * 10, max_time: segment }
    }

    fn shown(runs: &Runs) -> Vec<(u64, u64, u64, u64)> {
        runs.iter().map(|piece| (piece.first, piece.last, piece.segment, piece.bytes)).collect()
    }

    #[test]
    fn appended_pieces_grow_together_within_a_segment() {
        let mut runs = Runs::default();
        assert!(runs.insert(piece(0, 4, 1)).is_empty());
        assert!(runs.insert(piece(5, 9, 1)).is_empty());
        assert!(runs.insert(piece(10, 10, 2)).is_empty());
        assert_eq!(shown(&runs), [(0, 9, 1, 100), (10, 10, 2, 10)]);
    }

    #[test]
    fn a_later_copy_replaces_what_it_covers() {
        let mut runs = Runs::default();
        runs.insert(piece(0, 9, 1));
        runs.insert(piece(10, 19, 2));
        let freed = runs.insert(piece(5, 12, 3));
        assert_eq!(shown(&runs), [(0, 4, 1, 50), (5, 12, 3, 80), (13, 19, 2, 70)]);
        assert_eq!(freed, [(2, 30), (1, 50)]);
        // Within one piece: both sides stay.
        let freed = runs.insert(piece(7, 8, 4));
        assert_eq!(
            shown(&runs),
            [(0, 4, 1, 50), (5, 6, 3, 20), (7, 8, 4, 20), (9, 12, 3, 40), (13, 19, 2, 70)]
        );
        assert_eq!(freed, [(3, 20)]);
    }

    #[test]
    fn trimming_cuts_pieces_and_tells_whose_bytes_died() {
        let mut runs = Runs::default();
        runs.insert(piece(0, 9, 1));
        runs.insert(piece(10, 19, 2));
        assert_eq!(runs.trim(14), [(1, 100), (2, 40)]);
        assert_eq!(shown(&runs), [(14, 19, 2, 60)]);
        assert_eq!(runs.bytes(), 60);
        assert_eq!(runs.at_or_after(3).map(|piece| piece.first), Some(14));
        assert_eq!(runs.at_or_after(16).map(|piece| piece.first), Some(14));
        assert!(runs.at_or_after(20).is_none());
    }
}
