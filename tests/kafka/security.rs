//! Clusters that want a login or a certificate: ConfigMap and Secret say how, and no secret is shown.

use std::fmt::Write as _;
use std::process::Stdio;

use hyper::Method;
use pelton_tests::fleet::{Fleet, Process};
use pelton_tests::kafka::{self, Kafka};
use pelton_tests::pelton::binary;
use pelton_tests::subscriber::Subscriber;
use pelton_tests::{eventually, http};

/// The default cluster of these tests: nobody listens there, so that what works does so by the ConfigMap.
const NOBODY: &str = "127.0.0.1:1";
const WRONG: &str = "not-the-password-of-the-tests";

/// A broker on a cluster of its own, with the Secret whose keys are `secret`, and a trigger.
fn broker(name: &str, servers: &str, secret: &str, subscriber: &Subscriber) -> String {
    let url = subscriber.url(&format!("/{name}"));
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n\
         data: {{bootstrap.servers: \"{servers}\", auth.secret.ref.name: {name}, \
         default.topic.partitions: \"2\"}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n{secret}---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n\
         spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: {name}}}}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\n\
         spec: {{broker: {name}, subscriber: {{uri: \"{url}\"}}}}\n"
    )
}

/// A PEM as a value of a Secret.
fn pem(key: &str, text: &str) -> String {
    text.lines().fold(format!("  {key}: |\n"), |mut yaml, line| {
        let _ = writeln!(yaml, "    {line}");
        yaml
    })
}

fn login(kafka: &Kafka, mechanism: &str, password: &str) -> String {
    let secrets = kafka.secrets();
    format!(
        "  protocol: SASL_SSL\n  sasl.mechanism: {mechanism}\n  user: {}\n  password: {password}\n",
        secrets.user
    ) + &pem("ca.crt", &secrets.ca)
}

fn certificate(kafka: &Kafka) -> String {
    let secrets = kafka.secrets();
    "  protocol: SSL\n".to_owned()
        + &pem("ca.crt", &secrets.ca)
        + &pem("user.crt", &secrets.client_certificate)
        + &pem("user.key", &secrets.client_key)
}

async fn send(process: &Process, broker: &str) -> u16 {
    let event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/test"), ("ce-type", "t")];
    let path = format!("/default/{broker}");
    http::request(process.pelton.ingress, Method::POST, &path, &event, "").await.status.as_u16()
}

async fn goes_through(process: &Process, broker: &str, subscriber: &Subscriber) {
    eventually(&format!("an event is accepted by {broker}"), async || {
        (send(process, broker).await == 202).then_some(())
    })
    .await;
    let path = format!("/{broker}");
    eventually(&format!("an event goes through {broker}"), async || {
        (!subscriber.receipts_at(&path).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_through_clusters_that_want_a_login_or_a_certificate() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::start().await;
    let (users, certificates) = (kafka.bootstrap_sasl_ssl(), kafka.bootstrap_ssl());
    let brokers = [
        ("scram-512", &users, login(kafka, "SCRAM-SHA-512", &kafka.secrets().password)),
        ("scram-256", &users, login(kafka, "SCRAM-SHA-256", &kafka.secrets().password)),
        ("plain", &users, login(kafka, "PLAIN", &kafka.secrets().password)),
        ("certificate", &certificates, certificate(kafka)),
    ];
    let yaml: Vec<_> =
        brokers.iter().map(|(name, servers, secret)| broker(name, servers, secret, &subscriber)).collect();
    let process = Fleet::new(&yaml.join("---\n"), NOBODY).launch("run").await;
    for (name, ..) in &brokers {
        goes_through(&process, name, &subscriber).await;
        assert!(kafka.topic_names().await.contains(&format!("knative-broker-default-{name}")));
    }
    let secrets = kafka.secrets();
    shows_nothing(&process, "scram-512", &[&secrets.password, &key_line(&secrets.client_key)]).await;
}

/// A line of a key that is in no other text.
fn key_line(key: &str) -> String {
    key.lines().nth(1).expect("a key has lines").to_owned()
}

/// No secret is in what people see.
async fn shows_nothing(process: &Process, broker: &str, secrets: &[&str]) {
    let mut shown = process.pelton.log().join("\n");
    for arguments in [
        &["describe", "broker", broker][..],
        &["get", "brokers", "-o", "yaml"],
        &["get", "brokers", "-o", "json"],
        &["describe", "broker", broker, "-o", "json"],
    ] {
        let (_, out, error) = process.pelton.tool(arguments).await;
        shown += &(out + &error);
    }
    for path in ["/metrics", "/api/v1/brokers", "/readyz", "/api/v1/problems"] {
        shown += &String::from_utf8_lossy(&http::get(process.pelton.admin, path).await.body);
    }
    for secret in secrets {
        assert!(!shown.contains(secret), "a secret is shown: {shown}");
    }
}

/// The Broker says what is wrong; with the right password it is in service without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_of_and_put_right() {
    let Some(kafka) = kafka::shared().await else { return };
    let subscriber = Subscriber::start().await;
    let users = kafka.bootstrap_sasl_ssl();
    let yaml =
        |password: &str| broker("refused", &users, &login(kafka, "SCRAM-SHA-512", password), &subscriber);
    let fleet = Fleet::new(&yaml(WRONG), NOBODY);
    let (process, site) = fleet.launch_with_site("run").await;
    eventually("the Broker says that it is refused", async || {
        let (_, out, _) = process.pelton.tool(&["describe", "broker", "refused"]).await;
        (out.contains("no, TopicsNotReady") && out.contains("Kafka refuses the login")).then_some(())
    })
    .await;
    assert_eq!(send(&process, "refused").await, 503);
    shows_nothing(&process, "refused", &[WRONG]).await;

    site.write("resources.yaml", &yaml(&kafka.secrets().password));
    goes_through(&process, "refused", &subscriber).await;
    shows_nothing(&process, "refused", &[WRONG, &kafka.secrets().password]).await;
}

/// A single role shares its log with others, which the embedded one does not do.
#[tokio::test]
async fn a_single_role_wants_kafka() {
    let folder = tempfile::tempdir().unwrap();
    for role in ["broker", "dispatcher", "control"] {
        let mut command = tokio::process::Command::new(binary());
        let output = command.arg(role).arg(folder.path()).stdin(Stdio::null()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in ["PEL-1706", &format!("`pelton {role}` needs Kafka"), "--kafka", "one process"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
