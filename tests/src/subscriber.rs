//! Subscribers that behave as told and remember what they got.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The time of the wall clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "it is compared with the times in the log of another process")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A request that a subscriber got.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The path it was sent to; tests give each trigger a path of its own.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status it was answered with; 0 for no answer.
    pub answered: u16,
    /// When it was there as a whole.
    pub at: SystemTime,
}

impl Receipt {
    /// A header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The `ce-id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("ce-id")
    }
}

/// What a subscriber does with a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with a status.
    Status(u16),
    /// Answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// Answers with a status after a while.
    Slow(u16, Duration),
    /// Never answers.
    Hang,
    /// Breaks the connection without an answer.
    Reset,
}

type Script = dyn Fn(&Receipt) -> Behaviour + Send + Sync;

/// A subscriber on a port of its own.
#[derive(Clone)]
pub struct Subscriber {
    address: SocketAddr,
    receipts: Arc<Mutex<Vec<Receipt>>>,
    script: Arc<Mutex<Arc<Script>>>,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// A subscriber that answers 204 to everything.
    pub async fn start() -> Self {
        Self::scripted(|_| Behaviour::Status(204)).await
    }

    /// A subscriber that does as `script` says.
    pub async fn scripted(script: impl Fn(&Receipt) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let subscriber = Self {
            address: listener.local_addr().expect("a bound socket has an address"),
            receipts: Arc::default(),
            script: Arc::new(Mutex::new(Arc::new(script))),
        };
        tokio::spawn(subscriber.clone().serve(listener));
        subscriber
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let subscriber = self.clone();
            let service = service_fn(move |request| {
                let subscriber = subscriber.clone();
                async move { subscriber.take(request).await }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    }

    async fn take(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        let mut receipt = Receipt { path, headers: parts.headers, body, answered: 0, at: now() };
        let script = self.script.lock().unwrap().clone();
        let behaviour = script(&receipt);
        receipt.answered = match &behaviour {
            Behaviour::Status(status) | Behaviour::Answer(status, ..) | Behaviour::Slow(status, _) => *status,
            Behaviour::Hang | Behaviour::Reset => 0,
        };
        self.receipts.lock().unwrap().push(receipt);
        match behaviour {
            Behaviour::Status(status) => Ok(response(status, &[], Bytes::new())),
            Behaviour::Answer(status, headers, body) => Ok(response(status, &headers, body)),
            Behaviour::Slow(status, wait) => {
                tokio::time::sleep(wait).await;
                Ok(response(status, &[], Bytes::new()))
            }
            Behaviour::Hang => Ok(std::future::pending::<Result<_, Infallible>>().await?),
            Behaviour::Reset => Err("reset as told".into()),
        }
    }

    /// Does as `script` says from now on.
    pub fn behave(&self, script: impl Fn(&Receipt) -> Behaviour + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// The URL of `path` here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it got so far, in order.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        self.receipts.lock().unwrap().clone()
    }

    /// What it got so far at `path`, in order.
    #[must_use]
    pub fn receipts_at(&self, path: &str) -> Vec<Receipt> {
        self.receipts.lock().unwrap().iter().filter(|receipt| receipt.path == path).cloned().collect()
    }

    /// How many requests it got so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.receipts.lock().unwrap().len()
    }
}

fn response(status: u16, headers: &[(&'static str, String)], body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(body)).expect("the answer of a test is well formed")
}
