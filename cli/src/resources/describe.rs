//! `pelton describe`: a resource and its state at a glance.

use clap::Args;
use pelton_resources::{Kind, NamespacedName};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::{ByteSize, HumanDuration};
use serde_json::{Map, Value};

use super::name::{self, Thing};
use super::problems::Problems;
use super::running;
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton describe trigger paid
  pelton describe broker shop
  pelton describe service model        with its revisions, and why there are so many replicas
  pelton describe revision model-00002
  pelton describe route model")]
pub(crate) struct Arguments {
    /// Kind and name, as in `trigger paid`, `trigger/paid` or `broker shop/orders` (NAMESPACE/NAME)
    #[arg(required = true, num_args = 1..=2, value_name = "KIND NAME")]
    resource: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let (thing, resource) = name::named_thing(&arguments.resource, &global.namespace)?;
    let api = Api::from_environment()?;
    let answer = api.get(&thing.path(&resource)).await;
    if let (Format::Json | Format::Yaml, Ok(answer)) = (global.output, &answer) {
        return output::document(global.output, answer);
    }
    let kind = match thing {
        Thing::Resource(kind) => kind,
        Thing::Revision => return output::line(&running::revision(&answer?, Clock::system().unix_ms())),
        Thing::Route => return output::line(&running::route(&answer?)),
    };
    let problems = Problems::read(&api).await?;
    let answer = answer.map_err(|failure| problems.explain(failure, kind, &resource))?;
    let beside = Beside::read(&api, problems, kind, &resource).await?;
    output::line(&glance(kind, &answer, &beside))
}

