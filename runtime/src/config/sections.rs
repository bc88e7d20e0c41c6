//! Every setting, by section. The names in a file are these in kebab-case; the defaults are here and, with words around
//! them, in `deploy/config/default.toml`, which a test holds equal.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::values::{ByteSize, HumanDuration, PortRange, Secret, optional};
use crate::egress::Network;

/// Settings of a process, complete and valid.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Listen,
    /// Certificates of the listeners.
    pub tls: Tls,
    /// Where files are kept.
    pub data: Data,
    /// The embedded event log.
    pub log: Log,
    /// Kafka as the event log.
    pub kafka: Kafka,
    /// Receiving events over HTTP.
    pub ingress: Ingress,
    /// Sending events to subscribers.
    pub dispatch: Dispatch,
    /// What Triggers and Brokers get that do not say otherwise.
    pub delivery: Delivery,
    /// Where events may be sent.
    pub egress: Egress,
    /// Running Services.
    pub serving: Serving,
    /// The admin API.
    pub admin: Admin,
    /// Stopping.
    pub shutdown: Shutdown,
    /// What Pelton writes on standard error.
    pub log_output: LogOutput,
    /// Spans of events, for a collector.
    pub traces: Traces,
}

/// `[listen]`: addresses to listen on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Listen {
    /// Events come in here.
    pub ingress: SocketAddr,
    /// Services are reached here.
    pub gateway: SocketAddr,
    /// EventBridge clients call here.
    pub event_bridge: SocketAddr,
    /// Health, metrics and the admin API.
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            ingress: loopback(8080),
            gateway: loopback(8081),
            event_bridge: loopback(8082),
            admin: loopback(9090),
        }
    }
}

impl Listen {
    /// The listeners that this version serves, by name. The others open nothing, so that no rule concerns them.
    #[must_use]
    pub const fn served(&self) -> [(&'static str, SocketAddr); 3] {
        [("ingress", self.ingress), ("gateway", self.gateway), ("admin", self.admin)]
    }

    /// True while no listener can be reached from another machine. Loopback targets and an admin API without a token
    /// are allowed only then.
    #[must_use]
    pub fn is_loopback_only(&self) -> bool {
        self.served().iter().all(|(_, address)| address.ip().is_loopback())
    }
}

/// Settings of listeners that this version does not serve. They are taken, so that one file fits every version.
pub(super) const WITHOUT_EFFECT: [&str; 3] =
    ["listen.event-bridge", "tls.event-bridge.certificate", "tls.event-bridge.key"];

/// `[tls]`: certificates of the listeners; a listener without one speaks plain HTTP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Tls {
    /// Of the ingress listener.
    pub ingress: TlsFiles,
    /// Of the gateway.
    pub gateway: TlsFiles,
    /// Of the EventBridge listener.
    pub event_bridge: TlsFiles,
    /// Of the admin listener.
    pub admin: TlsFiles,
}

/// A certificate and its key. Both or neither.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM file with the certificate chain, leaf first.
    #[serde(with = "optional")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key.
    #[serde(with = "optional")]
    pub key: Option<PathBuf>,
}

/// `[data]`: where files are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Data {
    /// Everything Pelton keeps.
    pub dir: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: PathBuf::from("./pelton-data") }
    }
}

/// What a broker does whose log budget is spent by events that are still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// New events are refused with 503 until there is room.
    Refuse,
    /// The oldest events end as expired: counted and listed.
    Expire,
}

/// `[log]`: the embedded event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Log {
    /// Bytes of one segment file; it is allocated ahead.
    pub segment_size: ByteSize,
    /// Age after which an event that is not owed is dropped.
    pub retention_age: HumanDuration,
    /// Bytes a broker's events may take.
    pub retention_size: ByteSize,
    /// Age after which a dead letter is dropped.
    pub dead_letter_age: HumanDuration,
    /// What happens when `retention_size` is spent.
    pub on_full: OnFull,
    /// Partitions of a broker that does not say how many.
    pub default_partitions: u32,
    /// Bytes of the newest records that are kept in memory for readers at the head.
    pub tail_cache: ByteSize,
    /// Bytes that may wait for the writer; beyond, appends are refused.
    pub queue_size: ByteSize,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            segment_size: ByteSize::from_mib(64),
            retention_age: HumanDuration::from_secs(7 * 86_400),
            retention_size: ByteSize::from_gib(10),
            dead_letter_age: HumanDuration::from_secs(30 * 86_400),
            on_full: OnFull::Refuse,
            default_partitions: 10,
            tail_cache: ByteSize::from_mib(64),
            queue_size: ByteSize::from_mib(64),
        }
    }
}

