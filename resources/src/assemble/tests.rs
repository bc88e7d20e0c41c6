//! What documents do to one another.

mod kafka;

use std::sync::Arc;

use super::{Assembly, assemble, check};
use crate::documents::Source;
use crate::{
    BackoffPolicy, Change, Defaults, Destination, Kind, NamespacedName, Overrides, Readiness, Setting,
    Severity, Snapshot, TRAFFIC_ANNOTATION, Trigger, traffic_text,
};

fn broker(name: &str, rest: &str) -> String {
    format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n{rest}\n---\n")
}

fn trigger(name: &str, broker: &str, rest: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: {name}\nspec:\n  broker: {broker}\n{rest}\n---\n"
    )
}

const TO_SINK: &str = "  subscriber: {uri: 'http://sink/'}";

fn to_broker(name: &str) -> String {
    format!("  subscriber: {{ref: {}}}", broker_ref(name))
}

fn dead_to(name: &str) -> String {
    format!("{TO_SINK}\n  delivery: {{deadLetterSink: {{ref: {}}}}}", broker_ref(name))
}

fn broker_ref(name: &str) -> String {
    format!("{{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {name}}}")
}

fn name(name: &str) -> NamespacedName {
    NamespacedName::new("default", name)
}

/// What is in force after each of `steps`, where a step is the files at that time.
fn after(steps: &[&[(&str, &str)]]) -> Vec<Assembly> {
    let mut all = vec![Assembly::default()];
    for files in steps {
        let sources: Vec<_> = files.iter().map(|(file, text)| Arc::new(Source::read(file, text))).collect();
        let next = assemble(all.last().unwrap(), &sources, &Defaults::default(), &Overrides::default());
        all.push(next);
    }
    all.remove(0);
    all
}

fn one(text: &str) -> Arc<Snapshot> {
    after(&[&[("f.yaml", text)]]).pop().unwrap().snapshot
}

fn told(snapshot: &Snapshot) -> Vec<String> {
    snapshot.problems.iter().map(|problem| format!("{} {problem}", problem.code)).collect()
}

fn reason(trigger: &Trigger) -> &str {
    match &trigger.readiness {
        Readiness::Ready => "",
        Readiness::NotReady(reason) => &reason.reason,
    }
}

#[test]
fn a_trigger_without_its_broker_waits() {
    let alone = one(&trigger("t", "b", TO_SINK));
    assert_eq!(reason(&alone.triggers[&name("t")]), "BrokerNotFound");
    assert_eq!(
        told(&alone),
        [
            "PEL-1310 f.yaml:6: spec.broker: there is no Broker default/b; add it, or correct spec.broker; the trigger is \
             not ready, its events wait"
        ]
    );
    let both = one(&(trigger("t", "b", TO_SINK) + &broker("b", "")));
    assert!(both.triggers[&name("t")].readiness.is_ready());
    assert!(both.problems.is_empty());
}

const SERVICE: &str = "
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: s}
spec: {template: {spec: {containers: [{image: example.com/app, command: [app]}]}}}
";

#[test]
fn where_no_services_are_run_they_are_not_ready_and_nor_is_who_sends_there() {
    let subscriber = "  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: s}}";
    let text = broker("b", "") + &trigger("t", "b", subscriber) + SERVICE;
    let defaults = Defaults { runs_services: false, ..Defaults::default() };
    let sources = [Arc::new(Source::read("f.yaml", &text))];
    let first = assemble(&Assembly::default(), &sources, &defaults, &Overrides::default());
    let again = assemble(&first, &sources, &defaults, &Overrides::default());
    assert!(Arc::ptr_eq(&first.snapshot, &again.snapshot), "read again, it is the same value");
    let snapshot = first.snapshot;
    assert_eq!(reason(&snapshot.triggers[&name("t")]), "ServingNotServed");
    assert!(!snapshot.services[&name("s")].readiness.is_ready());
    let told: Vec<_> = snapshot.problems.iter().map(|problem| (problem.severity, problem.code)).collect();
    assert!(told.contains(&(Severity::Warning, "PEL-1321")), "{told:?}");
}

