//! Tables of good and bad documents, with the exact words.

use std::time::Duration;

use pelton_event::Timestamp;
use pelton_filter::Expression;

use super::Source;
use crate::snapshot::Severity;
use crate::{
    Assembly, BackoffPolicy, DeliveryFormat, NamespacedName, OnFull, Order, Start, Trigger, assemble,
};

/// Everything wrong with `text`, as people see it.
fn problems(text: &str) -> Vec<String> {
    let source = Source::read("f.yaml", text);
    source.problems().iter().map(|problem| format!("{} {problem}", problem.code)).collect()
}

fn assembled(text: &str) -> Assembly {
    let source = Source::read("f.yaml", text);
    assert!(!source.has_errors(), "{:?}", source.problems());
    assemble(
        &Assembly::default(),
        &[source.into()],
        &crate::Defaults::default(),
        &crate::Overrides::default(),
    )
}

fn trigger(spec: &str) -> Trigger {
    let text = format!("{TRIGGER}{spec}");
    let assembly = assembled(&text);
    (*assembly.snapshot.triggers[&NamespacedName::new("default", "t")]).clone()
}

/// Seven lines; a field of `spec` added after it is on line 8.
const TRIGGER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: t
spec:
  broker: b
  subscriber: {uri: 'http://sink/'}
";

const BROKER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: b
";

/// Text and what is said about it.
const TRIGGERS_WITH_MISTAKES: &[(&str, &[&str])] = &[
    (
        "  filters:\n  - cesql: \"type =\"\n  - exact: {type: a}\n  - any:\n    - cesql: \"= 1\"\n  - exakt: {type: a}\n",
        &[
            "PEL-1302 f.yaml:13: spec.filters[3].exakt: unknown field; did you mean \"exact\"?",
            "PEL-1104 f.yaml:9: spec.filters[0].cesql: column 7: expected a value, found the end",
            "PEL-1104 f.yaml:12: spec.filters[2].any[0].cesql: column 1: expected a value, found a comparison",
        ],
    ),
    (
        "  filters:\n  - exakt: {type: a}\n",
        &["PEL-1302 f.yaml:9: spec.filters[0].exakt: unknown field; did you mean \"exact\"?"],
    ),
    (
        "  filters:\n  - exact: {type: a}\n    prefix: {type: b}\n",
        &[
            "PEL-1303 f.yaml:9: spec.filters[0]: has the dialects exact and prefix; give each an entry of its own in the list",
        ],
    ),
    (
        "  filters:\n  - {}\n",
        &[
            "PEL-1303 f.yaml:9: spec.filters[0]: has no dialect; write one of exact, prefix, suffix, all, any, not, cesql",
        ],
    ),
    (
        "  filters: {exact: {type: a}}\n",
        &["PEL-1303 f.yaml:8: spec.filters: is a map; write a list, each item after a \"- \""],
    ),
    (
        "  filter:\n    attributes:\n      type: 5\n",
        &["PEL-1303 f.yaml:10: spec.filter.attributes.type: is a number; write it in quotes: \"5\""],
    ),
    ("  filter: {type: a}\n", &["PEL-1302 f.yaml:8: spec.filter.type: unknown field"]),
    (
        "  delivery:\n    timeout: 10s\n",
        &[
            "PEL-1303 f.yaml:9: spec.delivery.timeout: \"10s\" is not a duration; write an ISO-8601 duration such as PT0.5S, \
             PT10M or P7D",
        ],
    ),
    (
        "  delivery: {timeout: PT0S}\n",
        &["PEL-1303 f.yaml:8: spec.delivery.timeout: \"PT0S\" is no time at all; write a longer one"],
    ),
    (
        "  delivery: {retry: -1}\n",
        &[
            "PEL-1303 f.yaml:8: spec.delivery.retry: is out of range; write a whole number from 0 to 2147483647",
        ],
    ),
    (
        "  delivery: {retry: '5'}\n",
        &["PEL-1303 f.yaml:8: spec.delivery.retry: is a string; write a whole number from 0 to 2147483647"],
    ),
    (
        "  delivery: {backoffPolicy: exponentail}\n",
        &[
            "PEL-1303 f.yaml:8: spec.delivery.backoffPolicy: \"exponentail\" is not one of linear, exponential; did you mean \
             \"exponential\"?",
        ],
    ),
    (
        "  delivery: {backoffdelay: PT1S, deadLetterSink: {}}\n",
        &[
            "PEL-1303 f.yaml:8: spec.delivery.deadLetterSink: names nobody; write a uri (uri: http://host/path) or a ref",
            "PEL-1302 f.yaml:8: spec.delivery.backoffdelay: unknown field; did you mean \"backoffDelay\"?",
        ],
    ),
    (
        "  delivery: {deadLetterSink: {uri: /dead}}\n",
        &[
            "PEL-1303 f.yaml:8: spec.delivery.deadLetterSink.uri: is relative, and there is no ref to resolve it against; \
             write an absolute URL such as http://host:port/path",
        ],
    ),
    (
        "  delivery: {deadLetterSink: {ref: {kind: Broker, name: B}}}\n",
        &[
            "PEL-1304 f.yaml:8: spec.delivery.deadLetterSink.ref.apiVersion: is missing; add it, for example apiVersion: v1",
            "PEL-1303 f.yaml:8: spec.delivery.deadLetterSink.ref.name: \"B\" is not a name; use at most 253 lower-case \
             letters, digits, '-' and '.', with a letter or digit at both ends",
        ],
    ),
    (
        "  brokerRef: {name: other}\n",
        &["PEL-1303 f.yaml:8: spec.brokerRef: is given beside broker; keep one of the two"],
    ),
    (
        "  filters:\n  - all:\n    - not:\n        exact: {'my-type': a}\n",
        &[
            "PEL-1101 f.yaml:11: spec.filters[0].all[0].not.exact: `my-type` is not an attribute name; a name starts with a \
             lower-case letter and consists of lower-case letters and digits",
        ],
    ),
    (
        "  filters:\n  - eventPattern: {source: [a]}\n",
        &[
            "PEL-1303 f.yaml:9: spec.filters[0].eventPattern: event patterns are not served by this version; use filters \
             (exact, prefix, suffix, cesql)",
        ],
    ),
];

