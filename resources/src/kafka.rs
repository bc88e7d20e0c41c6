//! How a broker's topics lie on a Kafka cluster, and how to speak to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How a Broker's topics lie on Kafka. On the embedded log everything but `external_topic` is as by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaSettings {
    /// `bootstrap.servers` of its ConfigMap, `host:port` with commas between; `None`: the cluster Pelton was started with.
    pub bootstrap_servers: Option<String>,
    /// `default.topic.replication.factor` of its ConfigMap.
    pub replication_factor: Option<u16>,
    /// `default.topic.config.*` of its ConfigMap: settings of its topics, by Kafka's names.
    pub topic_config: BTreeMap<String, String>,
    /// What the Secret of its ConfigMap says (`auth.secret.ref.name`).
    pub auth: Option<Arc<KafkaAuth>>,
    /// Whether its topic is somebody else's (annotation `kafka.eventing.knative.dev/external.topic`): never made nor removed.
    pub external_topic: bool,
    /// Whether its Triggers go on where their consumer groups stopped (annotation `kafka.pelton.dev/take-over`).
    pub take_over: bool,
    /// Whether it is handed back to Knative (annotation `kafka.pelton.dev/handed-back`): nothing is delivered here.
    pub handed_back: bool,
}

/// How to speak to a cluster, as a Secret says it. Its `Debug` shows no value of the Secret but for protocol and mechanism.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaAuth {
    /// Whether the connection is encrypted, and whether there is a login.
    pub protocol: KafkaProtocol,
    /// The login; there if the protocol has one.
    pub sasl: Option<KafkaSasl>,
    /// Who may sign the certificates of the cluster, as PEM; `None`: the authorities that the system trusts.
    pub ca_certificate: Option<String>,
    /// The certificate that the client shows.
    pub client_certificate: Option<KafkaClientCertificate>,
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSasl {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// A certificate of a client, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaClientCertificate {
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: String,
}

/// Kafka's security protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KafkaProtocol {
    /// Neither encryption nor login.
    Plaintext,
    /// Encryption.
    Ssl,
    /// A login without encryption.
    SaslPlaintext,
    /// Encryption and a login.
    SaslSsl,
}

impl KafkaProtocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::SaslPlaintext, Self::Ssl, Self::SaslSsl];

    /// The word for it, as in Kafka's `security.protocol`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether there is a login.
    #[must_use]
    pub const fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How a password is proven to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaslMechanism {
    /// It is sent.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// The word for it, as in Kafka's `sasl.mechanism`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Debug for KafkaAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, sasl, ca_certificate, client_certificate } = self;
        f.debug_struct("KafkaAuth")
            .field("protocol", protocol)
            .field("sasl", sasl)
            .field("has_ca_certificate", &ca_certificate.is_some())
            .field("has_client_certificate", &client_certificate.is_some())
            .finish()
    }
}

impl fmt::Debug for KafkaSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl fmt::Debug for KafkaClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClientCertificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let auth = KafkaAuth {
            protocol: KafkaProtocol::SaslSsl,
            sasl: Some(KafkaSasl {
                mechanism: SaslMechanism::ScramSha512,
                user: "hunter1".into(),
                password: "hunter2".into(),
            }),
            ca_certificate: Some("hunter3".into()),
            client_certificate: Some(KafkaClientCertificate {
                certificate: "hunter4".into(),
                key: "hunter5".into(),
            }),
        };
        let settings = KafkaSettings { auth: Some(Arc::new(auth.clone())), ..KafkaSettings::default() };
        let shown = format!("{settings:?} {settings:#?} {:?}", auth.client_certificate);
        assert!(shown.contains("ScramSha512"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
