//! The client against servers that do as they are told, byte by byte.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;

use futures_core::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::egress::Forbidden;
use crate::limits::ERROR_RESPONSE_BYTES_MAX;

const TIMEOUT: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn options() -> ClientOptions {
    ClientOptions {
        connections_per_origin: 2,
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        egress: EgressPolicy { allow: vec![], deny: vec![], private_networks: true, loopback: true },
    }
}

fn client() -> Client {
    Client::new(&options(), SystemResolver, None).unwrap()
}

/// A server that one test plays by hand.
struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/path?q=1", listener.local_addr().unwrap());
        Self { listener, url }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    async fn accept(&self) -> Peer {
        Peer(self.listener.accept().await.unwrap().0)
    }

    /// True if nobody is waiting to be accepted.
    async fn is_alone(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => false,
            () = tokio::task::yield_now() => true,
        }
    }

    fn call(&self) -> Call {
        call(&self.url, "hello")
    }
}

fn call(url: &str, body: &'static str) -> Call {
    Call {
        target: Target::parse(url).unwrap(),
        method: Method::POST,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        timeout: TIMEOUT,
        response_limit: 1000,
    }
}

fn start(client: &Client, call: Call) -> JoinHandle<Result<Response<Bytes>, CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.call(call).await })
}

/// The server's end of a connection.
struct Peer(TcpStream);

