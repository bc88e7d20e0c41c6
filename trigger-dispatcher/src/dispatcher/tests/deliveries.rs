//! What happens to events.

use bytes::Bytes;
use pelton_event::{DeadLetterReason, Step};
use pelton_event_log::{AppendError, Content, TopicName};
use pelton_filter::{Expression, Filter};
use pelton_resources::contracts::{Outcome, Response};
use pelton_resources::{BackoffPolicy, DeliveryPolicy, Destination, Order};

use super::*;
use crate::testing::{broker, event, event_with, response, trigger};

fn with_policy(trigger: Trigger, policy: DeliveryPolicy) -> Trigger {
    Trigger { delivery: policy, ..trigger }
}

fn seconds(retry: u32, seconds: u64) -> DeliveryPolicy {
    let backoff_delay = Duration::from_secs(seconds);
    DeliveryPolicy {
        retry,
        backoff_policy: BackoffPolicy::Linear,
        backoff_delay,
        ..DeliveryPolicy::default()
    }
}

/// A trigger that wants none of the tests' events.
fn narrow(of: &str) -> Trigger {
    let only = Expression::Exact([("type".to_owned(), "other".to_owned())].into());
    Trigger { filter: Arc::new(Filter::compile(&only).unwrap()), ..trigger(of) }
}

fn dead_letters(log: &MemoryLog) -> Vec<Record> {
    log.records(&TopicName::new("knative-broker-default-main_dead-letter"))
}

