//! Retries, dead letters, replies, probing and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pelton_tests::eventually;
use pelton_tests::subscriber::{Behaviour, Subscriber};
use tokio::time::Instant;

use super::{BROKER, send, trigger};

/// Fails the first `failures` requests, then succeeds.
fn fails_first(
    failures: usize,
    status: u16,
) -> impl Fn(&pelton_tests::subscriber::Receipt) -> Behaviour + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |_| Behaviour::Status(if seen.fetch_add(1, Ordering::SeqCst) < failures { status } else { 204 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_tried_again_until_it_succeeds() {
    let subscriber = Subscriber::scripted(fails_first(3, 500)).await;
    let yaml = BROKER.to_owned()
        + &trigger("t", "", &subscriber.url("/"), "delivery: {retry: 5, backoffDelay: PT0.02S}");
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[]).await;
    eventually("the fourth attempt succeeds", async || (subscriber.count() == 4).then_some(())).await;
    eventually("it is counted", async || (pelton.ended("t", "delivered").await == 1).then_some(())).await;
    assert_eq!(pelton.ended("t", "kept").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_heeded() {
    let subscriber = Subscriber::scripted({
        let seen = AtomicUsize::new(0);
        move |_| match seen.fetch_add(1, Ordering::SeqCst) {
            0 => Behaviour::Answer(429, vec![("retry-after", "2".to_owned())], Bytes::new()),
            _ => Behaviour::Status(204),
        }
    })
    .await;
    let yaml = BROKER.to_owned()
        + &trigger("t", "", &subscriber.url("/"), "delivery: {retry: 1, backoffDelay: PT0.01S}");
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    let start = Instant::now();
    send(&pelton, "1", "test", &[]).await;
    eventually("the second attempt", async || (subscriber.count() == 2).then_some(())).await;
    assert!(start.elapsed() >= Duration::from_secs(2), "it came {:?} after the first", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_letter_sink_gets_the_event_and_why() {
    let sink = Subscriber::start().await;
    let subscriber = Subscriber::scripted(|receipt| match receipt.path.as_str() {
        "/body" => Behaviour::Answer(422, Vec::new(), Bytes::from_static(b"no thanks")),
        _ => Behaviour::Status(422),
    })
    .await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let mut yaml = BROKER.to_owned();
    for (name, url) in
        [("body", subscriber.url("/body")), ("plain", subscriber.url("/plain")), ("closed", closed.clone())]
    {
        let spec =
            format!("delivery: {{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}", sink.url(&format!("/{name}")));
        yaml += &trigger(name, "", &url, &spec);
    }
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[("ce-subject", "s")]).await;
    eventually("three dead letters", async || (sink.count() == 3).then_some(())).await;

    let letter =
        |path: &str| sink.receipts_at(path).into_iter().next().unwrap_or_else(|| panic!("none at {path}"));
    let body = letter("/body");
    assert_eq!(
        (body.id(), body.header("ce-subject"), &body.body[..]),
        ("1", "s", &b"data"[..]),
        "the event as it was"
    );
    assert_eq!(body.header("ce-knativeerrordest"), subscriber.url("/body"));
    assert_eq!(body.header("ce-knativeerrorcode"), "422");
    assert_eq!(body.header("ce-knativeerrordata"), "bm8gdGhhbmtz");
    let plain = letter("/plain");
    assert_eq!((plain.header("ce-knativeerrorcode"), plain.header("ce-knativeerrordata")), ("422", ""));
    let unreachable = letter("/closed");
    assert_eq!(unreachable.header("ce-knativeerrordest"), closed);
    assert_eq!(unreachable.header("ce-knativeerrorcode"), "", "there was no response");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_no_sink_takes_is_kept_listed_replayed_and_discarded() {
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(400)).await;
    let sink = Subscriber::scripted(|_| Behaviour::Status(400)).await;
    let spec = format!("delivery: {{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}", sink.url("/"));
    let yaml = BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), &spec);
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    for id in ["1", "2"] {
        send(&pelton, id, "test", &[]).await;
    }
    let list = async || -> Vec<serde_json::Value> {
        let (done, out, error) = pelton.tool(&["dead-letters", "list", "b", "-o", "json"]).await;
        assert!(done, "{error}");
        let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
        listed.as_array().cloned().unwrap_or_else(|| listed["items"].as_array().cloned().unwrap_or_default())
    };
    eventually("both are kept", async || (list().await.len() == 2).then_some(())).await;

    subscriber.behave(|_| Behaviour::Status(204));
    let letters = list().await;
    let handle = |letter: &serde_json::Value| letter["id"].as_str().unwrap().to_owned();
    let (done, out, error) = pelton.tool(&["dead-letters", "show", "b", &handle(&letters[0])]).await;
    assert!(done && out.contains("rejected") && out.contains("400"), "{out}{error}");
    let (done, _, error) = pelton.tool(&["dead-letters", "replay", "b", &handle(&letters[0])]).await;
    assert!(done, "{error}");
    eventually("the replayed one is delivered", async || (subscriber.count() == 3).then_some(())).await;
    let (done, _, error) = pelton.tool(&["dead-letters", "discard", "b", &handle(&letters[1])]).await;
    assert!(done, "{error}");
    eventually("none is left", async || list().await.is_empty().then_some(())).await;
    assert_eq!(subscriber.count(), 3, "the discarded one is not delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_goes_back_into_the_broker_and_loops_end() {
    let reply = |type_: &str, id: &str| {
        let headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", id.to_owned()),
            ("ce-source", "/reply".to_owned()),
            ("ce-type", type_.to_owned()),
            ("content-type", "text/plain".to_owned()),
        ];
        Behaviour::Answer(200, headers, Bytes::from_static(b"answer"))
    };
    let subscriber = Subscriber::scripted(move |receipt| match receipt.path.as_str() {
        "/ask" => reply("answer", "a1"),
        "/loop" => reply("loop", receipt.id()),
        _ => Behaviour::Status(204),
    })
    .await;
    let filter = |type_: &str| format!("filter: {{attributes: {{type: {type_}}}}}");
    let yaml = BROKER.to_owned()
        + &trigger("ask", "", &subscriber.url("/ask"), &filter("question"))
        + &trigger("answers", "", &subscriber.url("/answers"), &filter("answer"))
        + &trigger("loops", "", &subscriber.url("/loop"), &filter("loop"));
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    send(&pelton, "q1", "question", &[]).await;
    eventually("the reply is delivered", async || {
        (subscriber.receipts_at("/answers").len() == 1).then_some(())
    })
    .await;
    let answer = &subscriber.receipts_at("/answers")[0];
    assert_eq!((answer.id(), answer.header("ce-source"), &answer.body[..]), ("a1", "/reply", &b"answer"[..]));

    send(&pelton, "round", "loop", &[("ce-knativebrokerttl", "5")]).await;
    eventually("the loop is cut", async || (pelton.ended("loops", "kept").await == 1).then_some(())).await;
    assert_eq!(subscriber.receipts_at("/loop").len(), 5, "five hops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_subscriber_is_probed_not_hammered() {
    const EVENTS: usize = 200;
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(503)).await;
    let yaml = BROKER.to_owned()
        + &trigger(
            "t",
            "",
            &subscriber.url("/"),
            "delivery: {retry: 1000, backoffPolicy: linear, backoffDelay: PT0.2S}",
        );
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.with("PELTON__LOG__DEFAULT_PARTITIONS", "1").start().await;
    for number in 0..EVENTS {
        send(&pelton, &number.to_string(), "test", &[]).await;
    }
    let waiting = async || (pelton.backlog("t").await == Some(EVENTS as u64)).then_some(());
    eventually("all events wait", waiting).await;
    eventually("it is probed with one event at a time", async || {
        let receipts = subscriber.receipts();
        let last: std::collections::HashSet<&str> = receipts.iter().rev().take(5).map(|r| r.id()).collect();
        (receipts.len() >= 25 && last.len() == 1).then_some(())
    })
    .await;
    let tried: std::collections::HashSet<String> =
        subscriber.receipts().iter().map(|receipt| receipt.id().to_owned()).collect();
    assert!(tried.len() < EVENTS / 2, "{} of {EVENTS} events were tried", tried.len());
    subscriber.behave(|_| Behaviour::Status(204));
    eventually("all arrive", async || {
        let done: std::collections::HashSet<String> = subscriber
            .receipts()
            .iter()
            .filter(|receipt| receipt.answered == 204)
            .map(|receipt| receipt.id().to_owned())
            .collect();
        (done.len() == EVENTS).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_far_away_survives_a_restart() {
    let subscriber =
        Subscriber::scripted(|_| Behaviour::Answer(503, vec![("retry-after", "7".to_owned())], Bytes::new()))
            .await;
    let yaml = BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "delivery: {retry: 3}");
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[]).await;
    eventually("the first attempt fails", async || (subscriber.count() == 1).then_some(())).await;
    // What it waits for is stored before the end; of a kill that would be true a moment later only.
    assert!(pelton.stop().await);
    subscriber.behave(|_| Behaviour::Status(204));
    let start = Instant::now();
    let pelton = site.start().await;
    eventually("it is delivered", async || (subscriber.count() == 2).then_some(())).await;
    assert!(start.elapsed() > Duration::from_secs(1), "not before it is due");
    eventually("its end is durable", async || (pelton.ended("t", "delivered").await == 1).then_some(()))
        .await;
    pelton.kill().await;
    let pelton = site.start().await;
    eventually("nothing is owed", async || (pelton.backlog("t").await == Some(0)).then_some(())).await;
    assert_eq!(subscriber.count(), 2, "and it stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn max_concurrency_and_max_rate_hold() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let limited = limited_server(now.clone(), most.clone()).await;
    let subscriber = Subscriber::start().await;
    let yaml = BROKER.to_owned()
        + &trigger("narrow", "delivery.pelton.dev/max-concurrency: \"3\"", &limited, "")
        + &trigger("slow", "delivery.pelton.dev/max-rate: \"20\"", &subscriber.url("/slow"), "");
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    let start = Instant::now();
    for number in 0..60 {
        send(&pelton, &number.to_string(), "test", &[]).await;
    }
    eventually("the rate-limited one has all", async || (subscriber.count() == 60).then_some(())).await;
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "60 events at 20 a second, a burst aside: {:?}",
        start.elapsed()
    );
    eventually("the narrow one has all", async || {
        (pelton.ended("narrow", "delivered").await == 60).then_some(())
    })
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// A subscriber that counts how many requests it has at a time.
async fn limited_server(now: Arc<AtomicUsize>, most: Arc<AtomicUsize>) -> String {
    use hyper::service::service_fn;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (now, most) = (now.clone(), most.clone());
            let service = service_fn(move |_| {
                let (now, most) = (now.clone(), most.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(15)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(http_body_util::Full::new(
                        Bytes::new(),
                    )))
                }
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_that_are_not_decoded_pass_through_as_they_are() {
    const RAW: &str = "a%41b c";
    let subscriber = Subscriber::scripted(|receipt| match receipt.path.as_str() {
        "/ask" => {
            let headers = vec![
                ("ce-specversion", "1.0".to_owned()),
                ("ce-id", "reply".to_owned()),
                ("ce-source", "/subscriber".to_owned()),
                ("ce-type", "answer".to_owned()),
                ("ce-subject", receipt.header("ce-subject").to_owned()),
            ];
            Behaviour::Answer(200, headers, Bytes::new())
        }
        _ => Behaviour::Status(204),
    })
    .await;
    let filter = |type_: &str| format!("filter: {{attributes: {{type: {type_}}}}}");
    let yaml = BROKER.to_owned()
        + &trigger("ask", "", &subscriber.url("/ask"), &filter("question"))
        + &trigger("answers", "", &subscriber.url("/answers"), &filter("answer"));
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.with("PELTON__INGRESS__DECODE_PERCENT", "false").start().await;
    send(&pelton, "1", "question", &[("ce-subject", RAW)]).await;
    eventually("the reply is delivered", async || (subscriber.count() == 2).then_some(())).await;
    for path in ["/ask", "/answers"] {
        let receipts = subscriber.receipts_at(path);
        assert_eq!(receipts.first().map(|receipt| receipt.header("ce-subject")), Some(RAW), "{path}");
    }
}
