//! The topics of Brokers and the consumer groups of Triggers.

use std::sync::Arc;

use crate::documents::broker::{BrokerSpec, topic_name};
use crate::documents::template::{NAME_TEMPLATES, NameTemplates};
use crate::documents::{Content, Document};
use crate::limits;
use crate::name::NamespacedName;

/// How topics and groups are named.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(NameTemplates);

impl Names {
    /// As `config-kafka-features` says, else as Knative does.
    pub(super) fn of(documents: &[Arc<Document>]) -> Self {
        let templates = documents.iter().find_map(|document| match &document.content {
            Content::ConfigMap(config)
                if (document.name.namespace(), document.name.name()) == NAME_TEMPLATES =>
            {
                Some(config.names.clone())
            }
            _ => None,
        });
        Self(templates.unwrap_or_default())
    }

    /// The events topic of a broker.
    pub(super) fn topic(&self, name: &NamespacedName, spec: &BrokerSpec) -> String {
        let made = || match &self.0.topic {
            Some(template) => template.render(name),
            None => format!("knative-broker-{}-{}", name.namespace(), name.name()),
        };
        spec.external_topic.clone().unwrap_or_else(made)
    }

    /// The consumer group of a trigger.
    pub(super) fn group(&self, name: &NamespacedName) -> String {
        match &self.0.group {
            Some(template) => template.render(name),
            None => format!("knative-trigger-{}-{}", name.namespace(), name.name()),
        }
    }

    /// Whether topics are named by a template that somebody wrote.
    pub(super) const fn has_topic_template(&self) -> bool {
        self.0.topic.is_some()
    }
}

/// Whether a name can be that of a topic; what is wrong if not.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    topic_name(topic).map(|_| ())
}

/// Whether a name can be that of a consumer group; what is wrong if not.
pub(super) fn check_group(group: &str) -> Result<(), String> {
    if group.is_empty() || group.chars().count() > limits::GROUP_MAX {
        return Err(format!(
            "is not the name of a consumer group; use 1 to {} characters",
            limits::GROUP_MAX
        ));
    }
    Ok(())
}
