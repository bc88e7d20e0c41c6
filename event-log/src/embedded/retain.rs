//! What may be let go, and which segment is worth retiring. Pure decisions.

use std::sync::Arc;

use super::partition::Partition;
use super::runs::{Piece, Runs};
use crate::Offset;

/// A partition as retention sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) partition: Arc<Partition>,
    pub(super) pieces: Vec<Piece>,
    /// Everything before it may go.
    pub(super) owed: Offset,
    /// The lane that needs `owed`; `None`: the reader at the head.
    pub(super) lane: Option<Box<str>>,
    /// A dead-letter topic: nothing is owed (`owed` is beyond its end), but it goes after what is settled.
    pub(super) dead_letters: bool,
}

/// Why records are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// They are older than the retention age.
    Age,
    /// The budget needs their space.
    Space,
}

/// A partition's start moves.
#[derive(Debug, Clone)]
pub(super) struct Trim {
    pub(super) partition: Arc<Partition>,
    pub(super) start: Offset,
    /// Records that go although somebody needs them.
    pub(super) expired: u64,
}

/// The new start of a partition whose records before `deadline` (milliseconds) may go, as far as they are settled: whole
/// pieces of sealed segments, and of the last one what is settled.
pub(super) fn by_age(runs: &Runs, owed: Offset, deadline: u64, active: Option<u64>) -> Option<Offset> {
    let mut start = None;
    for piece in runs.iter() {
        let settled = owed.min(piece.last + 1);
        if Some(piece.segment) == active || piece.max_time >= deadline || settled <= piece.first {
            break;
        }
        start = Some(settled);
        if settled <= piece.last {
            break;
        }
    }
    start
}

/// Moves starts so that about `need` bytes go: the oldest settled records, then the oldest dead letters, and with `expire`
/// the oldest of all.
pub(super) fn make_room(candidates: &[Candidate], need: u64, expire: bool) -> Vec<Trim> {
    let mut room = Room { candidates, taken: vec![(0, None); candidates.len()], need };
    room.take(|candidate| if candidate.dead_letters { 0 } else { candidate.owed });
    room.take(|candidate| candidate.owed);
    if expire {
        room.take(|_| Offset::MAX);
    }
    let trims = candidates.iter().zip(room.taken).filter_map(|(candidate, (_, start))| {
        let start = start?;
        let lost = candidate
            .pieces
            .iter()
            .map(|piece| start.min(piece.last + 1).saturating_sub(piece.first.max(candidate.owed)));
        let expired = lost.sum();
        Some(Trim { partition: Arc::clone(&candidate.partition), start, expired })
    });
    trims.collect()
}

struct Room<'a> {
    candidates: &'a [Candidate],
    /// For each candidate: the piece it is at, and its new start.
    taken: Vec<(usize, Option<Offset>)>,
    need: u64,
}

impl Room<'_> {
    fn take(&mut self, limit: impl Fn(&Candidate) -> Offset) {
        while self.need > 0 {
            let oldest = self
                .candidates
                .iter()
                .enumerate()
                .filter_map(|(index, candidate)| {
                    let rest = self.rest(index)?;
                    (rest.first < limit(candidate)).then_some((rest.max_time, index, rest))
                })
                .min_by_key(|(time, index, _)| (*time, *index));
            let Some((_, index, rest)) = oldest else { return };
            let records = rest.last - rest.first + 1;
            // At least one record, so that this ends.
            let wanted = u128::from(records) * u128::from(self.need) / u128::from(rest.bytes.max(1)) + 1;
            let wanted = u64::try_from(wanted).unwrap_or(records).min(records);
            let start = (rest.first + wanted).min(limit(&self.candidates[index]));
            self.need = self.need.saturating_sub(rest.part(rest.first, start - 1).bytes);
            let (piece, taken) = &mut self.taken[index];
            *taken = Some(start);
            if start > rest.last {
                *piece += 1;
            }
        }
    }

    /// What is left of the piece that a candidate is at.
    fn rest(&self, index: usize) -> Option<Piece> {
        let (piece, start) = self.taken[index];
        let piece = self.candidates[index].pieces.get(piece)?;
        Some(piece.part(start.unwrap_or(piece.first).max(piece.first), piece.last))
    }
}

/// What holds the oldest record of a full account, for people.
pub(super) fn holder(candidates: &[Candidate]) -> String {
    let oldest = candidates
        .iter()
        .filter_map(|candidate| {
            let held = candidate.pieces.iter().find(|piece| piece.last >= candidate.owed)?;
            Some((held.max_time, candidate))
        })
        .min_by_key(|(time, candidate)| (*time, candidate.partition.home));
    let Some((_, candidate)) = oldest else { return "the commit under way".to_owned() };
    let who =
        candidate.lane.as_deref().map_or_else(|| "the reader".to_owned(), |lane| format!("trigger {lane}"));
    format!("{who} at offset {} of partition {:?}", candidate.owed, candidate.partition)
}

/// A sealed segment as retirement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) size: u64,
    pub(super) live: u64,
}

