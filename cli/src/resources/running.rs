//! What runs of Services, for people: tables and glances of revisions and routes.

use serde_json::{Value, json};

use super::describe::{age, ready, settings, text};
use crate::output;

/// `yes`, or `no: Reason`.
fn ready_cell(item: &Value) -> String {
    match (item["ready"].as_bool(), item["reason"].as_str()) {
        (Some(true), _) => "yes".to_owned(),
        (_, Some(reason)) => format!("no: {reason}"),
        _ => "no".to_owned(),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn tags(item: &Value) -> String {
    let tags = item["status"]["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    tags.collect::<Vec<_>>().join(",")
}

/// `ready/wanted` of the counts of replicas; `-` where nothing is known.
pub(super) fn replicas(counts: &Value) -> String {
    match (counts["ready"].as_u64(), counts["wanted"].as_u64()) {
        (Some(ready), Some(wanted)) => format!("{ready}/{wanted}"),
        _ => "-".to_owned(),
    }
}

/// `rev-1=90, rev-2=10`.
pub(super) fn shares(traffic: &Value) -> String {
    let shares = traffic.as_array().into_iter().flatten();
    let shown = shares.map(|share| format!("{}={}", text(&share["revision"]), text(&share["percent"])));
    shown.collect::<Vec<_>>().join(", ")
}

/// `latest=90, rev-1=10 (canary)`.
pub(super) fn targets(targets: &Value) -> String {
    let shown = targets.as_array().into_iter().flatten().map(|target| {
        let revision = target["revision"].as_str().unwrap_or("latest");
        let tag = target["tag"].as_str().map(|tag| format!(" ({tag})")).unwrap_or_default();
        format!("{revision}={}{tag}", target["percent"])
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The table of revisions.
pub(super) fn revisions(items: &[Value], now: u64) -> String {
    output::table(
        ["NAMESPACE", "NAME", "SERVICE", "GENERATION", "READY", "TRAFFIC", "TAGS", "REPLICAS", "AGE"],
        items.iter().map(|item| {
            let (spec, status) = (&item["spec"], &item["status"]);
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                output::value(&spec["service"]),
                output::value(&spec["generation"]),
                ready_cell(item),
                format!("{}%", text(&status["percent"])),
                or_none(tags(item)),
                replicas(&status["replicas"]),
                age(&text(&status["created"]), now),
            ]
        }),
    )
}

/// The table of routes.
pub(super) fn routes(items: &[Value]) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "URL", "TRAFFIC"],
        items.iter().map(|item| {
            let status = &item["status"];
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                ready_cell(item),
                output::value(&status["url"]),
                or_none(shares(&status["traffic"])),
            ]
        }),
    )
}

/// `1 ready of 2 wanted, 1 starting`.
pub(super) fn replicas_told(counts: &Value) -> String {
    let count = |name: &str| counts[name].as_u64().unwrap_or_default();
    let mut told = format!("{} ready of {} wanted", count("ready"), count("wanted"));
    for what in ["starting", "leaving"] {
        if count(what) > 0 {
            told += &format!(", {} {what}", count(what));
        }
    }
    told
}

/// A revision: its state first, then what it is made of.
pub(super) fn revision(item: &Value, now: u64) -> String {
    let status = &item["status"];
    let waiting = &status["waiting"];
    let failure = &status["failure"];
    let lines = failure["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let state = [
        ("Revision", format!("{}/{}", text(&item["namespace"]), text(&item["name"]))),
        ("Ready", ready(item)),
        ("Traffic", format!("{} %", text(&status["percent"]))),
        ("Tags", tags(item)),
        ("Replicas", replicas_told(&status["replicas"])),
        ("Why so many", text(&status["why"])),
        (
            "Waiting",
            format!("{} requests, {} deliveries", text(&waiting["requests"]), text(&waiting["deliveries"])),
        ),
        ("Last failure", text(&failure["reason"])),
        ("Its last lines", lines.collect::<Vec<_>>().join("\n")),
        ("Made", format!("{} ago ({})", age(&text(&status["created"]), now), text(&status["created"]))),
    ];
    output::sections(vec![(String::new(), labeled(state)), (String::new(), settings(&item["spec"]))])
}

/// A route: where it is reached, and where requests go.
pub(super) fn route(item: &Value) -> String {
    let status = &item["status"];
    let tags = status["tags"].as_array().into_iter().flatten();
    let tags: Vec<_> = tags.map(|tag| format!("{}: {}", text(&tag["tag"]), text(&tag["url"]))).collect();
    let state = [
        ("Route", format!("{}/{}", text(&item["namespace"]), text(&item["name"]))),
        ("Ready", ready(item)),
        ("URL", text(&status["url"])),
        ("URL for triggers", text(&status["clusterUrl"])),
        ("Path at the gateway", text(&status["path"])),
        ("Traffic asked for", targets(&item["spec"]["traffic"])),
        ("Traffic now", or_none(shares(&status["traffic"]))),
        ("Tags", tags.join("\n")),
        ("Latest revision", text(&status["latestCreatedRevision"])),
        ("Latest ready", text(&status["latestReadyRevision"])),
        ("Rollback goes to", text(&status["previousRevision"])),
    ];
    output::sections(vec![(String::new(), labeled(state))])
}

/// What `describe service` tells of what runs.
pub(super) fn of_service(item: &Value) -> Vec<(String, String)> {
    let serving = &item["status"]["serving"];
    if serving.is_null() {
        return Vec::new();
    }
    labeled([
        ("URL", text(&serving["url"])),
        ("Latest revision", text(&serving["latestCreatedRevision"])),
        ("Latest ready", text(&serving["latestReadyRevision"])),
        ("Replicas", replicas_told(&serving["replicas"])),
    ])
}

fn labeled<const N: usize>(facts: [(&str, String); N]) -> Vec<(String, String)> {
    facts.into_iter().map(|(label, told)| (label.to_owned(), told)).collect()
}

/// A line of the traffic of an answer, under a label.
pub(super) fn traffic_line(label: &str, answer: &Value) -> String {
    let traffic = match &answer[label] {
        Value::Array(list) => targets(&json!(list)),
        _ => "-".to_owned(),
    };
    format!("{:<7} {traffic}", format!("{label}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision_of(ready: bool) -> Value {
        json!({
            "kind": "Revision", "namespace": "ai", "name": "model-00002", "ready": ready,
            "reason": (!ready).then_some("Deploying"), "message": (!ready).then_some("it waits for its first replicas"),
            "spec": {"service": "model", "generation": 2, "command": ["serve"], "image": null, "timeout": "PT5M"},
            "status": {
                "created": "1970-01-01T00:00:01.000Z", "percent": 10, "tags": ["canary", "next"],
                "replicas": {"wanted": 2, "ready": 1, "starting": 1, "leaving": 0},
                "waiting": {"requests": 3, "deliveries": 0}, "why": "2: its requests",
                "failure": {"reason": "it ended with code 1", "lines": ["Traceback", "no model"]},
            },
        })
    }

    fn route_of() -> Value {
        json!({
            "kind": "Route", "namespace": "ai", "name": "model", "ready": true, "reason": null, "message": null,
            "spec": {"traffic": [{"revision": "model-00001", "percent": 90, "tag": null}, {"revision": null, "percent": 10, "tag": "canary"}]},
            "status": {
                "url": "http://model.ai.localhost:8081", "clusterUrl": "http://model.ai.svc.cluster.local", "path": "/-/ai/model/",
                "tags": [{"tag": "canary", "url": "http://canary-model.ai.localhost:8081"}],
                "traffic": [{"revision": "model-00001", "percent": 90}, {"revision": "model-00002", "percent": 10}],
                "latestCreatedRevision": "model-00002", "latestReadyRevision": "model-00002", "previousRevision": null,
            },
        })
    }

    #[test]
    fn revisions_and_routes_in_tables() {
        assert_eq!(
            revisions(&[revision_of(true), revision_of(false)], 61_000),
            "NAMESPACE  NAME         SERVICE  GENERATION  READY          TRAFFIC  TAGS         REPLICAS  AGE\n\
             ai         model-00002  model    2           yes            10%      canary,next  1/2       1m\n\
             ai         model-00002  model    2           no: Deploying  10%      canary,next  1/2       1m"
        );
        assert_eq!(
            routes(&[route_of()]),
            "NAMESPACE  NAME   READY  URL                             TRAFFIC\n\
             ai         model  yes    http://model.ai.localhost:8081  model-00001=90, model-00002=10"
        );
    }

    #[test]
    fn a_revision_and_a_route_at_a_glance() {
        let shown = revision(&revision_of(false), 61_000);
        for line in [
            "Revision:        ai/model-00002",
            "Ready:           no, Deploying\n                 it waits for its first replicas",
            "Replicas:        1 ready of 2 wanted, 1 starting",
            "Its last lines:  Traceback\n                 no model",
            "Made:            1m ago (1970-01-01T00:00:01.000Z)",
            "Command:         - serve",
            "Timeout:         5m",
        ] {
            assert!(shown.contains(line), "`{line}` is not in:\n{shown}");
        }
        let shown = route(&route_of());
        for line in [
            "URL:                  http://model.ai.localhost:8081",
            "Traffic asked for:    model-00001=90, latest=10 (canary)",
            "Traffic now:          model-00001=90, model-00002=10",
            "Tags:                 canary: http://canary-model.ai.localhost:8081",
        ] {
            assert!(shown.contains(line), "`{line}` is not in:\n{shown}");
        }
        assert!(!shown.contains("Rollback"), "{shown}");
    }

    #[test]
    fn traffic_before_and_after_stands_under_each_other() {
        let answer = json!({"before": [{"revision": null, "percent": 100, "tag": null}]});
        assert_eq!(traffic_line("before", &answer), "before: latest=100");
        assert_eq!(traffic_line("after", &answer), "after:  -");
    }
}
