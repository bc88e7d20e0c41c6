//! One document: its kind, its identity, its content.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::broker::BrokerSpec;
use super::config::ConfigSpec;
use super::fields::Fields;
use super::metadata;
use super::node::{Key, Node, Value};
use super::packed::PackedNode;
use super::report::{At, Report, suggestion};
use super::service;
use super::trigger::TriggerSpec;
use crate::name::{Kind, NAMESPACE_DEFAULT, NamespacedName};
use crate::service::{Service, TRAFFIC_ANNOTATION, traffic_text};
use crate::snapshot::{Problem, Severity};

/// A group of Knative's kinds of which Pelton serves some.
struct Group {
    name: &'static str,
    /// For people.
    product: &'static str,
    served: &'static [Kind],
    /// Kinds that Pelton has no use for, beside those of groups it does not know at all.
    not_served: &'static [&'static str],
}

const GROUPS: [Group; 2] = [
    Group {
        name: "eventing.knative.dev",
        product: "Knative Eventing",
        served: &[Kind::Broker, Kind::Trigger],
        not_served: &["EventType", "EventPolicy", "EventTransform"],
    },
    Group {
        name: "serving.knative.dev",
        product: "Knative Serving",
        served: &[Kind::Service],
        not_served: &["Configuration", "DomainMapping", "Revision", "Route"],
    },
];

/// A resource as one document describes it, without mistakes.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) file: Arc<str>,
    pub(crate) line: u64,
    pub(crate) kind: Kind,
    pub(crate) name: NamespacedName,
    tree: PackedNode,
    pub(crate) content: Content,
}

/// What a document says.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Broker(Box<BrokerSpec>),
    Trigger(Box<TriggerSpec>),
    /// No other document says anything about it, so it is the value already.
    Service(Arc<Service>),
    ConfigMap(Box<ConfigSpec>),
    /// Its values are read from the document where a Broker's ConfigMap refers to it (`secret::auth`), and kept nowhere else.
    Secret,
}

/// What came of reading a document.
#[derive(Debug)]
pub(crate) enum Reading {
    /// A resource.
    Resource(Document),
    /// A resource with mistakes; they are in the report. The identity is there if it could be read.
    Broken(Option<(Kind, NamespacedName)>),
    /// A `List`: its items.
    List(Vec<Node>),
    /// Nothing that Pelton serves; the report says so.
    Skipped,
}

/// What a document claims to be.
enum Class {
    Served(Kind),
    List,
    Skipped,
    Wrong,
}

impl Document {
    /// The kind of the resource.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of the resource.
    #[must_use]
    pub const fn name(&self) -> &NamespacedName {
        &self.name
    }

    /// The file and line of the document, as `file:line`.
    #[must_use]
    pub fn place(&self) -> String {
        super::report::place(&self.file, self.line)
    }

    /// The file of the document.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The document as YAML text of its own, without comments and without `status`.
    ///
    /// # Errors
    /// If a value has no YAML form.
    pub fn to_yaml(&self) -> Result<String, String> {
        let mut tree = self.tree.unpack();
        if let Value::Map(entries) = &mut tree.value {
            entries.retain(|(key, _)| key.name != "status");
        }
        serde_saphyr::to_string(&tree).map_err(|error| error.to_string())
    }

    /// Whether both documents describe the same value, wherever they stand.
    #[must_use]
    pub fn same_value(&self, other: &Self) -> bool {
        self.tree.unpack() == other.tree.unpack()
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<String> {
        let tree = self.tree.unpack();
        tree.get("metadata")?.get("annotations")?.get(name)?.as_text().map(str::to_owned)
    }

    /// What it says about the setting that an override of the annotation `name` changes: the annotation itself, and where
    /// traffic is meant also `spec.traffic`. An override is dropped once that says something else.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<String> {
        match &self.content {
            Content::Service(service) if name == TRAFFIC_ANNOTATION => Some(traffic_text(&service.traffic)),
            _ => self.annotation(name),
        }
    }

