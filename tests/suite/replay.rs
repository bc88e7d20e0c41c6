//! Replays: by time, by offset, while events flow.

use pelton_tests::pelton::Pelton;
use pelton_tests::subscriber::{Subscriber, now};
use pelton_tests::{eventually, http};

use super::{BROKER, send, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn replay_delivers_again_while_live_events_go_on() {
    let subscriber = Subscriber::start().await;
    let Some(site) = crate::site(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), ""))).await
    else {
        return;
    };
    let pelton = site.start().await;
    for number in 0..50 {
        send(&pelton, &number.to_string(), "test", &[]).await;
    }
    eventually("all are delivered", async || (subscriber.count() == 50).then_some(())).await;
    let (done, _, error) = pelton.tool(&["replay", "t", "--from", "earliest"]).await;
    assert!(done, "{error}");
    send(&pelton, "live", "test", &[]).await;
    eventually("all came once more, and the live one", async || (subscriber.count() == 101).then_some(()))
        .await;
    let count = |id: &str| subscriber.receipts().iter().filter(|receipt| receipt.id() == id).count();
    assert_eq!((count("0"), count("49"), count("live")), (2, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_begins_and_ends_at_offsets_and_times() {
    let subscriber = Subscriber::start().await;
    let yaml =
        BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "filter: {attributes: {type: test}}");
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.with("PELTON__LOG__DEFAULT_PARTITIONS", "1").start().await;
    for number in 0..10 {
        send(&pelton, &number.to_string(), if number == 5 { "other" } else { "test" }, &[]).await;
    }
    eventually("all that match are delivered", async || (subscriber.count() == 9).then_some(())).await;
    // Later by the clock than all before, by the milliseconds in which times are told.
    let last = millis();
    eventually("the clock has gone on", async || (millis() > last).then_some(())).await;
    for id in ["late-1", "late-2"] {
        send(&pelton, id, "test", &[]).await;
    }
    eventually("the late ones are delivered", async || (subscriber.count() == 11).then_some(())).await;

    let replayed = async |arguments: &[&str], expected: &[&str]| {
        let before = subscriber.count();
        let (done, out, error) = pelton.tool(&[&["replay", "t"], arguments].concat()).await;
        assert!(done, "{out}{error}");
        let count = before + expected.len();
        eventually("the replay is delivered", async || (subscriber.count() >= count).then_some(())).await;
        let mut ids: Vec<String> =
            subscriber.receipts()[before..].iter().map(|receipt| receipt.id().to_owned()).collect();
        ids.sort();
        assert_eq!(ids, expected, "{arguments:?}");
    };
    // What does not match is not replayed either.
    replayed(&["--from", "3", "--to", "7"], &["3", "4", "6"]).await;
    replayed(&["--from", "11"], &["late-2"]).await;
    let late = time_of(&pelton, "late-1").await;
    replayed(&["--from", &late], &["late-1", "late-2"]).await;
    replayed(&["--from", "8", "--to", &late], &["8", "9"]).await;
    eventually("nothing is owed", async || (pelton.backlog("t").await == Some(0)).then_some(())).await;
    assert_eq!(subscriber.count(), 11 + 8, "and nothing else came");
}

/// Milliseconds of the clock.
fn millis() -> u128 {
    now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970").as_millis()
}

/// When an event was accepted, as `tail` shows it.
async fn time_of(pelton: &Pelton, id: &str) -> String {
    let path = "/api/v1/brokers/default/b/tail?from=earliest&follow=false";
    let answer = http::get(pelton.admin, path).await;
    let lines = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let line = lines.find(|line| line["event"]["id"] == id).expect("it is in the log");
    line["time"].as_str().unwrap().to_owned()
}
