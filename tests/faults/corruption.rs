//! A damaged segment: named, counted, and what is damaged is never served.

use pelton_tests::pelton::Site;
use pelton_tests::subscriber::Subscriber;
use pelton_tests::{eventually, http};

use crate::{BROKER, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_reported_and_never_served() {
    const EVENTS: usize = 20;
    let subscriber = Subscriber::start().await;
    let yaml = BROKER.to_owned() + &trigger("t", "load", &subscriber.url("/"), "unordered", "");
    let site = Site::new(&yaml);
    let pelton = site.start().await;
    for number in 0..EVENTS {
        let id = format!("number-{number:03}");
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "/test"), ("ce-type", "load")];
        let answer = http::request(pelton.ingress, hyper::Method::POST, "/default/b", &headers, "data").await;
        assert_eq!(answer.status, 202);
    }
    eventually("all are delivered", async || (subscriber.count() == EVENTS).then_some(())).await;
    assert!(pelton.stop().await);

    let damaged = std::fs::read_dir(site.data().join("log/segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| damage(path, b"number-007"))
        .count();
    assert!(damaged > 0, "the record is found on the disk");

    let pelton = site.start().await;
    let (done, out, error) = pelton.tool(&["replay", "t", "--from", "earliest"]).await;
    assert!(done, "{out}{error}");
    eventually("the intact ones come once more", async || {
        (subscriber.count() == 2 * EVENTS - 1).then_some(())
    })
    .await;
    eventually("the damage is named", async || {
        let status = pelton.api("/api/v1/status").await;
        (!status["log"]["notices"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    assert!(pelton.metric("pelton_log_corrupt_total", &[]).await >= 1.0);
    let again = &subscriber.receipts()[EVENTS..];
    assert!(again.iter().all(|receipt| receipt.id() != "number-007" && receipt.body == "data"));
}

/// Flips one bit behind the first `needle` of a file; answers whether it is there.
fn damage(path: &std::path::Path, needle: &[u8]) -> bool {
    let mut bytes = std::fs::read(path).unwrap();
    let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) else { return false };
    bytes[at + needle.len() + 2] ^= 1;
    std::fs::write(path, bytes).unwrap();
    true
}
