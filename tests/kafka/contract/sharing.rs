//! Several processes share the partitions of a topic: each has one owner, and progress goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton_event_log::{
    AppendError, Epoch, EventLog, Offset, Ownership, OwnershipChange, Partition, Progress, Release,
};
use pelton_tests::eventually;
use pelton_tests::kafka::{self, Form, Record};

use super::{Engine, Place, gain_all, next, row, save};

/// What a dispatcher does with a partition that it has to give up.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// Saves a last head, a hundred further, and gives it up.
    Finishes,
    /// Keeps it.
    Clings,
}

/// A process that owns partitions, as a dispatcher does it.
struct Dispatcher {
    log: Arc<dyn EventLog>,
    owned: Arc<Mutex<BTreeMap<Partition, Epoch>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Dispatcher {
    fn start(place: &Place, log: Arc<dyn EventLog>, manners: Manners) -> Self {
        let owned = Arc::<Mutex<BTreeMap<Partition, Epoch>>>::default();
        let ownership = log.ownership(place.events());
        let driver =
            Driver { log: log.clone(), topic: place.events().clone(), owned: owned.clone(), manners };
        Self { log, owned, task: tokio::spawn(driver.run(ownership)) }
    }

    fn owned(&self) -> BTreeMap<Partition, Epoch> {
        self.owned.lock().unwrap().clone()
    }

    async fn owns(&self, count: usize) -> BTreeMap<Partition, Epoch> {
        eventually(&format!("a dispatcher owns {count} partitions"), async || {
            let owned = self.owned();
            (owned.len() == count).then_some(owned)
        })
        .await
    }

    async fn save(&self, place: &Place, partition: Partition, head: Offset) -> Result<(), AppendError> {
        let epoch = self.owned()[&partition];
        let lanes = [("ns/a", Some(row(Some(head - 1), &format!("state at {head}"))))];
        self.log.append(save(place.events(), partition, epoch, Some(head), &lanes)).await.map(drop)
    }

    async fn progress(&self, place: &Place, partition: Partition) -> Progress {
        self.log.progress(place.events(), partition).await.unwrap()
    }

    /// Leaves as a process does that stops.
    async fn stop(self) {
        self.log.close().await.unwrap();
        self.task.await.unwrap();
    }
}

/// Follows the changes of ownership.
struct Driver {
    log: Arc<dyn EventLog>,
    topic: pelton_event_log::TopicName,
    owned: Arc<Mutex<BTreeMap<Partition, Epoch>>>,
    manners: Manners,
}

impl Driver {
    async fn run(self, mut ownership: Ownership) {
        let mut kept = Vec::new();
        while let Some(change) = ownership.next().await {
            match change {
                OwnershipChange::Coming { .. } => {}
                OwnershipChange::Gained { partition, epoch, .. } => {
                    self.owned.lock().unwrap().insert(partition, epoch);
                }
                OwnershipChange::Revoked { partition, release } if self.manners == Manners::Finishes => {
                    self.finish(partition, release).await;
                }
                OwnershipChange::Revoked { release, .. } => kept.push(release),
                OwnershipChange::Lost { partition } => drop(self.owned.lock().unwrap().remove(&partition)),
            }
        }
    }

