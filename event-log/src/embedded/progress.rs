//! Progress rows as bytes, and what they say about retention.

use std::collections::HashSet;
use std::sync::Arc;

use super::format::{Cursor, push_bytes};
use super::index::Home;
use crate::{LaneProgress, Offset, Progress};

const REMOVED: u8 = 0;
const PRESENT: u8 = 1;
const PRESENT_WITH_LOW: u8 = 2;

/// Changes of one partition's progress: the head, and rows (`None` removes one).
pub(super) type Changes = (Option<Offset>, Vec<(Arc<str>, Option<Arc<LaneProgress>>)>);

/// Names of lanes that were read, to be shared by all partitions.
pub(super) type Names = HashSet<Arc<str>>;

/// Writes the body of a progress frame.
pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    home: Home,
    head: Option<Offset>,
    rows: impl ExactSizeIterator<Item = (&'a str, Option<&'a LaneProgress>)>,
) {
    out.extend_from_slice(&home.0.to_le_bytes());
    out.extend_from_slice(&home.1.to_le_bytes());
    out.push(u8::from(head.is_some()));
    out.extend_from_slice(&head.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for (name, row) in rows {
        push_bytes(out, name.as_bytes());
        let Some(row) = row else {
            out.push(REMOVED);
            continue;
        };
        out.push(if row.low.is_some() { PRESENT_WITH_LOW } else { PRESENT });
        out.extend_from_slice(&row.low.unwrap_or_default().to_le_bytes());
        push_bytes(out, &row.state);
    }
}

/// Reads the body of a progress frame; `None` if it is damaged. Rows in a row that say the same are one.
pub(super) fn decode(body: &[u8], names: &mut Names) -> Option<(Home, Changes)> {
    let mut body = Cursor(body);
    let home = (body.u32()?, body.u32()?);
    let has_head = body.u8()? != 0;
    let head = body.u64()?;
    let mut rows = Vec::new();
    let mut last = Arc::new(LaneProgress::default());
    for _ in 0..body.u32()? {
        let name = intern(body.text()?, names);
        let row = match body.u8()? {
            REMOVED => None,
            tag => {
                let low = body.u64()?;
                let low = (tag == PRESENT_WITH_LOW).then_some(low);
                let state = body.bytes()?;
                if last.low != low || last.state != state {
                    last = Arc::new(LaneProgress { low, state: bytes::Bytes::copy_from_slice(state) });
                }
                Some(Arc::clone(&last))
            }
        };
        rows.push((name, row));
    }
    Some((home, (has_head.then_some(head), rows)))
}

fn intern(name: &str, names: &mut Names) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let name: Arc<str> = name.into();
    names.insert(Arc::clone(&name));
    name
}

/// Makes the changes.
pub(super) fn apply(progress: &mut Progress, (head, rows): Changes) {
    if let Some(head) = head {
        progress.head = head;
    }
    // Nodes of a map that is built at once are full; those of one that grows are half empty.
    if progress.lanes.is_empty() && rows.iter().all(|(_, row)| row.is_some()) {
        progress.lanes = rows.into_iter().filter_map(|(name, row)| Some((name, row?))).collect();
        return;
    }
    for (name, row) in rows {
        match row {
            Some(row) => progress.lanes.insert(name, row),
            None => progress.lanes.remove(&name),
        };
    }
}

/// The first offset that somebody still needs, and who: a lane, or (`None`) the reader at the head.
pub(super) fn owed(progress: &Progress) -> (Offset, Option<&str>) {
    let lanes = progress.lanes.iter().filter_map(|(name, row)| Some((row.low?, Some(&**name))));
    lanes.fold((progress.head, None), |lowest, lane| if lane.0 < lowest.0 { lane } else { lowest })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{Names, apply, decode, encode, owed};
    use crate::{LaneProgress, Progress};

    fn row(low: Option<u64>, state: &'static [u8]) -> Arc<LaneProgress> {
        Arc::new(LaneProgress { low, state: state.into() })
    }

    #[test]
    fn changes_survive_their_bytes_and_every_cut_is_noticed() {
        let (slow, idle) = (row(Some(3), b"gaps"), row(None, b""));
        let rows = [("ns/slow", Some(&*slow)), ("ns/idle", Some(&*idle)), ("ns/gone", None)];
        let mut bytes = Vec::new();
        encode(&mut bytes, (7, 2), Some(40), rows.into_iter());
        let (home, changes) = decode(&bytes, &mut Names::new()).unwrap();
        assert_eq!(home, (7, 2));
        let mut progress =
            Progress { head: 1, lanes: BTreeMap::from([("ns/gone".into(), row(Some(1), b"x"))]) };
        apply(&mut progress, changes);
        let lanes = BTreeMap::from([("ns/slow".into(), slow), ("ns/idle".into(), idle)]);
        assert_eq!(progress, Progress { head: 40, lanes });
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &mut Names::new()).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn names_and_equal_rows_are_shared() {
        let (one, other) = (row(None, b"same"), row(Some(1), b"other"));
        let rows = [("a", Some(&*one)), ("b", Some(&*one)), ("c", Some(&*other))];
        let mut names = Names::new();
        let mut read = |partition| {
            let mut bytes = Vec::new();
            encode(&mut bytes, (7, partition), None, rows.into_iter());
            decode(&bytes, &mut names).unwrap().1.1
        };
        let (first, second) = (read(0), read(1));
        assert!(first.iter().zip(&second).all(|(first, second)| Arc::ptr_eq(&first.0, &second.0)));
        let [a, b, c] = [0, 1, 2].map(|index| first[index].1.clone().unwrap());
        assert!(Arc::ptr_eq(&a, &b) && a == one && c == other);
    }

    #[test]
    fn owed_is_the_lowest_of_head_and_lanes() {
        let lanes = BTreeMap::from([("a".into(), row(Some(5), b"")), ("b".into(), row(None, b""))]);
        assert_eq!(owed(&Progress { head: 9, lanes: lanes.clone() }), (5, Some("a")));
        assert_eq!(owed(&Progress { head: 4, lanes }), (4, None));
    }
}
