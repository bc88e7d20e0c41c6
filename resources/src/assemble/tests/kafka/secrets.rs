//! The Secrets of Brokers on Kafka.

use super::*;
use crate::{KafkaAuth, KafkaProtocol, SaslMechanism};

const WITH_SECRET: &str = "  bootstrap.servers: k:9092\n  auth.secret.ref.name: login\n";

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\\nhunter2\\n-----END CERTIFICATE-----\\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\\n";

/// A Secret, which is on line 13 after [`broker_and_config`], its entries from line 17 on.
fn secret(map: &str, entries: &str) -> String {
    let entries: String = entries.lines().map(|entry| format!("  {}\n", entry.trim())).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\n{map}:\n{entries}---\n")
}

fn broker_and_config() -> String {
    configured() + &config_map("cfg", WITH_SECRET)
}

fn with(map: &str, entries: &str) -> Arc<Snapshot> {
    on_kafka(&(broker_and_config() + &secret(map, entries)))
}

fn auth(snapshot: &Snapshot) -> KafkaAuth {
    let auth = b(snapshot).kafka.auth.as_deref().cloned();
    auth.unwrap_or_else(|| panic!("{:?}", told(snapshot)))
}

#[test]
fn a_secret_tells_how_to_log_in() {
    let snapshot = with("stringData", "protocol: SASL_PLAINTEXT\nuser: me\npassword: hunter2");
    assert_eq!(told(&snapshot), [""; 0]);
    assert!(b(&snapshot).readiness.is_ready());
    let auth = auth(&snapshot);
    let sasl = auth.sasl.unwrap();
    assert_eq!((auth.protocol, sasl.mechanism), (KafkaProtocol::SaslPlaintext, SaslMechanism::Plain));
    assert_eq!((sasl.user.as_str(), sasl.password.as_str()), ("me", "hunter2"));
    assert_eq!((auth.ca_certificate, auth.client_certificate), (None, None));
}

#[test]
fn values_are_base64_and_string_data_wins() {
    // "SASL_SSL", "other", "hunter2" with a line break in its base64, "SCRAM-SHA-512"
    let text = broker_and_config()
        + &secret(
            "data",
            "protocol: U0FTTF9TU0w=\nuser: b3RoZXI=\npassword: \"aHVu\\ndGVyMg==\\n\"\nsasl.mechanism: U0NSQU0tU0hBLTUxMg==\n\
             other.key: '%'",
        )
        .replace("---\n", "stringData: {user: me}\n");
    let snapshot = on_kafka(&text);
    let auth = auth(&snapshot);
    let sasl = auth.sasl.unwrap();
    assert_eq!((auth.protocol, sasl.mechanism), (KafkaProtocol::SaslSsl, SaslMechanism::ScramSha512));
    assert_eq!((sasl.user.as_str(), sasl.password.as_str()), ("me", "hunter2"));
}

#[test]
fn certificates_are_taken_as_the_protocol_wants_them() {
    let login = "user: me\npassword: hunter2\n";
    let pair = format!("user.crt: \"{CERTIFICATE}\"\nuser.key: \"{KEY}\"\n");
    let ca = format!("ca.crt: \"{CERTIFICATE}\"\n");
    // Whether there is an authority, and a certificate of the client.
    let cases = [
        (format!("protocol: SSL\n{ca}{pair}"), (true, true)),
        (format!("protocol: SSL\n{pair}"), (false, true)),
        ("protocol: SSL\nuser.skip: 'true'".to_owned(), (false, false)),
        (format!("protocol: SSL\nuser.skip: 'TRUE'\n{pair}"), (false, false)),
        (format!("protocol: SASL_SSL\n{login}{ca}"), (true, false)),
        (format!("protocol: SASL_SSL\n{login}user.crt:\nca.crt:"), (false, false)),
        (format!("protocol: SASL_SSL\n{login}{pair}"), (false, true)),
        (format!("protocol: SASL_SSL\n{login}{pair}user.skip: '1'"), (false, false)),
        // What a protocol does not need is not looked at.
        (format!("protocol: SASL_PLAINTEXT\n{login}ca.crt: nonsense"), (false, false)),
        ("protocol: PLAINTEXT\nuser.crt: nonsense\nsasl.mechanism: nonsense".to_owned(), (false, false)),
    ];
    for (entries, expected) in cases {
        let auth = auth(&with("stringData", &entries));
        let found = (auth.ca_certificate.is_some(), auth.client_certificate.is_some());
        assert_eq!(found, expected, "{entries}");
    }
    let auth = auth(&with("stringData", &format!("protocol: SSL\n{ca}{pair}")));
    let client = auth.client_certificate.unwrap();
    assert!(client.certificate.contains("BEGIN CERTIFICATE") && client.key.contains("BEGIN PRIVATE KEY"));
}