    async fn finish(&self, partition: Partition, release: Release) {
        let epoch = self.owned.lock().unwrap().remove(&partition).expect("only what is owned is revoked");
        let head = self.log.progress(&self.topic, partition).await.unwrap().head;
        self.log.append(save(&self.topic, partition, epoch, Some(head + 100), &[])).await.unwrap();
        drop(release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_their_progress_move_to_who_joins_and_back() {
    const PARTITIONS: usize = 4;
    let Some(place) = Place::on_kafka().await else { return };
    let first = Dispatcher::start(&place, place.open_filled(PARTITIONS as u32, 600).await, Manners::Finishes);
    let before = first.owns(PARTITIONS).await;
    for partition in before.keys() {
        first.save(&place, *partition, u64::from(*partition) + 10).await.unwrap();
    }

    let second = Dispatcher::start(&place, place.open_with(PARTITIONS as u32).await, Manners::Finishes);
    let moved = second.owns(PARTITIONS / 2).await;
    let kept = first.owns(PARTITIONS / 2).await;
    let all: BTreeSet<_> = kept.keys().chain(moved.keys()).collect();
    assert_eq!(all.len(), PARTITIONS, "each has one owner");
    assert!(
        kept.iter().all(|(partition, epoch)| before[partition] == *epoch),
        "what stays is not interrupted"
    );
    for (partition, epoch) in &moved {
        assert!(*epoch > before[partition]);
        let found = second.progress(&place, *partition).await;
        let head = u64::from(*partition) + 110;
        let lane = row(Some(head - 101), &format!("state at {}", head - 100));
        assert_eq!(found, Progress { head, lanes: [(Arc::from("ns/a"), lane)].into() });
        assert_eq!(first.progress(&place, *partition).await, found, "whoever asks");
        // Late, in the old epoch and in the new one.
        for epoch in [before[partition], *epoch] {
            let late =
                first.log.append(save(place.events(), *partition, epoch, Some(1), &[("ns/a", None)])).await;
            assert_eq!(late, Err(AppendError::Fenced(place.events().clone(), *partition)));
        }
        assert_eq!(second.progress(&place, *partition).await, found);
        second.save(&place, *partition, u64::from(*partition) + 500).await.unwrap();
    }

    second.stop().await;
    first.owns(PARTITIONS).await;
    for partition in moved.keys() {
        let head = first.progress(&place, *partition).await.head;
        assert_eq!(head, u64::from(*partition) + 500, "what was saved when it left");
    }
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_give_a_partition_up_loses_it() {
    let Some(mut place) = Place::on_kafka().await else { return };
    let Engine::Kafka(config) = &mut place.engine else { unreachable!("it is on Kafka") };
    config.revoke_grace = Duration::from_millis(300);
    let first = Dispatcher::start(&place, place.open_filled(2, 100).await, Manners::Clings);
    let before = first.owns(2).await;
    for partition in [0, 1] {
        first.save(&place, partition, 10).await.unwrap();
    }
    let second = Dispatcher::start(&place, place.open_with(2).await, Manners::Finishes);
    let moved = second.owns(1).await;
    first.owns(1).await;
    for (partition, epoch) in moved {
        let late = first.log.append(save(place.events(), partition, before[&partition], Some(99), &[])).await;
        assert_eq!(late, Err(AppendError::Fenced(place.events().clone(), partition)));
        assert!(epoch > before[&partition]);
        assert_eq!(second.progress(&place, partition).await.head, 10);
    }
    first.stop().await;
    second.owns(2).await;
    second.stop().await;
}

/// A process that was stopped wakes up and writes to Kafka as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_owner_writes_late_has_no_effect() {
    let (Some(place), Some(kafka)) = (Place::on_kafka().await, kafka::shared().await) else { return };
    let progress = format!("{}_progress", place.events());
    let mut epochs = Vec::new();
    for round in 1..4 {
        let log = place.open_filled(1, 100).await;
        let mut ownership = log.ownership(place.events());
        let epoch = gain_all(&mut ownership, 1).await[0];
        let found = log.progress(place.events(), 0).await.unwrap();
        assert_eq!(found.head, (round - 1) * 10);
        assert_eq!(found.lanes.len(), usize::from(round > 1));
        log.append(save(place.events(), 0, epoch, Some(round * 10), &[("ns/a", Some(row(None, "x")))]))
            .await
            .unwrap();
        let late = epochs.iter().flat_map(|old: &Epoch| {
            let late = |key: &str, value: &str| {
                Record::new("late")
                    .form(Form::Raw)
                    .keyed(&format!("{}/{key}", old.0))
                    .data(value)
                    .to_partition(0)
            };
            [late("head/events", "99"), late("complete", "0: 0:")]
        });
        let late: Vec<_> = late.collect();
        if !late.is_empty() {
            kafka.produce(&progress, &late).await;
        }
        epochs.push(epoch);
        log.close().await.unwrap();
    }
}

/// A dispatcher that no longer listens to ownership leaves the group; the log itself goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_listening_gives_all_up() {
    let Some(place) = Place::on_kafka().await else { return };
    let log = place.open_with(2).await;
    let mut ownership = log.ownership(place.events());
    let epochs = gain_all(&mut ownership, 2).await;
    drop(ownership);
    let second = place.open_with(2).await;
    let mut theirs = second.ownership(place.events());
    assert!(gain_all(&mut theirs, 2).await[0] > epochs[0]);
    let refused = log.append(save(place.events(), 0, epochs[0], Some(1), &[])).await;
    assert_eq!(refused, Err(AppendError::Fenced(place.events().clone(), 0)));
    // And gets them again once it listens and the other has gone.
    let mut again = log.ownership(place.events());
    second.close().await.unwrap();
    while !matches!(next(&mut theirs).await, OwnershipChange::Lost { .. }) {}
    gain_all(&mut again, 2).await;
}
