//! Names made of the namespace and name of a resource: the templates of Knative's `config-kafka-features`.

use super::broker::topic_name;
use super::fields::Field;
use super::node::Value;
use super::report::{Report, suggestion};
use crate::name::NamespacedName;

/// Knative's ConfigMap with the templates; it counts in Knative's own namespace only.
pub(crate) const NAME_TEMPLATES: (&str, &str) = ("knative-eventing", "config-kafka-features");

/// The keys of the templates, and as older versions of Knative wrote them.
const TOPIC: [&str; 2] = ["brokers-topic-template", "brokers.topic.template"];
const GROUP: [&str; 2] = ["triggers-consumergroup-template", "triggers.consumergroup.template"];

/// Keys that say nothing to Pelton.
const IGNORED: [&str; 9] = [
    "_example",
    "channels-topic-template",
    "channels.topic.template",
    "controller-autoscaler-keda",
    "controller.autoscaler",
    "dispatcher-ordered-executor-metrics",
    "dispatcher.ordered-executor-metrics",
    "dispatcher-rate-limiter",
    "dispatcher.rate-limiter",
];

const RIGHT: &str = "only {{ .Namespace }} and {{ .Name }} may stand among the text";

/// The templates that a ConfigMap sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NameTemplates {
    /// Of the topics of Brokers.
    pub(crate) topic: Option<Template>,
    /// Of the consumer groups of Triggers.
    pub(crate) group: Option<Template>,
}

/// A text with places for the namespace and the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Namespace,
    Name,
}

impl NameTemplates {
    /// Reads the `data` of the ConfigMap `name`, which is called like Knative's.
    pub(crate) fn read(data: &Field<'_>, name: &NamespacedName, report: &mut Report) -> Self {
        let mut templates = Self::default();
        let Value::Map(entries) = &data.node.value else { return templates };
        let counts = name.namespace() == NAME_TEMPLATES.0;
        for (key, node) in entries {
            let field = Field { path: super::fields::join(&data.path, &key.name), line: key.line, node };
            let key = key.name.as_str();
            let read = match key {
                key if TOPIC.contains(&key) => topic_template,
                key if GROUP.contains(&key) => Template::parse,
                _ => {
                    note_other(key, &field, report);
                    continue;
                }
            };
            if !counts {
                let message = format!("counts in the namespace {} only", NAME_TEMPLATES.0);
                report.warning(&field.at(), "PEL-1307", message);
                continue;
            }
            let Some(template) = field.parsed(report, read) else { continue };
            let place = if TOPIC.contains(&key) { &mut templates.topic } else { &mut templates.group };
            // Of two spellings the newer one counts.
            if place.is_none() || !key.contains('.') {
                *place = Some(template);
            }
        }
        templates
    }
}

fn note_other(key: &str, field: &Field<'_>, report: &mut Report) {
    if !IGNORED.contains(&key) {
        let hint = suggestion(key, [TOPIC[0], GROUP[0]]);
        let message = format!("is no setting of {} and has no effect{hint}", NAME_TEMPLATES.1);
        report.warning(&field.at(), "PEL-1307", message);
    }
}

/// Reads a template whose names are topics.
fn topic_template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text)?;
    let shortest = NamespacedName::new("a", "a");
    topic_name(&template.render(&shortest)).map_err(|why| format!("makes a name that {why}"))?;
    Ok(template)
}

impl Template {
    /// Reads a template as Go writes it, as far as names need it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            parts.push(Part::Text(before.to_owned()));
            let Some((place, after)) = after.split_once("}}") else {
                return Err(format!("has a {{{{ without its }}}}; {RIGHT}"));
            };
            parts.push(match place.trim() {
                ".Namespace" => Part::Namespace,
                ".Name" => Part::Name,
                ".UID" => {
                    return Err(format!("asks for the UID, and a resource of a file has none; {RIGHT}"));
                }
                _ => return Err(format!("has {{{{{place}}}}} in it; {RIGHT}")),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if text.trim().is_empty() {
            return Err("is empty; write for example knative-{{ .Namespace }}-{{ .Name }}".into());
        }
        Ok(Self(parts))
    }

    /// The name for a resource.
    pub(crate) fn render(&self, name: &NamespacedName) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Namespace => name.namespace(),
            Part::Name => name.name(),
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_with_namespace_and_name() {
        let cases = [
            ("knative-broker-{{ .Namespace }}-{{ .Name }}", "knative-broker-shop-orders"),
            ("{{.Name}}.{{.Namespace}}.{{  .Name  }}", "orders.shop.orders"),
            ("all", "all"),
            ("}}{ {{ .Name }}", "}}{ orders"),
        ];
        for (text, name) in cases {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.render(&NamespacedName::new("shop", "orders")), name, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_told() {
        let cases = [
            (
                "a-{{ .UID }}",
                "asks for the UID, and a resource of a file has none; only {{ .Namespace }} and",
            ),
            (
                "a-{{ .Labels.x }}",
                "has {{ .Labels.x }} in it; only {{ .Namespace }} and {{ .Name }} may stand",
            ),
            ("a-{{- .Name -}}", "has {{- .Name -}} in it"),
            ("a-{{ if .Name }}b{{ end }}", "has {{ if .Name }} in it"),
            ("a-{{ .Name", "has a {{ without its }}"),
            ("", "is empty"),
            (" ", "is empty"),
        ];
        for (text, why) in cases {
            let error = Template::parse(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn topics_have_the_characters_of_kafka() {
        assert!(topic_template("{{ .Namespace }}.{{ .Name }}_x").is_ok());
        let error = topic_template("{{ .Namespace }}/{{ .Name }}").unwrap_err();
        assert!(error.starts_with("makes a name that is not the name of a topic; use 1 to 237"), "{error}");
    }
}
