//! Whom a destination names.

use std::collections::BTreeSet;

use crate::delivery::Destination;
use crate::documents::delivery::{Reference, Target};
use crate::name::NamespacedName;
use crate::url;

/// Why a destination does not resolve (yet): a word and a sentence.
pub(super) struct Unresolved {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Resolves a destination among the brokers of this store.
pub(super) fn resolve(
    target: &Target,
    brokers: &BTreeSet<&NamespacedName>,
) -> Result<Option<Destination>, Unresolved> {
    let Some(reference) = &target.reference else {
        return Ok(target.uri.clone().map(Destination::Uri));
    };
    let path = match target.uri.as_deref().map(url::path_below) {
        Some(Err(absolute)) => return Ok(Some(Destination::Uri(absolute))),
        Some(Ok(path)) => Some(path),
        None => None,
    };
    if reference.is_broker() {
        return broker(reference, brokers);
    }
    match (reference.api_version.as_str(), reference.kind.as_str()) {
        ("v1", "Service") => {
            let (name, namespace) = (reference.name.name(), reference.name.namespace());
            Ok(Some(Destination::Uri(format!(
                "http://{name}.{namespace}.svc.cluster.local{}",
                path.unwrap_or_default()
            ))))
        }
        ("serving.knative.dev/v1", "Service") => Err(Unresolved {
            reason: "ServingNotServed",
            message: format!(
                "{} names the Knative Service {}; this version of Pelton does not run Services; write its address as \
                 uri",
                target.field, reference.name
            ),
        }),
        (api_version, kind) => Err(Unresolved {
            reason: "KindNotServed",
            message: format!(
                "{} names {kind} ({api_version}) {}; Pelton resolves Broker (eventing.knative.dev/v1) and Service (v1); \
                 write its address as uri",
                target.field, reference.name
            ),
        }),
    }
}

fn broker(
    reference: &Reference,
    brokers: &BTreeSet<&NamespacedName>,
) -> Result<Option<Destination>, Unresolved> {
    if brokers.contains(&reference.name) {
        return Ok(Some(Destination::Broker(reference.name.clone())));
    }
    let message = format!("there is no Broker {}; add it, or correct the ref", reference.name);
    Err(Unresolved { reason: "DestinationNotFound", message })
}