impl Peer {
    /// One request, head and body.
    async fn request(&mut self) -> String {
        let mut text = String::new();
        loop {
            if let Some(end) = text.find("\r\n\r\n") {
                let length = text
                    .split_once("content-length: ")
                    .map_or(0, |(_, rest)| rest.split_once("\r\n").unwrap().0.parse::<usize>().unwrap());
                if text.len() == end + 4 + length {
                    return text;
                }
            }
            let mut chunk = [0; 1024];
            let count = self.0.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
    }

    async fn answer(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn a_request_has_its_path_host_and_length() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    let host = format!("127.0.0.1:{}", server.port());
    assert_eq!(
        peer.request().await,
        format!("POST /path?q=1 HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n\r\nhello")
    );
    peer.answer("HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\n\r\nworld").await;
    let response = calling.await.unwrap().unwrap();
    assert_eq!((response.headers()["x"].as_bytes(), response.body().as_ref()), (&b"y"[..], &b"world"[..]));
    let calling = start(&client, call(&server.url, ""));
    assert!(peer.request().await.ends_with("content-length: 0\r\n\r\n"));
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_connection_serves_calls_in_a_row() {
    let (client, server) = (client(), Server::start().await);
    let playing = async {
        let mut peer = server.accept().await;
        for answer in [
            OK,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            OK,
        ] {
            peer.request().await;
            peer.answer(answer).await;
        }
        peer
    };
    let calling = async {
        for body in ["", "hi", "hello", ""] {
            assert_eq!(client.call(server.call()).await.unwrap().into_body(), body);
        }
    };
    let (_peer, ()) = tokio::join!(playing, calling);
    assert!(server.is_alone().await);
    assert_eq!(client.0.idle_connections(), 1);
}

#[tokio::test]
async fn a_body_that_comes_in_parts_is_whole() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    for part in ["HTTP/1.1 200 OK\r\nconte", "nt-length: 6\r\n\r\n", "ab", "cd", "ef"] {
        peer.answer(part).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(calling.await.unwrap().unwrap().into_body(), "abcdef");
}

#[tokio::test]
async fn a_task_that_has_used_up_its_turn_still_gets_its_answer() {
    // With the last answer nothing of the connection is left that could wake the task.
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 204 OK\r\nconnection: close\r\n\r\n",
    ] {
        let (client, server) = (client(), Server::start().await);
        let call = server.call();
        let serving = tokio::spawn(async move {
            loop {
                let mut peer = server.accept().await;
                peer.request().await;
                peer.answer(answer).await;
            }
        });
        // tokio gives a task 128 steps a turn; in one of its turns each call begins with fewer of them.
        for (slow_turn, used_up) in (0..4).flat_map(|turn| (110..=128).map(move |used_up| (turn, used_up))) {
            let mut calling = pin!(client.call(call.clone()));
            let mut turn = 0;
            let response = poll_fn(|cx| {
                for _ in 0..if turn == slow_turn { used_up } else { 0 } {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                turn += 1;
                calling.as_mut().poll(cx)
            });
            let response = response.await;
            assert!(response.is_ok(), "{used_up} steps of turn {slow_turn} used up: {response:?}");
            while client.0.usable_connections() > 0 {
                tokio::task::yield_now().await;
            }
        }
        serving.abort();
    }
}

#[tokio::test]
async fn connections_are_capped_and_who_waits_is_served_in_order() {
    let (client, server) = (client(), Server::start().await);
    let mut calls = Vec::new();
    for body in ["1", "2", "3", "4"] {
        calls.push(start(&client, call(&server.url, body)));
        // Each gets into the line before the next.
        tokio::task::yield_now().await;
    }
    let (mut one, mut two) = (server.accept().await, server.accept().await);
    assert!(one.request().await.ends_with("\r\n\r\n1"));
    assert!(two.request().await.ends_with("\r\n\r\n2"));
    assert!(server.is_alone().await, "only two connections");
    two.answer(OK).await;
    assert!(two.request().await.ends_with("\r\n\r\n3"), "first come, first served");
    one.answer(OK).await;
    assert!(one.request().await.ends_with("\r\n\r\n4"));
    one.answer(OK).await;
    two.answer(OK).await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 204);
    }
    assert!(server.is_alone().await);
}

#[tokio::test]
async fn a_given_up_call_closes_its_connection_and_frees_its_place() {
    let (client, server) = (client(), Server::start().await);
    for _ in 0..3 {
        let calling = start(&client, server.call());
        let mut peer = server.accept().await;
        peer.request().await;
        calling.abort();
        assert!(peer.is_closed().await);
    }
    assert_eq!(client.0.idle_connections(), 0);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    assert_eq!(client.0.idle_connections(), 1);
    drop(peer);
    while client.0.usable_connections() > 0 {
        tokio::task::yield_now().await;
    }
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(OK).await;
    assert_eq!(calling.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    for partial in ["", "HTTP/1.1 200 OK\r\ncont", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let calling = start(&client, server.call());
        peer.request().await;
        peer.answer(partial).await;
        drop(peer);
        let error = calling.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Closed { sent: true, .. }), "{error:?}");
        assert!(server.is_alone().await);
        let calling = start(&client, server.call());
        peer = server.accept().await;
        peer.request().await;
        peer.answer(OK).await;
        calling.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn no_answer_is_a_time_out_and_waiting_in_line_is_none() {
    let (client, server) = (client(), Server::start().await);
    let first = [start(&client, server.call()), start(&client, server.call())];
    let (mut one, mut two) = (server.accept().await, server.accept().await);
    one.request().await;
    two.request().await;
    let waiting = start(&client, server.call());
    tokio::task::yield_now().await;
    tokio::time::pause();
    for call in first {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error, CallError::Timeout { after: TIMEOUT, sent: true });
    }
    tokio::time::resume();
    let mut three = server.accept().await;
    three.request().await;
    three.answer(OK).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn answers_are_limited() {
    let (client, server) = (client(), Server::start().await);
    let chunk = "x".repeat(600);
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n");
    for (answer, fits) in [
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1000)), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n".to_owned(), false),
        (chunked, false),
    ] {
        let calling = start(&client, server.call());
        let mut peer = server.accept().await;
        peer.request().await;
        peer.answer(&answer).await;
        match calling.await.unwrap() {
            Ok(response) => assert!(fits && response.body().len() == 1000),
            Err(error) => {
                assert!(!fits && error.code() == "PEL-1528", "{error}");
                assert!(peer.is_closed().await);
            }
        }
        // The next one begins with a new connection in any case.
        drop(peer);
        while client.0.usable_connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn of_a_failure_answer_the_beginning_is_kept() {
    let (client, server) = (client(), Server::start().await);
    let limit = ERROR_RESPONSE_BYTES_MAX;
    let calling = start(&client, Call { response_limit: 10 * limit, ..server.call() });
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(&format!(
        "HTTP/1.1 500 No\r\ncontent-length: {}\r\n\r\n{}",
        2 * limit,
        "x".repeat(limit + 9)
    ))
    .await;
    let response = calling.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), response.body().len()), (500, limit));
    assert!(peer.is_closed().await, "a body that was not read to its end spoils the connection");
    assert_eq!(client.0.idle_connections(), 0);
}

#[tokio::test]
async fn redirects_are_answers() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer("HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(calling.await.unwrap().unwrap().status(), 307);
}