#[test]
fn mistakes_in_a_trigger_are_named_with_line_field_and_what_would_be_right() {
    for (spec, expected) in TRIGGERS_WITH_MISTAKES {
        assert_eq!(problems(&format!("{TRIGGER}{spec}")), *expected, "{spec}");
    }
}

#[test]
fn known_fields_that_are_not_served_are_warnings() {
    let text =
        format!("{TRIGGER}  delivery: {{deadLetterSink: {{uri: 'http://d/', CACerts: x, audience: y}}}}\n");
    assert_eq!(
        problems(&text),
        [
            "PEL-1307 f.yaml:8: spec.delivery.deadLetterSink.CACerts: is not served by Pelton and has no effect; trust a \
             private authority with the client's trust store",
            "PEL-1307 f.yaml:8: spec.delivery.deadLetterSink.audience: is not served by Pelton and has no effect; deliveries \
             carry no OIDC token",
        ]
    );
    assert!(Source::read("f.yaml", &text).problems().iter().all(|p| p.severity == Severity::Warning));
}

/// An annotation of a Trigger and what is said about it.
const ANNOTATIONS: &[(&str, &[&str])] = &[
    (
        "delivery.pelton.dev/paused: true\n    delivery.pelton.dev/order: keyd",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/paused\"]: is a boolean; write it in quotes: \
                 \"true\"",
            "PEL-1303 f.yaml:7: metadata.annotations[\"delivery.pelton.dev/order\"]: \"keyd\" is not one of unordered, \
                 ordered, keyed; did you mean \"keyed\"?",
        ],
    ),
    ("delivery.pelton.dev/order: keyed", &[]),
    (
        "knative.dev/dependency: '{}'",
        &[
            "PEL-1307 f.yaml:6: metadata.annotations[\"knative.dev/dependency\"]: has no effect: a trigger waits for its \
                 broker and subscriber only",
        ],
    ),
    (
        "delivery.pelton.dev/max-concurency: '3'",
        &[
            "PEL-1314 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/max-concurency\"]: unknown annotation of \
                 Pelton; did you mean \"delivery.pelton.dev/max-concurrency\"?",
        ],
    ),
    (
        "delivery.pelton.dev/max-concurrency: 3",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/max-concurrency\"]: is a number; write it in \
                 quotes: \"3\"",
        ],
    ),
    (
        "delivery.pelton.dev/max-concurrency: '0'",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/max-concurrency\"]: \"0\" is not a number of \
                 deliveries; write a whole number from 1",
        ],
    ),
    (
        "delivery.pelton.dev/max-rate: 'NaN'",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/max-rate\"]: \"NaN\" is not a rate; write \
                 deliveries per second, such as 50 or 0.5",
        ],
    ),
    (
        "delivery.pelton.dev/start: soon",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"delivery.pelton.dev/start\"]: \"soon\" is none of latest, \
                 earliest, or a time such as 2026-05-01T12:00:00Z",
        ],
    ),
    (
        "kafka.eventing.knative.dev/delivery.order: keyed",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"kafka.eventing.knative.dev/delivery.order\"]: \"keyed\" is not \
                 one of ordered, unordered",
        ],
    ),
    (
        "filter.pelton.dev/event-pattern: '{}'",
        &[
            "PEL-1303 f.yaml:6: metadata.annotations[\"filter.pelton.dev/event-pattern\"]: event patterns are not served \
                 by this version; use filters (exact, prefix, suffix, cesql)",
        ],
    ),
    (
        "log.pelton.dev/partitions: '3'",
        &[
            "PEL-1314 f.yaml:6: metadata.annotations[\"log.pelton.dev/partitions\"]: unknown annotation of Pelton; a \
                 Trigger takes delivery.pelton.dev/order, delivery.pelton.dev/max-concurrency, delivery.pelton.dev/max-rate, \
                 delivery.pelton.dev/start, delivery.pelton.dev/paused, filter.pelton.dev/event-pattern, \
                 filter.pelton.dev/event-pattern-dialect",
        ],
    ),
];