/// Milliseconds since the epoch of an RFC 3339 time.
fn unix_ms(time: &str) -> Option<u64> {
    u64::try_from(time.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

/// How long ago `time` was, for people; the time itself where it cannot be read.
pub(super) fn age(time: &str, now_unix_ms: u64) -> String {
    unix_ms(time)
        .map_or_else(|| time.to_owned(), |then| output::duration(now_unix_ms.saturating_sub(then) / 1000))
}

/// What is known of a resource beside its own answer.
struct Beside {
    problems: Problems,
    /// How long Pelton runs.
    uptime_seconds: Option<u64>,
    /// Dead letters of a broker that are open, for people.
    dead_letters: String,
    now_unix_ms: u64,
}

impl Beside {
    async fn read(
        api: &Api,
        problems: Problems,
        kind: Kind,
        resource: &NamespacedName,
    ) -> Result<Self, Failure> {
        let status = api.get("/api/v1/status").await?;
        let dead_letters = match kind {
            Kind::Broker => {
                let page = api.get(&format!("{}/dead-letters?limit=1000", name::path(kind, resource))).await;
                // They are in the log. What is wrong with it is what is asked for, so it must not end the answer.
                page.map_or_else(|failure| format!("not known; {failure}"), |page| open_letters(&page))
            }
            _ => String::new(),
        };
        let uptime_seconds = status["uptimeSeconds"].as_u64();
        Ok(Self { problems, uptime_seconds, dead_letters, now_unix_ms: Clock::system().unix_ms() })
    }
}

/// The number of dead letters of a page that may not be the last.
fn open_letters(page: &Value) -> String {
    let count = page["items"].as_array().map_or(0, Vec::len);
    if page["next"].is_null() { count.to_string() } else { format!("{count} or more") }
}

/// State first, then the counters, then what is in force.
fn glance(kind: Kind, item: &Value, beside: &Beside) -> String {
    let (spec, status, now) = (&item["spec"], &item["status"], beside.now_unix_ms);
    let has_events = matches!(kind, Kind::Broker | Kind::Trigger);
    let mut state = vec![
        (kind.to_string(), format!("{}/{}", text(&item["namespace"]), text(&item["name"]))),
        ("Ready".to_owned(), ready(item)),
        ("Problem".to_owned(), problem(&beside.problems.errors_of(item))),
        ("Warning".to_owned(), beside.problems.warnings_of(item).join("\n")),
        ("Backlog".to_owned(), if has_events { backlog(&status["backlog"]) } else { String::new() }),
        ("Oldest undelivered".to_owned(), if has_events { oldest(status, now) } else { String::new() }),
        ("Dead letters open".to_owned(), beside.dead_letters.clone()),
        (
            "Last error".to_owned(),
            if has_events { last_error(&status["lastError"], now) } else { String::new() },
        ),
    ];
    if kind == Kind::Service {
        state.extend(running::of_service(item));
    }
    let counters = counters(&status["counters"]).into_iter();
    let counters = counters.map(|(label, count)| (capital(label), count.to_string())).collect();
    let since =
        beside.uptime_seconds.map_or_else(String::new, |up| format!(" ({} ago)", output::duration(up)));
    let facts = status["facts"].as_array().into_iter().flatten();
    let facts = facts.map(|fact| (fact_label(&text(&fact["label"]), spec), text(&fact["text"])));
    output::sections(vec![
        (String::new(), state),
        (format!("Since the start{since}"), counters),
        (String::new(), facts.chain(settings(spec)).collect()),
    ])
}

/// What is in force, but for what says nothing more.
pub(super) fn settings(spec: &Value) -> Vec<(String, String)> {
    let settings = spec.as_object().into_iter().flatten().filter(|(key, _)| !is_told(key, spec));
    settings.map(|(key, value)| (words(key), setting(key, value))).collect()
}

/// A role's fact about what is a setting too is called its state.
fn fact_label(label: &str, spec: &Value) -> String {
    let label = capital(label);
    let mut settings = spec.as_object().into_iter().flatten().map(|(key, _)| key);
    let is_setting = settings.any(|key| words(key) == label && !is_told(key, spec));
    if is_setting { format!("{label} state") } else { label }
}

/// Settings that say nothing more: not set, or told as the state already.
fn is_told(key: &str, spec: &Value) -> bool {
    spec[key].is_null() || spec[key] == "" || spec[key] == Value::Array(Vec::new()) || key == "paused"
}

pub(super) fn ready(item: &Value) -> String {
    if item["ready"] == true {
        return "yes".to_owned();
    }
    let message = text(&item["message"]);
    let reason = item["reason"].as_str().map_or_else(|| "no".to_owned(), |reason| format!("no, {reason}"));
    if message.is_empty() { reason } else { format!("{reason}\n{message}") }
}

/// What a document that is not in force has wrong.
fn problem(errors: &[String]) -> String {
    if errors.is_empty() {
        String::new()
    } else {
        format!("{}\nThe last good state is in force.", errors.join("\n"))
    }
}

fn backlog(value: &Value) -> String {
    match value.as_u64() {
        Some(1) => "1 event".to_owned(),
        Some(count) => format!("{count} events"),
        None => "not known at the moment".to_owned(),
    }
}

fn oldest(status: &Value, now: u64) -> String {
    match status["oldest"].as_str() {
        Some(time) => format!("{} ago ({time})", age(time, now)),
        None => "none".to_owned(),
    }
}

fn last_error(error: &Value, now: u64) -> String {
    match (error["message"].as_str(), error["time"].as_str()) {
        (Some(message), Some(time)) => format!("{message}\n{} ago ({time})", age(time, now)),
        (Some(message), None) => message.to_owned(),
        _ => "none".to_owned(),
    }
}

/// Counters that are always shown, in the order of an event's way; others only where they are not zero.
const FIRST: [&str; 7] = [
    "requests received",
    "requests refused",
    "events accepted",
    "matched",
    "delivered",
    "failed attempts",
    "retried",
];

fn counters(value: &Value) -> Vec<(&str, u64)> {
    let all = value.as_object().into_iter().flatten();
    let mut counters: Vec<_> =
        all.filter_map(|(label, count)| Some((label.as_str(), count.as_u64()?))).collect();
    let rank = |label: &str| FIRST.iter().position(|first| *first == label).unwrap_or(FIRST.len());
    counters.retain(|(label, count)| *count > 0 || rank(label) < FIRST.len());
    counters.sort_by_key(|(label, _)| rank(label));
    counters
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text for people: durations and sizes as the configuration has them.
fn for_people(key: &str, value: &Value) -> String {
    let duration = value.as_str().filter(|text| text.starts_with('P')).and_then(|text| {
        let duration: jiff::SignedDuration = text.parse().ok()?;
        Some(HumanDuration::from_millis(u64::try_from(duration.as_millis()).ok()?).to_string())
    });
    let size = value
        .as_u64()
        .filter(|_| key.ends_with("Bytes"))
        .map(|bytes| ByteSize::from_bytes(bytes).to_string());
    duration.or(size).unwrap_or_else(|| text(value))
}

/// A setting on one line, or as a list of its own settings.
fn setting(key: &str, value: &Value) -> String {
    match value {
        Value::Object(settings) if is_flat(settings) => {
            let set = settings.iter().filter(|(_, value)| !value.is_null());
            set.map(|(key, value)| format!("{} {}", words(key).to_lowercase(), for_people(key, value)))
                .collect::<Vec<_>>()
                .join("\n")
        }
        Value::Object(_) | Value::Array(_) => serde_saphyr::to_string(value)
            .map_or_else(|_| value.to_string(), |yaml| yaml.trim_end().to_owned()),
        other => for_people(key, other),
    }
}

fn is_flat(settings: &Map<String, Value>) -> bool {
    !settings.values().any(|value| value.is_object() || value.is_array())
}

/// `backoffDelay` as `Backoff delay`.
fn words(key: &str) -> String {
    let mut words = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    capital(&words)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trigger_at_a_glance() {
        let item = json!({
            "kind": "Trigger", "namespace": "default", "name": "paid", "ready": false, "reason": "BrokerNotFound",
            "message": "there is no Broker default/shop",
            "spec": {
                "broker": "default/shop", "subscriber": "http://127.0.0.1:9001/", "filter": {"exact": {"type": "order.paid"}}, "maxRate": null, "paused": false,
                "start": "", "delivery": {"retry": 10, "backoffDelay": "PT0.2S", "deadLetterSink": null},
            },
            "status": {
                "backlog": 12, "oldest": "1970-01-01T00:00:01Z", "counters": {"delivered": 5, "discarded": 0, "failed attempts": 3, "kept": 1, "matched": 9},
                "lastError": {"time": "1970-01-01T00:01:00Z", "message": "503 from http://127.0.0.1:9001/"},
                "facts": [{"label": "defined in", "text": "triggers.yaml:12"}, {"label": "subscriber", "text": "broken"}],
            },
        });
        let problems = Problems::of(&json!({"items": [{
            "severity": "error", "place": "triggers.yaml:13", "kind": "Trigger", "namespace": "default", "name": "paid", "field": "",
            "message": "wrong",
        }]}));
        let beside =
            Beside { problems, uptime_seconds: Some(61), dead_letters: String::new(), now_unix_ms: 61_000 };
        let shown = glance(Kind::Trigger, &item, &beside);
        for line in [
            "Trigger:             default/paid",
            "Ready:               no, BrokerNotFound\n                     there is no Broker default/shop",
            "Problem:             triggers.yaml:13: wrong\n                     The last good state is in force.\n",
            "Backlog:             12 events",
            "Oldest undelivered:  1m ago (1970-01-01T00:00:01Z)",
            "Since the start (1m1s ago):\n  Matched:           9\n  Delivered:         5\n  Failed attempts:   3\n  Kept:              1\n",
            "Subscriber state:    broken",
            "Subscriber:          http://127.0.0.1:9001/",
            "Last error:          503 from http://127.0.0.1:9001/\n                     1s ago (1970-01-01T00:01:00Z)",
            "Defined in:          triggers.yaml:12",
            "Delivery:            backoff delay 200ms\n                     retry 10",
        ] {
            assert!(shown.contains(line), "`{line}` is not in:\n{shown}");
        }
        assert!(
            !shown.contains("Max rate") && !shown.contains("Start") && !shown.contains("Paused"),
            "{shown}"
        );
    }

    #[test]
    fn a_service_at_a_glance() {
        let item = json!({
            "kind": "Service", "namespace": "ai", "name": "model", "ready": false, "reason": "ServingNotServed", "message": "not run here",
            "spec": {
                "image": null, "command": ["/serve", "--fast"], "environment": [], "minScale": 0, "timeout": "PT5M",
                "traffic": [{"revision": null, "percent": 100, "tag": null}],
            },
            "status": {
                "backlog": null, "oldest": null, "lastError": null, "counters": {}, "facts": [],
                "serving": {
                    "url": "http://model.ai.localhost:8081", "latestCreatedRevision": "model-00002", "latestReadyRevision": "model-00001",
                    "replicas": {"wanted": 3, "ready": 1, "starting": 2, "leaving": 0},
                },
            },
        });
        let problems = Problems::of(&json!({"items": [{
            "severity": "warning", "code": "PEL-1321", "place": "s.yaml:1", "kind": "Service", "namespace": "ai", "name": "model", "field": "",
            "message": "not run here",
        }]}));
        let beside =
            Beside { problems, uptime_seconds: None, dead_letters: String::new(), now_unix_ms: 61_000 };
        let shown = glance(Kind::Service, &item, &beside);
        for line in [
            "Service:          ai/model",
            "Ready:            no, ServingNotServed\n                  not run here\n",
            "URL:              http://model.ai.localhost:8081",
            "Latest revision:  model-00002",
            "Latest ready:     model-00001",
            "Replicas:         1 ready of 3 wanted, 2 starting",
            "Command:          - /serve\n                  - --fast",
            "Timeout:          5m",
        ] {
            assert!(shown.contains(line), "`{line}` is not in:\n{shown}");
        }
        // Said once, and nothing of what a Service does not have.
        for line in ["Warning", "Backlog", "Oldest", "Environment", "Image"] {
            assert!(!shown.contains(line), "`{line}` is in:\n{shown}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_called_zero() {
        let shown = glance(
            Kind::Broker,
            &json!({
                "namespace": "n", "name": "b", "ready": true, "status": {"backlog": null},
                "spec": {"retention": "PT720H", "retentionBytes": 10_737_418_240_u64},
            }),
            &Beside {
                problems: Problems::of(&Value::Null),
                uptime_seconds: None,
                dead_letters: open_letters(&json!({"items": [1, 2], "next": "0-3"})),
                now_unix_ms: 0,
            },
        );
        assert!(shown.contains("Backlog:             not known"), "{shown}");
        assert!(shown.contains("Last error:          none"), "{shown}");
        assert!(shown.contains("Dead letters open:   2 or more"), "{shown}");
        assert!(shown.contains("Retention:           30d\nRetention bytes:     10GiB"), "{shown}");
    }
}
