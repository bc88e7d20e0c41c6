//! Damage: every flipped bit is noticed, what is damaged is never served, and everything else is.

use std::sync::Arc;
use std::time::Duration;

use pelton_event::Timestamp;

use super::model::{LOG_ID, commit, read_all, settings};
use super::simulated::SimulatedDisk;
use super::support::*;
use crate::embedded::core::Core;
use crate::embedded::disk::Disk;
use crate::embedded::read::{self, Plan};
use crate::embedded::recover;
use crate::{Batch, Content, LaneProgress, ReadLimit};

const NOW: u64 = 1_000_000;

pub(super) fn start(disk: &SimulatedDisk) -> Core {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    recover::open(&disk, LOG_ID, settings(None), Timestamp::from_millis(NOW)).unwrap()
}

pub(super) fn ensure(core: &mut Core, topic: &str, partitions: u32) {
    core.ensure_topic(&spec(topic, partitions), Timestamp::from_millis(NOW)).unwrap();
}

pub(super) fn close(mut core: Core) {
    core.close(Timestamp::from_millis(NOW)).unwrap();
}

fn append(core: &mut Core, keys: &[(u32, &str)]) {
    commit(core, batch("t", keys), NOW).unwrap();
}

/// Offsets with keys, `damaged` where there is no record.
pub(super) fn entries(core: &Core, partition: usize) -> Vec<(u64, String)> {
    let topics = core.shared.topics.load();
    let Some(topic) = topics.get(&name("t")) else { return Vec::new() };
    let partition = &topic.partitions[partition];
    let limit = ReadLimit { bytes: 1 << 20, entries: 100, wait: false };
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let chunk = match read::plan(&core.shared, partition, from, limit) {
            Plan::Gone | Plan::AtEnd { .. } => return all,
            Plan::Tail { first, payloads } => read::decode_tail(first, payloads),
            Plan::Lost { from, to } => read::lost(from, to, limit),
            Plan::Disk { segment, from, to } => {
                read::from_disk(&core.shared, &segment, partition.home, (from, to), limit).unwrap()
            }
        };
        assert!(chunk.next > from, "reading stands still at {from}");
        assert!(
            chunk
                .entries
                .iter()
                .all(|entry| !matches!(&entry.content, Content::Record(record) if record.event.is_some()))
        );
        all.extend(shown(&chunk));
        from = chunk.next;
    }
}

fn noticed(core: &Core) -> u64 {
    let stats = core.shared.counters.snapshot();
    stats.corrupt + stats.quarantined
}

fn owned(pairs: &[(u64, &str)]) -> Vec<(u64, String)> {
    pairs.iter().map(|(offset, key)| (*offset, (*key).to_owned())).collect()
}

const SEGMENT: &str = "segments/0000000000000001.segment";

/// A log with one small segment.
fn small_log(disk: &SimulatedDisk, clean: bool) {
    let mut core = start(disk);
    ensure(&mut core, "t", 2);
    append(&mut core, &[(0, "a"), (1, "b"), (0, "c")]);
    append(&mut core, &[(1, "d")]);
    append(&mut core, &[(0, "e")]);
    if clean {
        close(core);
    }
}

