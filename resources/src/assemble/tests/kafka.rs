//! Brokers on Kafka: their ConfigMaps, Secrets, topics and consumer groups.

mod names;
mod secrets;

use std::sync::Arc;

use super::{TO_SINK, broker, name, told, trigger};
use crate::assemble::{Assembly, assemble};
use crate::documents::Source;
use crate::{
    Broker, Defaults, Engine, KafkaSettings, Kind, NamespacedName, Overrides, Readiness, Setting, Snapshot,
};

const TAKE_OVER: &str = "kafka.pelton.dev/take-over";
const HANDED_BACK: &str = "kafka.pelton.dev/handed-back";

/// What is in force after each of `texts`, on an engine.
fn after_on(engine: Engine, texts: &[&str]) -> Vec<Assembly> {
    let defaults = Defaults { engine, ..Defaults::default() };
    let mut all = vec![Assembly::default()];
    for text in texts {
        let sources = [Source::read("f.yaml", text).into()];
        all.push(assemble(all.last().unwrap(), &sources, &defaults, &Overrides::default()));
    }
    all.remove(0);
    all
}

fn on(engine: Engine, text: &str) -> Arc<Snapshot> {
    after_on(engine, &[text]).remove(0).snapshot
}

fn on_kafka(text: &str) -> Arc<Snapshot> {
    on(Engine::Kafka, text)
}

/// Four lines, then those of `data`, and a separator.
fn config_map(name: &str, data: &str) -> String {
    let namespace = if name.starts_with("config-") { "knative-eventing" } else { "default" };
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata:\n{data}---\n"
    )
}

/// Five lines: the broker `default/b` with the ConfigMap `default/cfg`.
fn configured() -> String {
    broker("b", "spec: {config: {apiVersion: v1, kind: ConfigMap, name: cfg}}")
}

fn annotated(name: &str, annotations: &str) -> String {
    broker(name, "")
        .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, annotations: {{{annotations}}}}}"))
}

fn b(snapshot: &Snapshot) -> &Broker {
    &snapshot.brokers[&name("b")]
}

/// The reason and the message of the broker `default/b` for not being ready.
fn waiting(snapshot: &Snapshot) -> (&str, &str) {
    match &b(snapshot).readiness {
        Readiness::Ready => ("", ""),
        Readiness::NotReady(reason) => (&reason.reason, &reason.message),
    }
}

const KEYS: &str = "  bootstrap.servers: ' k-1:9092, k-2:9092,'
  default.topic.partitions: '6'
  default.topic.replication.factor: '3'
  default.topic.config.retention.ms: '604800000'
  default.topic.config.min.insync.replicas: '2'
";

#[test]
fn the_config_map_says_how_topics_lie_on_kafka() {
    let text = configured() + &config_map("cfg", KEYS);
    let snapshot = on_kafka(&text);
    assert_eq!(told(&snapshot), [""; 0]);
    assert!(b(&snapshot).readiness.is_ready());
    assert_eq!(b(&snapshot).partitions, 6);
    let settings = [("min.insync.replicas", "2"), ("retention.ms", "604800000")];
    let expected = KafkaSettings {
        bootstrap_servers: Some("k-1:9092,k-2:9092".into()),
        replication_factor: Some(3),
        topic_config: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..KafkaSettings::default()
    };
    assert_eq!(b(&snapshot).kafka, expected);

    let embedded = on(Engine::Embedded, &text);
    assert_eq!(b(&embedded).kafka, KafkaSettings::default());
    assert_eq!((b(&embedded).partitions, told(&embedded).len()), (6, 4));
}

/// Settings of a ConfigMap, on line 9, and what is said about them.
const WRONG: &[(&str, &str)] = &[
    (
        "bootstrap.servers: k-1",
        "data[\"bootstrap.servers\"]: \"k-1\" has \"k-1\" in it, which is no server; write host:port, several with commas \
         between (kafka-1:9092,kafka-2:9092)",
    ),
    ("bootstrap.servers: ''", "data[\"bootstrap.servers\"]: \"\" names no server; write host:port, several"),
    (
        "default.topic.replication.factor: '0'",
        "data[\"default.topic.replication.factor\"]: \"0\" is not a number of replicas; write 1 to 32767",
    ),
    (
        "default.topic.replication.factor: 3",
        "data[\"default.topic.replication.factor\"]: is a number; write it in quotes: \"3\"",
    ),
    (
        "default.topic.config.retention.ms: 5",
        "data[\"default.topic.config.retention.ms\"]: is a number; write it in quotes: \"5\"",
    ),
    ("auth.secret.ref.name: My_Secret", "data[\"auth.secret.ref.name\"]: \"My_Secret\" is not a name; "),
    ("auth.secret.ref.namespace: a.b", "data[\"auth.secret.ref.namespace\"]: \"a.b\" is not a namespace; "),
];

