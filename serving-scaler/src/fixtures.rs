//! Services for tests, read from documents as in production.

use std::collections::BTreeMap;
use std::sync::Arc;

use pelton_resources::{Assembly, Defaults, NamespacedName, Overrides, Service, Source, assemble};

pub(crate) type Services = BTreeMap<NamespacedName, Arc<Service>>;

/// The documents of Services, in `default` where nothing else is said.
pub(crate) fn services(documents: &[String]) -> Services {
    let source = Source::read("f.yaml", &documents.join("---\n"));
    assert!(!source.has_errors(), "{:?}\n{documents:?}", source.problems());
    let assembly =
        assemble(&Assembly::default(), &[source.into()], &Defaults::default(), &Overrides::default());
    assembly.snapshot.services.clone()
}

/// A document: its name, the name of its revision (or none), its image, and its traffic as a YAML list (or none).
pub(crate) fn document(name: &str, revision: &str, image: &str, traffic: &str) -> String {
    with_rollout(name, revision, image, traffic, "0s")
}

/// The same with the time of a rollout.
pub(crate) fn with_rollout(name: &str, revision: &str, image: &str, traffic: &str, rollout: &str) -> String {
    let revision = if revision.is_empty() { String::new() } else { format!("name: {revision}") };
    let traffic = if traffic.is_empty() { "[]" } else { traffic };
    format!(
        "apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: {name}
  annotations: {{serving.knative.dev/rollout-duration: {rollout}}}
spec:
  template:
    metadata: {{{revision}}}
    spec: {{containers: [{{image: {image}}}]}}
  traffic: {traffic}
"
    )
}

pub(crate) fn name(text: &str) -> NamespacedName {
    NamespacedName::new("default", text)
}
