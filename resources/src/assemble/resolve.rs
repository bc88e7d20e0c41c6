//! Whom a destination names.

use super::world::World;
use crate::delivery::Destination;
use crate::documents::delivery::{Reference, Target};
use crate::url;

/// Why a destination does not resolve (yet): a word and a sentence.
pub(super) struct Unresolved {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Resolves a destination among the brokers of this store.
pub(super) fn resolve(target: &Target, world: &World<'_>) -> Result<Option<Destination>, Unresolved> {
    let Some(reference) = &target.reference else {
        return Ok(target.uri.clone().map(Destination::Uri));
    };
    let path = match target.uri.as_deref().map(url::path_below) {
        Some(Err(absolute)) => return Ok(Some(Destination::Uri(absolute))),
        Some(Ok(path)) => Some(path),
        None => None,
    };
    if reference.is_broker() {
        return broker(reference, world);
    }
    match (reference.api_version.as_str(), reference.kind.as_str()) {
        ("v1", "Service") => {
            let (name, namespace) = (reference.name.name(), reference.name.namespace());
            Ok(Some(Destination::Uri(format!(
                "http://{name}.{namespace}.svc.cluster.local{}",
                path.unwrap_or_default()
            ))))
        }
        ("serving.knative.dev/v1", "Service") => match world.find_service(&reference.name) {
            Ok(()) => {
                let path = path.unwrap_or_else(|| "/".to_owned());
                Ok(Some(Destination::Service { name: reference.name.clone(), path }))
            }
            Err((reason, message)) => Err(Unresolved { reason, message }),
        },
        (api_version, kind) => Err(Unresolved {
            reason: "KindNotServed",
            message: format!(
                "Pelton resolves Broker (eventing.knative.dev/v1) and Service (v1, serving.knative.dev/v1), not {kind} \
                 ({api_version}) {}; write its address as uri",
                reference.name
            ),
        }),
    }
}

fn broker(reference: &Reference, world: &World<'_>) -> Result<Option<Destination>, Unresolved> {
    match world.find_broker(&reference.name, "correct the ref") {
        Ok(()) => Ok(Some(Destination::Broker(reference.name.clone()))),
        Err(message) => Err(Unresolved { reason: "DestinationNotFound", message }),
    }
}
