//! What goes through the gateway: bodies, protocols, times.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pelton_tests::pelton::Pelton;
use pelton_tests::{eventually, http};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fixture::{Client, Service, site, text, who};

/// Bytes of a body that fits into no buffer on its way.
const LARGE: usize = 20 << 20;

/// A connection to the gateway, byte by byte.
struct Raw(TcpStream);

impl Raw {
    async fn open(pelton: &Pelton) -> Self {
        Self(TcpStream::connect(pelton.gateway).await.unwrap())
    }

    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads until `end` has come.
    async fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(end) {
            let count = self.0.read_buf(&mut read).await.unwrap();
            assert!(count > 0, "the connection ended without {end:?}: {}", String::from_utf8_lossy(&read));
        }
        String::from_utf8(read).unwrap()
    }

    async fn read_all(&mut self) -> String {
        let mut read = Vec::new();
        // Cut off with a reset or not.
        let _ = self.0.read_to_end(&mut read).await;
        String::from_utf8(read).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_piece_by_piece() {
    let site = site(&[Service::new("a").yaml()]);
    let pelton = site.start().await;
    let mut client = Raw::open(&pelton).await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: a.default.localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.send("5\r\nfirst\r\n").await;
    let head = client.read_to("first").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client.send("6\r\nsecond\r\n").await;
    client.read_to("second").await;
    client.send("0\r\n\r\n").await;
    client.read_to("0\r\n\r\n").await;
    // The connection goes on.
    client.send("GET / HTTP/1.1\r\nhost: a.default.localhost\r\n\r\n").await;
    client.read_to("a-00001").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_changes_its_protocol_goes_both_ways_until_one_closes() {
    let site = site(&[Service::new("a").spec("containerConcurrency", 1).scale(1, 1).yaml()]);
    let pelton = site.start().await;
    let mut client = Raw::open(&pelton).await;
    client
        .send("GET /chat HTTP/1.1\r\nhost: a.default.localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let head = client.read_to("\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("upgrade: websocket"),
        "{head}"
    );
    for word in ["ping", "pong"] {
        client.send(word).await;
        assert_eq!(client.read_to(word).await, word);
    }
    client.0.shutdown().await.unwrap();
    assert_eq!(client.read_all().await, "");
    // It had the only place, which is free again.
    assert_eq!(who(&pelton, "a.default.localhost", "/").await["at_once"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_gives_its_place_back() {
    let site = site(&[Service::new("a").spec("containerConcurrency", 1).scale(1, 1).yaml()]);
    let pelton = site.start().await;
    who(&pelton, "a.default.localhost", "/").await;
    let mut patient = Client::new(&pelton, "a.default.localhost").await;
    for path in ["/", "/begin"] {
        let has_come = site.data().join(format!("came-to{}", path.replace('/', "-")));
        let until = if path == "/" { "&until=/nowhere" } else { "" };
        let mut hasty = Raw::open(&pelton).await;
        hasty.send(&format!("GET {path}?tell={}{until} HTTP/1.1\r\n", has_come.display())).await;
        hasty.send("host: a.default.localhost\r\n\r\n").await;
        eventually("it has the only place", async || has_come.exists().then_some(())).await;
        drop(hasty);
        assert_eq!(patient.who("/").await["at_once"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_replicas_speak_http_1_or_2_as_they_like() {
    let one = Service::new("one");
    let two = Service::new("two").env("H2C", "1").container("ports", json!([{"name": "h2c"}]));
    let site = site(&[one.yaml(), two.yaml()]);
    let pelton = site.start().await;
    assert_eq!(who(&pelton, "one.default.localhost", "/").await["version"], "HTTP/1.1");
    assert_eq!(who(&pelton, "two.default.localhost", "/").await["version"], "HTTP/2.0");

    let stream = TcpStream::connect(pelton.gateway).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (name, version) in [("one", "HTTP/1.1"), ("two", "HTTP/2.0")] {
        let request =
            hyper::Request::get(format!("http://{name}.default.localhost/")).body(Empty::<Bytes>::new());
        let answer = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.version(), hyper::Version::HTTP_2);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&answer["service"], &answer["version"]), (&json!(name), &json!(version)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_come_whole() {
    let site = site(&[Service::new("a").yaml()]);
    let pelton = site.start().await;
    let body: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
    let headers = [("host", "a.default.localhost"), ("expect", "100-continue")];
    let answer = http::request(pelton.gateway, hyper::Method::PUT, "/echo", &headers, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body == body, "{} of {LARGE} bytes", answer.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_long_is_refused_before_the_first_byte_and_cut_off_after_it() {
    let total = Service::new("total").spec("timeoutSeconds", 1);
    let start = Service::new("start").spec("timeoutSeconds", 60).spec("responseStartTimeoutSeconds", 1);
    let idle = Service::new("idle").spec("timeoutSeconds", 60).spec("idleTimeoutSeconds", 1);
    let site = site(&[total.yaml(), start.yaml(), idle.yaml()]);
    let pelton = site.start().await;
    for name in ["total", "start", "idle"] {
        let host = format!("{name}.default.localhost");
        // A start is no slowness; and of the total time it takes its part.
        eventually("it answers", async || {
            Client::new(&pelton, &host).await.get("/").await.status.is_success().then_some(())
        })
        .await;
    }
    for name in ["total", "start"] {
        let answer =
            Client::new(&pelton, &format!("{name}.default.localhost")).await.get("/?until=/nowhere").await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", text(&answer));
        assert_eq!(answer.json()["code"], "PEL-1806");
    }
    for name in ["total", "idle"] {
        let mut client = Raw::open(&pelton).await;
        client.send(&format!("GET /begin HTTP/1.1\r\nhost: {name}.default.localhost\r\n\r\n")).await;
        let head = client.read_to("beginning\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let rest = client.read_all().await;
        assert_eq!(rest, "", "{name}: no end, so that the client sees that it is cut off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_service_is_not_found() {
    let site = site(&[Service::new("a").asleep().yaml()]);
    let pelton = site.start().await;
    for host in ["b.default.localhost", "a.other.localhost", "example.com", "b-a.default.localhost"] {
        let answer = Client::new(&pelton, host).await.get("/").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host}");
        assert_eq!(answer.json()["code"], "PEL-1801");
    }
}
