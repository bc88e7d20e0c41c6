//! Brokers and triggers that come, change and go while events flow.

use pelton_event_log::TopicName;
use pelton_filter::{Expression, Filter};
use pelton_resources::{Destination, Reason, RetentionPolicy, Start};

use super::*;
use crate::testing::{broker, event, make_topics, response, trigger};

fn not_ready(broker: Broker) -> Broker {
    Broker { readiness: Readiness::not_ready("ConfigMapMissing", "it is not there"), ..broker }
}

fn reason(readiness: &Readiness) -> &str {
    match readiness {
        Readiness::Ready => "Ready",
        Readiness::NotReady(Reason { reason, .. }) => reason,
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_a_broker_that_is_not_ready() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.want(snapshot(vec![not_ready(broker("main"))], vec![trigger("a")])).await;
    until("it stopped", || {
        reason(&world.status("a").readiness) == "BrokerNotReady" && world.backlog("a").is_none()
    })
    .await;
    world.publish(event("1")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(http.ids().is_empty());

    world.want(snapshot(vec![broker("main")], vec![trigger("a")])).await;
    world.counted("a", "delivered", 1).await;
    assert_eq!(http.ids(), ["1"], "what came meanwhile was waiting");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_broker_is_not_dispatched_until_it_comes_back() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.want(snapshot(vec![], vec![trigger("a")])).await;
    until("it stopped", || world.backlog("a").is_none()).await;
    assert_eq!(reason(&world.status("a").readiness), "BrokerDoesNotExist");
    world.publish(event("1")).await;
    world.want(snapshot(vec![broker("main")], vec![trigger("a")])).await;
    world.counted("a", "delivered", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn quick_changes_of_a_broker_end_with_the_last_one() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    // While the first stops, its triggers change and it comes back.
    world.want(snapshot(vec![not_ready(broker("main"))], vec![trigger("a")])).await;
    tokio::task::yield_now().await;
    world.want(snapshot(vec![not_ready(broker("main"))], vec![trigger("a"), trigger("b")])).await;
    tokio::task::yield_now().await;
    world.want(snapshot(vec![broker("main")], vec![trigger("a"), trigger("b")])).await;
    world.ready(&["a", "b"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    world.counted("b", "delivered", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_is_served_once_its_topics_are_there_and_makes_none_itself() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![], vec![trigger("a")]).await;
    let BrokerTopics { events, retry, dead_letter } = crate::topics::names(&broker("main"));
    world.snapshots.send_replace(snapshot(vec![broker("main")], vec![trigger("a")]));
    let says = |topic: &TopicName, what: &str| match world.status("a").readiness {
        Readiness::NotReady(Reason { message, .. }) => {
            message.contains(&format!("topic {topic}: ")) && message.contains(what)
        }
        Readiness::Ready => false,
    };
    until("it misses the events topic", || says(&events, "not there")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.topics().await.unwrap(), []);
    let grown = Broker { partitions: 4, ..broker("main") };
    make_topics(&*log, [&grown]).await;
    log.delete_topic(&retry).await.unwrap();
    until("it misses the retry topic", || says(&retry, "not there")).await;
    make_topics(&*log, [&broker("main")]).await;
    until("it misses partitions", || says(&retry, "has 1 partitions")).await;
    assert_eq!(log.topic(&dead_letter).await.unwrap().unwrap().partitions, 4);
    make_topics(&*log, [&grown]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_tell_of_topics_is_asked_again() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    log.fail_topics(5);
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_retention_does_not_disturb_what_is_under_way() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("it is on its way", || http.ids().len() == 1).await;
    let retention = RetentionPolicy { bytes: 1, ..broker("main").retention };
    world.want(snapshot(vec![Broker { retention, ..broker("main") }], vec![trigger("a")])).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    http.gate.add_permits(10);
    world.counted("a", "delivered", 1).await;
    assert_eq!(http.ids(), ["1"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_grows_is_dispatched_in_all_partitions() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    let grown = Broker { partitions: 4, ..broker("main") };
    world.want(snapshot(vec![grown], vec![trigger("a")])).await;
    let facts = || world.handle.status(Kind::Broker, &name("main")).unwrap().facts;
    until("all are dispatched", || facts() == [("dispatched partitions", "4 of 4".to_owned())]).await;
    world.ready(&["a"]).await;
    for id in 0..40 {
        let id = id.to_string();
        world.publish(crate::testing::event_with(&id, &[("partitionkey", &id)])).await;
    }
    world.counted("a", "delivered", 40).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn edits_of_triggers_under_load_lose_and_repeat_nothing() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a"), trigger("edited")]).await;
    world.ready(&["a", "edited"]).await;
    for round in 0..50 {
        for id in 0..20 {
            world.publish(event(&format!("{round}-{id}"))).await;
        }
        let subscriber = Some(Destination::Uri(format!("http://edited{round}.example/")));
        let edited = Trigger { subscriber, ..trigger("edited") };
        let mut triggers = vec![trigger("a"), edited];
        // Others come and go meanwhile.
        triggers.extend((round % 3 == 0).then(|| trigger("passing")));
        world.want(snapshot(vec![broker("main")], triggers)).await;
    }
    world.counted("a", "delivered", 1_000).await;
    world.counted("edited", "delivered", 1_000).await;
    for who in ["http://a.", "http://edited"] {
        let mut ids: Vec<_> =
            http.log().into_iter().filter(|(to, _)| to.starts_with(who)).map(|(_, id)| id).collect();
        assert_eq!(ids.len(), 1_000, "{who}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1_000, "{who}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_filter_holds_for_what_comes_after_it() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a"), trigger("b")]).await;
    world.ready(&["a", "b"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    let only = Expression::Exact([("id".to_owned(), "3".to_owned())].into());
    let narrow = Trigger { filter: Arc::new(Filter::compile(&only).unwrap()), ..trigger("a") };
    // The new trigger tells when the change is in force.
    let triggers = vec![narrow, trigger("b"), trigger("c")];
    world.want(snapshot(vec![broker("main")], triggers)).await;
    world.ready(&["a", "b", "c"]).await;
    world.publish(event("2")).await;
    world.publish(event("3")).await;
    world.counted("c", "delivered", 2).await;
    world.counted("a", "delivered", 2).await;
    let ids: Vec<_> =
        http.log().into_iter().filter(|(to, _)| to.contains("//a.")).map(|(_, id)| id).collect();
    assert_eq!(ids, ["1", "3"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn triggers_start_where_they_say() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let at = Timestamp::from_millis(world.clock.unix_ms());
    world.publish(event("2")).await;
    world.counted("a", "delivered", 2).await;
    let starts = |of: &str, start, text: &str| Trigger { start, start_text: text.into(), ..trigger(of) };
    let triggers = vec![
        trigger("a"),
        starts("latest", Start::Latest, ""),
        starts("earliest", Start::Earliest, "earliest"),
        starts("at", Start::At(at), "some time"),
    ];
    world.want(snapshot(vec![broker("main")], triggers)).await;
    world.ready(&["latest", "earliest", "at"]).await;
    world.publish(event("3")).await;
    for (trigger, delivered) in [("latest", 1), ("at", 2), ("earliest", 3)] {
        world.counted(trigger, "delivered", delivered).await;
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_trigger_takes_nothing_and_loses_nothing() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let paused = Trigger { paused: true, ..trigger("a") };
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a"), trigger("b")]).await;
    world.ready(&["a", "b"]).await;
    world.want(snapshot(vec![broker("main")], vec![paused, trigger("b"), trigger("c")])).await;
    world.ready(&["c"]).await;
    assert_eq!(reason(&world.status("a").readiness), "Paused");
    world.publish(event("1")).await;
    world.counted("b", "delivered", 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.counter("a", "delivered"), 0);
    assert_eq!(world.status("a").backlog, Some(1));
    world.want(snapshot(vec![broker("main")], vec![trigger("a"), trigger("b")])).await;
    world.counted("a", "delivered", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_deliveries_finish_and_saves_their_ends() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    for id in ["1", "2"] {
        world.publish(event(id)).await;
    }
    until("both are on their way", || http.ids().len() == 2).await;
    world.stop.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.publish(event("3")).await;
    assert!(!world.run.is_finished(), "it waits for them");
    http.gate.add_permits(2);
    world.run.await.unwrap();
    assert_eq!(http.ids().len(), 2, "nothing new started");
    assert_eq!(log.saved(&TopicName::new("knative-broker-default-main"), 0).head, 2);

    let again = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    http.gate.add_permits(1);
    again.counted("a", "delivered", 1).await;
    assert_eq!(http.ids().last().unwrap(), "3");
    again.stop().await;
    assert_eq!(http.ids().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_up_what_hangs_and_it_comes_again() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    until("it is on its way", || http.ids().len() == 1).await;
    let start = tokio::time::Instant::now();
    world.stop().await;
    let (grace, took) = (Config::default().stop_grace, start.elapsed());
    assert!(took >= grace, "{took:?}");
    assert!(took < grace + crate::limits::LAST_SAVE_GRACE, "the last save needs no grace: {took:?}");

    let http = FakeSender::statuses(&[204]);
    let again = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    again.counted("a", "delivered", 1).await;
    assert_eq!(http.sent.lock().unwrap()[0].attempts, 0, "what was given up counts as not sent");
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_task_that_ends_by_a_defect_starts_again() {
    let (log, http) = (MemoryLog::new(), FakeSender::gated(|_| response(204)));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    for id in ["1", "2"] {
        world.publish(event(id)).await;
    }
    until("both are on their way", || http.ids().len() == 2).await;
    // The save of the first end brings the broker task down while the other delivery is on its way.
    log.panic_once();
    http.gate.add_permits(1);
    until("both came again", || http.ids().len() == 4).await;
    http.gate.add_permits(2);
    world.counted("a", "delivered", 2).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    assert!(
        text.contains("\npelton_in_flight_deliveries 0\n"),
        "what the broken task had in flight is given back"
    );
    world.stop().await;
}
