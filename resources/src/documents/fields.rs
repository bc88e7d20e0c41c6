//! Reading the fields of a map: each is taken by name; what is left over at the end is unknown.

use std::collections::BTreeMap;

use super::node::{Key, Node, Value};
use super::report::{At, Report, suggestion};

/// The fields of one map.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    line: u64,
    entries: &'a [(Key, Node)],
    taken: Vec<&'static str>,
}

/// One field with a value.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    /// Where it stands in its document (`spec.delivery.retry`).
    pub(crate) path: String,
    pub(crate) line: u64,
    pub(crate) node: &'a Node,
}

impl<'a> Fields<'a> {
    /// The fields of `node`; an empty value has none. Anything but a map is reported.
    pub(crate) fn of(path: String, node: &'a Node, report: &mut Report) -> Option<Self> {
        let entries: &[_] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let at = At { line: node.line, field: &path };
                report.error(&at, "PEL-1303", format!("is {}; write a map", other.what()));
                return None;
            }
        };
        Some(Self { path, line: node.line, entries, taken: Vec::new() })
    }

    /// The field `name`, unless it is absent or empty.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.taken.push(name);
        let (key, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        if node.value == Value::Null {
            return None;
        }
        Some(Field { path: join(&self.path, name), line: key.line, node })
    }

    /// The fields of the map `name`.
    pub(crate) fn map(&mut self, name: &'static str, report: &mut Report) -> Option<Fields<'a>> {
        self.take(name).and_then(|field| Fields::of(field.path, field.node, report))
    }

    /// The field `name`; its absence is reported, with `example` of what to write.
    pub(crate) fn required(
        &mut self,
        name: &'static str,
        example: &str,
        report: &mut Report,
    ) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            let path = join(&self.path, name);
            let at = At { line: self.line, field: &path };
            report.error(&at, "PEL-1304", format!("is missing; add it, for example {example}"));
        }
        field
    }

    /// Reads fields that Knative knows and Pelton does not serve; each one set is a warning that ends with `why`. Empty maps
    /// and lists, which `kubectl get -o yaml` writes, set nothing.
    pub(crate) fn not_served(&mut self, names: &[&'static str], why: &str, report: &mut Report) {
        for name in names {
            if let Some(field) = self.take(name).filter(|field| !field.node.value.is_empty()) {
                report.warning(
                    &field.at(),
                    "PEL-1307",
                    format!("is not served by Pelton and has no effect{why}"),
                );
            }
        }
    }

    /// Reads fields that mean nothing here.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        self.taken.extend(names);
    }

    /// Reports every field that nobody took.
    pub(crate) fn finish(self, report: &mut Report) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.taken.contains(&key.name.as_str())) {
            let path = join(&self.path, &key.name);
            let at = At { line: key.line, field: &path };
            let suggestion = suggestion(&key.name, self.taken.iter().copied());
            report.error(&at, "PEL-1302", format!("unknown field{suggestion}"));
        }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn at(&self) -> At<'_> {
        At { line: self.line, field: &self.path }
    }

    /// Reports that the value is wrong: `message` says how and what would be right.
    pub(crate) fn wrong(&self, report: &mut Report, message: impl Into<String>) {
        report.error(&self.at(), "PEL-1303", message);
    }

    /// The text of a string; anything else is reported.
    pub(crate) fn text(&self, report: &mut Report) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value {
            return Some(text);
        }
        let hint = match &self.node.value {
            Value::Bool(value) => format!("write it in quotes: \"{value}\""),
            Value::Integer(value) => format!("write it in quotes: \"{value}\""),
            Value::Float(value) => format!("write it in quotes: \"{value}\""),
            _ => "write a string".to_owned(),
        };
        self.wrong(report, format!("is {}; {hint}", self.node.value.what()));
        None
    }

    /// A string that `read` understands.
    pub(crate) fn parsed<T>(
        &self,
        report: &mut Report,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(report)?;
        read(text).map_err(|why| self.wrong(report, format!("{text:?} {why}"))).ok()
    }

    /// A whole number of the range `0..=max`.
    pub(crate) fn integer(&self, max: u32, report: &mut Report) -> Option<u32> {
        let right = format!("write a whole number from 0 to {max}");
        let number = match &self.node.value {
            Value::Integer(number) => u32::try_from(*number).ok().filter(|number| *number <= max),
            other => {
                self.wrong(report, format!("is {}; {right}", other.what()));
                return None;
            }
        };
        if number.is_none() {
            self.wrong(report, format!("is out of range; {right}"));
        }
        number
    }

    /// The fields of a map.
    pub(crate) fn fields(&self, report: &mut Report) -> Option<Fields<'a>> {
        Fields::of(self.path.clone(), self.node, report)
    }

    /// The items of a list.
    pub(crate) fn items(&self, report: &mut Report) -> Option<Vec<Field<'a>>> {
        let Value::List(list) = &self.node.value else {
            self.wrong(
                report,
                format!("is {}; write a list, each item after a \"- \"", self.node.value.what()),
            );
            return None;
        };
        let item = |(index, node): (usize, &'a Node)| Field {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            node,
        };
        Some(list.iter().enumerate().map(item).collect())
    }

    /// A map of strings.
    pub(crate) fn text_map(&self, report: &mut Report) -> Option<BTreeMap<String, String>> {
        let before = report.problems.len();
        let map = self.texts(report)?;
        (!report.failed_since(before)).then_some(map)
    }

    /// The strings of a map; other values are reported.
    pub(crate) fn texts(&self, report: &mut Report) -> Option<BTreeMap<String, String>> {
        let fields = self.fields(report)?;
        let mut map = BTreeMap::new();
        for (key, node) in fields.entries {
            let field = Field { path: join(&self.path, &key.name), line: key.line, node };
            if let Some(text) = field.text(report) {
                map.insert(key.name.clone(), text.to_owned());
            }
        }
        Some(map)
    }
}

/// `path.name`; a name with dots is written `path["name"]`.
pub(crate) fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, name) if name.contains('.') || name.contains('/') => format!("{path}[{name:?}]"),
        (path, name) => format!("{path}.{name}"),
    }
}
