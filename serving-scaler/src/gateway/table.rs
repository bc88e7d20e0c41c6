//! Which revision a request is for.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use std::sync::Arc;

use http::Request;
use http::header::HOST;
use http::uri::PathAndQuery;
use pelton_resources::{NamespacedName, Protocol};

use super::Refusal;
use crate::queue::Queue;
use super::address::{Address, TAG_HEADER};

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
}

/// A Service and where its requests go.
#[derive(Debug, Default)]
pub struct ServiceEntry {
    /// Revisions and their shares of the traffic, in hundredths of a percent, which add up to 10,000; empty: none takes
    /// requests.
    pub traffic: Vec<(u16, Arc<Backend>)>,
    /// Revisions that are reached by a tag.
    pub tags: HashMap<Box<str>, Arc<Backend>>,
    /// Why it takes no requests, if it takes none.
    pub not_ready: String,
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
    pub fn find<B>(&self, request: &Request<B>, random: u16) -> Result<Found, Refusal> {
        let host = request.uri().host().or_else(|| request.headers().get(HOST)?.to_str().ok()).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let exists = |name: &NamespacedName| self.services.contains_key(name);
        let address = Address::of(host, path, exists)
            .ok_or_else(|| Refusal::NoSuchService(format!("{host}{}", request.uri().path())))?;
        let header = request.headers().get(TAG_HEADER).and_then(|tag| tag.to_str().ok());
        let tag = address.tag.as_deref().or(header);
        let rest = address.path.and_then(|path| PathAndQuery::try_from(path).ok());
        let entry = self
            .services
            .get(&address.service)
            .ok_or_else(|| Refusal::NoSuchService(address.service.to_string()))?;
        let backend = entry.backend(tag, random).ok_or_else(|| Refusal::NotReady {
            service: address.service.clone(),
            reason: entry.not_ready.clone(),
        })?;
        Ok(Found { backend: backend.clone(), path: rest })
    }
}

impl ServiceEntry {
    /// The revision of that tag; without one, or if it is unknown as a header's may be, that which the traffic chooses.
    fn backend(&self, tag: Option<&str>, random: u16) -> Option<&Arc<Backend>> {
        if let Some(backend) = tag.and_then(|tag| self.tags.get(tag)) {
            return Some(backend);
        }
        // 65,536 is no multiple of 10,000: the first 5,536 would be taken more often.
        let mut at = u16::try_from(u32::from(random) * 10_000 / 65_536).unwrap_or(0);
        for (share, backend) in &self.traffic {
            if at < *share {
                return Some(backend);
            }
            at -= share;
        }
        None
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("services", &self.services.len()).finish()
    }
}
