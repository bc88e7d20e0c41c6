//! Certificates, made anew for each cluster, and the one user.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// What a client must know and hold to be let in, as a Secret gives it.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The certificate (PEM) that all others are signed with.
    pub ca: String,
    /// The certificate (PEM) of a client.
    pub client_certificate: String,
    /// Its private key (PEM, PKCS 8).
    pub client_key: String,
    /// The user of the listener for users.
    pub user: String,
    /// The user's password.
    pub password: String,
    folder: PathBuf,
}

impl Secrets {
    /// Makes them, and writes what Kafka and its tools read from files to `folder`.
    pub(super) fn make(folder: &Path) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = parameters("authority", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let signed = |name: &str, hosts: &[&str], usage| {
            let key = KeyPair::generate().unwrap();
            let mut wanted = parameters(name, hosts);
            wanted.extended_key_usages = vec![usage];
            let certificate = wanted.signed_by(&key, &issuer).unwrap().pem();
            (certificate, key.serialize_pem())
        };
        let hosts = ["127.0.0.1", "localhost"];
        let (node_certificate, node_key) = signed("node", &hosts, ExtendedKeyUsagePurpose::ServerAuth);
        let (client_certificate, client_key) = signed("client", &[], ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(folder.join("ca.pem"), &ca).unwrap();
        std::fs::write(folder.join("node.pem"), node_key + &node_certificate).unwrap();
        std::fs::write(folder.join("client.pem"), client_key.clone() + &client_certificate).unwrap();
        Self {
            ca,
            client_certificate,
            client_key,
            user: "pelton".to_owned(),
            password: "a-secret-of-the-tests".to_owned(),
            folder: folder.to_owned(),
        }
    }

    /// What the TLS listeners of a node are set to.
    pub(super) fn listener_settings(&self, set: &mut impl FnMut(&str, &str)) {
        set("ssl.truststore.type", "PEM");
        set("ssl.truststore.location", &self.path("ca.pem"));
        set("ssl.keystore.type", "PEM");
        set("ssl.keystore.location", &self.path("node.pem"));
        set("listener.name.ssl.ssl.client.auth", "required");
        set("sasl.enabled.mechanisms", "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN");
        let module = |name: &str| format!("org.apache.kafka.common.security.{name} required");
        let scram = module("scram.ScramLoginModule") + ";";
        set("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", &scram);
        set("listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config", &scram);
        let user = format!(" user_{}=\"{}\";", self.user, self.password);
        set("listener.name.sasl_ssl.plain.sasl.jaas.config", &(module("plain.PlainLoginModule") + &user));
    }

    /// Properties of a Java client of the listener for users.
    pub(super) fn sasl_ssl_properties(&self, mechanism: &str) -> String {
        let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
        format!(
            "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required \
             username=\"{}\" password=\"{}\";\n",
            self.path("ca.pem"),
            self.user,
            self.password
        )
    }

    /// Properties of a Java client of the listener for clients with certificates.
    pub(super) fn ssl_properties(&self) -> String {
        format!(
            "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\n",
            self.path("ca.pem"),
            self.path("client.pem")
        )
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
