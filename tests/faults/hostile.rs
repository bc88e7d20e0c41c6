//! Subscribers that hang, dribble, reset and never stop talking: the others do not notice.

use std::time::Duration;

use hyper::Method;
use pelton_tests::pelton::Site;
use pelton_tests::subscriber::{Behaviour, Subscriber};
use pelton_tests::{eventually, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{BROKER, trigger};

/// A server that speaks raw TCP: reads a little, then does something no client should depend on.
async fn raw(script: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                match script {
                    "endless body" => {
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                        while stream.write_all(b"4000\r\n").await.is_ok()
                            && stream.write_all(&[b'x'; 0x4000]).await.is_ok()
                            && stream.write_all(b"\r\n").await.is_ok()
                        {}
                    }
                    "one byte a second" => {
                        for byte in b"HTTP/1.1 204 No Content\r\nx-slow: " {
                            let _ = stream.write_all(&[*byte]).await;
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                    }
                    "not http" => {
                        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
                    }
                    "half a response" => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
                    }
                    _ => std::future::pending().await,
                }
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_subscribers_slow_nobody_and_end_as_dead_letters() {
    const EVENTS: usize = 500;
    let healthy = Subscriber::start().await;
    let resetting = Subscriber::scripted(|_| Behaviour::Reset).await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let mut hostile = vec![resetting.url("/"), closed];
    for script in ["endless body", "one byte a second", "not http", "half a response", "silence"] {
        hostile.push(raw(script).await);
    }
    let mut yaml = BROKER.to_owned();
    yaml += &trigger("healthy", "load", &healthy.url("/healthy"), "unordered", "");
    for (index, url) in hostile.iter().enumerate() {
        yaml += &trigger(
            &format!("hostile-{index}"),
            "load",
            url,
            "unordered",
            "retry: 1, backoffDelay: PT0.01S, timeout: PT0.3S",
        );
    }
    // Two partitions: each hostile lane then has half of the events, so that probing them ends within the test.
    let site = Site::new(&yaml).with("PELTON__LOG__DEFAULT_PARTITIONS", "2");
    let pelton = site.start().await;
    let mut connection = http::Connection::open(pelton.ingress).await.unwrap();
    for number in 0..EVENTS {
        let id = number.to_string();
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "/test"), ("ce-type", "load")];
        let answer = connection.request(Method::POST, "/default/b", &headers, "data").await.unwrap();
        assert_eq!(answer.status, 202);
    }
    eventually("the healthy subscriber has everything", async || (healthy.count() == EVENTS).then_some(()))
        .await;
    eventually("every hostile one has dead letters", async || {
        for index in 0..hostile.len() {
            if pelton.ended(&format!("hostile-{index}"), "kept").await == 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", pelton.id())).unwrap().count();
    assert!(threads < 64, "{threads} threads");
}
