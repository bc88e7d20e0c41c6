//! From documents to values: defaults, ConfigMaps and references filled in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cycles::{Roads, describe};
use super::names::Names;
use super::resolve::resolve;
use super::world::World;
use super::{kafka, problem};
use crate::broker::{Broker, RetentionPolicy};
use crate::defaults::{Defaults, Engine};
use crate::delivery::{DeliveryPolicy, Destination};
use crate::documents::broker::BrokerSpec;
use crate::documents::config::ConfigSpec;
use crate::documents::delivery::{DeliverySpec, Target};
use crate::documents::kafka::KEYS as KAFKA_KEYS;
use crate::documents::report::suggestion;
use crate::documents::trigger::TriggerSpec;
use crate::documents::{Content, Document};
use crate::readiness::Readiness;
use crate::service::Service;
use crate::snapshot::{Problem, Severity, Snapshot};
use crate::trigger::Trigger;

/// The snapshot that `documents` make; unchanged resources keep the `Arc` they have in `previous`.
pub(super) fn build(
    documents: &[Arc<Document>],
    previous: &Arc<Snapshot>,
    defaults: &Defaults,
    problems: Vec<Problem>,
) -> Arc<Snapshot> {
    let mut world = World::of(documents);
    world.runs_services = defaults.runs_services;
    world.note_broken(&problems);
    let (roads, names) = (dead_letter_roads(&world), Names::of(documents));
    let mut builder = Builder { roads, world, names, defaults, problems };
    let (mut brokers, mut triggers, mut services) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for document in documents {
        match &document.content {
            Content::Broker(spec) => {
                let broker = builder.broker(document, spec);
                brokers.insert(document.name.clone(), kept(broker, previous.brokers.get(&document.name)));
            }
            Content::Trigger(spec) => {
                let trigger = builder.trigger(document, spec);
                builder.warn_of_cycle(document, spec, &trigger);
                triggers.insert(document.name.clone(), kept(trigger, previous.triggers.get(&document.name)));
            }
            Content::Service(service) => {
                let service = builder.service(document, service);
                let before = previous.services.get(&document.name).filter(|before| **before == service);
                services.insert(document.name.clone(), before.cloned().unwrap_or(service));
            }
            Content::ConfigMap(config) => builder.note_config(document, config),
            Content::Secret => {}
        }
    }
    let generation = previous.generation;
    let mut snapshot = Snapshot { generation, brokers, triggers, services, problems: builder.problems };
    if snapshot.diff(previous).is_empty() && snapshot.problems == previous.problems {
        return previous.clone();
    }
    snapshot.generation += 1;
    Arc::new(snapshot)
}

/// The value in the `Arc` it had, if it is the same.
fn kept<T: PartialEq>(value: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == value => before.clone(),
        _ => Arc::new(value),
    }
}

fn dead_letter_roads(world: &World<'_>) -> Roads {
    let mut roads = Roads::default();
    let own = world.brokers.iter().map(|(name, spec)| (*name, spec.delivery.dead_letter_sink.as_ref()));
    let triggers = world.triggers.iter().map(|spec| (&spec.broker, spec.dead_letter_sink()));
    for (from, sink) in own.chain(triggers) {
        if let Some(to) = sink.and_then(Target::broker) {
            roads.add(from, to);
        }
    }
    roads
}

/// Where something stands.
struct Place<'a> {
    document: &'a Document,
    line: u64,
    field: &'a str,
}