#[test]
fn secrets_of_older_versions_tell_the_protocol_by_their_keys() {
    let login = "username: me\npassword: hunter2\n";
    let ca = format!("ca.crt: \"{CERTIFICATE}\"\n");
    let cases = [
        ("other: x".to_owned(), KafkaProtocol::Plaintext),
        ("user: me".to_owned(), KafkaProtocol::Plaintext),
        ("tls.enabled: 'false'".to_owned(), KafkaProtocol::Plaintext),
        ("tls.enabled: 'true'\nuser.skip: 'true'".to_owned(), KafkaProtocol::Ssl),
        (format!("{ca}user.skip: 'true'"), KafkaProtocol::Ssl),
        (login.to_owned(), KafkaProtocol::SaslPlaintext),
        (format!("{login}tls.enabled: 'true'"), KafkaProtocol::SaslSsl),
        (format!("{login}{ca}"), KafkaProtocol::SaslSsl),
    ];
    for (entries, protocol) in cases {
        let auth = auth(&with("stringData", &entries));
        assert_eq!(auth.protocol, protocol, "{entries}");
        assert_eq!(auth.sasl.is_some(), protocol.has_login(), "{entries}");
    }
    for (key, mechanism) in
        [("sasltype", SaslMechanism::ScramSha256), ("saslType", SaslMechanism::ScramSha512)]
    {
        let entries = format!("{login}{key}: {}", mechanism.as_str());
        assert_eq!(auth(&with("stringData", &entries)).sasl.unwrap().mechanism, mechanism);
    }
}