#[test]
fn mistakes_for_kafka_are_errors_on_kafka_only() {
    for (setting, expected) in WRONG {
        let text =
            configured() + &config_map("cfg", &format!("  default.topic.partitions: '6'\n  {setting}\n"));
        let kafka = on_kafka(&text);
        let found = told(&kafka);
        assert!(found[0].starts_with(&format!("PEL-1303 f.yaml:11: {expected}")), "{setting}: {found:?}");
        let start = "PEL-1319 f.yaml:4: spec.config: ConfigMap default/cfg is not in force: data[";
        assert!(found[1].starts_with(start), "{found:?}");
        assert!(found[1].ends_with("; the broker is not ready and takes no events"), "{found:?}");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(waiting(&kafka).0, "ConfigMapInvalid");

        let embedded = on(Engine::Embedded, &text);
        let found = told(&embedded);
        assert!(found.len() == 1 && found[0].starts_with("PEL-1307 f.yaml:11: data["), "{found:?}");
        assert!(b(&embedded).readiness.is_ready() && b(&embedded).partitions == 6);
    }
}

#[test]
fn a_config_map_that_no_broker_refers_to_is_not_judged() {
    let text = broker("b", "") + &config_map("app", "  bootstrap.servers: everywhere\n  other: x\n");
    assert_eq!(told(&on_kafka(&text)), [""; 0]);
}

#[test]
fn the_last_good_config_map_stays_in_force() {
    let good = configured() + &config_map("cfg", "  bootstrap.servers: k:1\n");
    let bad = configured() + &config_map("cfg", "  bootstrap.servers: k\n");
    let gone = configured();
    let states = after_on(Engine::Kafka, &[&good, &bad, &gone]);
    let servers: Vec<_> =
        states.iter().map(|state| b(&state.snapshot).kafka.bootstrap_servers.as_deref()).collect();
    assert_eq!(servers, [Some("k:1"), Some("k:1"), None]);
    assert!(states.iter().all(|state| b(&state.snapshot).readiness.is_ready()));
    let found = told(&states[1].snapshot);
    assert!(found.len() == 1 && found[0].starts_with("PEL-1303"), "{found:?}");
    // Without any, defaults hold.
    assert_eq!(
        told(&states[2].snapshot),
        [
            "PEL-1313 f.yaml:4: spec.config: there is no ConfigMap default/cfg among the resources; defaults hold"
        ]
    );
}

#[test]
fn a_config_map_with_any_error_lets_its_broker_wait() {
    let text = configured() + &config_map("cfg", "  default.topic.partitions: none\n");
    assert_eq!(waiting(&on_kafka(&text)).0, "ConfigMapInvalid");
    assert_eq!(waiting(&on(Engine::Embedded, &text)).0, "");
}

#[test]
fn annotations_for_kafka() {
    let text = annotated("b", &format!("{TAKE_OVER}: 'true', {HANDED_BACK}: 'true'"))
        + &annotated("c", "kafka.eventing.knative.dev/external.topic: mine")
        + &annotated("d", &format!("{TAKE_OVER}: 'false'"));
    let kafka = on_kafka(&text);
    let flags = |snapshot: &Snapshot, of: &str| {
        let kafka = &snapshot.brokers[&name(of)].kafka;
        (kafka.take_over, kafka.handed_back, kafka.external_topic)
    };
    assert_eq!(flags(&kafka, "b"), (true, true, false));
    assert_eq!(flags(&kafka, "c"), (false, false, true));
    assert_eq!(flags(&kafka, "d"), (false, false, false));
    assert_eq!(told(&kafka), [""; 0]);

    let embedded = on(Engine::Embedded, &text);
    assert_eq!(flags(&embedded, "b"), (false, false, false));
    assert_eq!(flags(&embedded, "c"), (false, false, true));
    assert_eq!(
        told(&embedded),
        [
            "PEL-1307 f.yaml:3: metadata.annotations[\"kafka.pelton.dev/take-over\"]: is for a Kafka cluster and has no effect \
             on the embedded log",
            "PEL-1307 f.yaml:3: metadata.annotations[\"kafka.pelton.dev/handed-back\"]: is for a Kafka cluster and has no \
             effect on the embedded log",
        ]
    );
}

#[test]
fn a_broker_is_handed_back_by_an_override() {
    let mut overrides = Overrides::default();
    let defaults = Defaults { engine: Engine::Kafka, ..Defaults::default() };
    let source = std::sync::Arc::new(Source::read("f.yaml", &broker("b", "")));
    for (value, handed_back) in [("true", true), ("false", false)] {
        overrides.set(Kind::Broker, &name("b"), HANDED_BACK, Setting { value: value.into(), base: None });
        let assembly = assemble(&Assembly::default(), std::slice::from_ref(&source), &defaults, &overrides);
        let kafka = &b(&assembly.snapshot).kafka;
        assert_eq!((kafka.handed_back, kafka.take_over), (handed_back, true), "{value}");
    }
}
