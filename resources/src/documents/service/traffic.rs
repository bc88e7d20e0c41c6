//! `spec.traffic` of a Service, by the rules of Knative's webhook.

use std::collections::BTreeMap;

use super::super::fields::Field;
use super::super::node::Value;
use super::super::report::Report;
use super::super::scalar;
use crate::service::TrafficTarget;

/// Reads the list; without one, or where it is empty, everything goes to the latest revision.
pub(super) fn read(field: Option<&Field<'_>>, report: &mut Report) -> Option<Vec<TrafficTarget>> {
    let Some(field) = field else { return Some(vec![TrafficTarget::latest()]) };
    let before = report.problems.len();
    let items = field.items(report)?;
    if items.is_empty() {
        return Some(vec![TrafficTarget::latest()]);
    }
    let mut tags = BTreeMap::new();
    let targets: Vec<_> = items.iter().filter_map(|item| target(item, &mut tags, report)).collect();
    if report.failed_since(before) {
        return None;
    }
    let sum: u32 = targets.iter().map(|target| u32::from(target.percent)).sum();
    if sum != 100 {
        field.wrong(report, format!("the percentages add up to {sum}; make them 100"));
        return None;
    }
    Some(targets)
}

/// Reads one entry. `tags` are those of the entries before it, and where they stand.
fn target(
    item: &Field<'_>,
    tags: &mut BTreeMap<String, String>,
    report: &mut Report,
) -> Option<TrafficTarget> {
    let before = report.problems.len();
    let mut fields = item.fields(report)?;
    let percent = fields.take("percent").and_then(|field| field.integer(100, report));
    let revision = fields.take("revisionName").and_then(|field| name(&field, report));
    let latest = fields.take("latestRevision");
    let tag_field = fields.take("tag");
    let tag = tag_field.as_ref().and_then(|field| name(field, report));
    if let Some(field) = fields.take("configurationName") {
        field
            .wrong(report, "belongs into a Route; a Service names a revisionName, or nothing for the latest");
    }
    if let Some(field) = fields.take("url") {
        field.wrong(report, "is what the status tells, and cannot be chosen; remove it");
    }
    fields.finish(report);
    if report.failed_since(before) {
        return None;
    }
    if let Some(field) = latest {
        check_latest(&field, revision.is_none(), report);
    }
    if let (Some(tag), Some(field)) = (&tag, &tag_field)
        && let Some(first) = tags.insert(tag.clone(), item.path.clone())
    {
        field.wrong(report, format!("{tag:?} is the tag of {first} too; give each a tag of its own"));
    }
    let percent = percent.and_then(|percent| u8::try_from(percent).ok()).unwrap_or_default();
    Some(TrafficTarget { revision, percent, tag })
}

/// `latestRevision` only says what `revisionName` says already.
fn check_latest(field: &Field<'_>, is_latest: bool, report: &mut Report) {
    match (&field.node.value, is_latest) {
        (Value::Bool(written), is_latest) if *written == is_latest => {}
        (Value::Bool(true), _) => field.wrong(report, "is true beside a revisionName; remove one of the two"),
        (Value::Bool(false), _) => field.wrong(report, "is false without a revisionName; name the revision"),
        (other, _) => field.wrong(report, format!("is {}; write true or false", other.what())),
    }
}

fn name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.parsed(report, |text| scalar::dns_1035(text).map(|()| text.to_owned()))
}
