//! The keys of a Broker's ConfigMap that are about a Kafka cluster.
//!
//! Whether there is a cluster is not known here. So mistakes in them are kept beside the values, and only count where the
//! log is on Kafka and a Broker refers to the ConfigMap; on the embedded log they are keys without an effect, whatever they
//! say.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::fields::{Field, join};
use super::node::Value;
use super::report::Report;
use super::scalar;
use crate::name::NamespacedName;
use crate::snapshot::Problem;

const SERVERS: &str = "bootstrap.servers";
const REPLICATION: &str = "default.topic.replication.factor";
const TOPIC_CONFIG: &str = "default.topic.config.";
const SECRET_NAME: &str = "auth.secret.ref.name";
const SECRET_NAMESPACE: &str = "auth.secret.ref.namespace";

/// The keys, for suggestions.
pub(crate) const KEYS: [&str; 4] = [SERVERS, REPLICATION, SECRET_NAME, SECRET_NAMESPACE];

/// What a ConfigMap says about a Kafka cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct KafkaConfig {
    /// `host:port`, with commas between.
    pub(crate) bootstrap_servers: Option<String>,
    pub(crate) replication_factor: Option<u16>,
    pub(crate) topic_config: BTreeMap<String, String>,
    pub(crate) secret: Option<SecretReference>,
    /// The keys that are there, with their lines.
    pub(crate) keys: Vec<(String, u64)>,
    /// The mistakes in them.
    pub(crate) problems: Vec<Problem>,
}

/// The Secret that a ConfigMap refers to, and where it does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SecretReference {
    pub(crate) name: NamespacedName,
    pub(crate) field: String,
    pub(crate) line: u64,
}

impl KafkaConfig {
    /// Whether `key` is about a Kafka cluster.
    pub(crate) fn knows(key: &str) -> bool {
        KEYS.contains(&key) || key.strip_prefix(TOPIC_CONFIG).is_some_and(|setting| !setting.is_empty())
    }

    /// Reads the `data` of a ConfigMap in `namespace`.
    pub(crate) fn read(data: &Field<'_>, namespace: &str, report: &Report) -> Self {
        let mut config = Self::default();
        let mut report = report.beside();
        let Value::Map(entries) = &data.node.value else { return config };
        let text = |check: fn(&str) -> Result<(), String>| move |t: &str| check(t).map(|()| t.to_owned());
        let (mut secret, mut secret_namespace) = (None, None);
        for (key, node) in entries.iter().filter(|(key, _)| Self::knows(&key.name)) {
            config.keys.push((key.name.clone(), key.line));
            let field = Field { path: join(&data.path, &key.name), line: key.line, node };
            match key.name.as_str() {
                SERVERS => config.bootstrap_servers = field.parsed(&mut report, servers),
                REPLICATION => config.replication_factor = field.parsed(&mut report, replication_factor),
                SECRET_NAME => {
                    let name = field.parsed(&mut report, text(scalar::name));
                    secret = name.map(|name| (name, field));
                }
                // Knative takes an empty one for none, too.
                SECRET_NAMESPACE if field.node.as_text() == Some("") => {}
                SECRET_NAMESPACE => secret_namespace = field.parsed(&mut report, text(scalar::namespace)),
                other => {
                    let setting = other.strip_prefix(TOPIC_CONFIG).unwrap_or(other).to_owned();
                    config
                        .topic_config
                        .extend(field.text(&mut report).map(|text| (setting, text.to_owned())));
                }
            }
        }
        config.secret = secret.map(|(name, field)| {
            let name = NamespacedName::new(secret_namespace.as_deref().unwrap_or(namespace), &name);
            SecretReference { name, field: field.path, line: field.line }
        });
        config.problems = report.problems;
        config
    }
}

/// Reads a list of servers; blanks and empty entries are left out, as Knative does.
fn servers(text: &str) -> Result<String, String> {
    const RIGHT: &str = "write host:port, several with commas between (kafka-1:9092,kafka-2:9092)";
    let servers: Vec<_> = text.split(',').map(str::trim).filter(|server| !server.is_empty()).collect();
    if servers.is_empty() {
        return Err(format!("names no server; {RIGHT}"));
    }
    match servers.iter().find(|server| !is_server(server)) {
        Some(wrong) => Err(format!("has {wrong:?} in it, which is no server; {RIGHT}")),
        None => Ok(servers.join(",")),
    }
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(legal)
        }
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    is_host && is_port && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn replication_factor(text: &str) -> Result<u16, String> {
    let number = text.parse::<u16>().ok().filter(|number| (1..=i16::MAX.unsigned_abs()).contains(number));
    number.ok_or_else(|| format!("is not a number of replicas; write 1 to {}", i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        let good = [
            ("k:9092", "k:9092"),
            (" a.b-c_d:1 , 10.0.0.1:65535,,", "a.b-c_d:1,10.0.0.1:65535"),
            ("[::1]:9092", "[::1]:9092"),
        ];
        for (text, list) in good {
            assert_eq!(servers(text).as_deref(), Ok(list), "{text}");
        }
        for text in
            ["", " , ", "k", "k:", ":9092", "k:0", "k:65536", "k:+1", "::1:9092", "[k]:1", "PLAINTEXT://k:1"]
        {
            let error = servers(text).unwrap_err();
            assert!(error.contains("write host:port"), "{text}: {error}");
        }
    }

    #[test]
    fn replicas_are_counted_from_one() {
        assert_eq!((replication_factor("1"), replication_factor("32767")), (Ok(1), Ok(32_767)));
        for text in ["", "0", "-1", "32768", "three"] {
            assert!(replication_factor(text).unwrap_err().ends_with("write 1 to 32767"), "{text}");
        }
    }
}
