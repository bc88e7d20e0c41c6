//! Topics and consumer groups: how they are named, and that nobody shares one.

use super::*;

fn features(templates: &str) -> String {
    config_map("config-kafka-features", templates)
}

fn in_namespace(namespace: &str, document: &str) -> String {
    document
        .replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "))
        .replace("metadata:\n", &format!("metadata:\n  namespace: {namespace}\n"))
}

fn topic_and_group(text: &str, engine: Engine) -> (String, String) {
    let snapshot = on(engine, &(text.to_owned() + &broker("b", "") + &trigger("t", "b", TO_SINK)));
    assert_eq!(told(&snapshot), [""; 0]);
    (b(&snapshot).topic.clone(), snapshot.triggers[&name("t")].group.clone())
}

#[test]
fn templates_name_topics_and_groups_on_both_engines() {
    let own = "  brokers-topic-template: 'a.{{ .Namespace }}.{{.Name}}'
  triggers-consumergroup-template: 'g {{ .Name }}'
";
    let dotted = own.replace("brokers-topic-", "brokers.topic.").replace("consumergroup-", "consumergroup.");
    let dotted = dotted.replace("triggers-", "triggers.");
    let older = "  brokers.topic.template: older\n  triggers.consumergroup.template: older\n";
    for engine in [Engine::Embedded, Engine::Kafka] {
        let named = |text: &str| topic_and_group(text, engine);
        let knative = ("knative-broker-default-b".to_owned(), "knative-trigger-default-t".to_owned());
        assert_eq!(named(""), knative);
        assert_eq!(named(&features("  _example: 'x'\n  dispatcher-rate-limiter: enabled\n")), knative);
        let expected = ("a.default.b".to_owned(), "g t".to_owned());
        assert_eq!(named(&features(own)), expected);
        assert_eq!(named(&features(&dotted)), expected);
        // Of two spellings the newer one counts, in whatever order.
        assert_eq!(named(&features(&format!("{older}{own}"))), expected);
        assert_eq!(named(&features(&format!("{own}{older}"))), expected);
    }
    // The topic that a broker names itself is not made by a template.
    let external = annotated("b", "kafka.eventing.knative.dev/external.topic: mine");
    assert_eq!(b(&on_kafka(&(features(own) + &external))).topic, "mine");
}

#[test]
fn a_wrong_template_is_an_error_and_the_last_good_one_stays_in_force() {
    let with =
        |template: &str| features(&format!("  brokers-topic-template: '{template}'\n")) + &broker("b", "");
    let (good, bad) = (with("x-{{ .Name }}"), with("x-{{ .UID }}"));
    let expected = "PEL-1303 f.yaml:5: data.brokers-topic-template: \"x-{{ .UID }}\" asks for the UID, and a resource of a \
                    file has none; only {{ .Namespace }} and {{ .Name }} may stand among the text";
    for engine in [Engine::Embedded, Engine::Kafka] {
        let states = after_on(engine, &[&good, &bad]);
        assert_eq!(told(&states[1].snapshot), [expected]);
        assert_eq!(b(&states[1].snapshot).topic, "x-b");
        assert!(b(&states[1].snapshot).readiness.is_ready());
    }
    // Without one, a cluster gets no topics under names that nobody wants.
    let kafka = on_kafka(&bad);
    assert_eq!(waiting(&kafka).0, "ConfigMapInvalid");
    assert!(
        told(&kafka)[1]
            .starts_with("PEL-1319 f.yaml:7: ConfigMap knative-eventing/config-kafka-features is not")
    );
    assert!(b(&on(Engine::Embedded, &bad)).readiness.is_ready());
}

#[test]
fn a_changed_template_changes_brokers_and_triggers() {
    let resources = broker("b", "") + &trigger("t", "b", TO_SINK);
    let of_groups = "  triggers-consumergroup-template: '{{ .Name }}'\n";
    let group = features(of_groups) + &resources;
    let both = features(&format!("{of_groups}  brokers-topic-template: '{{{{ .Name }}}}'\n")) + &resources;
    let states = after_on(Engine::Kafka, &[&resources, &group, &both]);
    let changes: Vec<_> = states
        .windows(2)
        .map(|pair| pair[1].snapshot.diff(&pair[0].snapshot))
        .map(|diff| (diff.brokers.len(), diff.triggers.len()))
        .collect();
    assert_eq!(changes, [(0, 1), (1, 0)]);
}

