//! The features as users meet them, on any log: the binary that includes this says on which (`crate::site`).

mod delivery;
mod filters;
mod metrics;
mod order;
mod replay;
mod restart;
mod tools;
mod triggers;

use hyper::{Method, StatusCode};
use pelton_tests::http;
use pelton_tests::pelton::Pelton;

/// A broker `default/b`.
pub(crate) const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";

/// A trigger of `default/b`; `annotations` and `spec` are the insides of flow mappings.
pub(crate) fn trigger(name: &str, annotations: &str, url: &str, spec: &str) -> String {
    let spec = if spec.is_empty() { String::new() } else { format!(", {spec}") };
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{broker: b, subscriber: {{uri: \"{url}\"}}{spec}}}\n"
    )
}

/// Sends an event of type `type_` to `default/b` with further headers; it must be accepted.
pub(crate) async fn send(pelton: &Pelton, id: &str, type_: &str, headers: &[(&str, &str)]) {
    let mut all = vec![("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", type_)];
    all.extend_from_slice(headers);
    let answer = http::request(pelton.ingress, Method::POST, "/default/b", &all, "data").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&answer.body));
}
