//! A real Apache Kafka: started from the jars that `tests/kafka/fetch.sh` collects, each node in a JVM of its own, on
//! loopback only. Beside it the plain Java client, which plays Knative's broker and looks into the cluster.

mod client;
mod jars;
mod knative;
mod node;
mod ports;
mod secrets;
mod settings;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OnceCell;

pub use knative::{Consumed, End, Form, GroupRow, Member, Record, Written};
pub use secrets::Secrets;

use crate::eventually;
use crate::pelton::Site;
use client::Client;
use node::Node;

/// What a Kafka is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes, each a broker and a controller: one or three.
    pub nodes: u32,
    /// Whether there is a listener that wants a user and a password (SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN) over TLS.
    pub sasl_ssl: bool,
    /// Whether there is a listener that wants a client certificate.
    pub ssl: bool,
    /// Further settings of the nodes; they win over those of the harness.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, sasl_ssl: false, ssl: false, settings: Vec::new() }
    }
}

impl Options {
    /// One node with a plain listener.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// That many nodes. Three keep three copies of everything, of which two must have what is acknowledged.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// With a listener for users.
    #[must_use]
    pub fn sasl_ssl(mut self) -> Self {
        self.sasl_ssl = true;
        self
    }

    /// With a listener for clients with certificates.
    #[must_use]
    pub fn ssl(mut self) -> Self {
        self.ssl = true;
        self
    }

    /// With a setting of `server.properties`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running Kafka. Dropping it kills it; it dies with the test process, however that ends.
#[derive(Debug)]
pub struct Kafka {
    // In the order in which they must end.
    client: OnceLock<Client>,
    nodes: Vec<Node>,
    libraries: &'static Path,
    secrets: Secrets,
    shared: bool,
    folder: tempfile::TempDir,
}

/// The Kafka that tests of one process share: one node with all listeners. For tests that only need topics of their own;
/// none may kill it.
pub async fn shared() -> Option<&'static Kafka> {
    static SHARED: OnceCell<Option<Kafka>> = OnceCell::const_new();
    let start = async || {
        let mut kafka = Kafka::start(Options::new().sasl_ssl().ssl()).await;
        if let Some(kafka) = &mut kafka {
            kafka.shared = true;
        }
        kafka
    };
    SHARED.get_or_init(start).await.as_ref()
}