/// `[kafka]`: Kafka as the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Kafka {
    /// `HOST:PORT` of some nodes of the cluster, with commas between them; empty: the log is the embedded one.
    pub servers: String,
    /// A dispatcher that Kafka has not heard of for so long loses its partitions.
    pub session_timeout: HumanDuration,
    /// An append that Kafka has not acknowledged by then is answered 503.
    pub delivery_timeout: HumanDuration,
    /// How long a partition that goes to another dispatcher may take to finish what is in flight.
    pub revoke_grace: HumanDuration,
    /// Replicas of topics that Pelton makes and whose Broker does not say how many; 0: the cluster's default.
    pub replication_factor: u16,
    /// Bytes that may wait for Kafka; beyond, events are answered 503.
    pub queue_size: ByteSize,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            servers: String::new(),
            session_timeout: HumanDuration::from_secs(10),
            delivery_timeout: HumanDuration::from_secs(15),
            revoke_grace: HumanDuration::from_secs(10),
            replication_factor: 0,
            queue_size: ByteSize::from_mib(64),
        }
    }
}

/// `[ingress]`: receiving events over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Ingress {
    /// Bytes of one event's body, and of the data of one event in a batch; a larger one is answered 413.
    pub body_limit: ByteSize,
    /// Bytes of a batch's body; a larger one is answered 413.
    pub batch_limit: ByteSize,
    /// Events in one batch.
    pub batch_events: u32,
    /// Time for a client to send a request's head, or its TLS handshake.
    pub header_timeout: HumanDuration,
    /// Time for a client to send a request's body.
    pub body_timeout: HumanDuration,
    /// Time after which a connection without a request is closed, or one whose client stopped reading.
    pub idle_timeout: HumanDuration,
    /// Connections at a time; further ones wait in the system's accept queue.
    pub max_connections: u32,
    /// Bytes of all events received and not yet stored; beyond: 503.
    pub in_flight: ByteSize,
    /// Share of `in_flight` that one client may take, in percent; beyond: 429.
    pub client_share: u8,
    /// Share of `in_flight` that one broker may take, in percent; beyond: 429.
    pub broker_share: u8,
    /// Whether the values of `ce-` headers are percent-encoded, as the CloudEvents HTTP binding demands: in events and
    /// replies that come in, and in deliveries. Off: they come in and go out as they are, as in Knative.
    pub decode_percent: bool,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            body_limit: ByteSize::from_mib(1),
            batch_limit: ByteSize::from_mib(4),
            batch_events: 1000,
            header_timeout: HumanDuration::from_secs(10),
            body_timeout: HumanDuration::from_secs(30),
            idle_timeout: HumanDuration::from_secs(120),
            max_connections: 10_000,
            in_flight: ByteSize::from_mib(256),
            client_share: 50,
            broker_share: 50,
            decode_percent: true,
        }
    }
}

/// `[dispatch]`: sending events to subscribers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Dispatch {
    /// Deliveries in flight in the whole process.
    pub max_in_flight: u32,
    /// Bytes of all bodies that attempts in flight hold.
    pub body_budget: ByteSize,
    /// Events a lane (one trigger in one partition) may have begun and not yet ended in the saved progress.
    pub lane_window: u32,
    /// The longest time between an end and its being saved.
    pub save_interval: HumanDuration,
    /// Connections per subscriber address over HTTP/1.1, or concurrent streams over HTTP/2.
    pub connections_per_subscriber: u32,
    /// Time for resolving a name and connecting, TLS included.
    pub connect_timeout: HumanDuration,
    /// Time after which an unused connection to a subscriber is closed.
    pub connection_idle_timeout: HumanDuration,
    /// Bytes of a subscriber's answer that are read; a larger one counts as a failure.
    pub response_limit: ByteSize,
    /// A retry that waits longer than this moves to the retry topic, so that its lane goes on.
    pub durable_retry_after: HumanDuration,
    /// Retries of one lane that may wait in the retry topic; beyond, the lane stops.
    pub open_retries: u32,
}

