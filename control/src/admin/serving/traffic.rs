//! From the traffic of a Service and what is to change about it to its new traffic. Pure.

use std::collections::BTreeMap;

use pelton_resources::TrafficTarget;
use serde::Deserialize;

/// What is to change about the traffic of a Service. A revision that is not named is the latest.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Where requests without a tag are to go; empty: where they go already.
    #[serde(default)]
    traffic: Vec<Share>,
    /// Tags that are new or move.
    #[serde(default)]
    tags: Vec<Tag>,
    /// Tags that go.
    #[serde(default)]
    untag: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    revision: Option<String>,
    percent: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    tag: String,
    revision: Option<String>,
}

type Revision = Option<String>;

impl Change {
    /// All requests without a tag to one revision.
    pub(super) fn all_to(revision: &str) -> Self {
        let share = Share { revision: Some(revision.to_owned()), percent: 100 };
        Self { traffic: vec![share], ..Self::default() }
    }

    /// The traffic after the change, or what is wrong with the change.
    pub(super) fn of(&self, before: &[TrafficTarget]) -> Result<Vec<TrafficTarget>, String> {
        if self.traffic.is_empty() && self.tags.is_empty() && self.untag.is_empty() {
            return Err("nothing is to change; name revisions with their percentages, or tags".to_owned());
        }
        let shares = if self.traffic.is_empty() { shares_of(before) } else { self.shares()? };
        let mut tags = self.tags(before)?;
        let mut after = Vec::new();
        for (revision, percent) in shares {
            let tag =
                tags.iter().position(|(_, tagged)| *tagged == revision).map(|index| tags.remove(index).0);
            if percent > 0 || tag.is_some() {
                after.push(TrafficTarget { revision, percent, tag });
            }
        }
        after.extend(tags.into_iter().map(|(tag, revision)| TrafficTarget {
            revision,
            percent: 0,
            tag: Some(tag),
        }));
        Ok(after)
    }

    fn shares(&self) -> Result<Vec<(Revision, u8)>, String> {
        let mut shares: Vec<(Revision, u8)> = Vec::new();
        let sum: u64 = self.traffic.iter().map(|share| u64::from(share.percent)).sum();
        if sum != 100 {
            return Err(format!("the percentages add up to {sum}; make them 100"));
        }
        for share in &self.traffic {
            let name = share.revision.as_deref().unwrap_or("latest");
            if shares.iter().any(|(known, _)| *known == share.revision) {
                return Err(format!("{name} is named twice; name each revision once"));
            }
            let percent =
                u8::try_from(share.percent).map_err(|_| format!("{name} has more than 100 percent"))?;
            shares.push((share.revision.clone(), percent));
        }
        Ok(shares)
    }

    /// The tags after the change, in order.
    fn tags(&self, before: &[TrafficTarget]) -> Result<Vec<(String, Revision)>, String> {
        let tagged = before.iter().filter_map(|target| Some((target.tag.clone()?, target.revision.clone())));
        let mut tags: BTreeMap<String, Revision> = tagged.collect();
        for tag in &self.untag {
            tags.remove(tag).ok_or_else(|| format!("there is no tag {tag} to take away"))?;
        }
        let mut given = Vec::new();
        for Tag { tag, revision } in &self.tags {
            if given.contains(&tag) {
                return Err(format!("the tag {tag} is given twice; give each tag once"));
            }
            given.push(tag);
            tags.insert(tag.clone(), revision.clone());
        }
        Ok(tags.into_iter().collect())
    }
}

/// The shares of each revision, whatever its tags.
fn shares_of(targets: &[TrafficTarget]) -> Vec<(Revision, u8)> {
    let mut shares: Vec<(Revision, u8)> = Vec::new();
    for target in targets {
        match shares.iter_mut().find(|(revision, _)| *revision == target.revision) {
            Some((_, percent)) => *percent += target.percent,
            None => shares.push((target.revision.clone(), target.percent)),
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use pelton_resources::traffic_text;
    use serde_json::{Value, json};

    use super::*;

    fn after(before: &[TrafficTarget], change: Value) -> Result<String, String> {
        let change: Change = serde_json::from_value(change).unwrap();
        change.of(before).map(|targets| traffic_text(&targets))
    }

    fn target(revision: Option<&str>, percent: u8, tag: Option<&str>) -> TrafficTarget {
        TrafficTarget { revision: revision.map(str::to_owned), percent, tag: tag.map(str::to_owned) }
    }

    #[test]
    fn percentages_are_replaced_and_tags_stay() {
        let before = [target(Some("s-1"), 90, None), target(None, 10, Some("canary"))];
        for (change, expected) in [
            (json!({"traffic": [{"percent": 100}]}), "latest=100 (canary)"),
            (json!({"traffic": [{"revision": "s-1", "percent": 100}]}), "s-1=100, latest=0 (canary)"),
            (
                json!({"traffic": [{"revision": "s-1", "percent": 100}, {"percent": 0}]}),
                "s-1=100, latest=0 (canary)",
            ),
            (json!({"tags": [{"tag": "old", "revision": "s-1"}]}), "s-1=90 (old), latest=10 (canary)"),
            (json!({"tags": [{"tag": "canary", "revision": "s-2"}]}), "s-1=90, latest=10, s-2=0 (canary)"),
            (
                json!({"tags": [{"tag": "a", "revision": "s-1"}, {"tag": "b", "revision": "s-1"}]}),
                "s-1=90 (a), latest=10 (canary), s-1=0 (b)",
            ),
            (json!({"untag": ["canary"]}), "s-1=90, latest=10"),
        ] {
            assert_eq!(after(&before, change.clone()).unwrap(), expected, "{change}");
        }
        let all = Change::all_to("s-1").of(&before).unwrap();
        assert_eq!(traffic_text(&all), "s-1=100, latest=0 (canary)");
    }

    #[test]
    fn what_cannot_be_is_told() {
        let before = [TrafficTarget::latest()];
        let twice = json!([{"revision": "s-1", "percent": 50}, {"revision": "s-1", "percent": 50}]);
        for (change, why) in [
            (json!({}), "nothing is to change"),
            (json!({"traffic": [{"percent": 90}]}), "the percentages add up to 90"),
            (json!({"traffic": [{"percent": 356}]}), "the percentages add up to 356"),
            (json!({"traffic": twice}), "s-1 is named twice"),
            (json!({"tags": [{"tag": "a"}, {"tag": "a", "revision": "s-1"}]}), "the tag a is given twice"),
            (json!({"untag": ["a"]}), "there is no tag a"),
        ] {
            let error = after(&before, change.clone()).unwrap_err();
            assert!(error.starts_with(why), "{change}: {error}");
        }
    }
}