fn flip_every_bit(clean: bool) {
    let disk = SimulatedDisk::new(1);
    small_log(&disk, clean);
    let original = disk.content(SEGMENT);
    let used = original.iter().rposition(|byte| *byte != 0).unwrap();
    let expected = [owned(&[(0, "a"), (1, "c"), (2, "e")]), owned(&[(0, "b"), (1, "d")])];
    let names = disk.names("");
    // One bit of each byte; all of them in the long form.
    let step = if super::model::long_form() { 1 } else { 9 };
    for bit in (0..(used + 1) * 8).step_by(step) {
        let disk = SimulatedDisk::new(1);
        disk.put(SEGMENT, original.clone());
        for name in &names {
            disk.put(name, closing(clean, original.len()));
        }
        disk.damage(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let core = start(&disk);
        for (partition, expected) in expected.iter().enumerate() {
            for (offset, key) in entries(&core, partition) {
                let right = key == "damaged" || expected.contains(&(offset, key.clone()));
                assert!(right, "bit {bit}: offset {offset} of partition {partition} is served as {key}");
            }
        }
        // What a closed log no longer needs (padding, what a later checkpoint says again) is not read when it is opened.
        let harmless = clean && (0..2).all(|partition| entries(&core, partition) == expected[partition]);
        assert!(noticed(&core) > 0 || harmless, "bit {bit} (byte {} of {used}) is not noticed", bit / 8);
    }
}

/// The closing mark as the log wrote it.
fn closing(clean: bool, size: usize) -> Vec<u8> {
    assert!(clean, "only a clean stop leaves a mark");
    let disk = SimulatedDisk::new(1);
    crate::embedded::closing::write(&disk, LOG_ID, 1, size as u64).unwrap();
    disk.content("closed")
}

#[test]
fn every_flipped_bit_of_a_crashed_log_is_noticed_and_none_is_served() {
    flip_every_bit(false);
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_noticed_and_none_is_served() {
    flip_every_bit(true);
}

/// The position of the batch that holds `text`.
fn batch_with(disk: &SimulatedDisk, text: &str) -> usize {
    let bytes = disk.content(SEGMENT);
    let key: Vec<u8> = std::iter::once(text.len() as u8).chain([0, 0, 0]).chain(text.bytes()).collect();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    at / 512 * 512
}

#[test]
fn a_torn_tail_is_cut_kept_and_counted() {
    let disk = SimulatedDisk::new(1);
    small_log(&disk, false);
    let last = batch_with(&disk, "e");
    disk.damage(SEGMENT, |bytes| bytes[last + 60] ^= 1);
    let mut core = start(&disk);
    assert_eq!(entries(&core, 0), owned(&[(0, "a"), (1, "c")]));
    assert_eq!(entries(&core, 1), owned(&[(0, "b"), (1, "d")]));
    let stats = core.shared.counters.snapshot();
    assert_eq!((stats.quarantined, stats.corrupt), (1, 0));
    assert_eq!(disk.names("quarantine").len(), 1);
    assert_eq!(core.shared.status().notices.len(), 1);
    // The offset was never acknowledged (for all the log can know), so it is given away again.
    append(&mut core, &[(0, "f")]);
    drop(core);
    let core = start(&disk);
    assert_eq!(entries(&core, 0), owned(&[(0, "a"), (1, "c"), (2, "f")]));
    assert_eq!(noticed(&core), 0, "reported once");
}

#[test]
fn after_a_clean_stop_the_same_damage_is_corruption() {
    let disk = SimulatedDisk::new(1);
    small_log(&disk, true);
    let last = batch_with(&disk, "e");
    disk.damage(SEGMENT, |bytes| bytes[last + 60] ^= 1);
    let core = start(&disk);
    assert_eq!(entries(&core, 0), owned(&[(0, "a"), (1, "c"), (2, "damaged")]));
    let stats = core.shared.counters.snapshot();
    assert_eq!((stats.quarantined, stats.corrupt > 0), (0, true));
}

#[test]
fn a_cut_end_after_a_clean_stop_is_corruption() {
    let disk = SimulatedDisk::new(1);
    small_log(&disk, true);
    let last = batch_with(&disk, "e");
    disk.damage(SEGMENT, |bytes| bytes.truncate(last));
    let core = start(&disk);
    assert!(core.shared.counters.snapshot().corrupt > 0);
    assert_eq!(entries(&core, 1), owned(&[(0, "b"), (1, "d")]));
}

#[test]
fn behind_a_lost_batch_the_log_finds_its_footing_again() {
    // The header, its length, everything: whatever is damaged, the batches behind it are served.
    let damages: [fn(&mut [u8]); 3] =
        [|batch| batch[..512].fill(0), |batch| batch[24] ^= 0x40, |batch| batch[52] ^= 0x40];
    for (number, damage) in damages.iter().enumerate() {
        let disk = SimulatedDisk::new(1);
        small_log(&disk, false);
        let first = batch_with(&disk, "a");
        disk.damage(SEGMENT, |bytes| damage(&mut bytes[first..]));
        let core = start(&disk);
        let zeroth = entries(&core, 0);
        assert_eq!(zeroth.last(), Some(&(2, "e".to_owned())), "damage {number}: {zeroth:?}");
        assert_eq!(zeroth.len(), 3);
        assert_eq!(entries(&core, 1).last(), Some(&(1, "d".to_owned())), "damage {number}");
        let stats = core.shared.counters.snapshot();
        assert!(stats.corrupt > 0 && stats.quarantined == 0, "damage {number}: {stats:?}");
    }
}

/// A log of several segments, closed; the number of records in partition 0.
pub(super) fn long_log(disk: &SimulatedDisk) -> u64 {
    let mut core = start(disk);
    ensure(&mut core, "t", 1);
    for number in 0..60 {
        let mut batch = Batch::default();
        batch.records.push((name("t"), 0, large(&number.to_string(), 700)));
        let mut update = progress("t", 0, core.shared.epoch, number);
        update.lanes.push((
            "lane".into(),
            Some(LaneProgress { low: Some(0), state: number.to_string().into() }.into()),
        ));
        batch.progress.push(update);
        commit(&mut core, batch, NOW).unwrap();
    }
    assert!(core.sealed.len() > 3);
    close(core);
    60
}

#[test]
fn a_damaged_footer_is_rebuilt_and_nothing_is_lost() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk);
    disk.damage("segments/0000000000000002.segment", |bytes| {
        let end = bytes.len();
        bytes[end - 700..].fill(0xaa);
    });
    let core = start(&disk);
    let found = entries(&core, 0);
    assert_eq!(found.len() as u64, records);
    assert!(found.iter().all(|(_, key)| key != "damaged"));
    assert!(core.shared.counters.snapshot().corrupt > 0);
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let disk = SimulatedDisk::new(1);
    long_log(&disk);
    let segments = disk.names("segments");
    let last = segments.last().unwrap();
    // Both checkpoints of the last segment: the first batch, and the one of the clean stop.
    disk.damage(last, |bytes| {
        let end = bytes.len();
        bytes[512 + 60] ^= 1;
        for at in (0..end).step_by(512).skip(2) {
            let flags = at + 40;
            if &bytes[at..at + 4] == b"PbT1" && bytes[flags] == 1 {
                bytes[at + 60] ^= 1;
            }
        }
    });
    let core = start(&disk);
    let topics = core.shared.topics.load();
    let progress = topics[&name("t")].partitions[0].view().progress.clone();
    assert_eq!(progress.head, 59);
    assert_eq!(progress.lanes["lane"].state, "59");
    assert_eq!(entries(&core, 0).len(), 60);
    assert!(core.shared.counters.snapshot().corrupt > 0);
}

