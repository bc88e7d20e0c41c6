//! The baselines and the subscriber, each a process of its own.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Bare hyper: reads the request and its body, answers 204. The baseline of the ingress.
pub fn echo() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("a bound socket has an address"));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// A subscriber with next to no cost of its own: answers 204 to each request, reading no more than it must.
pub fn sink() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("a bound socket has an address"));
        answer_all(listener).await;
    });
}

/// A replica of a Service that does as little as the subscriber, and takes so many milliseconds to start.
pub fn replica(start_ms: usize) {
    std::thread::sleep(std::time::Duration::from_millis(start_ms as u64));
    let port = std::env::var("PORT").expect("a replica is told its port");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        answer_all(TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("its port is free")).await;
    });
}

async fn answer_all(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut buffer = Vec::with_capacity(16 * 1024);
            while let Ok(read) = stream.read_buf(&mut buffer).await {
                if read == 0 {
                    return;
                }
                while let Some(length) = whole_request(&buffer) {
                    buffer.drain(..length);
                    if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The length of the first request in `buffer`, if it is whole.
pub(crate) fn whole_request(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let body = header(&buffer[..head], "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    (buffer.len() >= head + body).then_some(head + body)
}

/// A header of a request in text form.
pub(crate) fn header<'a>(request: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(request).ok()?;
    text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// hyper-util's client posting 1 KiB `count` times, `in_flight` at a time. The baseline of a delivery.
pub fn post(url: &str, count: usize, in_flight: usize) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    let start = Instant::now();
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let body = Bytes::from(vec![b'x'; 1024]);
        let tasks: Vec<_> = (0..in_flight)
            .map(|_| {
                let (client, url, body) = (client.clone(), url.to_owned(), body.clone());
                tokio::spawn(async move {
                    for _ in 0..count / in_flight {
                        let request = Request::post(&url)
                            .header("ce-specversion", "1.0")
                            .header("ce-id", "0123456789abcdef")
                            .header("ce-source", "/bench/source")
                            .header("ce-type", "bench.event")
                            .header("ce-subject", "subject")
                            .header("content-type", "application/json")
                            .body(Full::new(body.clone()))
                            .expect("a request of constants is valid");
                        let response = client.request(request).await.expect("the subscriber answers");
                        let _ = response.into_body().collect().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a client does not panic");
        }
    });
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9;
    println!(
        "{}",
        serde_json::json!({"cpu_us": cpu * 1e6 / count as f64, "per_second": count as f64 / start.elapsed().as_secs_f64()})
    );
}
