//! The listener over real sockets. Where time matters the clock is stopped once the connection stands, so that it runs
//! on to the next time-out as soon as nothing else is left to do.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::drain::{DrainTrigger, drain};
use crate::limits::HEADER_COUNT_MAX;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

fn bind(options: ListenOptions) -> BoundListener {
    Listener::bind("ingress", LOOPBACK, &TlsFiles::default(), options).unwrap()
}

/// A running listener whose service says when a request came and answers when it may.
struct Running {
    address: SocketAddr,
    trigger: DrainTrigger,
    serving: JoinHandle<()>,
    arrived: mpsc::UnboundedReceiver<Peer>,
    release: Arc<Notify>,
}

fn run(options: ListenOptions, hold: bool) -> Running {
    let listener = bind(options);
    let address = listener.local_address();
    let (trigger, drain) = drain();
    let (tell, arrived) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let wait = release.clone();
    let make = move |peer: Peer| {
        let (tell, wait) = (tell.clone(), wait.clone());
        service_fn(move |request: Request<Incoming>| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                tell.send(peer).unwrap();
                if hold {
                    wait.notified().await;
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            }
        })
    };
    let serving = tokio::spawn(listener.serve_each(make, drain));
    Running { address, trigger, serving, arrived, release }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("hi") {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
    text
}

/// Reads to the end, which may be a reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_its_answer_where_half_closed_connections_go_on() {
    for half_close in [true, false] {
        let mut running = run(ListenOptions { half_close, ..ListenOptions::default() }, true);
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        running.arrived.recv().await.unwrap();
        stream.shutdown().await.unwrap();
        // Time for the server to see the end of the stream, if it looks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.release.notify_one();
        let text = String::from_utf8(rest(&mut stream).await).unwrap();
        assert_eq!(text.ends_with("hi"), half_close, "{text:?}");
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut running = run(ListenOptions::default(), true);
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    running.arrived.recv().await.unwrap();
    running.trigger.start();
    assert_eq!(rest(&mut idle).await, b"", "an idle connection is closed");
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.serving.is_finished());
    running.release.notify_one();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(rest(&mut busy).await, b"");
    running.serving.await.unwrap();
    running.trigger.finished().await;
}

#[tokio::test]
async fn an_incomplete_head_is_cut_off_after_its_time() {
    let options = ListenOptions { header_timeout: Duration::from_secs(10), ..ListenOptions::default() };
    let mut running = run(options, false);
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(REQUEST).await.unwrap();
    running.arrived.recv().await.unwrap();
    answer(&mut slow).await;
    slow.write_all(b"POST / HTTP/1.1\r\nHo").await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    assert_eq!(rest(&mut slow).await, b"");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(9) && waited < Duration::from_secs(60), "{waited:?}");
}

