//! A disk that runs full, and one that fails.

use std::sync::{Arc, Mutex};

use pelton_event::Timestamp;
use pelton_runtime::clock::Clock;

use super::model::{LOG_ID, commit, read_all, settings};
use super::simulated::SimulatedDisk;
use super::support::*;
use crate::embedded::core::Core;
use crate::embedded::disk::Disk;
use crate::embedded::retain::Reason;
use crate::embedded::{Config, EmbeddedLog, recover};
use crate::limits::DISK_FULL_RETRY;
use crate::{AppendError, Batch, EventLog, LogError, ReadLimit};

const NOW: u64 = 1_000_000;

fn start(disk: &SimulatedDisk, now: u64) -> Core {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    recover::open(&disk, LOG_ID, settings(None), Timestamp::from_millis(now)).unwrap()
}

fn put(core: &mut Core, key: u64, now: u64) -> Result<(), AppendError> {
    let records = vec![(name("t"), 0, large(&key.to_string(), 700))];
    commit(core, Batch { records, ..Batch::default() }, now).map(|_| ())
}

/// Appends until the disk is full; answers how many were stored.
fn fill(core: &mut Core, disk: &SimulatedDisk) -> u64 {
    disk.set_capacity(disk.used() + 60_000);
    let mut stored = 0;
    loop {
        match put(core, stored, NOW) {
            Ok(()) => stored += 1,
            Err(error) => {
                assert_eq!(error, AppendError::DiskFull);
                return stored;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_still_saves_progress_and_serves_again_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let stored = fill(&mut core, &disk);
    assert!(stored > 20, "{stored}");
    assert!(core.shared.status().unavailable.is_some());
    let partition = Arc::clone(&core.shared.topics.load()[&name("t")].partitions[0]);
    assert_eq!(read_all(&core, &partition).unwrap().len() as u64, stored, "what was refused is not there");
    // Progress goes into the reserve, so that what is settled can be let go.
    let update = progress("t", 0, core.shared.epoch, stored);
    commit(&mut core, settle(update), NOW).unwrap();
    // Space again: not asked for at every append, but soon.
    disk.set_capacity(u64::MAX);
    assert_eq!(put(&mut core, 1, NOW), Err(AppendError::DiskFull));
    let later = NOW + DISK_FULL_RETRY.as_millis() as u64;
    put(&mut core, 1, later).unwrap();
    assert_eq!(core.shared.status().unavailable, None);
    drop(core);
    let core = start(&disk, later);
    let partition = Arc::clone(&core.shared.topics.load()[&name("t")].partitions[0]);
    assert_eq!(read_all(&core, &partition).unwrap().len() as u64, stored + 1);
    assert_eq!(partition.view().progress.head, stored);
}

#[test]
fn a_log_opens_on_a_full_disk_and_writes_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let stored = fill(&mut core, &disk);
    drop(core);
    disk.reboot();
    disk.set_capacity(0);
    let mut core = start(&disk, NOW);
    assert!(core.shared.status().unavailable.is_some());
    let partition = Arc::clone(&core.shared.topics.load()[&name("t")].partitions[0]);
    assert_eq!(read_all(&core, &partition).unwrap().len() as u64, stored);
    assert_eq!(put(&mut core, stored, NOW), Err(AppendError::DiskFull));
    disk.set_capacity(u64::MAX);
    let later = NOW + DISK_FULL_RETRY.as_millis() as u64;
    put(&mut core, stored, later).unwrap();
    assert_eq!(core.shared.status().unavailable, None);
}

#[test]
fn settled_records_leave_a_full_disk() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let stored = fill(&mut core, &disk);
    let update = progress("t", 0, core.shared.epoch, stored);
    commit(&mut core, settle(update), NOW).unwrap();
    let late = NOW + 7_200_000;
    let used = disk.used();
    while core.housekeep(Timestamp::from_millis(late)).unwrap() {}
    assert!(disk.used() < used, "segments without anything kept go, and need no space for it");
    put(&mut core, stored, late + 1_000).unwrap();
}

#[test]
fn segments_without_anything_kept_go_even_after_a_start_on_a_full_disk() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let stored = fill(&mut core, &disk);
    let update = progress("t", 0, core.shared.epoch, stored);
    commit(&mut core, settle(update), NOW).unwrap();
    let late = NOW + 7_200_000;
    // Records go as far as the reserve tells of it; then the process dies before a segment is removed.
    let trims = core.aged(Timestamp::from_millis(late));
    core.trim(&trims, Reason::Age, Timestamp::from_millis(late)).unwrap();
    drop(core);
    disk.reboot();
    disk.set_capacity(0);
    let mut core = start(&disk, late);
    assert!(core.shared.status().unavailable.is_some());
    let segments = disk.names("segments").len();
    while core.housekeep(Timestamp::from_millis(late)).unwrap() {}
    assert!(disk.names("segments").len() < segments, "{segments} segments before");
}

#[test]
fn a_checkpoint_larger_than_a_segment_leaves_room_for_records() {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let state: &'static str = Box::leak("x".repeat(2_000).into_boxed_str());
    for lane in 0..2 * core.settings.segment_bytes / 2_000 {
        let mut update = progress("t", 0, core.shared.epoch, 0);
        update.lanes.push((format!("lane {lane}").into(), Some(row(Some(0), state))));
        commit(&mut core, settle(update), NOW).unwrap();
    }
    let segments = |core: &Core| core.shared.counters.snapshot().segments;
    let before = segments(&core);
    for key in 0..40 {
        put(&mut core, key, NOW).unwrap();
    }
    let started = segments(&core) - before;
    assert!((1..10).contains(&started), "{started} segments for 40 records");
    let rounds = (0..1_000).take_while(|_| core.housekeep(Timestamp::from_millis(NOW)).unwrap()).count();
    assert!(rounds < 100, "what is kept is carried forward without end");
}

#[tokio::test]
async fn a_failed_sync_is_told_and_nothing_is_answered_with_success_any_more() {
    nothing_is_answered_with_success_after(SimulatedDisk::fail_syncs, "sync").await;
}

#[tokio::test]
async fn a_defect_of_the_writer_leaves_nobody_waiting() {
    nothing_is_answered_with_success_after(SimulatedDisk::panic_in_syncs, "defect").await;
}

async fn nothing_is_answered_with_success_after(fail: fn(&SimulatedDisk), why: &str) {
    let disk = SimulatedDisk::new(1);
    let mut core = start(&disk, NOW);
    core.ensure_topic(&spec("t", 1), Timestamp::from_millis(NOW)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let config = {
        let told = Arc::clone(&told);
        Config::new("unused").on_fatal(move |why| told.lock().unwrap().push(why.to_owned()))
    };
    let log = EmbeddedLog::serve(core, config, Clock::fixed(NOW), None).unwrap();
    log.append(batch("t", &[(0, "a")])).await.unwrap();
    fail(&disk);
    let answer = log.append(batch("t", &[(0, "b")])).await;
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
    let answer = log.append(batch("t", &[(0, "c")])).await;
    assert!(matches!(answer, Err(AppendError::Unknown(_) | AppendError::Closed)), "{answer:?}");
    assert!(log.status().unavailable.unwrap().contains(why));
    let limit = ReadLimit { wait: true, ..NO_WAIT };
    assert!(matches!(log.read(&name("t"), 0, 2, limit).await, Err(LogError::Closed)));
    drop(log);
    assert_eq!(told.lock().unwrap().len(), 1, "told once");
}