/// The segment to retire next: one that holds nothing any more, else the one with the least left if that is less than half of
/// it, and of `room`, what records get of a new segment. Every byte carried forward frees at least one, two retired segments
/// fill at most one new one, and the disk holds at most about twice what is kept.
pub(super) fn to_retire(segments: impl Iterator<Item = Sealed>, room: u64) -> Option<u64> {
    let worth = segments
        .filter(|segment| segment.live == 0 || segment.live.saturating_mul(2) < segment.size.min(room));
    let share = |segment: &Sealed| u128::from(segment.live) * 1_000_000 / u128::from(segment.size.max(1));
    worth.min_by_key(|segment| (share(segment), segment.number)).map(|segment| segment.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicName;
    use crate::embedded::partition::View;

    fn piece(first: u64, last: u64, segment: u64) -> Piece {
        Piece { first, last, segment, bytes: (last - first + 1) * 10, max_time: segment * 100 }
    }

    fn candidate(number: u32, pieces: &[Piece], owed: Offset) -> Candidate {
        let partition = Partition::new(TopicName::new("t"), (1, number), View::default());
        Candidate {
            partition: Arc::new(partition),
            pieces: pieces.to_vec(),
            owed,
            lane: None,
            dead_letters: false,
        }
    }

    fn starts(trims: &[Trim]) -> Vec<(u32, Offset, u64)> {
        trims.iter().map(|trim| (trim.partition.home.1, trim.start, trim.expired)).collect()
    }

    #[test]
    fn age_lets_whole_old_pieces_go_but_nothing_owed_and_nothing_active() {
        let mut runs = Runs::default();
        for segment in 0..4 {
            runs.insert(piece(segment * 10, segment * 10 + 9, segment));
        }
        let cases = [
            ("nothing is old enough", u64::MAX, 0, None, None),
            ("two segments are", u64::MAX, 150, None, Some(20)),
            ("all are, up to the active one", u64::MAX, 1000, Some(3), Some(30)),
            ("the second is owed in part", 14, 1000, None, Some(14)),
            ("the first is owed from its start", 0, 1000, None, None),
        ];
        for (what, owed, deadline, active, start) in cases {
            assert_eq!(by_age(&runs, owed, deadline, active), start, "{what}");
        }
    }

    #[test]
    fn room_is_made_of_the_oldest_settled_records_first() {
        let candidates =
            [candidate(0, &[piece(0, 9, 1), piece(10, 19, 3)], 15), candidate(1, &[piece(0, 9, 2)], 10)];
        assert_eq!(starts(&make_room(&candidates, 45, false)), [(0, 5, 0)]);
        assert_eq!(starts(&make_room(&candidates, 150, false)), [(0, 10, 0), (1, 6, 0)]);
        assert_eq!(
            starts(&make_room(&candidates, 1000, false)),
            [(0, 15, 0), (1, 10, 0)],
            "never what is owed"
        );
        assert_eq!(starts(&make_room(&candidates, 1000, true)), [(0, 20, 5), (1, 10, 0)], "unless told to");
    }

    #[test]
    fn dead_letters_go_after_settled_events_and_before_owed_ones() {
        let mut letters = candidate(1, &[piece(0, 9, 1)], Offset::MAX);
        letters.dead_letters = true;
        let candidates = [candidate(0, &[piece(0, 9, 5)], 4), letters];
        assert_eq!(starts(&make_room(&candidates, 25, false)), [(0, 3, 0)]);
        assert_eq!(starts(&make_room(&candidates, 65, false)), [(0, 4, 0), (1, 3, 0)]);
        assert_eq!(starts(&make_room(&candidates, 500, true)), [(0, 10, 6), (1, 10, 0)]);
    }

    #[test]
    fn nothing_to_let_go_moves_nothing() {
        assert!(make_room(&[candidate(0, &[piece(0, 9, 1)], 0)], 100, false).is_empty());
        assert!(make_room(&[], 100, true).is_empty());
    }

    #[test]
    fn the_holder_of_the_oldest_record_is_named() {
        let mut slow = candidate(0, &[piece(0, 9, 1)], 4);
        slow.lane = Some("shop/slow".into());
        let text = holder(&[candidate(1, &[piece(0, 9, 2)], 0), slow]);
        assert!(text.contains("trigger shop/slow at offset 4 of partition t/0"), "{text}");
    }

    #[test]
    fn the_emptiest_segment_is_retired_when_that_frees_more_than_it_carries() {
        let sealed = |number, live| Sealed { number, size: 100, live };
        assert_eq!(to_retire([sealed(1, 80), sealed(2, 50)].into_iter(), 100), None);
        assert_eq!(to_retire([sealed(1, 49), sealed(2, 30), sealed(3, 90)].into_iter(), 100), Some(2));
        assert_eq!(to_retire([sealed(1, 30), sealed(2, 0)].into_iter(), 100), Some(2));
        assert_eq!(to_retire([sealed(1, 30)].into_iter(), 60), None, "nor if a new one holds fewer records");
        assert_eq!(to_retire([Sealed { number: 1, size: 0, live: 0 }].into_iter(), 100), Some(1));
    }
}
