//! A subscriber on a real socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pelton_resources::Destination;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Listens on a free port, keeps what it gets, and answers as told. Dropping it closes everything.
#[derive(Debug)]
pub(crate) struct Subscriber {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    _tasks: JoinSet<()>,
}

/// How a request ends.
pub(crate) enum Reaction {
    /// With this answer.
    Answer(Response<Full<Bytes>>),
    /// The connection is closed without one.
    Close,
    /// Never.
    Hang,
}

/// A response without a body.
pub(crate) fn status(status: u16) -> Reaction {
    Reaction::Answer(Response::builder().status(status).body(Full::default()).unwrap())
}

impl Subscriber {
    /// Starts one that reacts to its n-th request (from 0) as `react` says.
    pub(crate) async fn start(
        react: impl Fn(usize, &Request<Bytes>) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, requests.clone(), Arc::new(react)));
        Self { address, requests, _tasks: tasks }
    }

    /// Where it is.
    pub(crate) fn destination(&self) -> Destination {
        Destination::Uri(format!("http://{}/in", self.address))
    }

    /// Its authority.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// What it got so far.
    pub(crate) fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.lock().unwrap().clone()
    }

    /// The event ids it got so far, of binary deliveries.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| request.headers()["ce-id"].to_str().unwrap().to_owned())
            .collect()
    }
}

type React = Arc<dyn Fn(usize, &Request<Bytes>) -> Reaction + Send + Sync>;

async fn serve(listener: TcpListener, requests: Arc<Mutex<Vec<Request<Bytes>>>>, react: React) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (requests, react) = (requests.clone(), react.clone());
        let service = service_fn(move |request| answer(request, requests.clone(), react.clone()));
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A connection that is closed on purpose ends with an error.
            let _ = connection.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    react: React,
) -> Result<Response<Full<Bytes>>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let request = Request::from_parts(head, body);
    let number = {
        let mut requests = requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    match react(number, &request) {
        Reaction::Answer(response) => Ok(response),
        Reaction::Close => Err(Closed),
        Reaction::Hang => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
struct Closed;