impl Default for Dispatch {
    fn default() -> Self {
        Self {
            max_in_flight: 4096,
            body_budget: ByteSize::from_mib(256),
            lane_window: 1024,
            save_interval: HumanDuration::from_millis(200),
            connections_per_subscriber: 64,
            connect_timeout: HumanDuration::from_secs(5),
            connection_idle_timeout: HumanDuration::from_secs(60),
            response_limit: ByteSize::from_mib(1),
            durable_retry_after: HumanDuration::from_secs(5),
            open_retries: 10_000,
        }
    }
}

/// How the waits between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackoffPolicy {
    /// By the same amount each time.
    Linear,
    /// Twofold each time.
    Exponential,
}

/// `[delivery]`: what Triggers and Brokers get that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Delivery {
    /// Attempts after the first.
    pub retry: u32,
    /// How the waits grow.
    pub backoff_policy: BackoffPolicy,
    /// The wait they grow from.
    pub backoff_delay: HumanDuration,
    /// The longest wait.
    pub backoff_max: HumanDuration,
    /// Time for one attempt.
    pub timeout: HumanDuration,
    /// The longest `Retry-After` that is obeyed.
    pub retry_after_max: HumanDuration,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            retry: 10,
            backoff_policy: BackoffPolicy::Exponential,
            backoff_delay: HumanDuration::from_millis(200),
            backoff_max: HumanDuration::from_secs(600),
            timeout: HumanDuration::from_secs(600),
            retry_after_max: HumanDuration::from_secs(600),
        }
    }
}

/// `[egress]`: where events may be sent. The address a name resolves to is what counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Egress {
    /// Networks that are allowed whatever the rules below say.
    pub allow: Vec<Network>,
    /// Networks that are forbidden; stronger than `allow`.
    pub deny: Vec<Network>,
    /// Whether private networks (10.0.0.0/8, fc00::/7 …) are allowed.
    pub private_networks: bool,
    /// PEM file with certificates to trust beside the public ones.
    #[serde(with = "optional")]
    pub extra_ca_certificates: Option<PathBuf>,
}

impl Default for Egress {
    fn default() -> Self {
        Self { allow: Vec::new(), deny: Vec::new(), private_networks: true, extra_ca_certificates: None }
    }
}

/// `[admin]`: the admin API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Admin {
    /// Bearer token that its clients must present; not set: no token is asked for, while every listener is loopback.
    pub token: Secret,
}

/// `[shutdown]`: stopping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time for what is in flight to end after the first signal; a second signal stops at once.
    pub grace: HumanDuration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: HumanDuration::from_secs(25) }
    }
}

/// `[serving]`: running Services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Serving {
    /// The ports that replicas listen on, as `FIRST-LAST`.
    pub replica_ports: PortRange,
}

impl Default for Serving {
    fn default() -> Self {
        Self { replica_ports: PortRange::new(20_000, 29_999) }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log-output]`: what Pelton writes on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct LogOutput {
    /// The form of a line.
    pub format: LogFormat,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module as in `info,pelton_broker=debug`.
    pub level: String,
}

impl Default for LogOutput {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// `[traces]`: spans of events, sent to a collector over OTLP/HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Traces {
    /// URL of the collector; without a path, `/v1/traces` is added. Empty: no spans are made.
    pub endpoint: String,
    /// Of the events that come without a trace, one in so many gets one; 0: none. Those that come with one have their sender's
    /// decision.
    pub sample_one_in: u32,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: String::new(), sample_one_in: 1 }
    }
}
