//! Destinations, parsed once.

use std::hash::{Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use hashbrown::{Equivalent, HashMap};
use http::HeaderValue;
use pelton_resources::Destination;
use pelton_resources::contracts::Delivery;
use pelton_runtime::client::{CallError, Target};

use crate::limits::PREPARED_TARGETS_MAX;

/// Where a delivery goes, ready to be called.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The parsed URL.
    pub(crate) target: Target,
    /// Value of the header `Kn-Namespace`.
    pub(crate) namespace: HeaderValue,
}

/// What was prepared so far. A URL that cannot be called is remembered as such.
#[derive(Debug, Default)]
pub(crate) struct PreparedTargets(RwLock<HashMap<Key, Result<Prepared, CallError>>>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    namespace: Box<str>,
    destination: Destination,
    replica: Option<Box<str>>,
}

/// [`Key`] without owning it; it hashes as the key does.
struct Wanted<'a>(&'a Delivery);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&*self.namespace, &self.destination, self.replica.as_deref()).hash(state);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0.trigger.name.namespace(), &self.0.destination, self.0.replica.as_deref()).hash(state);
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0.destination == key.destination
            && self.0.replica == key.replica
            && *self.0.trigger.name.namespace() == *key.namespace
    }
}

impl PreparedTargets {
    /// Where `delivery` goes.
    ///
    /// # Errors
    /// [`CallError::InvalidUrl`] for a destination that cannot be called.
    pub(crate) fn of(&self, delivery: &Delivery) -> Result<Prepared, CallError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&Wanted(delivery)).cloned();
        known.unwrap_or_else(|| self.prepare(delivery))
    }

    fn prepare(&self, delivery: &Delivery) -> Result<Prepared, CallError> {
        let namespace = delivery.trigger.name.namespace();
        let prepared = target(delivery).and_then(|target| {
            let invalid =
                |_| CallError::InvalidUrl { problem: "the namespace of its trigger is no header value" };
            Ok(Prepared { target, namespace: HeaderValue::from_str(namespace).map_err(invalid)? })
        });
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Rare enough that which ones go does not matter: those in use are prepared again.
        if all.len() >= PREPARED_TARGETS_MAX {
            all.clear();
        }
        let (destination, replica) = (delivery.destination.clone(), delivery.replica.clone());
        all.insert(Key { namespace: namespace.into(), destination, replica }, prepared.clone());
        prepared
    }
}

fn target(delivery: &Delivery) -> Result<Target, CallError> {
    match (&delivery.destination, &delivery.replica) {
        (Destination::Uri(uri), _) => Target::parse(uri),
        (Destination::Service { name, path }, Some(replica)) => {
            let host = format!("{}.{}.svc.cluster.local", name.name(), name.namespace());
            Target::on_replica(&format!("http://{host}{path}"), replica)
        }
        (Destination::Service { .. }, None) => {
            Err(CallError::InvalidUrl { problem: "no replica of the Service was granted" })
        }
        (Destination::Broker(_), _) => {
            Err(CallError::InvalidUrl { problem: "a Broker is not reached by HTTP" })
        }
    }
}
