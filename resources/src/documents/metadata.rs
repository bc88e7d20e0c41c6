//! `metadata`: who a document is about, and its annotations.

use std::collections::BTreeMap;

use super::fields::{Field, Fields, join};
use super::node::{Node, Value};
use super::report::{Report, suggestion};
use super::scalar;
use crate::name::{Kind, NAMESPACE_DEFAULT, NamespacedName};

/// Fields of Kubernetes' ObjectMeta that say nothing to Pelton; `kubectl get -o yaml` writes them.
const IGNORED: [&str; 13] = [
    "labels",
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

/// Reads `metadata` and reports what is wrong with it.
pub(crate) fn read<'a>(document: &mut Fields<'a>, report: &mut Report) -> Option<Annotations<'a>> {
    let metadata = document.required("metadata", "metadata: {name: my-name}", report)?;
    let mut fields = metadata.fields(report)?;
    if let Some(name) = fields.required("name", "name: my-name", report) {
        check_name(&name, report, scalar::name);
    }
    if let Some(namespace) = fields.take("namespace") {
        check_name(&namespace, report, scalar::namespace);
    }
    let annotations = fields.take("annotations");
    let values = annotations.as_ref().and_then(|field| field.texts(report)).unwrap_or_default();
    fields.ignore(&IGNORED);
    fields.finish(report);
    Some(Annotations { field: annotations, values, taken: Vec::new() })
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

/// The annotations of a document; those that Pelton reads are taken by name.
#[derive(Debug)]
pub(crate) struct Annotations<'a> {
    field: Option<Field<'a>>,
    values: BTreeMap<String, String>,
    taken: Vec<&'static str>,
}

impl<'a> Annotations<'a> {
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
        let own = |name: &str| {
            name.split_once('/')
                .is_some_and(|(host, _)| host == "pelton.dev" || host.ends_with(".pelton.dev"))
        };
        for name in self.values.keys().filter(|name| own(name) && !self.taken.contains(&name.as_str())) {
            let Some(field) = self.field_of(name) else { continue };
            let hint = suggestion(name, self.taken.iter().copied());
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
