//! Documents that contradict others: a topic or consumer group that is taken, dead letters that go round in circles. The later
//! document is refused, and its last good state, where that does not contradict, stays in force. The same becomes of what is
//! only judged because others refer to it: ConfigMaps and Secrets of Brokers on Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cycles::{Roads, describe};
use super::names::{Names, check_group, check_topic};
use super::world::World;
use super::{Assembly, problem};
use crate::defaults::Engine;
use crate::documents::broker::TOPICS_BESIDE;
use crate::documents::delivery::Target;
use crate::documents::{Content, Document, secret};
use crate::name::{Kind, NamespacedName};
use crate::snapshot::{Problem, Severity};

pub(super) fn refuse(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    engine: Engine,
    problems: &mut Vec<Problem>,
) {
    // Brokers first: what they say holds for their triggers too.
    documents.sort_by_key(|document| document.kind);
    if engine == Engine::Kafka {
        // Secrets after the ConfigMaps that refer to them.
        refuse_wrong_configs(documents, previous, problems);
        refuse_wrong_secrets(documents, previous, problems);
    }
    let names = Names::of(documents);
    refuse_shared_topics(documents, previous, (&names, engine), problems);
    if engine == Engine::Kafka {
        refuse_shared_groups(documents, previous, &names, problems);
    }
    refuse_dead_letter_cycles(documents, previous, problems);
}

fn refuse_wrong_configs(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    problems: &mut Vec<Problem>,
) {
    let referred: BTreeSet<_> = World::of(documents).referred.into_iter().cloned().collect();
    keep(documents, previous, problems, |document, problems| {
        let Content::ConfigMap(config) = &document.content else { return true };
        if !referred.contains(&document.name) {
            return true;
        }
        problems.extend(config.kafka.problems.iter().cloned());
        config.kafka.problems.is_empty()
    });
}

fn refuse_wrong_secrets(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    problems: &mut Vec<Problem>,
) {
    let referred: BTreeSet<_> = World::of(documents).referred_secrets().cloned().collect();
    keep(documents, previous, problems, |document, problems| {
        if document.kind != Kind::Secret || !referred.contains(&document.name) {
            return true;
        }
        let wrong = secret::auth(document).err();
        problems.extend(wrong.iter().flatten().cloned());
        wrong.is_none()
    });
}

fn refuse_shared_topics(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    (names, engine): (&Names, Engine),
    problems: &mut Vec<Problem>,
) {
    // The embedded log takes names of any length; the rule is Kafka's, and that of the templates.
    let checked = engine == Engine::Kafka || names.has_topic_template();
    let mut owners: BTreeMap<String, NamespacedName> = BTreeMap::new();
    keep(documents, previous, problems, |document, problems| {
        let Content::Broker(spec) = &document.content else { return true };
        let events = names.topic(&document.name, spec);
        if let Some(why) = check_topic(&events).err().filter(|_| checked) {
            let message = format!(
                "needs the topic {events}, which {why}; shorten the name, or give it another topic with the annotation \
                 kafka.eventing.knative.dev/external.topic"
            );
            problems.push(refusal("PEL-1315", document, message));
            return false;
        }
        let beside = TOPICS_BESIDE.map(|suffix| format!("{events}{suffix}"));
        let topics: Vec<String> = std::iter::once(events).chain(beside).collect();
        let taken = topics.iter().find_map(|topic| owners.get_key_value(topic));
        if let Some((topic, owner)) = taken {
            let message = format!(
                "needs the topic {topic}, which belongs to broker {owner}; rename one, or give it another topic with \
                 the annotation kafka.eventing.knative.dev/external.topic"
            );
            problems.push(refusal("PEL-1309", document, message));
            return false;
        }
        owners.extend(topics.into_iter().map(|topic| (topic, document.name.clone())));
        true
    });
}

