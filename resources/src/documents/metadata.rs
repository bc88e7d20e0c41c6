//! `metadata`: who a document is about, and its annotations.

use std::collections::BTreeMap;

use super::fields::{Field, Fields, join};
use super::node::{Node, Value};
use super::report::{Report, suggestion};
use super::scalar;
use crate::name::{Kind, NAMESPACE_DEFAULT, NamespacedName};

/// Fields of Kubernetes' ObjectMeta that say nothing to Pelton; `kubectl get -o yaml` writes them.
const IGNORED: [&str; 12] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
    "generateName",
    "clusterName",
];

/// Reads namespace and name; `metadata` is read only as far as needed.
pub(crate) fn identity(document: &Node) -> Option<NamespacedName> {
    let metadata = document.get("metadata")?;
    let name = metadata.get("name")?.as_text()?;
    let namespace = match metadata.get("namespace") {
        None => NAMESPACE_DEFAULT,
        Some(node) if node.value == Value::Null => NAMESPACE_DEFAULT,
        Some(node) => node.as_text()?,
    };
    let valid = scalar::name(name).is_ok() && scalar::namespace(namespace).is_ok();
    valid.then(|| NamespacedName::new(namespace, name))
}

/// What `metadata` says beside the identity.
#[derive(Debug)]
pub(crate) struct Metadata<'a> {
    pub(crate) annotations: Annotations<'a>,
    /// Not looked at: they say something to few kinds.
    pub(crate) labels: Option<Field<'a>>,
}

/// Reads `metadata` of a document of `kind` and reports what is wrong with it.
pub(crate) fn read<'a>(document: &mut Fields<'a>, kind: Kind, report: &mut Report) -> Option<Metadata<'a>> {
    let metadata = document.required("metadata", "metadata: {name: my-name}", report)?;
    let mut fields = metadata.fields(report)?;
    if let Some(name) = fields.required("name", "name: my-name", report) {
        // The name of a Service is part of a host.
        let rule = if kind == Kind::Service { scalar::dns_1035 } else { scalar::name };
        check_name(&name, report, rule);
    }
    if let Some(namespace) = fields.take("namespace") {
        check_name(&namespace, report, scalar::namespace);
    }
    let annotations = Annotations::of(fields.take("annotations"), report);
    let labels = fields.take("labels");
    ignore_others(&mut fields);
    fields.finish(report);
    Some(Metadata { annotations, labels })
}

/// Reads the fields of Kubernetes' ObjectMeta that say nothing to Pelton.
pub(crate) fn ignore_others(fields: &mut Fields<'_>) {
    fields.ignore(&IGNORED);
}

fn check_name(field: &Field<'_>, report: &mut Report, check: impl Fn(&str) -> Result<(), String>) {
    if let Some(text) = field.text(report)
        && let Err(why) = check(text)
    {
        report.error(&field.at(), "PEL-1315", format!("{text:?} {why}"));
    }
}

/// The field of an annotation, as problems name it.
#[must_use]
pub fn annotation_field(name: &str) -> String {
    join("metadata.annotations", name)
}

/// Whether an annotation is one of Pelton's.
pub(crate) fn is_own_annotation(name: &str) -> bool {
    name.split_once('/').is_some_and(|(host, _)| host == "pelton.dev" || host.ends_with(".pelton.dev"))
}

/// The annotations of a document; those that Pelton reads are taken by name.
#[derive(Debug)]
pub(crate) struct Annotations<'a> {
    field: Option<Field<'a>>,
    values: BTreeMap<String, String>,
    taken: Vec<&'static str>,
}

impl<'a> Annotations<'a> {
    /// The annotations that a field holds.
    pub(crate) fn of(field: Option<Field<'a>>, report: &mut Report) -> Self {
        let values = field.as_ref().and_then(|field| field.texts(report)).unwrap_or_default();
        Self { field, values, taken: Vec::new() }
    }

    /// All of them that are texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The annotation `name`.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.taken.push(name);
        self.values.contains_key(name).then(|| self.field_of(name)).flatten()
    }

    fn field_of(&self, name: &str) -> Option<Field<'a>> {
        let field = self.field.as_ref()?;
        let Value::Map(entries) = &field.node.value else { return None };
        let (key, node) = entries.iter().find(|(key, _)| key.name == name)?;
        Some(Field { path: join(&field.path, name), line: key.line, node })
    }

    /// Takes the annotations with `prefix` away.
    pub(crate) fn remove(&mut self, prefix: &str) -> Vec<(String, Field<'a>)> {
        let names: Vec<_> = self.values.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let found = names.into_iter().filter_map(|name| {
            self.values.remove(&name);
            self.field_of(&name).map(|field| (name, field))
        });
        found.collect()
    }

    /// The annotations with `prefix` that nobody took.
    pub(crate) fn left(&self, prefix: &str) -> Vec<(&str, Field<'a>)> {
        let names = self.values.keys().filter(|name| name.starts_with(prefix));
        let left = names.filter(|name| !self.taken.contains(&name.as_str()));
        left.filter_map(|name| Some((name.as_str(), self.field_of(name)?))).collect()
    }

    /// What may have been meant by `name`, of those that were asked for.
    pub(crate) fn suggestion(&self, name: &str) -> String {
        suggestion(name, self.taken.iter().copied())
    }

    /// Warns of Knative's annotations that have no effect here.
    pub(crate) fn not_served(&self, prefixes: &[(&str, &str)], report: &mut Report) {
        for name in self.values.keys() {
            let known = prefixes.iter().find(|(prefix, _)| name.starts_with(prefix));
            if let (Some((_, why)), Some(field)) = (known, self.field_of(name)) {
                report.warning(&field.at(), "PEL-1307", format!("has no effect: {why}"));
            }
        }
    }

    /// Reports annotations under `pelton.dev/` that nobody took; other annotations are none of Pelton's business.
    pub(crate) fn finish(self, kind: Kind, report: &mut Report) {
        let unknown = |name: &&String| is_own_annotation(name) && !self.taken.contains(&name.as_str());
        for name in self.values.keys().filter(unknown) {
            let Some(field) = self.field_of(name) else { continue };
            let hint = self.suggestion(name);
            let known = if hint.is_empty() {
                format!("; a {kind} takes {}", self.taken_own().join(", "))
            } else {
                hint
            };
            report.error(&field.at(), "PEL-1314", format!("unknown annotation of Pelton{known}"));
        }
    }

    fn taken_own(&self) -> Vec<&'static str> {
        self.taken.iter().copied().filter(|name| name.contains(".pelton.dev/")).collect()
    }
}
