//! What a Secret says about a Kafka cluster, by Knative's keys.
//!
//! A Secret is read only when a Broker's ConfigMap refers to it; all others are left alone. Its values stay in its document,
//! and no problem repeats one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::document::Document;
use super::fields::{Field, Fields, join};
use super::node::{Node, Value};
use super::report::{At, Report};
use crate::kafka::{KafkaAuth, KafkaClientCertificate, KafkaProtocol, KafkaSasl, SaslMechanism};
use crate::snapshot::Problem;

const PROTOCOL: &str = "protocol";
const PASSWORD: &str = "password";
const CA_CERTIFICATE: &str = "ca.crt";
const USER_CERTIFICATE: &str = "user.crt";
const USER_KEY: &str = "user.key";
const USER_SKIP: &str = "user.skip";
const TLS_ENABLED: &str = "tls.enabled";

/// Spellings of one key; the first that is there counts. Those after the first are of older versions of Knative.
const MECHANISM: [&str; 3] = ["sasl.mechanism", "saslType", "sasltype"];
const USER: [&str; 2] = ["user", "username"];

/// Keys of logins with tokens of AWS.
const AWS: [&str; 2] = ["tokenProvider", "roleARN"];

/// How to speak to a cluster, as a Secret says it.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn auth(document: &Document) -> Result<KafkaAuth, Vec<Problem>> {
    let tree = document.tree();
    let mut report = Report::new(document.file.clone());
    report.resource = Some((document.kind, document.name.clone()));
    let mut secret = Secret { tree: &tree, line: document.line, report };
    match secret.auth() {
        Some(auth) if secret.report.problems.is_empty() => Ok(auth),
        _ => Err(secret.report.problems),
    }
}

struct Secret<'a> {
    tree: &'a Node,
    line: u64,
    report: Report,
}

impl<'a> Secret<'a> {
    fn auth(&mut self) -> Option<KafkaAuth> {
        self.check_maps();
        let protocol = self.protocol()?;
        let sasl = if protocol.has_login() { self.sasl(protocol) } else { None };
        let (mut ca_certificate, mut client_certificate) = (None, None);
        if protocol.is_encrypted() {
            ca_certificate =
                self.has(CA_CERTIFICATE).then(|| self.pem(CA_CERTIFICATE, "CERTIFICATE")).flatten();
            client_certificate = self.client_certificate(protocol);
        }
        Some(KafkaAuth { protocol, sasl, ca_certificate, client_certificate })
    }

    fn check_maps(&mut self) {
        for map in ["stringData", "data"] {
            if let Some(node) = self.tree.get(map) {
                Fields::of(map.to_owned(), node, &mut self.report);
            }
        }
    }

    fn protocol(&mut self) -> Option<KafkaProtocol> {
        if self.has(PROTOCOL) {
            return self.word(PROTOCOL, &KafkaProtocol::ALL.map(|protocol| (protocol.as_str(), protocol)));
        }
        // Without the word for it the other keys tell, as in Knative's older Secrets.
        let encrypted =
            self.flag(TLS_ENABLED)? || self.find(CA_CERTIFICATE).is_some_and(|(at, _)| !is_empty(&at));
        let login = self.has(PASSWORD) && USER.iter().any(|key| self.has(key));
        Some(match (encrypted, login) {
            (false, false) => KafkaProtocol::Plaintext,
            (true, false) => KafkaProtocol::Ssl,
            (false, true) => KafkaProtocol::SaslPlaintext,
            (true, true) => KafkaProtocol::SaslSsl,
        })
    }

    fn sasl(&mut self, protocol: KafkaProtocol) -> Option<KafkaSasl> {
        for key in AWS {
            if self.has(key) {
                self.wrong(
                    key,
                    "is for logins with tokens of AWS, which Pelton does not serve; use SCRAM-SHA-512",
                );
            }
        }
        let mechanism = match self.first(&MECHANISM) {
            None => SaslMechanism::Plain,
            Some(key) => self.mechanism(key)?,
        };
        let needs = |what| format!("is missing; {} needs the {what} to log in with", protocol.as_str());
        let user = self.required(self.first(&USER).unwrap_or(USER[0]), &needs("user"));
        let password = self.required(PASSWORD, &needs("password"));
        Some(KafkaSasl { mechanism, user: user?, password: password? })
    }

    fn mechanism(&mut self, key: &'static str) -> Option<SaslMechanism> {
        if self.value(key)? == "OAUTHBEARER" {
            let served = SaslMechanism::ALL.map(SaslMechanism::as_str).join(", ");
            self.wrong(key, format!("is OAUTHBEARER, which Pelton does not serve; use one of {served}"));
            return None;
        }
        self.word(key, &SaslMechanism::ALL.map(|mechanism| (mechanism.as_str(), mechanism)))
    }