#[test]
fn annotations_of_pelton_are_checked_and_others_left_alone() {
    let with = |annotation: &str| {
        let metadata = format!("  name: t\n  annotations:\n    {annotation}\n    example.com/x: y\n");
        problems(&TRIGGER.replace("  name: t\n", &metadata))
    };
    for (annotation, expected) in ANNOTATIONS {
        assert_eq!(with(annotation), *expected, "{annotation}");
    }
}

/// Text and what is said about it.
const DOCUMENTS_WITH_MISTAKES: &[(&str, &[&str])] = &[
    ("a: 1\n", &["PEL-1306 f.yaml:1: has neither apiVersion nor kind, so it is no resource; skipped"]),
    (
        "apiVersion: v1\nmetadata: {name: a}\n",
        &["PEL-1304 f.yaml:1: kind is missing; add it, for example kind: Trigger"],
    ),
    (
        "kind: Broker\n",
        &[
            "PEL-1304 f.yaml:1: apiVersion is missing; add it, for example apiVersion: eventing.knative.dev/v1",
        ],
    ),
    (
        "apiVersion: eventing.knative.dev/v1beta1\nkind: Trigger\n",
        &[
            "PEL-1305 f.yaml:1: Trigger (eventing.knative.dev/v1beta1) is not served; write apiVersion: eventing.knative.dev/v1",
        ],
    ),
    (
        "apiVersion: eventing.knative.dev/v1\nkind: Triger\n",
        &[
            "PEL-1305 f.yaml:1: Triger (eventing.knative.dev/v1) is not a kind of Knative Eventing that Pelton knows; did \
             you mean \"Trigger\"?",
        ],
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\n",
        &["PEL-1306 f.yaml:1: Deployment (apps/v1) is not a kind that Pelton serves; skipped"],
    ),
    (
        "apiVersion: serving.knative.dev/v1\nkind: Revision\n",
        &["PEL-1306 f.yaml:1: Revision (serving.knative.dev/v1) is not a kind that Pelton serves; skipped"],
    ),
    (
        "apiVersion: pelton.dev/v1alpha1\nkind: Thing\n",
        &["PEL-1305 f.yaml:1: Thing (pelton.dev/v1alpha1) is not a kind of this version of Pelton"],
    ),
    (
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\n",
        &["PEL-1304 f.yaml:1: metadata: is missing; add it, for example metadata: {name: my-name}"],
    ),
    (
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: My_Broker, labls: {}}\n",
        &[
            "PEL-1315 f.yaml:3: metadata.name: \"My_Broker\" is not a name; use at most 253 lower-case letters, digits, '-' \
             and '.', with a letter or digit at both ends",
            "PEL-1302 f.yaml:3: metadata.labls: unknown field; did you mean \"labels\"?",
        ],
    ),
    (
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\nspec: {konfig: {}}\n",
        &["PEL-1302 f.yaml:4: spec.konfig: unknown field; did you mean \"config\"?"],
    ),
    ("apiVersion: v1\nkind: [\n", &["PEL-1301 f.yaml:2: is not valid YAML: unclosed bracket '['"]),
    (
        "apiVersion: v1\nkind: Secret\nkind: Secret\n",
        &["PEL-1301 f.yaml:3: is not valid YAML: the key kind is there twice; remove one"],
    ),
    (
        "{ // settings: [\n a: 1 }\n",
        &["PEL-1306 f.yaml:1: is neither YAML nor a resource (no apiVersion in it); skipped"],
    ),
    (
        "apiVersion: v1\nkind: List\nitems: {}\n",
        &["PEL-1303 f.yaml:3: items: is a map; write a list of resources"],
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config-br-defaults}\ndata: {default-br-config: ''}\n",
        &["PEL-1307 f.yaml:4: data.default-br-config: counts in the namespace knative-eventing only"],
    ),
    ("", &[]),
    ("# nothing\n---\n---\n", &[]),
];