/// Entries of `stringData`, and what is said about them after `PEL-130x f.yaml:`.
const WRONG: &[(&str, &[&str])] = &[
    (
        "protocol: hunter2",
        &["3 f.yaml:17: stringData.protocol: is none of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL"],
    ),
    (
        "protocol: 'SSL '",
        &[
            "3 f.yaml:17: stringData.protocol: is none of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL; there is a blank or line \
             break around it, leave that out (echo -n)",
        ],
    ),
    (
        "protocol: SASL_SSL",
        &[
            "4 f.yaml:13: data.user: is missing; SASL_SSL needs the user to log in with",
            "4 f.yaml:13: data.password: is missing; SASL_SSL needs the password to log in with",
        ],
    ),
    (
        "protocol: SASL_PLAINTEXT\nuser: ''\npassword: 22",
        &[
            "3 f.yaml:18: stringData.user: is empty; SASL_PLAINTEXT needs the user to log in with",
            "3 f.yaml:19: stringData.password: is a number; write a string, in quotes",
        ],
    ),
    (
        "protocol: SASL_SSL\nsasl.mechanism: hunter2\nuser: me\npassword: hunter2",
        &["3 f.yaml:18: stringData[\"sasl.mechanism\"]: is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"],
    ),
    (
        "protocol: SASL_SSL\nsasl.mechanism: OAUTHBEARER\nuser: me\npassword: hunter2",
        &[
            "3 f.yaml:18: stringData[\"sasl.mechanism\"]: is OAUTHBEARER, which Pelton does not serve; use one of PLAIN, \
             SCRAM-SHA-256, SCRAM-SHA-512",
        ],
    ),
    (
        "protocol: SASL_SSL\nsasl.mechanism: OAUTHBEARER\ntokenProvider: MSKAccessTokenProvider\nroleARN: hunter2",
        &[
            "3 f.yaml:19: stringData.tokenProvider: is for logins with tokens of AWS, which Pelton does not serve; use \
             SCRAM-SHA-512",
            "3 f.yaml:20: stringData.roleARN: is for logins with tokens of AWS, which Pelton does not serve; use SCRAM-SHA-512",
            "3 f.yaml:18: stringData[\"sasl.mechanism\"]: is OAUTHBEARER, which Pelton does not serve; use one of PLAIN, \
             SCRAM-SHA-256, SCRAM-SHA-512",
        ],
    ),
    (
        "protocol: SSL",
        &[
            "4 f.yaml:13: data[\"user.crt\"]: is missing; give both user.crt and user.key, or user.skip: \"true\" to show no \
             certificate",
            "4 f.yaml:13: data[\"user.key\"]: is missing; give both user.crt and user.key, or user.skip: \"true\" to show no \
             certificate",
        ],
    ),
    (
        "protocol: SASL_SSL\nuser: me\npassword: hunter2\nuser.crt: hunter2",
        &[
            "4 f.yaml:13: data[\"user.key\"]: is missing; give both user.crt and user.key, or user.skip: \"true\" to show no \
             certificate",
        ],
    ),
    (
        "protocol: SSL\nuser.skip: hunter2",
        &["3 f.yaml:18: stringData[\"user.skip\"]: is none of true, false"],
    ),
    (
        "protocol: SSL\nca.crt: hunter2\nuser.crt: hunter2\nuser.key: hunter2",
        &[
            "3 f.yaml:18: stringData[\"ca.crt\"]: is not PEM; it has a line -----BEGIN CERTIFICATE-----, and is encoded only \
             once",
            "3 f.yaml:19: stringData[\"user.crt\"]: is not PEM; it has a line -----BEGIN CERTIFICATE-----, and is encoded only \
             once",
            "3 f.yaml:20: stringData[\"user.key\"]: is not PEM; it has a line -----BEGIN PRIVATE KEY-----, and is encoded only \
             once",
        ],
    ),
    (
        "protocol: SSL\nuser.crt: '-----BEGIN CERTIFICATE-----'\nuser.key: '-----BEGIN ENCRYPTED PRIVATE KEY-----'",
        &[
            "3 f.yaml:19: stringData[\"user.key\"]: is encrypted, and a Secret has no place for its passphrase; store it \
             unencrypted",
        ],
    ),
];

#[test]
fn mistakes_in_a_secret_are_named_without_its_values() {
    for (entries, expected) in WRONG {
        let snapshot = with("stringData", entries);
        let found = told(&snapshot);
        let expected: Vec<_> = expected.iter().map(|text| format!("PEL-130{text}")).collect();
        assert_eq!(found[..found.len() - 1], expected, "{entries}");
        let last = &found[found.len() - 1];
        let start =
            "PEL-1319 f.yaml:11: data[\"auth.secret.ref.name\"]: Secret default/login is not in force: ";
        assert!(last.starts_with(start), "{last}");
        assert!(last.ends_with("; Broker default/b is not ready and takes no events"), "{last}");
        let (reason, message) = waiting(&snapshot);
        assert_eq!(reason, "SecretInvalid", "{entries}");
        assert!(!format!("{found:?} {message} {snapshot:?}").contains("hunter2"), "{found:?}");
    }
    let oauth = with("stringData", "protocol: SASL_SSL\nsasl.mechanism: OAUTHBEARER");
    assert!(
        waiting(&oauth).1.contains("is OAUTHBEARER, which Pelton does not serve"),
        "{:?}",
        waiting(&oauth)
    );
}

#[test]
fn what_is_not_base64_of_text_is_named_by_its_key() {
    let cases = [
        (
            "password: hunter2%",
            "data.password: is not base64; encode it, or write it under stringData as it is",
        ),
        ("password: /w==", "data.password: is base64 of something that is not text"),
    ];
    for (entry, expected) in cases {
        let snapshot = with("data", &format!("protocol: U0FTTF9TU0w=\nuser: bWU=\n{entry}"));
        assert_eq!(told(&snapshot)[0], format!("PEL-1303 f.yaml:19: {expected}"));
        assert!(!format!("{snapshot:?}").contains("hunter2"));
    }
    let list = with("data", "- hunter2");
    assert_eq!(told(&list)[0], "PEL-1303 f.yaml:17: data: is a list; write a map");
}

