//! Hand-backs that fail half-way.

use pelton_event::{Envelope, Origin, Record, Timestamp};
use pelton_event_log::{Batch, Epoch, LaneProgress, ProgressUpdate, Urgency};

use super::*;
use crate::testing::{MemoryLog, broker, event, make_topics, name, snapshot, trigger};

const GROUP: &str = "knative-trigger-default-a";

/// A broker that has read ten events for the trigger `a`, of which the one at offset 4 waits in the retry topic.
async fn world() -> (Arc<MemoryLog>, HandBacker) {
    let log = MemoryLog::with_groups();
    let main = broker("main");
    make_topics(&*log, [&main]).await;
    let BrokerTopics { events, retry, .. } = topics::names(&main);
    let step = Step::Retry { attempts: 1, due: Timestamp::from_millis(0), failure: None };
    let origin = Origin { trigger: "default/a".into(), partition: 0, offset: 4, step };
    let envelope = Envelope { origin: Some(origin), ..Envelope::default() };
    let records = vec![(retry, 0, Record { envelope, event: Some(event("4")) })];
    let lanes = vec![("default/a".into(), Some(Arc::new(LaneProgress::default())))];
    let progress =
        vec![ProgressUpdate { topic: events, partition: 0, epoch: Epoch(0), head: Some(10), lanes }];
    log.append(Batch { records, progress, urgency: Urgency::Now }).await.unwrap();
    let snapshots = watch::channel(snapshot(vec![main], vec![trigger("a")])).1;
    (log.clone(), HandBacker::new(log, snapshots))
}

#[tokio::test]
async fn a_hand_back_again_moves_no_group_past_retries_that_are_gone() {
    let (log, hand_backer) = world().await;
    log.groups.keep_progress(true);
    hand_backer.hand_back(&name("main"), false).await.unwrap_err();
    assert_eq!(log.groups.committed(GROUP, 0), Some(4));
    // Somebody makes the retry topic again before the command is given again.
    make_topics(&*log, [&broker("main")]).await;
    log.groups.keep_progress(false);
    let handed_back = hand_backer.hand_back(&name("main"), true).await.unwrap();
    assert_eq!(handed_back[0].offsets, [(0, 4)]);
    assert_eq!(log.groups.committed(GROUP, 0), Some(4));
}

#[tokio::test]
async fn a_group_that_never_was_set_is_set_by_the_command_given_again() {
    let (log, hand_backer) = world().await;
    let handed_back = hand_backer.hand_back(&name("main"), true).await.unwrap();
    assert_eq!(handed_back[0].offsets, [(0, 4)]);
    assert_eq!(log.groups.committed(GROUP, 0), Some(4));
}

#[tokio::test]
async fn what_a_hand_back_has_left_is_forgotten_before_the_broker_comes_back() {
    let (log, hand_backer) = world().await;
    let events = topics::names(&broker("main")).events;
    hand_backer.complete(&name("main")).await.unwrap();
    assert_eq!(log.saved(&events, 0).head, 10, "nothing was begun");
    log.groups.keep_progress(true);
    hand_backer.hand_back(&name("main"), false).await.unwrap_err();
    hand_backer.complete(&name("main")).await.unwrap_err();
    log.groups.keep_progress(false);
    hand_backer.complete(&name("main")).await.unwrap();
    assert_eq!(log.saved(&events, 0).head, 0, "the group tells where to go on");
}
