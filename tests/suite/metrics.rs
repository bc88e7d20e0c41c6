//! After a run each counter equals the account book.

use hyper::Method;
use pelton_tests::producer::Load;
use pelton_tests::subscriber::{Behaviour, Subscriber};
use pelton_tests::{eventually, http};

use super::{BROKER, trigger};

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
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    let load = Load { connections: 8, keys: 3, accepted_max: EVENTS, ..Load::new("k") };
    let sent = load.run(pelton.ingress).await;
    for _ in 0..7 {
        assert_eq!(
            http::request(pelton.ingress, Method::POST, "/default/b", &[], "no event").await.status,
            400
        );
    }
    let accepted = sent.accepted.len() as u64;
    let takers =
        [("takes", "delivered"), ("rejects", "kept"), ("sunk", "dead_letter_sink"), ("flaky", "delivered")];
    eventually("everything has its end", async || {
        let mut ends = 0;
        for (name, end) in takers {
            ends += pelton.ended(name, end).await;
        }
        (ends == 4 * accepted).then_some(())
    })
    .await;
    let of = async |name: &str, trigger: &str| {
        pelton.metric(name, &[&format!("trigger=\"{trigger}\"")]).await as u64
    };
    assert_eq!(pelton.metric("pelton_ingress_received_total", &[]).await as u64, accepted + 7);
    assert_eq!(pelton.metric("pelton_ingress_accepted_total", &[]).await as u64, accepted);
    assert_eq!(pelton.metric("pelton_ingress_refused_total", &[]).await, 7.0);
    for (name, _) in takers {
        assert_eq!(of("pelton_trigger_matched_total", name).await, accepted, "{name}");
        assert_eq!(of("pelton_trigger_ended_total", name).await, accepted, "{name} has one end for each");
        assert_eq!(of("pelton_trigger_backlog_events", name).await, 0, "{name}");
    }
    assert_eq!(of("pelton_trigger_matched_total", "none").await, 0);
    let failed =
        subscriber.receipts_at("/flaky").iter().filter(|receipt| receipt.answered == 500).count() as u64;
    assert_eq!(of("pelton_trigger_failed_attempts_total", "flaky").await, failed);
    assert_eq!(of("pelton_trigger_retries_total", "flaky").await, failed);
    assert_eq!(subscriber.receipts_at("/sink").len() as u64, accepted);
    let attempts = pelton.metric("pelton_delivery_attempts_total", &[]).await as usize;
    assert_eq!(attempts, subscriber.count(), "every attempt is counted");
}