/// Two triggers on the same cluster never report their progress to one consumer group.
fn refuse_shared_groups(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    names: &Names,
    problems: &mut Vec<Problem>,
) {
    let servers = servers(documents);
    let mut owners: BTreeMap<(String, String), NamespacedName> = BTreeMap::new();
    keep(documents, previous, problems, |document, problems| {
        let Content::Trigger(spec) = &document.content else { return true };
        let group = names.group(&document.name);
        if let Err(why) = check_group(&group) {
            let message = format!("needs the consumer group {group}, which {why}; shorten the name");
            problems.push(refusal("PEL-1315", document, message));
            return false;
        }
        // Without its broker, a trigger is on no cluster (yet).
        let Some(servers) = servers.get(&spec.broker) else { return true };
        let groups: Vec<_> = servers.iter().map(|server| (server.clone(), group.clone())).collect();
        if let Some(owner) = groups.iter().find_map(|group| owners.get(group)) {
            let message = format!(
                "needs the consumer group {group}, which belongs to trigger {owner}; rename one, or tell them apart with \
                 triggers-consumergroup-template in the ConfigMap config-kafka-features"
            );
            problems.push(refusal("PEL-1309", document, message));
            return false;
        }
        owners.extend(groups.into_iter().map(|group| (group, document.name.clone())));
        true
    });
}

/// The servers of each broker's cluster: clusters that share a server are one. Without any it is that of Pelton's start.
fn servers(documents: &[Arc<Document>]) -> BTreeMap<NamespacedName, Vec<String>> {
    let world = World::of(documents);
    let servers = world.brokers.iter().map(|(name, spec)| {
        let config = world.config_of(name, spec).and_then(|reference| world.configs.get(&reference.name));
        let servers = config.and_then(|(_, config)| config.kafka.bootstrap_servers.as_deref());
        ((*name).clone(), servers.unwrap_or_default().split(',').map(str::to_owned).collect())
    });
    servers.collect()
}

/// The error that the name of a resource lets it have something that it cannot.
fn refusal(code: &'static str, document: &Document, message: String) -> Problem {
    problem(Severity::Error, code, document, document.line, "metadata.name", message)
}

fn refuse_dead_letter_cycles(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    problems: &mut Vec<Problem>,
) {
    let mut roads = default_roads(documents);
    keep(documents, previous, problems, |document, problems| {
        let Some((from, to, target)) = dead_letter_road(document) else { return true };
        if let Some(way) = roads.way_back(from, to) {
            let message = format!(
                "closes a cycle of dead letter sinks, {}: an event that nobody takes would go round for ever; \
                 send dead letters elsewhere",
                describe(from, &way)
            );
            problems.push(problem(
                Severity::Error,
                "PEL-1311",
                document,
                target.line,
                &target.field,
                message,
            ));
            return false;
        }
        roads.add(from, to);
        true
    });
}

/// The roads that brokers without a sink of their own get from `config-br-defaults`.
fn default_roads(documents: &[Arc<Document>]) -> Roads {
    let world = World::of(documents);
    let mut roads = Roads::default();
    for (name, spec) in &world.brokers {
        if spec.delivery.dead_letter_sink.is_none()
            && let Some(to) = world.default_sink(name).and_then(Target::broker)
        {
            roads.add(name, to);
        }
    }
    roads
}

/// From which broker to which the dead letters of a document go, if to a broker.
fn dead_letter_road(document: &Document) -> Option<(&NamespacedName, &NamespacedName, &Target)> {
    let (from, target) = match &document.content {
        Content::Broker(spec) => (&document.name, spec.delivery.dead_letter_sink.as_ref()?),
        Content::Trigger(spec) => (&spec.broker, spec.dead_letter_sink()?),
        Content::Service(_) | Content::ConfigMap(_) | Content::Secret => return None,
    };
    Some((from, target.broker()?, target))
}

/// Keeps the documents that `fits` accepts; a refused one is replaced by its last good state if that fits.
fn keep(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    problems: &mut Vec<Problem>,
    mut fits: impl FnMut(&Document, &mut Vec<Problem>) -> bool,
) {
    for document in std::mem::take(documents) {
        if fits(&document, problems) {
            documents.push(document);
            continue;
        }
        let last_good = previous.accepted.get(&(document.kind, document.name.clone()));
        if let Some(last_good) = last_good.filter(|last_good| !last_good.same_value(&document))
            && fits(last_good, &mut Vec::new())
        {
            documents.push(last_good.clone());
        }
    }
}
