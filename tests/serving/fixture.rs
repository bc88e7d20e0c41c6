//! Services whose replicas are the program of these tests, and those who ask them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use hyper::Method;
use pelton_tests::eventually;
use pelton_tests::http::{Answer, Connection};
use pelton_tests::pelton::{Pelton, Site};
use serde_json::{Value, json};

/// The replicas' program, `replica/main.rs`.
pub(crate) const REPLICA: &str = env!("CARGO_BIN_EXE_pelton-test-replica");

/// The ports that the replicas of a site may have. Those of two sites do not meet, and those of two runs of these tests on
/// one machine seldom do.
const PORTS: u16 = 100;
const FIRST_PORT: u16 = 20_000;
const SITES_MAX: u16 = 100;

/// A site with these resources, and ports of its own for replicas.
pub(crate) fn site(resources: &[String]) -> Site {
    static SITES: AtomicU16 = AtomicU16::new(0);
    let first_site = (std::process::id() * 37 % u32::from(SITES_MAX)) as u16;
    let site = (first_site + SITES.fetch_add(1, Ordering::Relaxed)) % SITES_MAX;
    let first = FIRST_PORT + PORTS * site;
    let range = format!("{first}-{}", first + PORTS - 1);
    Site::new(&resources.join("---\n")).with("PELTON__SERVING__REPLICA_PORTS", &range)
}

/// A Service of the namespace `default`.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    document: Value,
    /// What all processes of its replicas have on their command line.
    pub(crate) mark: String,
}

impl Service {
    pub(crate) fn new(name: &str) -> Self {
        let mark = format!("{name}-{:016x}", fastrand::u64(..));
        let document = json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"template": {
                "metadata": {"annotations": {}},
                "spec": {"containers": [{"command": [REPLICA], "args": [mark], "env": []}]},
            }},
        });
        Self { document, mark }
    }

    fn template(&mut self) -> &mut Value {
        &mut self.document["spec"]["template"]
    }

    /// Adds an annotation of the template.
    pub(crate) fn with(mut self, annotation: &str, value: &str) -> Self {
        self.template()["metadata"]["annotations"][annotation] = value.into();
        self
    }

    /// Sets a field of the template's `spec`.
    pub(crate) fn spec(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.template()["spec"][field] = value.into();
        self
    }

    /// Sets a field of the container.
    pub(crate) fn container(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.template()["spec"]["containers"][0][field] = value.into();
        self
    }

    /// Tells the replicas something.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        let variables = self.template()["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        variables.retain(|variable| variable["name"] != name);
        variables.push(json!({"name": name, "value": value}));
        self
    }

    pub(crate) fn scale(self, min: u32, max: u32) -> Self {
        self.with("autoscaling.knative.dev/min-scale", &min.to_string())
            .with("autoscaling.knative.dev/max-scale", &max.to_string())
    }

    /// Nothing runs before somebody asks, and nothing soon after.
    pub(crate) fn asleep(self) -> Self {
        self.with("autoscaling.knative.dev/initial-scale", "0").with("autoscaling.knative.dev/window", "6s")
    }

    /// Replicas are shells that run the program beside them.
    pub(crate) fn in_a_shell(mut self) -> Self {
        let script = format!("{REPLICA} {} & wait", self.mark);
        self = self.container("args", json!(["-c", script]));
        self.container("command", json!(["sh"]))
    }

    pub(crate) fn traffic(mut self, targets: Value) -> Self {
        self.document["spec"]["traffic"] = targets;
        self
    }

    pub(crate) fn yaml(&self) -> String {
        format!("{}\n", self.document)
    }

    /// The processes of its replicas, shims included.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let has_mark = |path: PathBuf| {
            let command = std::fs::read(path.join("cmdline")).ok()?;
            let id = path.file_name()?.to_str()?.parse().ok()?;
            String::from_utf8_lossy(&command).contains(&self.mark).then_some(id)
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| has_mark(entry.path())).collect()
    }

    pub(crate) async fn is_gone(&self) {
        eventually("no process of its replicas is left", async || self.processes().is_empty().then_some(()))
            .await;
    }
}

/// A client with a connection to the gateway.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    host: String,
}

impl Client {
    pub(crate) async fn new(pelton: &Pelton, host: &str) -> Self {
        Self { connection: Connection::open(pelton.gateway).await.unwrap(), host: host.to_owned() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.connection.request(Method::GET, path, &[("host", &self.host)], "").await.unwrap()
    }

    /// What a replica answers; it must.
    pub(crate) async fn who(&mut self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, text(&answer));
        answer.json()
    }
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// What the replica answers that a request for `host` gets to.
pub(crate) async fn who(pelton: &Pelton, host: &str, path: &str) -> Value {
    Client::new(pelton, host).await.who(path).await
}

/// The Service in the words of `pelton describe`.
pub(crate) async fn described(pelton: &Pelton, name: &str) -> String {
    let (done, out, error) = pelton.tool(&["describe", "service", name]).await;
    assert!(done, "{error}");
    out
}

pub(crate) async fn is_described(pelton: &Pelton, name: &str, words: &str) {
    eventually(&format!("{name} is described with: {words}"), async || {
        described(pelton, name).await.contains(words).then_some(())
    })
    .await;
}
