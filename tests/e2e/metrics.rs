//! After a run each counter equals the account book.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::Method;
use pelton_tests::pelton::Site;
use pelton_tests::producer::Load;
use pelton_tests::subscriber::{Behaviour, Subscriber};
use pelton_tests::{eventually, http};

use crate::{BROKER, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn each_counter_equals_the_account_book() {
    const EVENTS: u64 = 1_000;
    let subscriber = Subscriber::scripted(|receipt| match receipt.path.as_str() {
        "/rejects" => Behaviour::Status(400),
        "/sunk" => Behaviour::Status(422),
        "/flaky" if fastrand::u8(..) < 60 => Behaviour::Status(500),
        _ => Behaviour::Status(204),
    })
    .await;
    let sink = format!("delivery: {{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}", subscriber.url("/sink"));
    let yaml = BROKER.to_owned()
        + &trigger("takes", "", &subscriber.url("/takes"), "")
        + &trigger("rejects", "", &subscriber.url("/rejects"), "")
        + &trigger("sunk", "", &subscriber.url("/sunk"), &sink)
        + &trigger(
            "flaky",
            "",
            &subscriber.url("/flaky"),
            "delivery: {retry: 50, backoffPolicy: linear, backoffDelay: PT0.01S}",
        )
        + &trigger("none", "", &subscriber.url("/none"), "filter: {attributes: {type: other}}");
    let pelton = Site::new(&yaml).start().await;
    let load = Load {
        broker: "default/b".to_owned(),
        event_type: "test".to_owned(),
        connections: 8,
        keys: 3,
        name: "k".to_owned(),
        accepted_max: EVENTS,
    };
    let sent = load.run(pelton.ingress, Arc::new(AtomicBool::new(false))).await;
    for _ in 0..7 {
        assert_eq!(
            http::request(pelton.ingress, Method::POST, "/default/b", &[], "no event").await.status,
            400
        );
    }
    let accepted = sent.accepted.len() as f64;
    let metric = async |name: &str, trigger: &str| {
        let label = format!("trigger=\"{trigger}\"");
        pelton
            .metric(
                name,
                if trigger.is_empty() { &[] } else { std::slice::from_ref(&label) }
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .as_slice(),
            )
            .await
    };
    eventually("everything has its end", async || {
        let ends = metric("pelton_delivered_total", "takes").await
            + metric("pelton_kept_total", "rejects").await
            + metric("pelton_dead_lettered_total", "sunk").await
            + metric("pelton_delivered_total", "flaky").await;
        (ends == 4.0 * accepted).then_some(())
    })
    .await;
    assert_eq!(pelton.metric("pelton_accepted_total", &[]).await, accepted);
    assert_eq!(pelton.metric("pelton_refused_total", &[]).await, 7.0);
    for name in ["takes", "rejects", "sunk", "flaky"] {
        assert_eq!(metric("pelton_matched_total", name).await, accepted, "{name}");
        assert_eq!(metric("pelton_backlog_events", name).await, 0.0, "{name}");
    }
    assert_eq!(metric("pelton_matched_total", "none").await, 0.0);
    let failed =
        subscriber.receipts_at("/flaky").iter().filter(|receipt| receipt.answered == 500).count() as f64;
    assert_eq!(metric("pelton_retried_total", "flaky").await, failed);
    assert_eq!(subscriber.receipts_at("/sink").len() as f64, accepted);
}