    /// Knative demands a certificate with SSL unless it is told not to; beside a login one may be there.
    fn client_certificate(&mut self, protocol: KafkaProtocol) -> Option<KafkaClientCertificate> {
        const MISSING: &str =
            "is missing; give both user.crt and user.key, or user.skip: \"true\" to show no certificate";
        let wanted = protocol == KafkaProtocol::Ssl || self.has(USER_CERTIFICATE) || self.has(USER_KEY);
        if self.flag(USER_SKIP)? || !wanted {
            return None;
        }
        for key in [USER_CERTIFICATE, USER_KEY] {
            if !self.has(key) {
                self.missing(key, MISSING);
            }
        }
        if !self.has(USER_CERTIFICATE) || !self.has(USER_KEY) {
            return None;
        }
        let (certificate, key) =
            (self.pem(USER_CERTIFICATE, "CERTIFICATE"), self.pem(USER_KEY, "PRIVATE KEY"));
        Some(KafkaClientCertificate { certificate: certificate?, key: key? })
    }

    /// A value in PEM.
    fn pem(&mut self, key: &'static str, kind: &str) -> Option<String> {
        let value = self.value(key)?;
        if !value.contains("-----BEGIN ") || !value.contains(&format!("{kind}-----")) {
            let begin = format!("-----BEGIN {kind}-----");
            self.wrong(key, format!("is not PEM; it has a line {begin}, and is encoded only once"));
            return None;
        }
        if kind == "PRIVATE KEY" && value.contains("ENCRYPTED") {
            self.wrong(
                key,
                "is encrypted, and a Secret has no place for its passphrase; store it unencrypted",
            );
            return None;
        }
        Some(value)
    }

    /// A value that is one of a few words.
    fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.value(key)?;
        let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let found = known(&value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            // `echo PLAIN | base64` encodes a line break, too.
            let hint = match known(value.trim()) {
                Some(_) => "; there is a blank or line break around it, leave that out (echo -n)",
                None => "",
            };
            self.wrong(key, format!("is none of {}{hint}", words.join(", ")));
        }
        found
    }

    /// A value that is a boolean as Go reads it; `Some(false)` where it is not there.
    fn flag(&mut self, key: &'static str) -> Option<bool> {
        if !self.has(key) {
            return Some(false);
        }
        match self.value(key)?.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => {
                self.wrong(key, "is none of true, false");
                None
            }
        }
    }

    /// A value that must be there and not be empty.
    fn required(&mut self, key: &'static str, message: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, message);
            return None;
        }
        let value = self.value(key)?;
        if value.is_empty() {
            self.wrong(key, message.replacen("is missing", "is empty", 1));
            return None;
        }
        Some(value)
    }

    /// A value as text.
    fn value(&mut self, key: &'static str) -> Option<String> {
        let (field, is_encoded) = self.find(key)?;
        let Value::Text(text) = &field.node.value else {
            self.wrong(key, format!("is {}; write a string, in quotes", field.node.value.what()));
            return None;
        };
        if !is_encoded {
            return Some(text.clone());
        }
        // Line breaks do not count in Kubernetes either.
        let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        let Ok(bytes) = STANDARD.decode(text) else {
            self.wrong(key, "is not base64; encode it, or write it under stringData as it is");
            return None;
        };
        let value = String::from_utf8(bytes).ok();
        if value.is_none() {
            self.wrong(key, "is base64 of something that is not text");
        }
        value
    }

    /// The first of `keys` that is there.
    fn first(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.has(key))
    }

    fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// An entry, and whether it is encoded; what is written as it is wins.
    fn find(&self, key: &str) -> Option<(Field<'a>, bool)> {
        [("stringData", false), ("data", true)].into_iter().find_map(|(map, is_encoded)| {
            let Value::Map(entries) = &self.tree.get(map)?.value else { return None };
            let (name, node) = entries.iter().find(|(name, _)| name.name == key)?;
            let field = Field { path: join(map, key), line: name.line, node };
            (node.value != Value::Null).then_some((field, is_encoded))
        })
    }

    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        if let Some((field, _)) = self.find(key) {
            field.wrong(&mut self.report, message);
        }
    }

    fn missing(&mut self, key: &str, message: &str) {
        let at = At { line: self.line, field: &join("data", key) };
        self.report.error(&at, "PEL-1304", message);
    }
}

fn is_empty(field: &Field<'_>) -> bool {
    field.node.as_text() == Some("")
}