#[test]
fn mistakes_in_a_document_as_such_are_named() {
    for (text, expected) in DOCUMENTS_WITH_MISTAKES {
        assert_eq!(problems(text), *expected, "{text}");
    }
}

#[test]
fn annotations_of_a_broker() {
    let with = |annotations: &str| {
        BROKER.replace("  name: b\n", &format!("  name: b\n  annotations: {{{annotations}}}\n"))
    };
    let assembly = assembled(&with(
        "eventing.knative.dev/broker.class: Kafka, log.pelton.dev/partitions: '3', log.pelton.dev/retention: P1D, \
         log.pelton.dev/retention-bytes: 20Mi, log.pelton.dev/dead-letter-retention: P2D, log.pelton.dev/on-full: expire",
    ));
    let broker = &assembly.snapshot.brokers[&NamespacedName::new("default", "b")];
    assert_eq!((broker.topic.as_str(), broker.partitions), ("knative-broker-default-b", 3));
    assert_eq!(broker.retention.age, Duration::from_secs(86_400));
    assert_eq!(broker.retention.dead_letter_age, Duration::from_secs(2 * 86_400));
    assert_eq!((broker.retention.bytes, broker.retention.on_full), (20 << 20, OnFull::Expire));
    assert!(assembly.snapshot.problems.is_empty());

    let bad = [
        (
            "eventing.knative.dev/broker.class: RabbitMQBroker",
            "\"RabbitMQBroker\" is none of Kafka, KafkaNamespaced, MTChannelBasedBroker, Pelton; it is served as they are",
        ),
        ("log.pelton.dev/partitions: '0'", "\"0\" is not a number of partitions; write 1 to 4096"),
        ("log.pelton.dev/retention-bytes: 1Mi", "\"1Mi\" is too small for a log; write at least 16Mi"),
        ("log.pelton.dev/on-full: drop", "\"drop\" is not one of refuse, expire"),
        ("kafka.pelton.dev/take-over: 'yes'", "\"yes\" is not one of true, false"),
        ("kafka.pelton.dev/handed-back: true", "is a boolean; write it in quotes: \"true\""),
        ("kafka.pelton.dev/take-ovr: 'true'", "did you mean \"kafka.pelton.dev/take-over\"?"),
        (
            "kafka.eventing.knative.dev/external.topic: a b",
            "\"a b\" is not the name of a topic; use 1 to 237 letters, digits, '.', '_' and '-'",
        ),
    ];
    for (annotation, expected) in bad {
        let found = problems(&with(annotation));
        assert!(found.len() == 1 && found[0].ends_with(expected), "{annotation}: {found:?}");
    }
}

#[test]
fn a_trigger_says_everything_it_can() {
    let text = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: t
  namespace: shop
  labels: {a: b}
  creationTimestamp: '2026-01-01T00:00:00Z'
  annotations:
    kafka.eventing.knative.dev/delivery.order: ordered
    delivery.pelton.dev/order: keyed
    delivery.pelton.dev/max-concurrency: '7'
    delivery.pelton.dev/max-rate: '0.5'
    delivery.pelton.dev/start: '1970-01-01T00:00:02Z'
    delivery.pelton.dev/paused: 'true'
spec:
  brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b, namespace: other}
  filter: {attributes: {ignored: x}}
  filters:
  - exact: {type: order.paid}
  - any: [{prefix: {source: /a}}, {not: {suffix: {subject: .txt}}}]
  - cesql: \"amount > 100\"
  subscriber:
    ref: {apiVersion: v1, kind: Service, name: billing}
    uri: /events?x=1
  delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT2S, backoffMax: PT1M, retryAfterMax: PT0S, timeout: PT5S, format: json}
