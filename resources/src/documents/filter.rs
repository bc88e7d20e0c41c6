//! `spec.filter` and `spec.filters` of a Trigger.

use std::sync::Arc;

use pelton_filter::{Conditions, Expression, Filter, FilterError};

use super::fields::{Field, Fields};
use super::node::Node;
use super::report::{At, Report};
use super::trigger::refuse_event_pattern;
use crate::limits;

const DIALECTS: &str = "exact, prefix, suffix, all, any, not, cesql";

/// Reads and compiles the filter: `filters` if it has an entry, else `filter`, else every event passes.
pub(crate) fn read(spec: &mut Fields<'_>, report: &mut Report) -> Option<(Option<Expression>, Arc<Filter>)> {
    let before = report.problems.len();
    let attributes = spec.take("filter").and_then(|field| read_attributes(&field, report));
    let list = spec.take("filters");
    let items = list.as_ref().and_then(|field| field.items(report)).unwrap_or_default();
    let entries: Vec<_> = items.iter().map(|item| (item, read_one(item, 0, report))).collect();
    if report.failed_since(before) {
        refuse_each(&entries, report);
        return None;
    }
    let filters: Vec<_> = entries.iter().filter_map(|(_, filter)| filter.clone()).collect();
    if let (Some(field), false) = (&list, filters.is_empty()) {
        let compiled = Filter::compile_all(&filters);
        let filter = compiled.map_err(|error| {
            refuse_each(&entries, report);
            // The list as a whole is too much, or so it is said of one of its entries.
            if !report.failed_since(before) {
                refuse(&error, field, report);
            }
        });
        let filter = filter.ok()?;
        warn(&filter, field, report);
        return Some((Some(single_or_all(filters)), Arc::new(filter)));
    }
    match attributes {
        Some((field, attributes)) if !attributes.is_empty() => {
            let expression = Expression::Attributes(attributes);
            let compiled = Filter::compile(&expression);
            let filter = compiled.map_err(|error| refuse(&error, &field, report)).ok()?;
            Some((Some(expression), Arc::new(filter)))
        }
        _ => Some((None, Arc::new(Filter::everything()))),
    }
}

fn single_or_all(mut filters: Vec<Expression>) -> Expression {
    if filters.len() == 1 { filters.swap_remove(0) } else { Expression::All(filters) }
}

fn read_attributes<'a>(filter: &Field<'a>, report: &mut Report) -> Option<(Field<'a>, Conditions)> {
    let mut fields = filter.fields(report)?;
    let attributes = fields.take("attributes");
    let conditions = attributes.as_ref().and_then(|field| read_conditions(field, report));
    fields.finish(report);
    Some((attributes?, conditions?))
}

fn read_conditions(field: &Field<'_>, report: &mut Report) -> Option<Conditions> {
    Some(field.text_map(report)?.into_iter().collect())
}

fn read_list(field: &Field<'_>, depth: usize, report: &mut Report) -> Option<Vec<Expression>> {
    let before = report.problems.len();
    let items = field.items(report)?;
    let filters = items.iter().filter_map(|item| read_one(item, depth, report)).collect();
    (!report.failed_since(before)).then_some(filters)
}

/// Reads one entry: a map with one dialect.
fn read_one(field: &Field<'_>, depth: usize, report: &mut Report) -> Option<Expression> {
    if depth > limits::NESTING_MAX {
        field.wrong(report, "is nested too deeply");
        return None;
    }
    let before = report.problems.len();
    let mut fields = field.fields(report)?;
    let mut found = Vec::new();
    for (name, read) in READERS {
        if let Some(value) = fields.take(name) {
            found.push((name, read(&value, depth, report)));
        }
    }
    if let Some(pattern) = fields.take("eventPattern") {
        refuse_event_pattern(&pattern, report);
    }
    fields.finish(report);
    if report.failed_since(before) {
        return None;
    }
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let message =
            format!("has the dialects {}; give each an entry of its own in the list", names.join(" and "));
        field.wrong(report, message);
        return None;
    }
    let Some((_, expression)) = found.pop() else {
        field.wrong(report, format!("has no dialect; write one of {DIALECTS}"));
        return None;
    };
    expression
}

type Reader = fn(&Field<'_>, usize, &mut Report) -> Option<Expression>;

const READERS: [(&str, Reader); 7] = [
    ("exact", |field, _, report| read_conditions(field, report).map(Expression::Exact)),
    ("prefix", |field, _, report| read_conditions(field, report).map(Expression::Prefix)),
    ("suffix", |field, _, report| read_conditions(field, report).map(Expression::Suffix)),
    ("all", |field, depth, report| read_list(field, depth + 1, report).map(Expression::All)),
    ("any", |field, depth, report| read_list(field, depth + 1, report).map(Expression::Any)),
    ("not", |field, depth, report| read_one(field, depth + 1, report).map(Box::new).map(Expression::Not)),
    ("cesql", |field, _, report| field.text(report).map(|text| Expression::Cesql(text.to_owned()))),
];

/// Reports every entry that does not compile, not only the first.
fn refuse_each(entries: &[(&Field<'_>, Option<Expression>)], report: &mut Report) {
    for (field, expression) in entries {
        if let Some(Err(error)) = expression.as_ref().map(Filter::compile) {
            refuse(&error, field, report);
        }
    }
}

fn refuse(error: &FilterError, field: &Field<'_>, report: &mut Report) {
    let path = within(field, error.path());
    let at = At { line: line_of(field, &path), field: &path };
    report.error(&at, error.code(), error.message());
}

fn warn(filter: &Filter, field: &Field<'_>, report: &mut Report) {
    for warning in filter.warnings() {
        let path = within(field, warning.path());
        let at = At { line: line_of(field, &path), field: &path };
        report.warning(&at, warning.code(), warning.message());
    }
}

/// The field in this document that is `path` in its filter.
fn within(field: &Field<'_>, path: &str) -> String {
    // The compiler calls `filter.attributes` by its own name.
    let path = path.strip_prefix("attributes").unwrap_or(path);
    let dot = if path.is_empty() || path.starts_with(['[', '.']) { "" } else { "." };
    format!("{}{dot}{path}", field.path)
}

/// The line of the field `path` within `field`.
fn line_of(field: &Field<'_>, path: &str) -> u64 {
    let below = path.strip_prefix(&field.path).unwrap_or_default();
    let mut line = field.line;
    let mut node = field.node;
    for segment in below.split(['.', '[']).map(|segment| segment.trim_end_matches(']')) {
        match step(node, segment) {
            Some((at, next)) => (line, node) = (at, next),
            None if segment.is_empty() => {}
            None => break,
        }
    }
    line
}

fn step<'a>(node: &'a Node, segment: &str) -> Option<(u64, &'a Node)> {
    match &node.value {
        super::node::Value::Map(entries) => {
            entries.iter().find(|(key, _)| key.name == segment).map(|(key, node)| (key.line, node))
        }
        super::node::Value::List(list) => {
            segment.parse::<usize>().ok().and_then(|index| list.get(index)).map(|node| (node.line, node))
        }
        _ => None,
    }
}
