//! `kill -9` at random moments under load. No accepted event is lost, order holds, and what comes twice is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use pelton_tests::account::{Balance, balance};
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::producer::{Load, Sent};
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};
use pelton_tests::{eventually, http};

use crate::{BROKER, setting, trigger};

/// Accepted events of each cycle, at least.
const ACCEPTED_MIN: u64 = 1_000;
/// Accepted events that the ordered trigger still owes when the process is killed, at least.
const UNSETTLED_MIN: u64 = 100;
/// Triggers of the load, by path; every one gets every event.
const TRIGGERS: [&str; 7] = ["/unordered", "/ordered", "/keyed", "/flaky", "/resets", "/busy", "/hangs"];
/// Retries of the event that nobody takes; it must become a dead letter after exactly that many.
const STUBBORN_RETRIES: usize = 60;
/// The window of a lane, as set below; nothing repeats more per crash and lane.
const WINDOW: u64 = 64;
/// Partitions of the broker.
const PARTITIONS: u64 = 10;

fn behaviour(receipt: &Receipt) -> Behaviour {
    match receipt.path.as_str() {
        "/ordered" => Behaviour::Slow(204, Duration::from_millis(fastrand::u64(1..8))),
        "/keyed" => Behaviour::Slow(204, Duration::from_millis(fastrand::u64(0..3))),
        "/flaky" if fastrand::u8(..) < 40 => Behaviour::Status(500),
        "/resets" if fastrand::u8(..) < 25 => Behaviour::Reset,
        "/busy" if fastrand::u8(..) < 25 => {
            Behaviour::Answer(429, vec![("retry-after", "0".to_owned())], bytes::Bytes::new())
        }
        "/hangs" if fastrand::u8(..) < 4 => Behaviour::Hang,
        "/stubborn" => Behaviour::Status(500),
        _ => Behaviour::Status(204),
    }
}

fn site(subscriber: &Subscriber) -> Site {
    let retry = "retry: 50, backoffPolicy: linear, backoffDelay: PT0.05S, timeout: PT1S";
    let mut yaml = BROKER.to_owned();
    for path in TRIGGERS {
        let order = match path {
            "/ordered" => "ordered",
            "/keyed" => "keyed",
            _ => "unordered",
        };
        yaml += &trigger(&path[1..], "load", &subscriber.url(path), order, retry);
    }
    let stubborn = format!("retry: {STUBBORN_RETRIES}, backoffPolicy: linear, backoffDelay: PT0.5S");
    yaml += &trigger("stubborn", "stubborn", &subscriber.url("/stubborn"), "ordered", &stubborn);
    Site::new(&yaml).with("PELTON__DISPATCH__LANE_WINDOW", &WINDOW.to_string())
}

/// One cycle: run, load, kill in the middle of it.
async fn cycle(number: u64, site: &Site, subscriber: &Subscriber, book: &mut Sent) -> Pelton {
    let pelton = site.start().await;
    let load = Load { event_type: "load".to_owned(), connections: 16, ..Load::new(format!("c{number}")) };
    let running = load.start(pelton.ingress);
    // What the ordered trigger still owes, counted from outside: accepted less received.
    let owed = |accepted: u64| {
        (book.accepted.len() as u64 + accepted)
            .saturating_sub(subscriber.receipts_at("/ordered").len() as u64)
    };
    eventually("enough is accepted and enough of it is owed", async || {
        let accepted = running.accepted();
        (accepted >= ACCEPTED_MIN && owed(accepted) >= 2 * UNSETTLED_MIN).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..50_000))).await;
    pelton.kill().await;
    let sent = running.stop().await;
    let (accepted, owed) = (sent.accepted.len() as u64, owed(sent.accepted.len() as u64));
    assert!(accepted >= ACCEPTED_MIN, "cycle {number}: only {accepted} accepted");
    assert!(owed >= UNSETTLED_MIN, "cycle {number}: only {owed} unsettled at the kill");
    book.accepted.extend(sent.accepted);
    book.unknown.extend(sent.unknown);
    assert!(
        sent.refused.keys().all(|status| [429, 503].contains(status)),
        "cycle {number}: {:?}",
        sent.refused
    );
    site.start().await
}

