//! ConfigMaps: those that Brokers refer to, and Knative's `config-br-defaults` and `config-kafka-features`.

use std::collections::BTreeMap;

use super::broker::{ConfigReference, config_reference, partitions};
use super::delivery::DeliverySpec;
use super::fields::{Field, Fields};
use super::kafka::KafkaConfig;
use super::node::{self, Node, Value};
use super::report::{At, Report};
use super::template::{NAME_TEMPLATES, NameTemplates};
use crate::name::NamespacedName;

/// Knative's ConfigMap with the defaults of Brokers; it counts in Knative's own namespace only.
pub(crate) const BROKER_DEFAULTS: (&str, &str) = ("knative-eventing", "config-br-defaults");

/// What a ConfigMap says, as far as Pelton reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigSpec {
    /// `default.topic.partitions`.
    pub(crate) partitions: Option<u32>,
    /// What is about a Kafka cluster.
    pub(crate) kafka: KafkaConfig,
    /// Keys that Pelton does not know as settings of a Broker, with their lines.
    pub(crate) other_keys: Vec<(String, u64)>,
    /// Of `config-br-defaults`.
    pub(crate) defaults: Option<BrokerDefaults>,
    /// Of `config-kafka-features`.
    pub(crate) names: NameTemplates,
}

/// `default-br-config`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BrokerDefaults {
    pub(crate) cluster: Option<BrokerDefault>,
    pub(crate) namespaces: BTreeMap<String, BrokerDefault>,
}

/// What Brokers without their own get.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BrokerDefault {
    pub(crate) config: Option<ConfigReference>,
    pub(crate) delivery: DeliverySpec,
}

impl ConfigSpec {
    pub(crate) fn read(document: &mut Fields<'_>, name: &NamespacedName, report: &mut Report) -> Self {
        document.ignore(&["binaryData", "immutable"]);
        let mut config = Self::default();
        let Some(data) = document.take("data") else { return config };
        let is_defaults = (name.namespace(), name.name()) == BROKER_DEFAULTS;
        let Value::Map(entries) = &data.node.value else {
            data.wrong(report, format!("is {}; write a map of strings", data.node.value.what()));
            return config;
        };
        for (key, node) in entries {
            let field = Field { path: super::fields::join(&data.path, &key.name), line: key.line, node };
            match key.name.as_str() {
                "default.topic.partitions" => config.partitions = field.parsed(report, partitions),
                "default-br-config" if is_defaults => config.defaults = BrokerDefaults::read(&field, report),
                "default-br-config" if name.name() == BROKER_DEFAULTS.1 => {
                    let message = format!("counts in the namespace {} only", BROKER_DEFAULTS.0);
                    report.warning(&field.at(), "PEL-1307", message);
                }
                kafka if KafkaConfig::knows(kafka) => {}
                // Other people's ConfigMaps hold anything.
                _ => config.other_keys.push((key.name.clone(), key.line)),
            }
        }
        config.kafka = KafkaConfig::read(&data, name.namespace(), report);
        if name.name() == NAME_TEMPLATES.1 {
            config.names = NameTemplates::read(&data, name, report);
        }
        config
    }
}

impl BrokerDefaults {
    /// Reads the YAML text within the ConfigMap.
    fn read(field: &Field<'_>, report: &mut Report) -> Option<Self> {
        let text = field.text(report)?;
        let mut last = None;
        if let Err(error) = node::parse_stream(text, |document| last = Some(document)) {
            let at = At { line: field.node.line + error.line.saturating_sub(1), field: &field.path };
            report.error(&at, "PEL-1301", format!("is not valid YAML: {}", error.message));
            return None;
        }
        let mut root = last?;
        shift(&mut root, field.node.line.saturating_sub(1));
        let mut fields = Fields::of(field.path.clone(), &root, report)?;
        let cluster = fields.take("clusterDefault").and_then(|field| BrokerDefault::read(&field, report));
        let mut namespaces = BTreeMap::new();
        if let Some(field) = fields.take("namespaceDefaults")
            && let Value::Map(entries) = &field.node.value
        {
            for (key, node) in entries {
                let entry = Field { path: super::fields::join(&field.path, &key.name), line: key.line, node };
                if let Some(default) = BrokerDefault::read(&entry, report) {
                    namespaces.insert(key.name.clone(), default);
                }
            }
        }
        fields.finish(report);
        Some(Self { cluster, namespaces })
    }
}

impl BrokerDefault {
    fn read(field: &Field<'_>, report: &mut Report) -> Option<Self> {
        let mut fields = field.fields(report)?;
        // Every class is served in the same way, so neither a default class nor settings per class change anything.
        fields.ignore(&["brokerClass", "brokerClasses", "disallowDifferentNamespaceConfig"]);
        let delivery = fields
            .take("delivery")
            .and_then(|field| DeliverySpec::read(&field, BROKER_DEFAULTS.0, report))
            .unwrap_or_default();
        // The reference lies flat beside the others here.
        let config = match (field.node.get("name"), field.node.get("kind")) {
            (Some(_), _) => {
                let reference = only_reference(field.node);
                let field = Field { path: field.path.clone(), line: field.line, node: &reference };
                config_reference(&field, BROKER_DEFAULTS.0, report)
            }
            _ => None,
        };
        fields.ignore(&["apiVersion", "kind", "name", "namespace"]);
        fields.finish(report);
        Some(Self { config, delivery })
    }
}

fn only_reference(node: &Node) -> Node {
    let Value::Map(entries) = &node.value else { return node.clone() };
    let is_reference = |name: &str| matches!(name, "apiVersion" | "kind" | "name" | "namespace");
    let entries = entries.iter().filter(|(key, _)| is_reference(&key.name)).cloned().collect();
    Node { line: node.line, value: Value::Map(entries) }
}

/// Moves a tree read from a text within a file to the lines of that file.
fn shift(node: &mut Node, lines: u64) {
    node.line += lines;
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|node| shift(node, lines)),
        Value::Map(entries) => {
            for (key, node) in entries {
                key.line += lines;
                shift(node, lines);
            }
        }
        _ => {}
    }
}
