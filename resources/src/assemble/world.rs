//! What documents look up in one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::documents::broker::{BrokerSpec, ConfigReference};
use crate::documents::config::{BROKER_DEFAULTS, BrokerDefault, BrokerDefaults, ConfigSpec};
use crate::documents::delivery::{DeliverySpec, Target};
use crate::documents::trigger::TriggerSpec;
use crate::documents::{Content, Document};
use crate::name::{Kind, NamespacedName};
use crate::snapshot::{Problem, Severity};

/// What documents look up in others.
pub(super) struct World<'a> {
    pub(super) brokers: BTreeMap<&'a NamespacedName, &'a BrokerSpec>,
    broker_documents: BTreeMap<&'a NamespacedName, &'a Document>,
    /// What is wrong with resources whose documents have errors; they may be in force by their last good state.
    broken: BTreeMap<(Kind, NamespacedName), String>,
    pub(super) triggers: Vec<&'a TriggerSpec>,
    services: BTreeSet<&'a NamespacedName>,
    /// Whether this process runs Services.
    pub(super) runs_services: bool,
    pub(super) configs: BTreeMap<&'a NamespacedName, (&'a Document, &'a ConfigSpec)>,
    pub(super) secrets: BTreeMap<&'a NamespacedName, &'a Document>,
    broker_defaults: Option<(&'a Document, &'a BrokerDefaults)>,
    /// ConfigMaps that some broker refers to.
    pub(super) referred: BTreeSet<&'a NamespacedName>,
}

impl<'a> World<'a> {
    pub(super) fn of(documents: &'a [Arc<Document>]) -> Self {
        let mut world = Self {
            brokers: BTreeMap::new(),
            broker_documents: BTreeMap::new(),
            broken: BTreeMap::new(),
            triggers: Vec::new(),
            services: BTreeSet::new(),
            runs_services: true,
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            broker_defaults: None,
            referred: BTreeSet::new(),
        };
        for document in documents {
            match &document.content {
                Content::Broker(spec) => {
                    world.brokers.insert(&document.name, spec);
                    world.broker_documents.insert(&document.name, document);
                }
                Content::Trigger(spec) => world.triggers.push(spec),
                Content::Service(_) => {
                    world.services.insert(&document.name);
                }
                Content::ConfigMap(config) => {
                    if (document.name.namespace(), document.name.name()) == BROKER_DEFAULTS {
                        world.broker_defaults =
                            config.defaults.as_ref().map(|defaults| (&**document, defaults));
                    }
                    world.configs.insert(&document.name, (document, config));
                }
                Content::Secret => {
                    world.secrets.insert(&document.name, document);
                }
            }
        }
        world.referred = world
            .brokers
            .iter()
            .filter_map(|(name, spec)| world.config_of(name, spec))
            .map(|c| &c.name)
            .collect();
        world
    }

    /// What `problems` tell to be broken is not called missing.
    pub(super) fn note_broken(&mut self, problems: &[Problem]) {
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            if let Some(resource) = &problem.resource {
                let why = || Problem { place: String::new(), ..problem.clone() }.to_string();
                self.broken.entry(resource.clone()).or_insert_with(why);
            }
        }
    }

    /// The first error of a resource that is not in force, if it is for its errors.
    pub(super) fn why_broken(&self, kind: Kind, name: &NamespacedName) -> Option<&str> {
        self.broken.get(&(kind, name.clone())).map(String::as_str)
    }

    /// The Secrets that the ConfigMaps of brokers refer to.
    pub(super) fn referred_secrets(&self) -> impl Iterator<Item = &'a NamespacedName> {
        let configs = self.referred.iter().filter_map(|name| self.configs.get(name));
        configs.filter_map(|(_, config)| config.kafka.secret.as_ref()).map(|secret| &secret.name)
    }

    /// Whether a broker is in force.
    ///
    /// # Errors
    /// What is wrong if not; `correct` says what else could be.
    pub(super) fn find_broker(&self, name: &NamespacedName, correct: &str) -> Result<(), String> {
        if self.broker_documents.contains_key(name) {
            return Ok(());
        }
        Err(if self.why_broken(Kind::Broker, name).is_some() {
            format!("Broker {name} is not in force because of its own errors")
        } else {
            format!("there is no Broker {name}; add it, or {correct}")
        })
    }

    /// Whether a Service is in force and run here; else a word and a sentence that say why not.
    pub(super) fn find_service(&self, name: &NamespacedName) -> Result<(), (&'static str, String)> {
        if !self.runs_services {
            let message = format!("this process does not run Services such as {name}; `pelton run` does");
            return Err(("ServingNotServed", message));
        }
        if self.services.contains(name) {
            return Ok(());
        }
        let message = if self.why_broken(Kind::Service, name).is_some() {
            format!("Service {name} is not in force because of its own errors")
        } else {
            format!("there is no Service {name} (serving.knative.dev/v1); add it, or correct the ref")
        };
        Err(("DestinationNotFound", message))
    }

    /// The document whose dead letter sink a trigger without one of its own gets.
    pub(super) fn sink_document(&self, trigger: &TriggerSpec) -> Option<&'a Document> {
        match self.brokers.get(&trigger.broker) {
            Some(spec) if spec.delivery.dead_letter_sink.is_some() => {
                self.broker_documents.get(&trigger.broker).copied()
            }
            _ => self.broker_defaults.map(|(document, _)| document),
        }
    }

    /// What `config-br-defaults` says for a namespace: the namespace's own default, then that of the cluster.
    fn default_levels(&self, namespace: &str) -> impl Iterator<Item = &'a BrokerDefault> {
        let defaults = self.broker_defaults.map(|(_, defaults)| defaults);
        let own = defaults.and_then(|defaults| defaults.namespaces.get(namespace));
        own.into_iter().chain(defaults.and_then(|defaults| defaults.cluster.as_ref()))
    }

    pub(super) fn config_of(
        &self,
        name: &NamespacedName,
        spec: &'a BrokerSpec,
    ) -> Option<&'a ConfigReference> {
        let default = || self.default_levels(name.namespace()).find_map(|level| level.config.as_ref());
        spec.config.as_ref().or_else(default)
    }

    /// What a broker without a dead letter sink gets from `config-br-defaults`. A broker that is itself the default sink
    /// gets none: its dead letters would come back to it.
    pub(super) fn default_sink(&self, broker: &NamespacedName) -> Option<&'a Target> {
        let sink = self
            .default_levels(broker.namespace())
            .find_map(|level| level.delivery.dead_letter_sink.as_ref());
        sink.filter(|target| target.broker() != Some(broker))
    }

    /// The delivery fields of a trigger: its own, over its broker's, over those of `config-br-defaults`.
    pub(super) fn delivery(&self, trigger: &TriggerSpec) -> DeliverySpec {
        let broker =
            self.brokers.get(&trigger.broker).map(|broker| broker.delivery.clone()).unwrap_or_default();
        let own = trigger.delivery.as_deref().cloned().unwrap_or_default();
        let delivery = self.over_defaults(own.over(broker), trigger.broker.namespace());
        let default_sink = self.default_sink(&trigger.broker).cloned();
        DeliverySpec { dead_letter_sink: delivery.dead_letter_sink.or(default_sink), ..delivery }
    }

    /// Delivery fields over those of `config-br-defaults`, but for the dead letter sink.
    pub(super) fn over_defaults(&self, own: DeliverySpec, namespace: &str) -> DeliverySpec {
        self.default_levels(namespace).fold(own, |delivery, level| {
            delivery.over(DeliverySpec { dead_letter_sink: None, ..level.delivery.clone() })
        })
    }
}