struct Builder<'a> {
    world: World<'a>,
    names: Names,
    defaults: &'a Defaults,
    roads: Roads,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn broker(&mut self, document: &Document, spec: &'a BrokerSpec) -> Broker {
        let reference = self.world.config_of(&document.name, spec);
        let config = reference.and_then(|reference| self.world.configs.get(&reference.name));
        let partitions = spec.partitions.or_else(|| config.and_then(|(_, config)| config.partitions));
        let engine = self.defaults.engine;
        let (kafka, readiness) = kafka::settings(document, spec, &self.world, engine, &mut self.problems);
        // Why it waits for a ConfigMap with errors is told already.
        if let (Some(reference), None, true) = (reference, config, readiness.is_ready()) {
            let own = spec.config.is_some();
            let (line, field) = if own { (reference.line, "spec.config") } else { (document.line, "") };
            let message =
                format!("there is no ConfigMap {} among the resources; defaults hold", reference.name);
            self.problems.push(problem(Severity::Warning, "PEL-1313", document, line, field, message));
        }
        let delivery = self.world.over_defaults(spec.delivery.clone(), document.name.namespace());
        self.warn_of_backoff(document, &spec.delivery, &delivery);
        let retention = &self.defaults.retention;
        Broker {
            name: document.name.clone(),
            topic: self.names.topic(&document.name, spec),
            partitions: partitions.unwrap_or(self.defaults.partitions),
            retention: RetentionPolicy {
                age: spec.retention.unwrap_or(retention.age),
                dead_letter_age: spec.dead_letter_retention.unwrap_or(retention.dead_letter_age),
                bytes: spec.retention_bytes.unwrap_or(retention.bytes),
                on_full: spec.on_full.unwrap_or(retention.on_full),
            },
            kafka,
            readiness,
        }
    }

    fn trigger(&mut self, document: &Document, spec: &TriggerSpec) -> Trigger {
        let delivery = self.world.delivery(spec);
        if let Some(own) = &spec.delivery {
            self.warn_of_backoff(document, own, &delivery);
        }
        let mut readiness = Readiness::Ready;
        if let Err(message) = self.world.find_broker(&spec.broker, "correct spec.broker") {
            let at = Place { document, line: spec.broker_line, field: "spec.broker" };
            self.wait(&mut readiness, document, &at, ("BrokerNotFound", message));
        }
        let subscriber = resolve(&spec.subscriber, &self.world).unwrap_or_else(|why| {
            let at = Place { document, line: spec.subscriber.line, field: &spec.subscriber.field };
            self.wait(&mut readiness, document, &at, (why.reason, why.message));
            None
        });
        let dead_letter_sink = delivery.dead_letter_sink.as_ref().and_then(|target| {
            resolve(target, &self.world).unwrap_or_else(|why| {
                let inherited = || self.world.sink_document(spec).unwrap_or(document);
                let from = if spec.dead_letter_sink().is_some() { document } else { inherited() };
                let at = Place { document: from, line: target.line, field: &target.field };
                let message = format!("the dead letter sink does not resolve: {}", why.message);
                self.wait(&mut readiness, document, &at, (why.reason, message));
                None
            })
        });
        let settings = &spec.settings;
        Trigger {
            name: document.name.clone(),
            broker: spec.broker.clone(),
            group: self.names.group(&document.name),
            filter: spec.filter.clone(),
            expression: spec.expression.clone(),
            subscriber,
            delivery: policy(&delivery, dead_letter_sink, &self.defaults.delivery),
            order: settings.order,
            max_concurrency: settings.max_concurrency,
            max_rate: settings.max_rate,
            start: settings.start,
            start_text: settings.start_text.clone(),
            paused: settings.paused,
            readiness,
        }
    }

    /// A delay above the maximum is cut to it, by every wait; told where the document itself sets one of the two.
    fn warn_of_backoff(&mut self, document: &Document, own: &DeliverySpec, effective: &DeliverySpec) {
        let DeliveryPolicy { backoff_delay: delay, backoff_max: max, .. } =
            policy(effective, None, &self.defaults.delivery);
        if delay <= max {
            return;
        }
        let (line, field, message) = match (own.backoff_delay, own.backoff_max) {
            (Some(delay), _) => {
                let message = format!(
                    "is longer than backoffMax ({}), which no wait exceeds; raise that too",
                    shown(max)
                );
                (delay.line, "spec.delivery.backoffDelay", message)
            }
            (None, Some(max)) => {
                let message = format!(
                    "is shorter than backoffDelay ({}): every wait is cut to it; lower that too",
                    shown(delay)
                );
                (max.line, "spec.delivery.backoffMax", message)
            }
            (None, None) => return,
        };
        self.problems.push(problem(Severity::Warning, "PEL-1318", document, line, field, message));
    }

    /// Lets a trigger wait; the first reason is the one it shows.
    fn wait(
        &mut self,
        readiness: &mut Readiness,
        trigger: &Document,
        at: &Place<'_>,
        (reason, message): (&'static str, String),
    ) {
        // What stands in another document says of whom it speaks.
        let is_own = std::ptr::eq(at.document, trigger);
        let who = if is_own { "the trigger".to_owned() } else { format!("Trigger {}", trigger.name) };
        let told = format!("{message}; {who} is not ready, its events wait");
        self.problems.push(Problem {
            resource: Some((trigger.kind, trigger.name.clone())),
            ..problem(Severity::Warning, "PEL-1310", at.document, at.line, at.field, told)
        });
        if readiness.is_ready() {
            *readiness = Readiness::not_ready(reason, message);
        }
    }

    /// A cycle through subscribers is legal (filters may break it), and the loop guard bounds it; it is worth a word.
    fn warn_of_cycle(&mut self, document: &Document, spec: &TriggerSpec, trigger: &Trigger) {
        let Some(Destination::Broker(to)) = &trigger.subscriber else { return };
        if let Some(way) = self.roads.way_back(&trigger.broker, to) {
            let message = format!(
                "closes a cycle of brokers, {}; unless filters break it, an event goes round until its hops are spent",
                describe(&trigger.broker, &way)
            );
            let (line, field) = (spec.subscriber.line, &spec.subscriber.field);
            self.problems.push(problem(Severity::Warning, "PEL-1312", document, line, field, message));
        }
        self.roads.add(&trigger.broker, to);
    }

    /// A Service as its document says; where none is run, not ready and with a word about it.
    fn service(&mut self, document: &Document, service: &Arc<Service>) -> Arc<Service> {
        if self.defaults.runs_services {
            return service.clone();
        }
        let message = "this process does not run Services; `pelton run` does";
        self.problems.push(problem(
            Severity::Warning,
            "PEL-1321",
            document,
            document.line,
            "",
            message.into(),
        ));
        let readiness = Readiness::not_ready("ServingNotServed", message);
        Arc::new(Service { readiness, ..Service::clone(service) })
    }

    /// Settings of a ConfigMap that have no effect, if some broker refers to it.
    fn note_config(&mut self, document: &Document, config: &ConfigSpec) {
        if !self.world.referred.contains(&document.name) {
            return;
        }
        let in_vain = if self.defaults.engine == Engine::Kafka { &[][..] } else { &config.kafka.keys };
        let kafka = in_vain.iter().map(|(key, line)| (key, *line, kafka::NO_EFFECT.to_owned()));
        let other = config.other_keys.iter().map(|(key, line)| {
            let hint = suggestion(key, KAFKA_KEYS.into_iter().chain(["default.topic.partitions"]));
            (key, *line, format!("is no setting of a Broker that Pelton knows and has no effect{hint}"))
        });
        for (key, line, message) in kafka.chain(other) {
            let field = format!("data[{key:?}]");
            self.problems.push(problem(Severity::Warning, "PEL-1307", document, line, &field, message));
        }
    }
}

/// ISO 8601, as the field is written.
fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |duration| duration.to_string())
}

fn policy(
    spec: &DeliverySpec,
    dead_letter_sink: Option<Destination>,
    defaults: &DeliveryPolicy,
) -> DeliveryPolicy {
    DeliveryPolicy {
        retry: spec.retry.unwrap_or(defaults.retry),
        backoff_policy: spec.backoff_policy.unwrap_or(defaults.backoff_policy),
        backoff_delay: spec.backoff_delay.map_or(defaults.backoff_delay, |delay| delay.value),
        backoff_max: spec.backoff_max.map_or(defaults.backoff_max, |max| max.value),
        retry_after_max: spec.retry_after_max.unwrap_or(defaults.retry_after_max),
        timeout: spec.timeout.unwrap_or(defaults.timeout),
        format: spec.format.unwrap_or(defaults.format),
        dead_letter_sink,
    }
}