impl Kafka {
    /// Starts a Kafka and waits until all of its nodes serve. Without the jars or without Java the caller skips.
    pub async fn start(options: Options) -> Option<Self> {
        assert!(matches!(options.nodes, 1 | 3), "one node or three");
        let libraries = jars::libraries()?;
        let folder = tempfile::Builder::new().prefix("pelton-kafka-").tempdir().unwrap();
        let secrets = Secrets::make(folder.path());
        // Held until the nodes take them over, so that two harnesses do not choose the same.
        let reserved: Vec<_> = (0..options.nodes).map(|_| ports::Reserved::new()).collect();
        let ports: Vec<_> = reserved.iter().map(ports::Reserved::ports).collect();
        let nodes = (1..=options.nodes).zip(&ports).map(|(number, own)| {
            let text = settings::of_node(number, &ports, &options, folder.path(), &secrets);
            Node::new(number, *own, folder.path(), &text)
        });
        let nodes: Vec<Node> = nodes.collect();
        for formatting in nodes.iter().map(|node| node.format(libraries, &secrets)).collect::<Vec<_>>() {
            let output = formatting.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "the storage of a Kafka node is not formatted: {said}");
        }
        drop(reserved);
        let kafka = Self { client: OnceLock::new(), nodes, libraries, secrets, shared: false, folder };
        kafka.nodes.iter().for_each(|node| node.spawn(libraries));
        for node in &kafka.nodes {
            started(node).await;
        }
        Some(kafka)
    }

    /// `HOST:PORT,…` of the plain listeners.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses(|ports| ports.plain)
    }

    /// A site whose log is here. The names of its topics and groups are its own, whatever its brokers and triggers are
    /// called, so that sites do not meet on one Kafka.
    #[must_use]
    pub fn site(&self, yaml: &str) -> Site {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let site = Site::new(yaml).with("PELTON__KAFKA__SERVERS", &self.bootstrap());
        let names = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config-kafka-features, namespace: knative-eventing}}\ndata:\n  \
             brokers-topic-template: 'site-{number}-{{{{ .Namespace }}}}-{{{{ .Name }}}}'\n  \
             triggers-consumergroup-template: 'site-{number}-{{{{ .Namespace }}}}-{{{{ .Name }}}}'\n"
        );
        site.write("names.yaml", &names);
        site
    }

    /// `HOST:PORT,…` of the listeners for users.
    #[must_use]
    pub fn bootstrap_sasl_ssl(&self) -> String {
        self.addresses(|ports| ports.sasl_ssl)
    }

    /// `HOST:PORT,…` of the listeners for clients with certificates.
    #[must_use]
    pub fn bootstrap_ssl(&self) -> String {
        self.addresses(|ports| ports.ssl)
    }

    fn addresses(&self, port: impl Fn(&ports::Ports) -> u16) -> String {
        let addresses = self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(&node.ports)));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// What a client must know and hold to be let in.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The process of a node, for those who measure it or choose its processor.
    #[must_use]
    pub fn process_of(&self, node: u32) -> u32 {
        self.node(node).process()
    }

    /// The command that runs Java with Kafka's jars; what it runs is still to be named.
    #[must_use]
    pub fn java(&self) -> std::process::Command {
        jars::java(self.libraries)
    }

    /// `kill -9` of a node (they count from 1); waits until it is gone.
    pub fn kill(&self, node: u32) {
        self.own(node).kill();
    }

    /// Ends a node in an orderly way: it hands over what it leads.
    pub async fn stop_node(&self, node: u32) {
        let node = self.own(node);
        node.signal("TERM");
        eventually("a node of Kafka ends", async || (!node.is_running()).then_some(())).await;
        node.kill();
    }

    /// Starts a node again over its data, on its ports; kills it first if it runs. Waits until it serves.
    pub async fn restart(&self, node: u32) {
        let node = self.own(node);
        node.kill();
        node.spawn(self.libraries);
        started(node).await;
    }

    /// Freezes a node: its connections stay open and nothing answers.
    pub fn pause(&self, node: u32) {
        self.own(node).signal("STOP");
    }

    /// Lets a frozen node go on.
    pub fn resume(&self, node: u32) {
        self.own(node).signal("CONT");
    }

    /// Ends all of it at once, as dropping it does.
    pub fn stop(self) {}

    /// The last lines that a node wrote to its log.
    #[must_use]
    pub fn log_of(&self, node: u32) -> String {
        self.node(node).log()
    }

    fn node(&self, number: u32) -> &Node {
        self.nodes.iter().find(|node| node.number == number).expect("nodes count from 1")
    }

    /// A node that may be harmed.
    fn own(&self, number: u32) -> &Node {
        assert!(!self.shared, "other tests use this Kafka: start one of your own");
        self.node(number)
    }

    /// Runs a class of Kafka's jars, such as `org.apache.kafka.tools.TopicCommand`.
    pub async fn tool(&self, main_class: &str, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(jars::java(self.libraries));
        command.arg(main_class).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("java can be run")
    }

    /// A file of client properties for [`Kafka::bootstrap_sasl_ssl`], as the tools take by `--command-config`.
    #[must_use]
    pub fn sasl_ssl_properties(&self, mechanism: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{mechanism}.properties"));
        std::fs::write(&path, self.secrets.sasl_ssl_properties(mechanism)).unwrap();
        path
    }

    /// A file of client properties for [`Kafka::bootstrap_ssl`].
    #[must_use]
    pub fn ssl_properties(&self) -> PathBuf {
        let path = self.folder.path().join("ssl.properties");
        std::fs::write(&path, self.secrets.ssl_properties()).unwrap();
        path
    }

    /// The Java client beside this Kafka, started at its first use.
    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::start(self.libraries, &self.bootstrap(), self.folder.path()))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("last lines of Kafka node {}:\n{}", node.number, node.log());
            }
        }
    }
}

async fn started(node: &Node) {
    let what = format!("Kafka node {} serves", node.number);
    eventually(&what, async || {
        assert!(node.is_running(), "Kafka node {} did not start:\n{}", node.number, node.log());
        node.has_started().then_some(())
    })
    .await;
}
