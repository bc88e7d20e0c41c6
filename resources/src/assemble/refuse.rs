//! Documents that contradict others: a topic that is taken, dead letters that go round in circles. The later document is
//! refused, and its last good state, where that does not contradict, stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cycles::{Roads, describe};
use super::world::World;
use super::{Assembly, problem};
use crate::documents::broker::BrokerSpec;
use crate::documents::delivery::Target;
use crate::documents::{Content, Document};
use crate::name::NamespacedName;
use crate::snapshot::{Problem, Severity};

pub(super) fn refuse(documents: &mut Vec<Arc<Document>>, previous: &Assembly, problems: &mut Vec<Problem>) {
    // Brokers first: what they say holds for their triggers too.
    documents.sort_by_key(|document| document.kind);
    refuse_shared_topics(documents, previous, problems);
    refuse_dead_letter_cycles(documents, previous, problems);
}

/// The events topic of a broker.
pub(super) fn topic(name: &NamespacedName, spec: &BrokerSpec) -> String {
    let default = || format!("knative-broker-{}-{}", name.namespace(), name.name());
    spec.external_topic.clone().unwrap_or_else(default)
}

/// Suffixes of the topics that belong to an events topic.
const SISTERS: [&str; 4] = ["", "_retry", "_dead-letter", "_progress"];

fn refuse_shared_topics(
    documents: &mut Vec<Arc<Document>>,
    previous: &Assembly,
    problems: &mut Vec<Problem>,
) {
    let mut owners: BTreeMap<String, NamespacedName> = BTreeMap::new();
    keep(documents, previous, problems, |document, problems| {
        let Content::Broker(spec) = &document.content else { return true };
        let topics = SISTERS.map(|sister| topic(&document.name, spec) + sister);
        let taken = topics.iter().find_map(|topic| owners.get_key_value(topic));
        if let Some((topic, owner)) = taken {
            let message = format!(
                "needs the topic {topic}, which belongs to broker {owner}; rename one, or give it another topic with \
                 the annotation kafka.eventing.knative.dev/external.topic"
            );
            let field = "metadata.name";
            problems.push(problem(Severity::Error, "PEL-1309", document, document.line, field, message));
            return false;
        }
        owners.extend(topics.map(|topic| (topic, document.name.clone())));
        true
    });
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
        Content::ConfigMap(_) | Content::Secret => return None,
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