/// Saves a head and the row of one lane.
fn save(core: &mut Core, head: u64, lane: &str, low: Option<u64>, state: &'static str) {
    let mut update = progress("t", 0, core.shared.epoch, head);
    update.lanes.push((lane.into(), Some(row(low, state))));
    commit(core, settle(update), NOW).unwrap();
}

/// The head, and the state of the lane that owed something before the damage.
fn head_and_owed(core: &Core) -> (u64, String) {
    let topics = core.shared.topics.load();
    let view = topics[&name("t")].partitions[0].view();
    (view.progress.head, String::from_utf8(view.progress.lanes["slow"].state.to_vec()).unwrap())
}

#[test]
fn no_head_passes_what_a_damaged_row_still_owed() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk);
    ensure(&mut core, "t", 1);
    save(&mut core, 10, "slow", None, "nothing");
    drop(core);
    // The checkpoint of this start knows the head 10.
    let mut core = start(&disk);
    save(&mut core, 20, "slow", Some(15), "owes 15");
    save(&mut core, 30, "other", Some(29), "owes 29");
    drop(core);
    let segment = disk.names("segments").pop().unwrap();
    let original = disk.content(&segment);
    assert_eq!(head_and_owed(&start(&disk)), (30, "owes 15".to_owned()), "nothing is damaged yet");
    disk.delete(disk.names("segments").last().unwrap());
    let owed = original.windows(7).position(|bytes| bytes == b"owes 15").unwrap();
    let batch = owed / 512 * 512;
    // Every bit of the batch; at last all of it.
    for bit in (batch * 8..(owed + 7) * 8).map(Some).chain([None]) {
        disk.put(&segment, original.clone());
        disk.damage(&segment, |bytes| match bit {
            Some(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
            None => bytes[batch..batch + 512].fill(0),
        });
        let core = start(&disk);
        let found = head_and_owed(&core);
        assert_eq!(found, (10, "nothing".to_owned()), "bit {bit:?}");
        let topics = core.shared.topics.load();
        let rows = topics[&name("t")].partitions[0].view().progress.lanes.clone();
        assert_eq!(rows["other"].low, Some(29), "intact rows count");
        assert!(noticed(&core) > 0);
        // The head moves again with the next save.
        drop(core);
        let mut core = start(&disk);
        assert_eq!(head_and_owed(&core), found, "said again by the checkpoint of the start before");
        save(&mut core, 40, "other", None, "");
        drop(core);
        let core = start(&disk);
        assert_eq!(head_and_owed(&core).0, 40);
        drop(core);
        for later in disk.names("segments").into_iter().filter(|name| *name > segment) {
            disk.delete(&later);
        }
    }
}

