//! A disk that cannot read some of what it holds: that is damage, and no reason to stop.

use std::time::Duration;

use pelton_event::Timestamp;

use super::damage::{close, ensure, entries, long_log, start};
use super::model::commit;
use super::simulated::SimulatedDisk;
use super::support::*;
use crate::LogError;
use crate::embedded::core::Core;
use crate::embedded::recover;

const NOW: u64 = 1_000_000;
const SECOND: &str = "segments/0000000000000002.segment";

/// How many entries are served, and how many are told as damaged.
fn counts(core: &Core) -> (usize, usize) {
    let found = entries(core, 0);
    let damaged = found.iter().filter(|(_, key)| key == "damaged").count();
    assert!(found.iter().map(|(offset, _)| *offset).eq(found[0].0..found[0].0 + found.len() as u64));
    (found.len() - damaged, damaged)
}

fn settle_up_to(core: &mut Core, head: u64) {
    let mut update = progress("t", 0, core.shared.epoch, head);
    update.lanes.push(("lane".into(), None));
    commit(core, settle(update), NOW).unwrap();
}

fn housekeep(core: &mut Core) {
    let late = Timestamp::from_millis(NOW) + Duration::from_secs(7200);
    while core.housekeep(late).unwrap() {}
}

#[test]
fn a_log_with_an_unreadable_segment_opens_says_so_and_serves_the_rest() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk) as usize;
    disk.fail_reads(SECOND, 0..usize::MAX);
    let mut core = start(&disk);
    let (served, damaged) = counts(&core);
    assert!(damaged > 3 && served > 30 && served + damaged == records, "{served} {damaged}");
    let notices = core.shared.status().notices;
    assert!(
        notices.iter().any(|notice| notice.contains("segment 2") && notice.contains("cannot read")),
        "{notices:?}"
    );
    assert!(core.shared.counters.snapshot().corrupt > 0);
    commit(&mut core, batch("t", &[(0, "more")]), NOW).unwrap();
    close(core);
    // Nothing was destroyed.
    disk.fail_reads(SECOND, 0..0);
    assert_eq!(counts(&start(&disk)), (records + 1, 0));
}

#[test]
fn around_an_unreadable_page_the_segment_is_served() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk) as usize;
    let core = start(&disk);
    disk.fail_reads(SECOND, 4096..4097);
    let (served, damaged) = counts(&core);
    assert!((1..=7).contains(&damaged) && served + damaged == records, "{served} {damaged}");
    assert!(core.shared.status().notices[0].contains("at byte 4096: the disk cannot read it"));
}

#[test]
fn a_segment_that_cannot_be_read_is_not_carried_and_goes_when_nothing_in_it_is_kept() {
    let disk = SimulatedDisk::new(1);
    let records = long_log(&disk);
    let mut core = start(&disk);
    let segment = core.sealed[&2].segment.clone();
    // All but the last record of the segment may go: so the rest is to be carried.
    let last = core.shared.topics.load()[&name("t")].partitions[0]
        .view()
        .runs
        .iter()
        .find(|piece| piece.segment == 2)
        .unwrap()
        .last;
    disk.fail_reads(SECOND, 0..usize::MAX);
    settle_up_to(&mut core, last);
    housekeep(&mut core);
    assert!(segment.file.is_unreadable());
    let stats = core.shared.counters.snapshot();
    assert!(stats.retired_segments > 0, "the segment before it goes");
    assert!(disk.names("segments").contains(&SECOND.to_owned()));
    let notices = core.shared.status().notices;
    assert_eq!(
        notices.iter().filter(|notice| notice.contains("stays on the disk")).count(),
        1,
        "{notices:?}"
    );
    // It is looked at again with nothing kept in it.
    settle_up_to(&mut core, records);
    housekeep(&mut core);
    assert!(!disk.names("segments").contains(&SECOND.to_owned()));
    assert_eq!(disk.names("quarantine"), ["quarantine/0000000000000002.segment"]);
}

#[test]
fn after_a_crash_an_unreadable_end_is_not_taken_for_a_torn_one() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk);
    ensure(&mut core, "t", 1);
    commit(&mut core, batch("t", &[(0, "a")]), NOW).unwrap();
    drop(core);
    let segment = disk.names("segments").pop().unwrap();
    let before = disk.content(&segment);
    disk.fail_reads(&segment, 1024..1025);
    let open: std::sync::Arc<dyn crate::embedded::disk::Disk> = std::sync::Arc::new(disk.clone());
    let settings = super::model::settings(None);
    let refused = recover::open(&open, super::model::LOG_ID, settings, Timestamp::from_millis(NOW));
    assert!(matches!(refused, Err(LogError::Io { .. })), "{refused:?}");
    assert_eq!(disk.content(&segment), before, "nothing is cut off");
    disk.fail_reads(&segment, 0..0);
    assert_eq!(counts(&start(&disk)), (1, 0));
}
