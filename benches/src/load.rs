//! A load of events over plain sockets: as little work as possible on this side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of data of each event.
const DATA_BYTES: usize = 1024;

fn request(address: &str, path: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nce-specversion: 1.0\r\nce-id: 0123456789abcdef\r\nce-source: /bench/source\r\n\
         ce-type: bench.event\r\nce-subject: subject\r\ncontent-type: application/json\r\ncontent-length: {DATA_BYTES}\r\n\r\n"
    )
    .into_bytes();
    request.extend(format!("{{\"some\":\"{}\"}}", "x".repeat(DATA_BYTES - 11)).as_bytes());
    request
}

/// Sends one event after the other on each connection for `seconds`; prints what came of it.
pub fn run(address: &str, path: &str, connections: usize, seconds: usize) {
    measure(address, path, connections, seconds, None);
}

/// Sends at `rate` events a second over all connections, by the clock and not by the answers (open loop); latency counts from
/// the moment an event was meant to be sent.
pub fn run_paced(address: &str, path: &str, connections: usize, seconds: usize, rate: usize) {
    measure(address, path, connections, seconds, Some(rate));
}

fn measure(address: &str, path: &str, connections: usize, seconds: usize, rate: Option<usize>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let accepted = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let request: Arc<[u8]> = request(address, path).into();
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds as u64);
    let latencies = runtime.block_on(async {
        let tasks: Vec<_> = (0..connections)
            .map(|index| {
                let (address, request) = (address.to_owned(), request.clone());
                let (accepted, refused) = (accepted.clone(), refused.clone());
                let pace = rate.map(|rate| {
                    let interval = Duration::from_secs_f64(connections as f64 / rate as f64);
                    (interval, start + interval.mul_f64(index as f64 / connections as f64))
                });
                tokio::spawn(
                    async move { connection(&address, &request, end, pace, &accepted, &refused).await },
                )
            })
            .collect();
        let mut all = Histogram::<u64>::new(3).expect("three digits are valid");
        for task in tasks {
            all.add(task.await.expect("a connection does not panic")).expect("equal histograms add");
        }
        all
    });
    let took = start.elapsed().as_secs_f64();
    let micros = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "{}",
        serde_json::json!({
            "accepted": accepted.load(Ordering::Relaxed),
            "refused": refused.load(Ordering::Relaxed),
            "per_second": accepted.load(Ordering::Relaxed) as f64 / took,
            "p50_us": micros(0.5),
            "p99_us": micros(0.99),
            "p999_us": micros(0.999),
        })
    );
}

async fn connection(
    address: &str,
    request: &[u8],
    end: Instant,
    pace: Option<(Duration, Instant)>,
    accepted: &AtomicU64,
    refused: &AtomicU64,
) -> Histogram<u64> {
    let mut latencies = Histogram::<u64>::new(3).expect("three digits are valid");
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket takes options");
    let mut buffer = [0; 1024];
    let mut due = pace.map(|(_, first)| first);
    while Instant::now() < end {
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let begun = due.unwrap_or_else(Instant::now);
        if stream.write_all(request).await.is_err() {
            break;
        }
        let mut length = 0;
        while !buffer[..length].windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            match stream.read(&mut buffer[length..]).await {
                Ok(read) if read > 0 => length += read,
                _ => return latencies,
            }
        }
        latencies += begun.elapsed().as_nanos() as u64;
        let counter = if buffer.starts_with(b"HTTP/1.1 20") { accepted } else { refused };
        counter.fetch_add(1, Ordering::Relaxed);
        if let (Some(due), Some((interval, _))) = (&mut due, pace) {
            *due += interval;
        }
    }
    latencies
}

/// Sends one request over each of `count` connections at once, and prints when the first and the last answer came.
pub fn park(address: &str, path: &str, count: usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let request: Arc<[u8]> = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes().into();
    let answers = runtime.block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let (address, request) = (address.to_owned(), request.clone());
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(&address).await.expect("the server listens");
                    stream.write_all(&request).await.expect("the server takes requests");
                    let mut buffer = [0; 1024];
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    (SystemTime::now(), buffer[..read].starts_with(b"HTTP/1.1 20"))
                })
            })
            .collect();
        let mut answers = Vec::with_capacity(count);
        for task in tasks {
            answers.push(task.await.expect("a client does not panic"));
        }
        answers
    });
    let micros = |time: Option<SystemTime>| {
        let since = time.unwrap_or(SystemTime::UNIX_EPOCH).duration_since(SystemTime::UNIX_EPOCH);
        since.expect("it is after 1970").as_micros() as u64
    };
    let times = || answers.iter().map(|(at, _)| *at);
    println!(
        "{}",
        serde_json::json!({
            "good": answers.iter().filter(|(_, is_good)| *is_good).count(),
            "first_us": micros(times().min()),
            "last_us": micros(times().max()),
        })
    );
}