#[test]
fn nothing_shows_the_values_of_a_good_secret() {
    let entries = format!(
        "protocol: SASL_SSL\nuser: hunter2\npassword: hunter2\nca.crt: \"{CERTIFICATE}\"\nuser.crt: \"{CERTIFICATE}\"\n\
         user.key: \"{KEY}\""
    );
    let text = broker_and_config() + &secret("stringData", &entries);
    let assembly = after_on(Engine::Kafka, &[&text]).remove(0);
    assert!(b(&assembly.snapshot).kafka.auth.is_some());
    assert!(!format!("{assembly:?}").contains("hunter2"));
}

#[test]
fn a_broker_waits_for_its_secret() {
    let secret = secret("stringData", "protocol: SASL_SSL\nuser: me\npassword: hunter2");
    let (without, with) = (broker_and_config(), broker_and_config() + &secret);
    let states = after_on(Engine::Kafka, &[&without, &with, &without]);
    let reasons: Vec<_> = states.iter().map(|state| waiting(&state.snapshot).0).collect();
    assert_eq!(reasons, ["SecretNotFound", "", "SecretNotFound"]);
    assert_eq!(
        told(&states[0].snapshot),
        [
            "PEL-1319 f.yaml:11: data[\"auth.secret.ref.name\"]: there is no Secret default/login; add it, or correct \
             auth.secret.ref.name; Broker default/b is not ready and takes no events"
        ]
    );
    assert_eq!(states[0].snapshot.problems[0].resource, Some((Kind::Broker, name("b"))));
    assert_eq!(told(&states[1].snapshot), [""; 0]);
}

#[test]
fn a_changed_secret_changes_the_broker() {
    let with = |password: &str| {
        let entries = format!("protocol: SASL_SSL\nuser: me\npassword: {password}");
        broker_and_config() + &secret("stringData", &entries)
    };
    let states = after_on(Engine::Kafka, &[&with("a"), &with("a"), &with("b"), &with("''")]);
    assert!(Arc::ptr_eq(&states[0].snapshot, &states[1].snapshot));
    assert_eq!(states[2].snapshot.diff(&states[1].snapshot).brokers.len(), 1);
    // A wrong one leaves the last good one in force.
    assert_eq!(states[3].snapshot.diff(&states[2].snapshot).brokers.len(), 0);
    assert!(told(&states[3].snapshot)[0].starts_with("PEL-1303 f.yaml:19: stringData.password: is empty"));
}

#[test]
fn the_secret_is_in_the_namespace_of_the_config_map_unless_it_names_another() {
    let data = |namespace: &str| format!("{WITH_SECRET}  auth.secret.ref.namespace: '{namespace}'\n");
    let secret = secret("stringData", "protocol: PLAINTEXT");
    let other = secret.replace("name: login", "name: login, namespace: other");
    let cases = [
        (data("other"), &other, ""),
        (data("other"), &secret, "SecretNotFound"),
        (data(""), &secret, ""),
        (WITH_SECRET.to_owned(), &other, "SecretNotFound"),
    ];
    for (data, secret, reason) in cases {
        let snapshot = on_kafka(&(configured() + &config_map("cfg", &data) + secret));
        assert_eq!(waiting(&snapshot).0, reason, "{data}");
    }
}

#[test]
fn secrets_are_judged_only_where_a_broker_on_kafka_needs_them() {
    let wrong = secret("stringData", "protocol: nonsense");
    assert_eq!(told(&on_kafka(&(broker("b", "") + &wrong))), [""; 0]);
    assert_eq!(told(&on_kafka(&(config_map("cfg", WITH_SECRET) + &wrong))), [""; 0]);
    let embedded = on(Engine::Embedded, &(broker_and_config() + &wrong));
    assert!(b(&embedded).readiness.is_ready());
    assert_eq!(b(&embedded).kafka, KafkaSettings::default());
    assert!(told(&embedded).iter().all(|told| told.starts_with("PEL-1307")), "{:?}", told(&embedded));
    let embedded = on(Engine::Embedded, &broker_and_config());
    assert!(b(&embedded).readiness.is_ready());
}
