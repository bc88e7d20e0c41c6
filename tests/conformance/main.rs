//! Pelton against the rules and the data of others, through the real binary: CESQL TCK, CloudEvents JSON format cases, the
//! data plane of Knative Eventing, the Rust SDK. (The SDKs of other languages: `tests/interop`.)

mod cesql;
mod data_plane;
mod format;
mod sdk;

/// A broker `default/b` whose every event goes to `url`.
fn resources(url: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\n\
         spec: {{broker: b, subscriber: {{uri: \"{url}\"}}}}\n"
    )
}