#[tokio::test(start_paused = true)]
async fn every_matching_trigger_gets_the_event_once() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let triggers = vec![trigger("a"), trigger("b"), narrow("other")];
    let world = World::start(&log, &http, vec![broker("main")], triggers).await;
    world.ready(&["a", "b", "other"]).await;
    for id in 0..100 {
        world.publish(event(&id.to_string())).await;
    }
    world.counted("a", "delivered", 100).await;
    world.counted("b", "delivered", 100).await;
    assert_eq!(http.ids().len(), 200);
    assert_eq!(world.counter("other", "matched"), 0);
    assert_eq!(world.status("a").backlog, Some(0));
    world.stop().await;
    assert_eq!(
        log.saved(&TopicName::new("knative-broker-default-main"), 0).head,
        100,
        "all of it is settled"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_made_again_after_its_wait() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[503, 404, 200]));
    let world =
        World::start(&log, &http, vec![broker("main")], vec![with_policy(trigger("a"), seconds(5, 2))]).await;
    world.ready(&["a"]).await;
    let start = tokio::time::Instant::now();
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    assert!(start.elapsed() >= Duration::from_secs(2), "two waits of at least one second");
    assert_eq!(http.ids(), ["1", "1", "1"]);
    let attempts: Vec<u32> = http.sent.lock().unwrap().iter().map(|delivery| delivery.attempts).collect();
    assert_eq!(attempts, [0, 1, 2]);
    assert_eq!((world.counter("a", "failed attempts"), world.counter("a", "retried")), (2, 2));
    assert!(world.status("a").last_error.is_some());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_spent_in_the_retry_topic_and_survives_a_restart() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[503, 200]));
    let triggers = || vec![with_policy(trigger("a"), seconds(5, 60))];
    let world = World::start(&log, &http, vec![broker("main")], triggers()).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    let retries = TopicName::new("knative-broker-default-main_retry");
    until("it waits in the retry topic", || log.records(&retries).len() == 1).await;
    let origin = log.records(&retries)[0].envelope.origin.clone().unwrap();
    assert!(matches!(origin.step, Step::Retry { attempts: 1, .. }), "{origin:?}");
    world.stop().await;

    let again = World::start(&log, &http, vec![broker("main")], triggers()).await;
    again.counted("a", "delivered", 1).await;
    assert_eq!(http.sent.lock().unwrap().last().unwrap().attempts, 1, "the count goes on");
    assert_eq!(http.ids(), ["1", "1"]);
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_sink_takes_what_the_subscriber_does_not() {
    let sink = Destination::Uri("http://sink.example/".into());
    let http = FakeSender::new(|delivery| match &delivery.destination {
        Destination::Uri(uri) if uri.contains("sink") => response(202),
        _ => Outcome::Response(Response {
            status: 422,
            retry_after: None,
            reply: Ok(None),
            body: Bytes::from_static(b"no"),
        }),
    });
    let log = MemoryLog::new();
    let policy = DeliveryPolicy { dead_letter_sink: Some(sink), ..DeliveryPolicy::default() };
    let world =
        World::start(&log, &http, vec![broker("main")], vec![with_policy(trigger("a"), policy)]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "taken by dead letter sink", 1).await;
    let sent = http.sent.lock().unwrap().last().unwrap().event.clone();
    let text = |name: &str| sent.attribute(name).map(|value| value.text.to_owned());
    assert_eq!(text("knativeerrordest").as_deref(), Some("http://a.example/"));
    assert_eq!(text("knativeerrorcode").as_deref(), Some("422"));
    assert_eq!(text("knativeerrordata").as_deref(), Some("bm8="));
    assert!(dead_letters(&log).is_empty());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_sink_the_event_is_kept() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[500]));
    let world =
        World::start(&log, &http, vec![broker("main")], vec![with_policy(trigger("a"), seconds(2, 1))]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "kept as dead letters", 1).await;
    let [letter] = &dead_letters(&log)[..] else { panic!("one dead letter") };
    assert_eq!(letter.event.as_ref().unwrap().id(), "1");
    let origin = letter.envelope.origin.as_ref().unwrap();
    let Step::DeadLetter { attempts: 3, failure } = &origin.step else { panic!("{origin:?}") };
    assert_eq!((failure.reason, failure.status), (DeadLetterReason::Exhausted, 500));
    assert_eq!((&*origin.trigger, origin.partition, origin.offset), ("default/a", 0, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_an_event_of_the_broker_with_one_hop_less() {
    let reply = event_with("reply", &[("subject", "done")]);
    let http = FakeSender::new(move |delivery| {
        let reply = (delivery.event.id() == "1").then(|| reply.clone());
        Outcome::Response(Response { status: 200, retry_after: None, reply: Ok(reply), body: Bytes::new() })
    });
    let log = MemoryLog::new();
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 2).await;
    assert_eq!(http.ids(), ["1", "reply"]);
    assert_eq!(world.counter("a", "replies"), 1);
    let records = log.records(&TopicName::new("knative-broker-default-main"));
    assert_eq!(records[1].envelope.hops, 31);
    assert!(matches!(records[1].envelope.origin.as_ref().unwrap().step, Step::Reply));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_the_log_refuses_is_stored_later_without_another_post() {
    let http = FakeSender::new(|delivery| {
        let reply = (delivery.event.id() == "1").then(|| event("reply"));
        Outcome::Response(Response { status: 200, retry_after: None, reply: Ok(reply), body: Bytes::new() })
    });
    let log = MemoryLog::new();
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    log.refuse(vec![AppendError::Unknown("gone".into()), AppendError::Busy, AppendError::Busy]);
    world.counted("a", "delivered", 2).await;
    assert_eq!(http.ids().iter().filter(|id| *id == "1").count(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_record_is_one_dead_letter_and_no_obstacle() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a"), trigger("b")]).await;
    world.ready(&["a", "b"]).await;
    let topic = TopicName::new("knative-broker-default-main");
    log.put(&topic, 0, Content::Undecodable { reason: "damaged".into(), bytes: Bytes::from_static(b"?") });
    world.publish(event("1")).await;
    world.counted("b", "delivered", 1).await;
    until("it is kept", || dead_letters(&log).len() == 1).await;
    let origin = dead_letters(&log)[0].envelope.origin.clone().unwrap();
    assert_eq!((&*origin.trigger, origin.offset), ("", 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_panics_costs_an_attempt_and_not_the_event() {
    let panics = std::sync::atomic::AtomicBool::new(true);
    let http = FakeSender::new(move |_| {
        assert!(!panics.swap(false, std::sync::atomic::Ordering::SeqCst), "a defect");
        response(204)
    });
    let log = MemoryLog::new();
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a")]).await;
    world.ready(&["a"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    assert_eq!(world.counter("a", "failed attempts"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_ordered_trigger_waits_for_each_end() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[503, 204]));
    let ordered = Trigger { order: Order::Ordered, ..trigger("a") };
    let world = World::start(&log, &http, vec![broker("main")], vec![ordered]).await;
    world.ready(&["a"]).await;
    for id in ["1", "2", "3"] {
        world.publish(event(id)).await;
    }
    world.counted("a", "delivered", 3).await;
    assert_eq!(http.ids(), ["1", "1", "2", "3"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn metrics_equal_the_book() {
    let (log, http) = (MemoryLog::new(), FakeSender::statuses(&[503, 204]));
    let world = World::start(&log, &http, vec![broker("main")], vec![trigger("a"), narrow("idle")]).await;
    world.ready(&["a", "idle"]).await;
    world.publish(event("1")).await;
    world.counted("a", "delivered", 1).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    for line in [
        r#"pelton_trigger_matched_total{broker="main",namespace="default",trigger="a"} 1"#,
        r#"pelton_trigger_ended_total{broker="main",end="delivered",namespace="default",trigger="a"} 1"#,
        r#"pelton_trigger_ended_total{broker="main",end="kept",namespace="default",trigger="a"} 0"#,
        r#"pelton_trigger_failed_attempts_total{broker="main",namespace="default",trigger="a"} 1"#,
        r#"pelton_trigger_backlog_events{broker="main",namespace="default",trigger="a"} 0"#,
        r#"pelton_delivery_attempts_total{broker="main",namespace="default",outcome="2xx"} 1"#,
        r#"pelton_delivery_attempts_total{broker="main",namespace="default",outcome="5xx"} 1"#,
        r#"pelton_delivery_end_to_end_seconds_count{broker="main",namespace="default"} 1"#,
        r#"pelton_delivery_seconds_count{broker="main",namespace="default"} 2"#,
        "pelton_in_flight_deliveries 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("idle"), "a trigger that never matched has no series");
    world.stop().await;
}
