//! Faults, and the account book that must balance all the same.

mod corruption;
mod crash;
mod disk;
mod hostile;

/// A number from the environment, for the long form of a test (`make soak`).
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A broker `default/b`.
const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";

/// A trigger of `default/b` that takes events of type `type_` and sends them to `url`.
fn trigger(name: &str, type_: &str, url: &str, order: &str, delivery: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\n\
         metadata: {{name: {name}, annotations: {{delivery.pelton.dev/order: {order}}}}}\n\
         spec:\n  broker: b\n  filter: {{attributes: {{type: {type_}}}}}\n  subscriber: {{uri: \"{url}\"}}\n  delivery: {{{delivery}}}\n"
    )
}