    /// Everything it says.
    pub(crate) fn tree(&self) -> Node {
        self.tree.unpack()
    }

    /// The error that it is not in `namespace`, which a command was told to use.
    pub(crate) fn outside(&self, namespace: &str) -> Problem {
        let own = self.name.namespace();
        Problem {
            severity: Severity::Error,
            code: "PEL-1317",
            place: self.place(),
            resource: Some((self.kind, self.name.clone())),
            field: "metadata.namespace".to_owned(),
            message: format!(
                "is {own}, and the namespace asked for is {namespace}; ask for {own}, or for none"
            ),
        }
    }

    /// This document with annotations set, read again; or what is wrong with the values.
    pub(crate) fn with_annotations(&self, values: &BTreeMap<&str, &str>) -> Result<Self, Vec<Problem>> {
        let mut tree = self.tree.unpack();
        set_annotations(&mut tree, values);
        let mut report = Report::new(self.file.clone());
        match read(tree, self.name.namespace(), &mut report) {
            Reading::Resource(document) => Ok(document),
            _ => Err(report.problems),
        }
    }
}

fn set_annotations(tree: &mut Node, values: &BTreeMap<&str, &str>) {
    let Some(metadata) = entry(tree, "metadata") else { return };
    let Some(annotations) = entry(metadata, "annotations") else { return };
    for (name, value) in values {
        if let Some(node) = entry(annotations, name) {
            node.value = Value::Text((*value).to_owned());
        }
    }
}

/// The entry `name` of a map, made if it is not there; an empty value becomes a map.
fn entry<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let line = node.line;
    let Value::Map(entries) = &mut node.value else { return None };
    let index = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        entries.push((Key { line, name: name.to_owned() }, Node { line, value: Value::Null }));
        entries.len() - 1
    });
    entries.get_mut(index).map(|(_, node)| node)
}

/// Writes `namespace` into a document that names none, so that it holds for whatever is made of the document as well.
fn set_namespace(tree: &mut Node, namespace: &str) {
    let Value::Map(entries) = &mut tree.value else { return };
    let metadata = entries.iter_mut().find(|(key, _)| key.name == "metadata").map(|(_, node)| node);
    let Some(metadata) = metadata.filter(|node| matches!(node.value, Value::Map(_))) else { return };
    if let Some(node) = entry(metadata, "namespace").filter(|node| node.value == Value::Null) {
        node.value = Value::Text(namespace.to_owned());
    }
}

/// Reads one document, which is in `namespace` if it names none; problems go to the report.
pub(crate) fn read(mut tree: Node, namespace: &str, report: &mut Report) -> Reading {
    report.resource = None;
    let kind = match classify(&tree, report) {
        Class::Served(kind) => kind,
        Class::List => return list(tree, report),
        Class::Skipped => return Reading::Skipped,
        Class::Wrong => return Reading::Broken(None),
    };
    // What everybody takes for granted need not be written.
    if namespace != NAMESPACE_DEFAULT {
        set_namespace(&mut tree, namespace);
    }
    let name = metadata::identity(&tree);
    report.resource = name.clone().map(|name| (kind, name));
    let before = report.problems.len();
    let content = content(&tree, kind, name.as_ref(), report);
    let failed = report.failed_since(before);
    let resource = report.resource.take();
    match (content, name) {
        (Some(content), Some(name)) if !failed => {
            let (file, line) = (report.file().clone(), tree.line);
            Reading::Resource(Document { file, line, kind, name, tree: PackedNode::pack(&tree), content })
        }
        _ => Reading::Broken(resource),
    }
}