#[tokio::test]
async fn what_is_not_http_is_told() {
    let (client, server) = (client(), Server::start().await);
    let long = format!("HTTP/1.1 200 OK\r\nh: {}\r\n\r\n", "x".repeat(100_000));
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2000 OK\r\n\r\n", &long] {
        let calling = start(&client, server.call());
        let mut peer = server.accept().await;
        peer.request().await;
        let _ = peer.0.write_all(answer.as_bytes()).await;
        let error = calling.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::InvalidResponse { .. }), "{answer:.20}: {error:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    let (client, server) = (client(), Server::start().await);
    let call = server.call();
    drop(server);
    let error = client.call(call).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn unused_connections_are_closed_and_their_origins_forgotten() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    assert_eq!((client.0.idle_connections(), client.0.origins()), (1, 1));
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert!(peer.is_closed().await);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(59) && waited <= Duration::from_secs(91), "{waited:?}");
    assert_eq!((client.0.idle_connections(), client.0.origins()), (0, 0));
}

#[tokio::test]
async fn connections_that_the_other_side_closed_are_not_kept_for_the_idle_time() {
    let (client, server) = (client(), Server::start().await);
    let calling = start(&client, server.call());
    let mut peer = server.accept().await;
    peer.request().await;
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    drop(peer);
    while client.0.usable_connections() > 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!((client.0.idle_connections(), client.0.origins()), (0, 0));
}

/// Names and their addresses as a test wants them.
#[derive(Default)]
struct FakeResolver(HashMap<&'static str, Vec<SocketAddr>>);

impl Resolve for FakeResolver {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            match self.0.get(host) {
                Some(addresses) if addresses.is_empty() => std::future::pending().await,
                Some(addresses) => Ok(addresses.clone()),
                None => Err(io::Error::other("no such host")),
            }
        })
    }
}

#[tokio::test]
async fn the_resolved_address_is_judged_and_connected_to() {
    let server = Server::start().await;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let metadata = SocketAddr::from(([169, 254, 169, 254], server.port()));
    let resolver = FakeResolver(HashMap::from([
        ("metadata.test", vec![metadata]),
        ("mixed.test", vec![metadata, here]),
        ("silent.test", vec![]),
    ]));
    let client = Client::new(&options(), resolver, None).unwrap();
    let url = |host: &str| format!("http://{host}:{}/", server.port());
    let error = client.call(call(&url("metadata.test"), "x")).await.unwrap_err();
    assert_eq!(
        error,
        CallError::Forbidden {
            host: "metadata.test".to_owned(),
            address: metadata.ip(),
            reason: Forbidden::LinkLocal
        }
    );
    let error = client.call(call("http://169.254.169.254/latest", "x")).await.unwrap_err();
    assert_eq!(error.code(), "PEL-1522");
    let calling = start(&client, call(&url("mixed.test"), "x"));
    let mut peer = server.accept().await;
    assert!(peer.request().await.contains(&format!("host: mixed.test:{}\r\n", server.port())));
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    let error = client.call(call(&url("absent.test"), "x")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot resolve absent.test: no such host");
    tokio::time::pause();
    let error = client.call(call(&url("silent.test"), "x")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot resolve silent.test: no answer within 5000 ms");
}

#[tokio::test]
async fn loopback_is_closed_when_the_policy_says_so_except_to_a_replica() {
    let server = Server::start().await;
    let closed = EgressPolicy { loopback: false, ..options().egress };
    let client = Client::new(&ClientOptions { egress: closed, ..options() }, SystemResolver, None).unwrap();
    let error = client.call(server.call()).await.unwrap_err();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let reason = Forbidden::Loopback;
    assert_eq!(error, CallError::Forbidden { host: "127.0.0.1".to_owned(), address, reason });
    let replica = format!("127.0.0.1:{}", server.port());
    let target = Target::on_replica("http://shop.default.svc.cluster.local/", &replica).unwrap();
    let calling = start(&client, Call { target, ..server.call() });
    let mut peer = server.accept().await;
    assert!(peer.request().await.contains("host: shop.default.svc.cluster.local\r\n"));
    peer.answer(OK).await;
    calling.await.unwrap().unwrap();
    let error = client.call(server.call()).await.unwrap_err();
    assert_eq!(error.code(), "PEL-1522", "the replica's connection is not lent to others");
}

#[tokio::test]
async fn whether_anything_was_sent_is_known_on_a_time_out() {
    let resolver = FakeResolver(HashMap::from([("silent.test", vec![])]));
    let slow = ClientOptions { connect_timeout: Duration::from_secs(60), ..options() };
    let client = Client::new(&slow, resolver, None).unwrap();
    tokio::time::pause();
    let error = client.call(call("http://silent.test/", "x")).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { after: TIMEOUT, sent: false });
}