#[test]
fn no_offset_that_a_head_has_passed_is_given_again() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk);
    ensure(&mut core, "t", 1);
    append(&mut core, &[(0, "a"), (0, "b")]);
    save(&mut core, 2, "lane", None, "");
    drop(core);
    let first = batch_with(&disk, "a");
    disk.damage(SEGMENT, |bytes| bytes[first..first + 512].fill(0));
    let mut core = start(&disk);
    append(&mut core, &[(0, "c")]);
    assert_eq!(entries(&core, 0), owned(&[(0, "damaged"), (1, "damaged"), (2, "c")]));
}

#[test]
fn a_lost_segment_is_a_gap_in_which_every_offset_is_named() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk);
    disk.delete("segments/0000000000000002.segment");
    let core = start(&disk);
    let found = entries(&core, 0);
    assert!(found.iter().map(|(offset, _)| *offset).eq(0..records));
    let lost = found.iter().filter(|(_, key)| key == "damaged").count();
    assert!(lost > 3 && lost < 30, "{lost}");
}

/// Flips a bit in the data of a record of the second segment.
fn damage_a_record(disk: &SimulatedDisk) {
    disk.damage("segments/0000000000000002.segment", |bytes| {
        let data = bytes.windows(9).position(|window| window == b":xxxxxxxx").unwrap();
        bytes[data + 300] ^= 8;
    });
}

#[test]
fn damage_that_comes_while_the_log_runs_is_found_by_the_reader() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk);
    let core = start(&disk);
    damage_a_record(&disk);
    let found = entries(&core, 0);
    assert_eq!(found.len() as u64, records);
    assert_eq!(found.iter().filter(|(_, key)| key == "damaged").count(), 1);
    assert_eq!(core.shared.counters.snapshot().corrupt, 1, "{:?}", core.shared.status());
    entries(&core, 0);
    assert_eq!(core.shared.counters.snapshot().corrupt, 1, "each place is counted once");
}

#[test]
fn a_damaged_segment_is_quarantined_when_it_is_retired() {
    let disk = SimulatedDisk::new(1);
    long_log(&disk);
    damage_a_record(&disk);
    let mut core = start(&disk);
    let mut update = progress("t", 0, core.shared.epoch, 60);
    update.lanes.push(("lane".into(), None));
    commit(&mut core, settle(update), NOW).unwrap();
    let late = Timestamp::from_millis(NOW) + Duration::from_secs(7200);
    // Only the reader knows of the damage.
    entries(&core, 0);
    while core.housekeep(late).unwrap() {}
    assert!(entries(&core, 0).is_empty());
    assert_eq!(disk.names("quarantine"), ["quarantine/0000000000000002.segment"]);
}

#[test]
fn a_failed_sync_stops_the_log_and_is_not_tried_again() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk);
    ensure(&mut core, "t", 1);
    disk.fail_syncs();
    let before = core.sequence;
    let answer = commit(&mut core, batch("t", &[(0, "a")]), NOW);
    assert!(matches!(answer, Err(crate::AppendError::Unknown(_))), "{answer:?}");
    assert_eq!(core.sequence, before);
    let topics = core.shared.topics.load();
    assert!(read_all(&core, &topics[&name("t")].partitions[0]).unwrap().is_empty(), "nothing is shown");
}