#[test]
fn templates_that_do_not_count_are_named() {
    let elsewhere = features("  brokers-topic-template: x\n").replace("knative-eventing", "default");
    let cases = [
        (elsewhere, "data.brokers-topic-template: counts in the namespace knative-eventing only"),
        (
            features("  brokers-topic-templat: x\n"),
            "data.brokers-topic-templat: is no setting of config-kafka-features and has no effect; did you mean \
             \"brokers-topic-template\"?",
        ),
    ];
    for (text, expected) in cases {
        let snapshot = on_kafka(&(text + &broker("b", "")));
        assert_eq!(told(&snapshot), [format!("PEL-1307 f.yaml:5: {expected}")]);
        assert_eq!(b(&snapshot).topic, "knative-broker-default-b");
    }
}

#[test]
fn brokers_never_share_a_topic_by_a_template() {
    let text = features("  brokers-topic-template: 'x-{{ .Name }}'\n")
        + &broker("b", "")
        + &in_namespace("other", &broker("b", ""));
    let snapshot = on(Engine::Embedded, &text);
    assert_eq!(snapshot.brokers.keys().collect::<Vec<_>>(), [&name("b")]);
    assert!(
        told(&snapshot)[0].starts_with(
            "PEL-1309 f.yaml:12: metadata.name: needs the topic x-b, which belongs to broker default/b; "
        ),
        "{:?}",
        told(&snapshot)
    );
}

#[test]
fn the_names_of_topics_and_groups_fit_into_kafka() {
    let long = "a".repeat(230);
    let text = broker(&long, "") + &trigger(&long, &long, TO_SINK);
    let kafka = on_kafka(&text);
    assert!(kafka.brokers.is_empty() && kafka.triggers.is_empty());
    let found = told(&kafka);
    let topic = format!(
        "PEL-1315 f.yaml:1: metadata.name: needs the topic knative-broker-default-{long}, which is not the name of a topic; \
         use 1 to 237 letters, digits, '.', '_' and '-'; shorten the name, or give it another topic with the annotation \
         kafka.eventing.knative.dev/external.topic"
    );
    let group = format!(
        "PEL-1315 f.yaml:6: metadata.name: needs the consumer group knative-trigger-default-{long}, which is not the name of \
         a consumer group; use 1 to 249 characters; shorten the name"
    );
    assert_eq!(found, [topic, group]);
    // The embedded log takes what it always took, but for a template that somebody wrote.
    assert_eq!(told(&on(Engine::Embedded, &text)), [""; 0]);
    let template = features("  brokers-topic-template: 'a-long-one-{{ .Name }}'\n");
    assert_eq!(on(Engine::Embedded, &(template + &text)).brokers.len(), 0);
}

#[test]
fn two_triggers_never_share_a_consumer_group() {
    let both = in_namespace("a-b", &(broker("one", "") + &trigger("c", "one", TO_SINK)))
        + &in_namespace("a", &(broker("two", "") + &trigger("b-c", "two", TO_SINK)));
    let kafka = on_kafka(&both);
    assert_eq!(kafka.triggers.keys().collect::<Vec<_>>(), [&NamespacedName::new("a-b", "c")]);
    assert_eq!(
        told(&kafka),
        [
            "PEL-1309 f.yaml:20: metadata.name: needs the consumer group knative-trigger-a-b-c, which belongs to trigger \
             a-b/c; rename one, or tell them apart with triggers-consumergroup-template in the ConfigMap \
             config-kafka-features"
        ]
    );
    // The embedded log has no groups.
    assert_eq!(on(Engine::Embedded, &both).triggers.len(), 2);
}

#[test]
fn groups_of_different_clusters_may_have_one_name() {
    let on_cluster = |broker_name: &str, config: &str, servers: &str| {
        let spec = format!("spec: {{config: {{name: {config}}}}}");
        broker(broker_name, &spec) + &config_map(config, &format!("  bootstrap.servers: '{servers}'\n"))
    };
    let triggers = features("  triggers-consumergroup-template: all\n")
        + &trigger("t", "b", TO_SINK)
        + &trigger("u", "c", TO_SINK);
    let count = |first: &str, second: &str| {
        let text = triggers.clone() + &on_cluster("b", "one", first) + &on_cluster("c", "two", second);
        on_kafka(&text).triggers.len()
    };
    assert_eq!(count("k:1", "k:2"), 2);
    // One server in common makes it one cluster.
    assert_eq!(count("k:1,k:3", "k:2,k:3"), 1);
    let default = on_kafka(&(triggers.clone() + &on_cluster("b", "one", "k:1") + &broker("c", "")));
    assert_eq!(default.triggers.len(), 2);
    // A trigger without its broker is on no cluster.
    assert_eq!(on_kafka(&(triggers.clone() + &broker("b", ""))).triggers.len(), 2);
}