#[tokio::test]
async fn a_quiet_connection_is_closed_after_the_idle_time() {
    for first in [&b""[..], REQUEST] {
        let mut running = run(ListenOptions::default(), false);
        let mut quiet = TcpStream::connect(running.address).await.unwrap();
        quiet.write_all(first).await.unwrap();
        if !first.is_empty() {
            running.arrived.recv().await.unwrap();
            answer(&mut quiet).await;
        }
        tokio::time::pause();
        let start = Instant::now();
        assert_eq!(rest(&mut quiet).await, b"");
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(119) && waited < Duration::from_secs(125), "{waited:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_long_request_is_not_idle() {
    let mut running = run(ListenOptions::default(), true);
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    running.arrived.recv().await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    running.release.notify_one();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_and_are_served_when_one_ends() {
    let mut running = run(ListenOptions { max_connections: 1, ..ListenOptions::default() }, false);
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    let first_peer = running.arrived.recv().await.unwrap();
    assert_eq!(first_peer, Peer { address: first.local_addr().unwrap(), is_tls: false });
    answer(&mut first).await;
    let mut second = TcpStream::connect(running.address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    for _ in 0..10 {
        first.write_all(REQUEST).await.unwrap();
        answer(&mut first).await;
        assert_eq!(running.arrived.recv().await.unwrap(), first_peer, "the second has to wait");
    }
    drop(first);
    answer(&mut second).await;
    assert_eq!(running.arrived.recv().await.unwrap().address, second.local_addr().unwrap());
}

#[tokio::test]
async fn a_taken_address_is_a_clear_error() {
    let holder = bind(ListenOptions::default());
    let address = holder.local_address();
    let tls = TlsFiles::default();
    let error = Listener::bind("admin", address, &tls, ListenOptions::default()).unwrap_err();
    assert_eq!(error, ListenError::AddressInUse { name: "admin", address });
    assert_eq!(error.to_string(), format!("cannot listen on {address} for admin: the address is in use"));
    let foreign = "192.0.2.1:0".parse().unwrap();
    let error = Listener::bind("admin", foreign, &tls, ListenOptions::default()).unwrap_err();
    assert_eq!(error.code(), "PEL-1511");
}

#[tokio::test]
async fn heads_are_bounded() {
    let running = run(ListenOptions::default(), false);
    let many = (0..=HEADER_COUNT_MAX).map(|n| format!("h{n}: 1\r\n")).collect::<String>();
    let long = format!("h: {}\r\n", "x".repeat(HEADER_BYTES_MAX));
    for fields in [many, long] {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        // The server may close before it has read all.
        let writing = tokio::spawn(async move { write.write_all(head.as_bytes()).await.map(|()| write) });
        let mut status = [0; 12];
        read.read_exact(&mut status).await.unwrap();
        assert_eq!(std::str::from_utf8(&status), Ok("HTTP/1.1 431"));
        let _ = writing.await.unwrap();
    }
}

#[tokio::test]
async fn http2_without_tls_is_served_and_drained() {
    let running = run(ListenOptions::default(), false);
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let driver = tokio::spawn(driver);
    for body in ["one", "two"] {
        let request =
            Request::post("http://a/").body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
    running.trigger.start();
    running.serving.await.unwrap();
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_quiet_http2_connection_outlives_the_header_time_and_ends_with_the_idle_time() {
    let running = run(ListenOptions::default(), false);
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let driver = tokio::spawn(driver);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    driver.await.unwrap().unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(119) && waited < Duration::from_secs(125), "{waited:?}");
}

#[tokio::test]
async fn a_service_is_dropped_with_its_connection() {
    struct Live(Arc<AtomicUsize>);
    impl Drop for Live {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let listener = bind(ListenOptions::default());
    let address = listener.local_address();
    let (_trigger, drain) = drain();
    let live = Arc::new(AtomicUsize::new(0));
    let count = live.clone();
    let make = move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let alive = Live(count.clone());
        service_fn(move |_: Request<Incoming>| {
            let _ = &alive;
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hi")))) }
        })
    };
    tokio::spawn(listener.serve_each(make, drain));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    answer(&mut stream).await;
    assert_eq!(live.load(Ordering::SeqCst), 1);
    drop(stream);
    while live.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
}

/// A listener whose service refuses every request without reading its body.
async fn refusing() -> (TcpStream, DrainTrigger, JoinHandle<()>) {
    let listener = bind(ListenOptions::default());
    let address = listener.local_address();
    let (trigger, drain) = drain();
    let refuse = service_fn(|_: Request<Incoming>| async {
        let mut response = Response::new(Full::new(Bytes::from_static(b"too large")));
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        Ok::<_, Infallible>(response)
    });
    let serving = tokio::spawn(listener.serve(refuse, drain));
    (TcpStream::connect(address).await.unwrap(), trigger, serving)
}

#[tokio::test]
async fn a_client_that_sends_its_whole_body_first_reads_the_refusal() {
    let (mut stream, ..) = refusing().await;
    let body = vec![b'x'; 16 * 1024 * 1024];
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too large"), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_on_sending_is_cut_off() {
    let (mut stream, ..) = refusing().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n").await.unwrap();
    let chunk = vec![b'x'; 1024 * 1024];
    let mut sent = 0;
    while stream.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
        // What the buffers of the system hold comes on top.
        assert!(sent < 2 * crate::limits::LINGER_BYTES_MAX, "it is read without end");
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_client_that_does_not_close() {
    let (mut stream, trigger, serving) = refusing().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with(b"too large"));
    assert!(!serving.is_finished());
    trigger.start();
    serving.await.unwrap();
    drop(stream);
}
