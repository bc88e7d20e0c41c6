//! Sends events and remembers which were accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::http::Connection;

/// A producer that was refused waits so long.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// What a producer knows about the events it sent.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Answered 202, in the order of the answers on each connection.
    pub accepted: Vec<Message>,
    /// Sent without an answer: whether Pelton has it is not known.
    pub unknown: Vec<Message>,
    /// Answered 503, whatever became of them later: Pelton may have them.
    pub doubtful: Vec<Message>,
    /// Answered otherwise: status and how often.
    pub refused: std::collections::BTreeMap<u16, u64>,
}

impl Sent {
    fn join(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.unknown.extend(other.unknown);
        self.doubtful.extend(other.doubtful);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }
}

/// An event of the account book.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    /// The key (`partitionkey`): one per connection and lane of it.
    pub key: String,
    /// The number of the event within its key.
    pub number: u64,
}

impl Message {
    /// The event's `id`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.key, self.number)
    }

    /// Reads an `id` back.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (key, number) = id.rsplit_once('-')?;
        Some(Self { key: key.to_owned(), number: number.parse().ok()? })
    }
}

/// A load of events on several connections.
#[derive(Debug, Clone)]
pub struct Load {
    /// The broker, as `namespace/name`.
    pub broker: String,
    /// The `type` of the events.
    pub event_type: String,
    /// Connections, each with keys of its own, each sending one event after the other.
    pub connections: usize,
    /// Keys of each connection.
    pub keys: usize,
    /// Names the load, so that two loads of one test differ in their keys.
    pub name: String,
    /// Ends when this many events were accepted, over all connections.
    pub accepted_max: u64,
}

/// How far a load is, and whether it shall stop.
#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// A load on its way.
#[derive(Debug)]
pub struct Running {
    state: Arc<State>,
    task: tokio::task::JoinHandle<Sent>,
}

impl Running {
    /// Events accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// Answers so far that were no 202.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// Stops sending and answers what was sent.
    pub async fn stop(self) -> Sent {
        self.state.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a load does not panic")
    }
}

impl Load {
    /// Events of the type `test` for the broker `default/b`, on four connections with four keys each, until it is stopped.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            broker: "default/b".to_owned(),
            event_type: "test".to_owned(),
            connections: 4,
            keys: 4,
            name: name.into(),
            accepted_max: u64::MAX,
        }
    }

    /// Sends until enough is accepted or the server is gone.
    pub async fn run(&self, address: SocketAddr) -> Sent {
        self.send(address, Arc::default()).await
    }

    /// Begins to send; goes on until stopped, enough is accepted, or the server is gone.
    #[must_use]
    pub fn start(self, address: SocketAddr) -> Running {
        let state = Arc::<State>::default();
        let task = tokio::spawn({
            let state = state.clone();
            async move { self.send(address, state).await }
        });
        Running { state, task }
    }

    async fn send(&self, address: SocketAddr, state: Arc<State>) -> Sent {
        let connections: Vec<_> = (0..self.connections)
            .map(|index| {
                let (load, state) = (self.clone(), state.clone());
                tokio::spawn(async move { load.connection(index, address, &state).await })
            })
            .collect();
        let mut sent = Sent::default();
        for connection in connections {
            sent.join(connection.await.expect("a connection does not panic"));
        }
        sent
    }

    async fn connection(&self, index: usize, address: SocketAddr, state: &State) -> Sent {
        let mut sent = Sent::default();
        let Ok(mut connection) = Connection::open(address).await else { return sent };
        let path = format!("/{}", self.broker);
        let mut numbers = vec![0_u64; self.keys];
        while !state.stop.load(Ordering::Relaxed)
            && state.accepted.load(Ordering::Relaxed) < self.accepted_max
        {
            let lane = fastrand::usize(..self.keys);
            let message = Message { key: format!("{}-{index}-{lane}", self.name), number: numbers[lane] };
            let id = message.id();
            let headers = [
                ("ce-specversion", "1.0"),
                ("ce-id", id.as_str()),
                ("ce-source", "/test"),
                ("ce-type", self.event_type.as_str()),
                ("ce-partitionkey", message.key.as_str()),
                ("content-type", "application/json"),
            ];
            match connection.request(Method::POST, &path, &headers, r#"{"some":"data"}"#).await {
                Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                    numbers[lane] += 1;
                    state.accepted.fetch_add(1, Ordering::Relaxed);
                    sent.accepted.push(message);
                }
                Ok(answer) => {
                    state.refused.fetch_add(1, Ordering::Relaxed);
                    *sent.refused.entry(answer.status.as_u16()).or_default() += 1;
                    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                        sent.doubtful.push(message);
                    }
                    // Whoever is refused waits a little.
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                Err(_) => {
                    sent.unknown.push(message);
                    return sent;
                }
            }
        }
        sent
    }
}