#[test]
fn references_resolve_or_say_why_not() {
    let cases = [
        ("{ref: {apiVersion: v1, kind: Service, name: s}}", Some("http://s.default.svc.cluster.local"), ""),
        (
            "{ref: {apiVersion: v1, kind: Service, name: s, namespace: n}, uri: a/../b}",
            Some("http://s.n.svc.cluster.local/b"),
            "",
        ),
        ("{ref: {apiVersion: v1, kind: Service, name: s}, uri: 'http://x/y'}", Some("http://x/y"), ""),
        ("{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}", Some("broker default/b"), ""),
        ("{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: c}}", None, "DestinationNotFound"),
        (
            "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: s}}",
            Some("service default/s/"),
            "",
        ),
        (
            "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: s}, uri: 'in?a'}",
            Some("service default/s/in?a"),
            "",
        ),
        ("{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: q}}", None, "DestinationNotFound"),
        ("{ref: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: s}}", None, "KindNotServed"),
    ];
    for (subscriber, destination, why) in cases {
        let trigger_on_b = trigger("t", "b", &format!("  subscriber: {subscriber}"));
        let snapshot = one(&(broker("b", "") + &trigger_on_b + SERVICE));
        let trigger = &snapshot.triggers[&name("t")];
        let found = trigger.subscriber.as_ref().map(ToString::to_string);
        assert_eq!((found.as_deref(), reason(trigger)), (destination, why), "{subscriber}");
    }
}

#[test]
fn an_unresolved_dead_letter_sink_lets_the_trigger_wait() {
    let snapshot = one(&(broker("b", "") + &trigger("t", "b", &dead_to("none"))));
    let trigger = &snapshot.triggers[&name("t")];
    assert_eq!((reason(trigger), &trigger.delivery.dead_letter_sink), ("DestinationNotFound", &None));
}

const BROKER_DEFAULTS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: config-br-defaults, namespace: knative-eventing}
data:
  default-br-config: |
    clusterDefault:
      brokerClass: MTChannelBasedBroker
      apiVersion: v1
      kind: ConfigMap
      name: cfg
      namespace: default
      delivery: {retry: 1, timeout: PT1S, deadLetterSink: {uri: 'http://cluster/'}}
    namespaceDefaults:
      default: {delivery: {retry: 2, backoffDelay: PT2S}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cfg}
data: {default.topic.partitions: '3'}
---
";

#[test]
fn delivery_is_merged_field_by_field_down_to_the_defaults() {
    let text = BROKER_DEFAULTS.to_owned()
        + &broker("b", "spec: {delivery: {retry: 3, backoffPolicy: linear}}")
        + &trigger("t", "b", &format!("{TO_SINK}\n  delivery: {{retry: 4}}"))
        + &trigger("u", "b", TO_SINK)
        + &broker("plain", "")
        + &trigger("v", "plain", TO_SINK);
    let snapshot = one(&text);
    assert!(snapshot.problems.is_empty(), "{:?}", told(&snapshot));
    let policy = |trigger: &str| &snapshot.triggers[&name(trigger)].delivery;
    assert_eq!((policy("t").retry, policy("u").retry, policy("v").retry), (4, 3, 2));
    assert_eq!(policy("t").backoff_policy, BackoffPolicy::Linear);
    assert_eq!(policy("v").backoff_policy, BackoffPolicy::Exponential);
    assert_eq!(policy("t").backoff_delay.as_secs(), 2);
    assert_eq!(policy("t").timeout.as_secs(), 1);
    assert_eq!(policy("t").backoff_max.as_secs(), 600);
    assert_eq!(policy("t").dead_letter_sink, Some(Destination::Uri("http://cluster/".into())));
    assert_eq!(snapshot.brokers[&name("b")].partitions, 3);
}