fn content(tree: &Node, kind: Kind, name: Option<&NamespacedName>, report: &mut Report) -> Option<Content> {
    let mut document = Fields::of(String::new(), tree, report)?;
    document.ignore(&["apiVersion", "kind", "status"]);
    let metadata = metadata::read(&mut document, kind, report);
    // Mistakes below are worth naming even where the name is wrong too.
    let placeholder = NamespacedName::new(NAMESPACE_DEFAULT, "unnamed");
    let name = name.unwrap_or(&placeholder);
    let content = match kind {
        Kind::Broker => {
            let annotations = metadata?.annotations;
            let broker = BrokerSpec::read(&mut document, annotations, name.namespace(), report);
            Some(Content::Broker(Box::new(broker)))
        }
        Kind::Trigger => TriggerSpec::read(&mut document, metadata?.annotations, name.namespace(), report)
            .map(|trigger| Content::Trigger(Box::new(trigger))),
        Kind::Service => service::read(&mut document, metadata?, name, report)
            .map(|service| Content::Service(Arc::new(service))),
        Kind::ConfigMap => Some(Content::ConfigMap(Box::new(ConfigSpec::read(&mut document, name, report)))),
        Kind::Secret => {
            document.ignore(&["data", "stringData", "type", "immutable"]);
            Some(Content::Secret)
        }
    };
    document.finish(report);
    content
}

fn classify(tree: &Node, report: &mut Report) -> Class {
    let text = |name| tree.get(name).and_then(Node::as_text);
    let at = At { line: tree.line, field: "" };
    let (api_version, kind) = match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => (api_version, kind),
        (None, None) => {
            report.warning(&at, "PEL-1306", "has neither apiVersion nor kind, so it is no resource; skipped");
            return Class::Skipped;
        }
        (Some(_), None) => {
            report.error(&at, "PEL-1304", "kind is missing; add it, for example kind: Trigger");
            return Class::Wrong;
        }
        (None, Some(kind)) => {
            let example = Kind::parse(kind).map_or("v1", Kind::api_version);
            report.error(
                &at,
                "PEL-1304",
                format!("apiVersion is missing; add it, for example apiVersion: {example}"),
            );
            return Class::Wrong;
        }
    };
    let is_it = |known: &Kind| (known.api_version(), known.as_str()) == (api_version, kind);
    if let Some(kind) = Kind::EVERY.into_iter().find(is_it) {
        return Class::Served(kind);
    }
    let has_lists = Kind::ALL.into_iter().any(|known| known.api_version() == api_version);
    if (api_version, kind) == ("v1", "List") || (kind.ends_with("List") && has_lists) {
        return Class::List;
    }
    classify_other(api_version, kind, &at, report)
}

fn classify_other(api_version: &str, kind: &str, at: &At<'_>, report: &mut Report) -> Class {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let named = format!("{kind} ({api_version})");
    let known = GROUPS.iter().find(|known| known.name == group);
    if let Some(known) = known.filter(|known| !known.not_served.contains(&kind)) {
        let message = match known.served.iter().find(|served| served.as_str() == kind) {
            Some(served) => format!("{named} is not served; write apiVersion: {}", served.api_version()),
            None => {
                let hint = suggestion(kind, known.served.iter().map(|kind| kind.as_str()));
                format!("{named} is not a kind of {} that Pelton knows{hint}", known.product)
            }
        };
        report.error(at, "PEL-1305", message);
        return Class::Wrong;
    }
    if group == "pelton.dev" || group.ends_with(".pelton.dev") {
        report.error(at, "PEL-1305", format!("{named} is not a kind of this version of Pelton"));
        return Class::Wrong;
    }
    report.warning(at, "PEL-1306", format!("{named} is not a kind that Pelton serves; skipped"));
    Class::Skipped
}

fn list(tree: Node, report: &mut Report) -> Reading {
    let at_line = tree.line;
    let Value::Map(entries) = tree.value else { return Reading::Skipped };
    match entries.into_iter().find(|(key, _)| key.name == "items") {
        Some((_, Node { value: Value::List(items), .. })) => Reading::List(items),
        Some((_, Node { value: Value::Null, .. })) | None => Reading::List(Vec::new()),
        Some((key, node)) => {
            let at = At { line: if key.line == 0 { at_line } else { key.line }, field: "items" };
            report.error(&at, "PEL-1303", format!("is {}; write a list of resources", node.value.what()));
            Reading::Broken(None)
        }
    }
}
