//! Which revision a request is for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use pelton_resources::{NamespacedName, Protocol};
use tokio::time::Instant;

use super::Refusal;
use crate::limits::SHOWN_HOST_CHARS;
use crate::queue::{Class, Queue};
use crate::routes::address::{PathAddress, of_host, of_path};
use crate::routes::pick;
use crate::serving::Held;

/// The header that names a tag (Knative Serving, tag header based routing).
const TAG_HEADER: &str = "knative-serving-tag";

/// A revision that takes requests, as far as the gateway needs to know it.
#[derive(Debug)]
pub struct Backend {
    /// Its name.
    pub revision: Arc<str>,
    /// Where requests wait for a place on its replicas.
    pub queue: Queue,
    /// What its replicas speak.
    pub protocol: Protocol,
    /// How long a request may take altogether.
    pub timeout: Duration,
    /// How long a request may take from its place on a replica to the first byte of its answer.
    pub response_start_timeout: Duration,
    /// How long an answer may pause between two bytes; `None`: as long as it likes.
    pub idle_timeout: Option<Duration>,
    /// How long deliveries held their places.
    pub held: Held,
    /// Answers by their status; the last: requests without one.
    pub answers: Answers,
    /// Since when it has a replica again, until its first answer.
    pub woken: Woken,
}

/// A moment that is set now and then, and looked at with every answer.
#[derive(Debug, Default)]
pub struct Woken {
    is_set: AtomicBool,
    at: Mutex<Option<Instant>>,
}

impl Woken {
    /// Now.
    pub fn set(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.is_set.store(true, Ordering::Release);
    }

    /// How long ago that was, once.
    #[must_use]
    pub fn take(&self) -> Option<Duration> {
        if !self.is_set.load(Ordering::Relaxed) || !self.is_set.swap(false, Ordering::Acquire) {
            return None;
        }
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner).take();
        at.map(|at| at.elapsed())
    }
}

/// Counts answers by the first digit of their status.
#[derive(Debug, Default)]
pub struct Answers([AtomicU64; 6]);

impl Backend {
    /// Counts an answer of a replica; `None`: a request without one.
    pub fn answered(&self, status: Option<StatusCode>) {
        let class = status.map_or(5, |status| usize::from(status.as_u16() / 100).clamp(1, 5) - 1);
        self.answers.0[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers by their status: 1xx to 5xx, then requests without one.
    #[must_use]
    pub fn answers(&self) -> [u64; 6] {
        std::array::from_fn(|class| self.answers.0[class].load(Ordering::Relaxed))
    }

    /// How many wait for a place, by class.
    #[must_use]
    pub fn waiting(&self) -> [(&'static str, usize); 2] {
        [("request", self.queue.waiting(Class::Request)), ("delivery", self.queue.waiting(Class::Delivery))]
    }
}

/// Revisions and their shares of the traffic in percent, which add up to 100; empty: none takes requests.
pub type Shares = Vec<(u8, Arc<Backend>)>;

/// A Service and where its requests go.
#[derive(Debug, Default)]
pub struct ServiceEntry {
    /// Where requests without a tag go.
    pub traffic: Shares,
    /// Where requests with a tag go.
    pub tags: HashMap<Box<str>, Shares>,
    /// Why it takes no requests, if it takes none.
    pub not_ready: String,
    /// Whether that is because its latest revision has failed: waiting for it is in vain.
    pub has_failed: bool,
}

/// All Services. It is replaced as a whole.
#[derive(Default)]
pub struct Table {
    services: HashMap<NamespacedName, ServiceEntry>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Found {
    /// The revision.
    pub backend: Arc<Backend>,
    /// Path and query for the replica, where they are others than those of the request.
    pub path: Option<PathAndQuery>,
}

impl Table {
    /// A table of these Services.
    #[must_use]
    pub const fn new(services: HashMap<NamespacedName, ServiceEntry>) -> Self {
        Self { services }
    }

    /// The Service of that name.
    #[must_use]
    pub fn service(&self, name: &NamespacedName) -> Option<&ServiceEntry> {
        self.services.get(name)
    }

    /// Finds the revision of a request; `random` chooses among those that share the traffic.
    ///
    /// # Errors
    /// [`Refusal`] if there is none.
    pub fn find<B>(&self, request: &Request<B>, random: u32) -> Result<Found, Refusal> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let (service, tag, path) = match of_path(path) {
            Some(PathAddress { service, rest }) => (service, None, PathAndQuery::try_from(&*rest).ok()),
            None => {
                let (service, tag) = self.of_host(request)?;
                (service, tag, None)
            }
        };
        let header = request.headers().get(TAG_HEADER).and_then(|tag| tag.to_str().ok());
        let entry = self.services.get(&service).ok_or_else(|| Refusal::NoSuchService(service.to_string()))?;
        let shares = tag.as_deref().or(header).and_then(|tag| entry.tags.get(tag)).unwrap_or(&entry.traffic);
        let backend = one_of(shares, random)
            .ok_or_else(|| Refusal::NotReady { service, reason: entry.not_ready.clone() })?;
        Ok(Found { backend: backend.clone(), path })
    }

    fn of_host<B>(&self, request: &Request<B>) -> Result<(NamespacedName, Option<String>), Refusal> {
        let header = || request.headers().get(HOST)?.to_str().ok();
        let host = request.uri().host().or_else(header).unwrap_or_default();
        let exists = |name: &NamespacedName, tag: Option<&str>| {
            let entry = self.services.get(name);
            entry.is_some_and(|entry| tag.is_none_or(|tag| entry.tags.contains_key(tag)))
        };
        let address = of_host(host, exists).ok_or_else(|| Refusal::NoSuchService(shown(host)))?;
        Ok((address.service, address.tag))
    }
}

/// A host as it is told back.
fn shown(host: &str) -> String {
    host.chars().take(SHOWN_HOST_CHARS).collect()
}

impl ServiceEntry {
    /// The revision that the traffic chooses.
    #[must_use]
    pub fn backend(&self, random: u32) -> Option<&Arc<Backend>> {
        one_of(&self.traffic, random)
    }
}

fn one_of(shares: &Shares, random: u32) -> Option<&Arc<Backend>> {
    pick(shares.iter().map(|(percent, backend)| (*percent, backend)), random)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("services", &self.services.len()).finish()
    }
}