#[test]
fn mistakes_within_config_br_defaults_have_the_line_of_the_file() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config-br-defaults, namespace: knative-eventing}\n\
     data:\n  default-br-config: |\n    clusterDefault:\n      delivery:\n        retri: 1\n";
    assert_eq!(
        told(&one(text)),
        [
            "PEL-1302 f.yaml:8: data.default-br-config.clusterDefault.delivery.retri: unknown field; did you mean \"retry\"?"
        ]
    );
}

#[test]
fn settings_for_kafka_are_named_and_a_missing_config_map_too() {
    let text = broker("b", "spec: {config: {apiVersion: v1, kind: ConfigMap, name: cfg}}")
        + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cfg}\ndata:\n  default.topic.partitions: '5'\n  \
         bootstrap.servers: k:9092\n  default.topic.partition: '5'\n---\n"
        + &broker("c", "spec: {config: {name: none}}");
    let snapshot = one(&text);
    assert_eq!(snapshot.brokers[&name("b")].partitions, 5);
    assert_eq!(snapshot.brokers[&name("c")].partitions, 10);
    assert_eq!(
        told(&snapshot),
        [
            "PEL-1313 f.yaml:17: spec.config: there is no ConfigMap default/none among the resources; defaults hold",
            "PEL-1307 f.yaml:11: data[\"bootstrap.servers\"]: is for a Kafka cluster and has no effect on the embedded log",
            "PEL-1307 f.yaml:12: data[\"default.topic.partition\"]: is no setting of a Broker that Pelton knows and has no \
             effect; did you mean \"default.topic.partitions\"?",
        ]
    );
}

#[test]
fn the_second_of_two_documents_is_refused_naming_both_files() {
    let (first, second) = (broker("b", ""), trigger("t", "b", TO_SINK) + &broker("b", "spec: {}"));
    let assembly = after(&[&[("a.yaml", &first), ("b.yaml", &second)]]).pop().unwrap();
    assert_eq!(
        told(&assembly.snapshot),
        ["PEL-1308 b.yaml:9: metadata.name: is already defined in a.yaml:1; remove one of the two"]
    );
    assert_eq!(assembly.document(Kind::Broker, &name("b")).unwrap().file(), "a.yaml");
}

#[test]
fn two_brokers_never_share_a_topic() {
    let namespaced = |namespace: &str, name: &str| {
        broker(name, "").replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "))
    };
    let snapshot = one(&(namespaced("a-b", "c") + &namespaced("a", "b-c")));
    assert_eq!(snapshot.brokers.len(), 1);
    assert_eq!(
        told(&snapshot),
        [
            "PEL-1309 f.yaml:6: metadata.name: needs the topic knative-broker-a-b-c, which belongs to broker a-b/c; rename \
             one, or give it another topic with the annotation kafka.eventing.knative.dev/external.topic"
        ]
    );
    let external = broker("x", "").replace(
        "{name: x}",
        "{name: x, annotations: {kafka.eventing.knative.dev/external.topic: knative-broker-default-b_retry}}",
    );
    let both = one(&(broker("b", "") + &external));
    assert_eq!(both.brokers.len(), 1);
    assert!(
        told(&both)[0].contains("ends with _retry, which is kept for the topics beside"),
        "{:?}",
        told(&both)
    );
}

#[test]
fn dead_letters_never_go_round_in_circles() {
    let dead = |to: &str| format!("spec: {{delivery: {{deadLetterSink: {{ref: {}}}}}}}", broker_ref(to));
    let itself = one(&broker("a", &dead("a")));
    assert!(itself.brokers.is_empty());
    assert!(
        told(&itself)[0].starts_with(
            "PEL-1311 f.yaml:4: spec.delivery.deadLetterSink: closes a cycle of dead letter \
     sinks, default/a -> default/a: "
        ),
        "{:?}",
        told(&itself)
    );

    let round = one(&(broker("a", "")
        + &broker("b", &dead("c"))
        + &broker("c", "")
        + &trigger("t", "c", &dead_to("a"))
        + &trigger("u", "a", &dead_to("b"))));
    assert_eq!(round.triggers.keys().collect::<Vec<_>>(), [&name("t")]);
    assert!(
        told(&round)[0].contains("default/a -> default/b -> default/c -> default/a"),
        "{:?}",
        told(&round)
    );
    let line = one(&(broker("a", &dead("b")) + &broker("b", &dead("c")) + &broker("c", "")));
    assert!(line.problems.is_empty());
}

