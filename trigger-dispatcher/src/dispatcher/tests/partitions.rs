//! Partitions that are lost, fenced and given up.

use pelton_event_log::{AppendError, LaneProgress, OwnershipChange, ProgressUpdate, TopicName};

use super::*;
use crate::testing::{broker, event, make_topics, response, trigger};

fn events() -> TopicName {
    TopicName::new("knative-broker-default-main")
}

#[tokio::test(start_paused = true)]
async fn a_fenced_partition_sends_nothing_more() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    log.fence(&events(), 0);
    // This one goes out before anybody knows; its save is refused, and with that the partition is gone.
    world.publish(event("2")).await;
    let dispatched = || world.handle.status(Kind::Broker, &name("main")).unwrap().facts;
    until("it is lost", || dispatched() == [("dispatched partitions", "0 of 1".to_owned())]).await;
    world.publish(event("3")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(http.ids(), ["1", "2"]);
    assert_eq!(world.counter("a", "delivered"), 1, "an end that was not saved is none");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_comes_back_goes_on_where_it_was_saved() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    log.tell(&events(), OwnershipChange::Lost { partition: 0 });
    let dispatched = || world.handle.status(Kind::Broker, &name("main")).unwrap().facts;
    until("it is lost", || dispatched() == [("dispatched partitions", "0 of 1".to_owned())]).await;
    world.publish(event("2")).await;
    log.tell(
        &events(),
        OwnershipChange::Gained {
            partition: 0,
            epoch: pelton_event_log::Epoch(1),
            lease: pelton_event_log::Lease::unending(),
        },
    );
    world.counted("a", "delivered", 2).await;
    assert_eq!(http.ids(), ["1", "2"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_is_given_up_once_its_deliveries_are_over_and_saved() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("it is on its way", || http.ids().len() == 1).await;
    let revoked = tokio::spawn({
        let log = log.clone();
        async move { log.revoke(&events(), 0).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!revoked.is_finished(), "a delivery is still on its way");
    world.publish(event("2")).await;
    http.gate.add_permits(1);
    revoked.await.unwrap();
    assert_eq!(log.saved(&events(), 0).head, 1);
    assert_eq!(http.ids(), ["1"], "nothing new started");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_is_given_up_in_any_case() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("it is on its way", || http.ids().len() == 1).await;
    // The subscriber hangs, and the log takes nothing either.
    log.refuse(vec![AppendError::Busy; 1_000]);
    let start = tokio::time::Instant::now();
    log.revoke(&events(), 0).await;
    let limit = Config::default().stop_grace + crate::limits::LAST_SAVE_GRACE + Duration::from_secs(1);
    assert!(start.elapsed() < limit, "after {:?}", start.elapsed());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_for_a_while_costs_nothing_but_time() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    log.refuse(vec![AppendError::DiskFull; 5]);
    let trouble = || world.status("a").readiness != Readiness::Ready;
    until("the trouble is shown", trouble).await;
    world.counted("a", "delivered", 1).await;
    world.ready(&["a"]).await;
    assert_eq!(http.ids(), ["1"]);
    let text = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    assert!(
        text.contains(r#"pelton_dispatch_failed_saves_total{broker="main",namespace="default"} 5"#),
        "{text}"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn damaged_progress_stops_its_partition_and_says_so() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world =
        World::start(&log, &http, vec![Broker { partitions: 2, ..broker("main") }], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.stop().await;
    let damaged = LaneProgress { low: None, state: bytes::Bytes::from_static(b"\xff\xff nonsense") };
    let update = ProgressUpdate {
        topic: events(),
        partition: 1,
        epoch: pelton_event_log::Epoch(0),
        head: None,
        lanes: vec![("default/a".into(), Some(damaged.into()))],
    };
    log.append(Batch { progress: vec![update], ..Batch::default() }).await.unwrap();
    let world =
        World::start(&log, &http, vec![Broker { partitions: 2, ..broker("main") }], vec![trigger("a")]).await;
    let told = || match world.handle.status(Kind::Broker, &name("main")).unwrap().readiness {
        Readiness::NotReady(reason) if reason.reason == "DispatchImpaired" => reason.message,
        _ => String::new(),
    };
    until("it says so", || told().contains("partition 1 is not served") && told().contains("default/a"))
        .await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_broker_asks_nothing_of_the_log() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let before = log.calls();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(log.calls(), before);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn added_partitions_are_served_from_their_start() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    world.stop().await;
    // Events come into the new partitions before anybody dispatches these.
    let grown = Broker { partitions: 8, ..broker("main") };
    make_topics(&*log, [&grown]).await;
    let world = World { log: log.clone(), ..World::start(&log, &http, vec![], vec![]).await };
    for id in 2..50_u32 {
        let id = id.to_string();
        world.publish(crate::testing::event_with(&id, &[("partitionkey", &id)])).await;
    }
    world.want(snapshot(vec![grown], vec![trigger("a")])).await;
    world.counted("a", "delivered", 48).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_save_left_behind_lands_before_the_next_owner_reads_progress() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("it is on its way", || http.ids().len() == 1).await;
    // The disk hangs, with the save of its end.
    log.hold();
    http.gate.add_permits(10);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.run.abort();
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    log.release();
    world.ready(&["a"]).await;
    world.publish(event("2")).await;
    world.counted("a", "delivered", 1).await;
    assert_eq!(http.ids(), ["1", "2"]);
    world.stop().await;
}
