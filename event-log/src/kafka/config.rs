//! How the engine is set up, and how it speaks to a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::limits;

/// Settings of the kafka engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster of topics that name no other.
    pub connection: Connection,
    /// A dispatcher that is silent for so long loses its partitions.
    pub session_timeout: Duration,
    /// An append that Kafka has not acknowledged by then has an unknown outcome.
    pub delivery_timeout: Duration,
    /// How long a partition that goes to another dispatcher may take to finish what is in flight.
    pub revoke_grace: Duration,
    /// Bytes of records that may wait for Kafka; beyond, appends are refused as busy.
    pub queue_bytes: usize,
    /// Replicas of topics whose Broker does not say how many; `None`: as the cluster's default is.
    pub replication_factor: Option<u16>,
}

impl Config {
    /// The defaults ([`limits`]) over the cluster at `connection`.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            session_timeout: limits::KAFKA_SESSION_TIMEOUT,
            delivery_timeout: limits::KAFKA_DELIVERY_TIMEOUT,
            revoke_grace: limits::KAFKA_REVOKE_GRACE,
            queue_bytes: limits::QUEUE_BYTES,
            replication_factor: None,
        }
    }
}

/// A cluster and how to speak to it. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// `HOST:PORT` of some of its nodes, with commas between them; empty: those that the engine was started with.
    pub bootstrap_servers: Arc<str>,
    /// Encryption and authentication.
    pub protocol: Protocol,
    /// Who we are, for the `Sasl` protocols.
    pub sasl: Option<Sasl>,
    /// PEM of the authorities that its certificates are checked with; `None`: those of the system.
    pub ca_certificate: Option<Arc<str>>,
    /// PEM of our certificate and its key.
    pub client_certificate: Option<(Arc<str>, Arc<str>)>,
}

/// What the connections to a cluster speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// No encryption, no authentication.
    #[default]
    Plaintext,
    /// TLS, with a certificate of ours where one is set.
    Ssl,
    /// User and password without encryption.
    SaslPlaintext,
    /// User and password over TLS.
    SaslSsl,
}

/// User, password and how they are proven.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The user.
    pub user: Arc<str>,
    /// The password.
    pub password: Arc<str>,
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// The password as it is.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Connection {
    /// A cluster without encryption or authentication.
    #[must_use]
    pub fn plaintext(bootstrap_servers: impl Into<Arc<str>>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            protocol: Protocol::Plaintext,
            sasl: None,
            ca_certificate: None,
            client_certificate: None,
        }
    }

    /// This connection, with the servers of `other` if it names none; without any security of its own it is `other`.
    pub(super) fn or_servers(&self, other: &Self) -> Self {
        if !self.bootstrap_servers.is_empty() {
            return self.clone();
        }
        if *self == Self::plaintext("") {
            return other.clone();
        }
        Self { bootstrap_servers: other.bootstrap_servers.clone(), ..self.clone() }
    }

    /// What every client of the cluster is set up with.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &*self.bootstrap_servers)
            .set("client.id", "pelton")
            .set("security.protocol", self.protocol.as_str())
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            // A node that comes back is found within a second, not ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // Partitions that others add are known after this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set_log_level(RDKafkaLogLevel::Info);
        if let Some(sasl) = &self.sasl {
            client
                .set("sasl.mechanism", sasl.mechanism.as_str())
                .set("sasl.username", &*sasl.user)
                .set("sasl.password", &*sasl.password);
        }
        if let Some(authorities) = &self.ca_certificate {
            client.set("ssl.ca.pem", &**authorities);
        }
        if let Some((certificate, key)) = &self.client_certificate {
            client.set("ssl.certificate.pem", &**certificate).set("ssl.key.pem", &**key);
        }
        client
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connection");
        shown.field("bootstrap_servers", &self.bootstrap_servers).field("protocol", &self.protocol);
        shown.field("sasl", &self.sasl).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

impl Mechanism {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let sasl = Sasl { mechanism: Mechanism::Plain, user: "me".into(), password: "hunter2".into() };
        let connection = Connection {
            sasl: Some(sasl),
            client_certificate: Some(("cert".into(), "hunter2".into())),
            ..Connection::plaintext("a:1")
        };
        let shown = format!("{connection:?}");
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
    }
}