#[test]
fn the_default_dead_letter_sink_does_not_send_to_itself() {
    let defaults = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config-br-defaults, namespace: knative-eventing}}\n\
         data:\n  default-br-config: |\n    clusterDefault: {{delivery: {{deadLetterSink: {{ref: {}}}}}}}\n---\n",
        broker_ref("dlq").replace("name: dlq", "name: dlq, namespace: default")
    );
    let both = defaults.clone()
        + &broker("a", "")
        + &broker("dlq", "")
        + &trigger("t", "a", TO_SINK)
        + &trigger("u", "dlq", TO_SINK);
    let snapshot = one(&both);
    assert!(snapshot.problems.is_empty(), "{:?}", told(&snapshot));
    let sink = |trigger: &str| snapshot.triggers[&name(trigger)].delivery.dead_letter_sink.clone();
    assert_eq!((sink("t"), sink("u")), (Some(Destination::Broker(name("dlq"))), None));
    let round = one(&(both + &trigger("w", "dlq", &dead_to("a"))));
    assert!(told(&round)[0].starts_with("PEL-1311"), "{:?}", told(&round));
}

#[test]
fn a_cycle_through_subscribers_is_a_warning() {
    let snapshot = one(&(broker("a", "")
        + &broker("b", "")
        + &trigger("t", "a", &to_broker("b"))
        + &trigger("u", "b", &to_broker("a"))));
    assert_eq!(snapshot.triggers.len(), 2);
    assert_eq!(snapshot.problems.len(), 1);
    assert_eq!((snapshot.problems[0].severity, snapshot.problems[0].code), (Severity::Warning, "PEL-1312"));
}

#[test]
fn the_last_good_state_of_what_is_broken_stays_in_force() {
    let good = trigger("t", "b", &format!("{TO_SINK}\n  delivery: {{retry: 3}}"));
    let bad = trigger("t", "b", &format!("{TO_SINK}\n  delivery: {{retri: 3}}"));
    let brokers = broker("b", "");
    let states = after(&[
        &[("b.yaml", &brokers), ("t.yaml", &good)],
        &[("b.yaml", &brokers), ("t.yaml", &bad)],
        &[("b.yaml", &brokers), ("t.yaml", "apiVersion: [")],
        &[("b.yaml", &brokers), ("t.yaml", &good.replace("retry: 3", "retry: 4"))],
        &[("b.yaml", &brokers)],
    ]);
    let retry =
        |state: &Assembly| state.snapshot.triggers.get(&name("t")).map(|trigger| trigger.delivery.retry);
    assert_eq!(states.iter().map(retry).collect::<Vec<_>>(), [Some(3), Some(3), Some(3), Some(4), None]);
    let wrong = |state: &Assembly| state.snapshot.problems.len();
    assert_eq!(states.iter().map(wrong).collect::<Vec<_>>(), [0, 1, 1, 0, 0]);
}

#[test]
fn a_broken_trigger_still_follows_its_broker() {
    let t = trigger("t", "b", TO_SINK);
    let bad = t.replace("spec:", "spek:");
    let (three, five) =
        (broker("b", "spec: {delivery: {retry: 3}}"), broker("b", "spec: {delivery: {retry: 5}}"));
    let states = after(&[&[("b.yaml", &three), ("t.yaml", &t)], &[("b.yaml", &five), ("t.yaml", &bad)]]);
    assert_eq!(states[1].snapshot.triggers[&name("t")].delivery.retry, 5);
}