status: {anything: [goes]}
";
    let trigger = assembled(text).snapshot.triggers[&NamespacedName::new("shop", "t")].clone();
    assert_eq!(trigger.broker.as_str(), "other/b");
    let Some(Expression::All(filters)) = trigger.expression.as_deref() else {
        panic!("{:?}", trigger.expression)
    };
    assert!(matches!(&filters[..], [Expression::Exact(_), Expression::Any(_), Expression::Cesql(_)]));
    let subscriber = trigger.subscriber.as_ref().unwrap().to_string();
    assert_eq!(subscriber, "http://billing.shop.svc.cluster.local/events?x=1");
    let delivery = &trigger.delivery;
    assert_eq!((delivery.retry, delivery.backoff_policy), (3, BackoffPolicy::Linear));
    assert_eq!(
        (delivery.backoff_delay, delivery.backoff_max),
        (Duration::from_secs(2), Duration::from_secs(60))
    );
    assert_eq!((delivery.retry_after_max, delivery.timeout), (Duration::ZERO, Duration::from_secs(5)));
    assert_eq!(delivery.format, DeliveryFormat::Json);
    assert_eq!(
        (trigger.order, trigger.max_concurrency, trigger.max_rate),
        (Order::Keyed, Some(7), Some(0.5))
    );
    assert_eq!(trigger.start, Start::At(Timestamp::from_millis(2_000)));
    assert_eq!((trigger.start_text.as_str(), trigger.paused), ("1970-01-01T00:00:02Z", true));
}

#[test]
fn filters_count_before_filter_and_an_empty_list_does_not() {
    let both = trigger("  filter: {attributes: {type: a}}\n  filters: [{exact: {type: b}}]\n");
    assert!(matches!(both.expression.as_deref(), Some(Expression::Exact(_))));
    let empty = trigger("  filter: {attributes: {type: a}}\n  filters: []\n");
    assert!(matches!(empty.expression.as_deref(), Some(Expression::Attributes(_))));
    assert_eq!(trigger("  filter: {attributes: {}}\n").expression, None);
    assert_eq!(trigger("").expression, None);
}

#[test]
fn json_and_lists_are_documents_too() {
    let json = r#"{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "b"}}"#;
    assert_eq!(assembled(json).snapshot.brokers.len(), 1);
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {json}\n- apiVersion: v1\n  kind: List\n  items: [{}]\n",
        json.replace("\"b\"", "\"c\"")
    );
    assert_eq!(assembled(&list).snapshot.brokers.len(), 2);
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n",
    );
    for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f")] {
        let aliases = vec![format!("*{of}"); 10].join(", ");
        bomb.push_str(&format!("  {name}: &{name} [{aliases}]\n"));
    }
    let found = problems(&bomb);
    assert!(found.len() == 1 && found[0].starts_with("PEL-1301"), "{found:?}");
    let deep = format!("apiVersion: {}", "[".repeat(100_000));
    assert!(problems(&deep)[0].starts_with("PEL-1301"));
    let long = format!("apiVersion: v1 #{}", "x".repeat(crate::limits::FILE_BYTES_MAX));
    assert!(problems(&long)[0].starts_with("PEL-1316"));
}

#[test]
fn a_document_writes_itself_as_yaml_that_reads_the_same() {
    let text = format!(
        "{TRIGGER}  delivery: {{timeout: PT5S}}\n  filters: [{{exact: {{type: 'true', source: '5', subject: \"a: b\\n\
         #\"}}}}]\nstatus: {{x: 1}}\n"
    );
    let first = Source::read("f.yaml", &text);
    let yaml = first.documents()[0].to_yaml().unwrap();
    assert!(!yaml.contains("status"), "{yaml}");
    let second = Source::read("g.yaml", &yaml);
    assert!(second.problems().is_empty(), "{yaml}\n{:?}", second.problems());
    let without_status = Source::read("f.yaml", &text.replace("status: {x: 1}\n", ""));
    assert!(second.documents()[0].same_value(&without_status.documents()[0]), "{yaml}");
}

#[test]
fn values_of_a_secret_appear_in_no_message() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\ndatta: {password: hunter2}\n";
    let found = problems(text);
    assert_eq!(found, ["PEL-1302 f.yaml:5: datta: unknown field; did you mean \"data\"?"]);
    assert!(!format!("{found:?}").contains("hunter2"));
    // Nor where the text is no YAML.
    for value in ["*hunter2", "'hunter2", "!!int hunter2", "[hunter2", "|hunter2", "hunter2: x", "!<hunter2"]
    {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData:\n  password: {value}\n"
        );
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with("PEL-1301 f.yaml:5: "), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn a_source_shows_no_value_of_a_secret() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    let source = Source::read("f.yaml", text);
    let shown = format!("{source:?}");
    let bytes = format!("{:?}", b"hunter2").replace(['[', ']'], "");
    assert!(shown.contains("Secret") && !shown.contains("hunter2") && !shown.contains(&bytes), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "[a-z{}\\[\\]:\\- \\n\"'&*!|>#,0-9]{0,200}") {
        let _ = Source::read("f.yaml", &text);
        let _ = Source::read("f.yaml", &format!("{TRIGGER}{text}"));
    }
}