/// Waits until nothing is owed: as long as it takes, but not without progress.
async fn settled(pelton: &Pelton) {
    let mut least = u64::MAX;
    loop {
        let left = eventually("the backlog shrinks", async || {
            let mut left = 0;
            for path in TRIGGERS {
                left += pelton.backlog(&path[1..]).await?;
            }
            (left < least).then_some(left)
        })
        .await;
        if left == 0 {
            return;
        }
        least = left;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_event_is_lost_when_the_process_is_killed() {
    let crashes = setting("PELTON_CRASHES", 50);
    let subscriber = Subscriber::scripted(behaviour).await;
    let site = site(&subscriber);
    let mut book = Sent::default();

    let pelton = site.start().await;
    let stubborn =
        [("ce-specversion", "1.0"), ("ce-id", "stubborn"), ("ce-source", "/test"), ("ce-type", "stubborn")];
    assert_eq!(http::request(pelton.ingress, Method::POST, "/default/b", &stubborn, "").await.status, 202);
    pelton.kill().await;

    for number in 0..crashes {
        let pelton = cycle(number, &site, &subscriber, &mut book).await;
        if number + 1 < crashes {
            pelton.kill().await;
        } else {
            subscriber.behave(|receipt| match receipt.path.as_str() {
                "/stubborn" => Behaviour::Status(500),
                _ => Behaviour::Status(204),
            });
            settled(&pelton).await;
            stubborn_is_kept_once(&pelton, &subscriber, crashes).await;
            assert!(pelton.stop().await, "it stops gracefully");
        }
    }
    judge(&subscriber, &book, crashes);
}

fn judge(subscriber: &Subscriber, book: &Sent, crashes: u64) {
    let mut report = BTreeMap::new();
    for path in TRIGGERS {
        let receipts = subscriber.receipts_at(path);
        let Balance { lost, invented, repeated, out_of_order } =
            balance(&book.accepted, &book.unknown, &receipts);
        assert!(lost.is_empty(), "{path}: {} lost, such as {:?}", lost.len(), lost.first());
        assert!(invented.is_empty(), "{path}: {invented:?} were never sent");
        if ["/ordered", "/keyed"].contains(&path) {
            assert!(out_of_order.is_empty(), "{path}: out of order: {:?}", out_of_order.first());
        }
        // Two kills a cycle; a hung delivery is a time-out, after which a repetition is nobody's fault.
        let bound = 2 * crashes * PARTITIONS * WINDOW;
        assert!(
            repeated <= bound,
            "{path}: {repeated} repeated, more than a window per lane and crash ({bound})"
        );
        report.insert(path, repeated);
    }
    let repeated =
        report.iter().map(|(path, times)| format!("{path} {times}")).collect::<Vec<_>>().join(", ");
    eprintln!(
        "{crashes} cycles, {} events accepted and none lost, {} without an answer; deliveries made again: {repeated}",
        book.accepted.len(),
        book.unknown.len()
    );
}

/// Its attempts were counted across all crashes, and it has exactly one end.
async fn stubborn_is_kept_once(pelton: &Pelton, subscriber: &Subscriber, crashes: u64) {
    eventually("the event that nobody takes is kept", async || {
        let (done, out, _) = pelton.tool(&["dead-letters", "list", "b", "-o", "json"]).await;
        let listed: serde_json::Value = serde_json::from_str(&out).ok()?;
        let items = listed.as_array().cloned().or_else(|| listed["items"].as_array().cloned())?;
        (done && items.len() == 1).then_some(())
    })
    .await;
    let attempts = subscriber.receipts_at("/stubborn").len();
    let most = 1 + STUBBORN_RETRIES + 2 * usize::try_from(crashes).unwrap() + 1;
    assert!(attempts > STUBBORN_RETRIES, "only {attempts} attempts were made");
    assert!(attempts <= most, "{attempts} attempts: a crash made it forget how many there were");
}