#[test]
fn a_refused_document_leaves_its_last_good_state() {
    let good = broker("b", "") + &broker("a", "");
    let circle = broker(
        "b",
        &format!("spec: {{delivery: {{retry: 1, deadLetterSink: {{ref: {}}}}}}}", broker_ref("b")),
    ) + &broker("a", "");
    let states = after(&[&[("f.yaml", &good)], &[("f.yaml", &circle)]]);
    assert_eq!(states[1].snapshot.brokers.len(), 2);
    assert_eq!(told(&states[1].snapshot).len(), 1);
}

#[test]
fn unchanged_resources_keep_their_arc_and_an_unchanged_snapshot_its_generation() {
    let first = broker("b", "") + &trigger("t", "b", TO_SINK) + &trigger("u", "b", TO_SINK);
    let moved = broker("b", "") + "# a comment\n" + &trigger("u", "b", TO_SINK) + &trigger("t", "b", TO_SINK);
    let changed = moved.replace("name: u", "name: u\n  annotations: {delivery.pelton.dev/paused: 'true'}");
    let states = after(&[&[("f.yaml", &first)], &[("g.yaml", &moved)], &[("g.yaml", &changed)]]);
    assert!(Arc::ptr_eq(&states[0].snapshot, &states[1].snapshot));
    let diff = states[2].snapshot.diff(&states[1].snapshot);
    assert!(diff.brokers.is_empty());
    assert!(
        matches!(&diff.triggers[..], [Change::Changed { after, .. }] if after.name == name("u") && after.paused)
    );
    assert_eq!(states.iter().map(|state| state.snapshot.generation).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn overrides_hold_until_the_file_says_something_else() {
    const PAUSED: &str = "delivery.pelton.dev/paused";
    let with = |annotations: &str| {
        trigger("t", "b", TO_SINK)
            .replace("  name: t", &format!("  name: t\n  annotations: {{{annotations}}}"))
    };
    let mut overrides = Overrides::default();
    overrides.set(Kind::Trigger, &name("t"), PAUSED, Setting { value: "true".into(), base: None });
    let assembled = |text: &str| {
        assemble(
            &Assembly::default(),
            &[Source::read("f.yaml", text).into()],
            &Defaults::default(),
            &overrides,
        )
    };
    let paused = |assembly: &Assembly| assembly.snapshot.triggers[&name("t")].paused;
    for text in
        [trigger("t", "b", TO_SINK), with(""), with("a: b"), with("delivery.pelton.dev/order: ordered")]
    {
        let assembly = assembled(&text);
        assert!(paused(&assembly), "{text}");
        assert!(assembly.stale_overrides().is_empty());
    }
    let changed = assembled(&with("delivery.pelton.dev/paused: 'false'"));
    assert!(!paused(&changed));
    assert_eq!(changed.stale_overrides(), [(Kind::Trigger, name("t"), PAUSED.to_owned())]);
}

#[test]
fn traffic_by_command_holds_until_the_file_says_other_traffic() {
    let text = |rest: &str| {
        format!("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: s{rest}}}\n")
            + "spec: {template: {spec: {containers: [{command: [run]}]}}"
    };
    let plain = text("") + "}\n";
    let other = text("") + ", traffic: [{revisionName: s-00002, percent: 100}]}\n";
    let same = text("") + ", traffic: [{latestRevision: true, percent: 100}]}\n";
    let source = |text: &str| [Arc::new(Source::read("s.yaml", text))];
    let mut overrides = Overrides::default();
    let first = assemble(&Assembly::default(), &source(&plain), &Defaults::default(), &overrides);
    let base = first.document(Kind::Service, &name("s")).unwrap().said(TRAFFIC_ANNOTATION);
    assert_eq!(base.as_deref(), Some("latest=100"));
    let setting = Setting { value: "s-00001=100".into(), base };
    overrides.set(Kind::Service, &name("s"), TRAFFIC_ANNOTATION, setting);
    for (text, expected, is_stale) in
        [(&plain, "s-00001=100", false), (&same, "s-00001=100", false), (&other, "s-00002=100", true)]
    {
        let after = assemble(&first, &source(text), &Defaults::default(), &overrides);
        let service = &after.snapshot.services[&name("s")];
        assert_eq!(traffic_text(&service.traffic), expected, "{text}");
        assert_eq!(!after.stale_overrides().is_empty(), is_stale, "{text}");
    }
}

#[test]
fn a_wrong_override_is_named_and_not_in_force() {
    let mut overrides = Overrides::default();
    let setting = Setting { value: "perhaps".into(), base: None };
    overrides.set(Kind::Trigger, &name("t"), "delivery.pelton.dev/paused", setting);
    let text = broker("b", "") + &trigger("t", "b", TO_SINK);
    let assembly = assemble(
        &Assembly::default(),
        &[Source::read("f.yaml", &text).into()],
        &Defaults::default(),
        &overrides,
    );
    assert!(!assembly.snapshot.triggers[&name("t")].paused);
    assert!(told(&assembly.snapshot)[0].contains("the override by command is wrong and not in force"));
}

#[test]
fn check_tells_what_the_folder_would() {
    let problems = check(&[Source::read("t.yaml", &trigger("t", "b", "  subscriber: {}")).into()]);
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["t.yaml:7: spec.subscriber: names nobody; write a uri (uri: http://host/path) or a ref"]
    );
}

#[test]
fn a_broker_with_errors_is_not_called_missing() {
    let snapshot = one(&(broker("b", "spec: {colour: red}") + &trigger("t", "b", TO_SINK)));
    assert_eq!(
        told(&snapshot)[1],
        "PEL-1310 f.yaml:11: spec.broker: Broker default/b is not in force because of its own errors; the trigger is not \
         ready, its events wait"
    );
    assert_eq!(reason(&snapshot.triggers[&name("t")]), "BrokerNotFound");
}

#[test]
fn a_sink_of_the_broker_that_does_not_resolve_is_told_at_the_broker() {
    let sink = format!("spec:\n  delivery:\n    deadLetterSink: {{ref: {}}}", broker_ref("gone"));
    let snapshot = one(&(broker("b", &sink) + &trigger("t", "b", TO_SINK)));
    assert_eq!(
        told(&snapshot),
        [
            "PEL-1310 f.yaml:6: spec.delivery.deadLetterSink: the dead letter sink does not resolve: there is no Broker \
          default/gone; add it, or correct the ref; Trigger default/t is not ready, its events wait"
        ]
    );
    assert_eq!(snapshot.problems[0].resource, Some((Kind::Trigger, name("t"))));
}

#[test]
fn a_delay_above_its_maximum_is_a_warning_where_it_is_set() {
    let delivery = |fields: &str| format!("{TO_SINK}\n  delivery: {{{fields}}}");
    let both = |broker_fields: &str, trigger_fields: &str| {
        let own = broker("b", &format!("spec:\n  delivery: {{{broker_fields}}}"));
        told(&one(&(own + &trigger("t", "b", &delivery(trigger_fields)))))
    };
    assert_eq!(
        both("", "backoffDelay: PT1H"),
        [
            "PEL-1318 f.yaml:14: spec.delivery.backoffDelay: is longer than backoffMax (PT10M), which no wait exceeds; raise \
             that too"
        ]
    );
    assert_eq!(
        both("backoffDelay: PT5M", "backoffMax: PT1M"),
        [
            "PEL-1318 f.yaml:14: spec.delivery.backoffMax: is shorter than backoffDelay (PT5M): every wait is cut to it; lower \
             that too"
        ]
    );
    // A trigger that sets neither has nothing to correct.
    let of_broker = both("backoffDelay: PT1H", "retry: 1");
    assert!(of_broker.len() == 1 && of_broker[0].starts_with("PEL-1318 f.yaml:5: "), "{of_broker:?}");
    assert_eq!(both("backoffDelay: PT1H, backoffMax: PT2H", "retry: 1"), [""; 0]);
    assert_eq!(both("", "backoffDelay: PT1H, backoffMax: PT1H"), [""; 0]);
}
