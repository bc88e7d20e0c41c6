//! A replica for tests: it answers who it is and how many requests it has, and does as its environment and requests say.
//!
//! | variable | meaning |
//! |---|---|
//! | `START_MS` | how long it takes before it listens |
//! | `DEAF` | it never listens |
//! | `CRASH` | it says why and ends with this code |
//! | `H2C` | it speaks HTTP/2 |
//! | `MODEL` | something to tell two templates by; it is answered |
//! | `RECORD` | the file that the ids of events are written to |
//!
//! | request | answer |
//! |---|---|
//! | `?tell=FILE` | any; the file is made first |
//! | `?hold=MILLISECONDS` | after so long |
//! | `?until=FILE` | once the file is there |
//! | `/echo` | the body, piece by piece |
//! | `/begin` | a beginning, and nothing more |
//! | with `Upgrade` | 101; then all bytes come back |

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};

type AnyBody = BoxBody<Bytes, hyper::Error>;

/// How often is looked whether a file is there.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Ok(code) = std::env::var("CRASH") {
        eprintln!("the model cannot be loaded");
        std::process::exit(code.parse().unwrap());
    }
    let start = std::env::var("START_MS").map_or(0, |text| text.parse().unwrap());
    tokio::time::sleep(Duration::from_millis(start)).await;
    if std::env::var_os("DEAF").is_some() {
        std::future::pending::<()>().await;
    }
    let port = variable("PORT").parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let speaks_http2 = std::env::var_os("H2C").is_some();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, speaks_http2));
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

async fn serve(stream: TcpStream, speaks_http2: bool) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(stream);
    // A connection that breaks is none of its business.
    let _ = if speaks_http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(io, service_fn(answer)).await
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        builder.serve_connection(io, service_fn(answer)).with_upgrades().await
    };
}

/// Counts a request as long as it lasts.
struct Present;

impl Present {
    fn new() -> (Self, usize) {
        (Self, AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        AT_ONCE.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let (_present, at_once) = Present::new();
    if let Some(file) = asked(&request, "tell") {
        std::fs::write(file, "").unwrap();
    }
    if let Some(milliseconds) = asked(&request, "hold") {
        tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
    }
    if let Some(file) = asked(&request, "until") {
        while !Path::new(&file).exists() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    if request.headers().contains_key(UPGRADE) {
        return Ok(upgraded(request));
    }
    if let Some(id) = request.headers().get("ce-id") {
        record(id.to_str().unwrap());
        return Ok(response(StatusCode::NO_CONTENT, ""));
    }
    Ok(match request.uri().path() {
        "/echo" => Response::new(request.into_body().boxed()),
        "/begin" => Response::new(Beginning(Some(Bytes::from_static(b"beginning"))).boxed()),
        _ => response(StatusCode::OK, &who(&request, at_once)),
    })
}

/// The value of a word in the query. Files of tests have names without escapes.
fn asked(request: &Request<Incoming>, name: &str) -> Option<String> {
    let words = request.uri().query()?.split('&');
    words
        .filter_map(|word| word.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}

fn who(request: &Request<Incoming>, at_once: usize) -> String {
    serde_json::json!({
        "service": variable("K_SERVICE"),
        "revision": variable("K_REVISION"),
        "configuration": variable("K_CONFIGURATION"),
        "port": variable("PORT"),
        "model": variable("MODEL"),
        "pid": std::process::id(),
        "at_once": at_once,
        "path": request.uri().path(),
        "version": format!("{:?}", request.version()),
    })
    .to_string()
}

fn record(id: &str) {
    let file = OpenOptions::new().append(true).create(true).open(variable("RECORD"));
    // One write, so that replicas do not write into each other's lines.
    file.unwrap().write_all(format!("{id}\n").as_bytes()).unwrap();
}

fn response(status: StatusCode, body: &str) -> Response<AnyBody> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}

fn upgraded(mut request: Request<Incoming>) -> Response<AnyBody> {
    let protocol = request.headers()[UPGRADE].clone();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        // Until one side closes.
        let _ = copy(&mut read, &mut write).await;
    });
    let mut response = response(StatusCode::SWITCHING_PROTOCOLS, "");
    response.headers_mut().insert(CONNECTION, "upgrade".parse().unwrap());
    response.headers_mut().insert(UPGRADE, protocol);
    response
}

/// A body that never comes to its end.
struct Beginning(Option<Bytes>);

impl Body for Beginning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
    }
}
