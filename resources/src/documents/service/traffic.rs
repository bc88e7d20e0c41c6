//! `spec.traffic` of a Service, by the rules of Knative's webhook.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fields::Field;
use super::super::node::Value;
use super::super::report::Report;
use super::super::scalar;
use crate::service::{LATEST, TrafficTarget};

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

/// Reads the annotation: the same in one line, `rev-1=90, latest=10 (canary)`.
pub(super) fn of_text(text: &str) -> Result<Vec<TrafficTarget>, String> {
    let targets = text.split(',').map(|part| target_of_text(part.trim())).collect::<Result<Vec<_>, _>>()?;
    let mut tags = BTreeSet::new();
    for tag in targets.iter().filter_map(|target| target.tag.as_ref()) {
        if !tags.insert(tag) {
            return Err(format!("gives the tag {tag} twice; give each a tag of its own"));
        }
    }
    let sum: u32 = targets.iter().map(|target| u32::from(target.percent)).sum();
    if sum != 100 {
        return Err(format!("has percentages that add up to {sum}; make them 100"));
    }
    Ok(targets)
}

fn target_of_text(text: &str) -> Result<TrafficTarget, String> {
    let right =
        || format!("has `{text}` in it; write REVISION=PERCENT, latest=PERCENT, or one with (TAG) behind");
    let (revision, rest) = text.split_once('=').ok_or_else(right)?;
    let (percent, tag) = match rest.split_once('(') {
        Some((percent, tag)) => (percent.trim(), Some(tag.strip_suffix(')').ok_or_else(right)?)),
        None => (rest, None),
    };
    let named = |name: &str| scalar::dns_1035(name).map_err(|why| format!("has a name that {why}"));
    tag.map_or(Ok(()), named)?;
    let revision = if revision == LATEST { None } else { Some(revision) };
    revision.map_or(Ok(()), named)?;
    let percent = percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(right)?;
    Ok(TrafficTarget { revision: revision.map(str::to_owned), percent, tag: tag.map(str::to_owned) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::traffic_text;

    #[test]
    fn one_line_of_traffic_is_read_as_it_is_written() {
        for text in ["latest=100", "rev-1=90, latest=10 (canary)", "rev-1=100, rev-2=0 (next)"] {
            assert_eq!(traffic_text(&of_text(text).unwrap()), text);
        }
        assert_eq!(of_text("latest=100").unwrap(), [TrafficTarget::latest()]);
        assert_eq!(of_text(" rev-1=40 ,latest=60").unwrap()[0].revision.as_deref(), Some("rev-1"));
    }

    #[test]
    fn one_line_of_traffic_obeys_the_rules_of_the_list() {
        for (text, why) in [
            ("", "has `` in it; write REVISION=PERCENT"),
            ("rev-1", "has `rev-1` in it"),
            ("rev-1=101, latest=0", "has `rev-1=101` in it"),
            ("rev-1=-1, latest=101", "has `rev-1=-1` in it"),
            ("rev-1=90, latest=9", "has percentages that add up to 99; make them 100"),
            ("rev-1=100 (a", "has `rev-1=100 (a` in it"),
            ("rev-1=100 (A)", "has a name that is not a name; use"),
            ("Rev=100", "has a name that is not a name; use"),
            ("rev-1=100 (a), latest=0 (a)", "gives the tag a twice"),
        ] {
            let error = of_text(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
