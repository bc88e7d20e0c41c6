//! `pelton get`.

use clap::Args;
use pelton_resources::Kind;
use pelton_runtime::clock::Clock;
use serde_json::Value;

use super::describe::age;
use super::name;
use super::problems::Problems;
use crate::api::admin::{Api, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton get triggers
  pelton get brokers --all-namespaces
  pelton get services
  pelton get trigger paid -o yaml
  pelton get problems                  what is wrong in the files of resources

A resource whose document has an error is marked; its last good state is in force.")]
pub(crate) struct Arguments {
    /// `brokers`, `triggers`, `services` or `problems`; or KIND/NAME
    kind: String,
    /// The name: NAME or NAMESPACE/NAME; all of the namespace if not given
    name: Option<String>,
    /// Those of every namespace
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    if matches!(arguments.kind.as_str(), "problems" | "problem") {
        return list_problems(arguments, global).await;
    }
    let api = Api::from_environment()?;
    let named = arguments.name.is_some() || arguments.kind.contains('/');
    let (kind, answer, problems) = if named {
        let texts: Vec<_> = std::iter::once(&arguments.kind).chain(&arguments.name).cloned().collect();
        let (kind, resource) = name::resource(&texts, None, &global.namespace)?;
        let answer = api.get(&name::path(kind, &resource)).await;
        let problems = Problems::read(&api).await?;
        (kind, answer.map_err(|failure| problems.explain(failure, kind, &resource))?, problems)
    } else {
        let kind = name::kind(&arguments.kind)?;
        let namespace = (!arguments.all_namespaces).then_some(global.namespace.as_str());
        let path = format!("/api/v1/{}", kind.plural());
        (kind, api.get(&with_query(&path, &[("namespace", namespace)])).await?, Problems::read(&api).await?)
    };
    if global.output != Format::Table {
        return output::document(global.output, &answer);
    }
    if problems.has_errors() {
        output::say("some documents have errors and are not in force; `pelton get problems` lists them");
    }
    let items = answer["items"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    if items.is_empty() {
        output::say(&format!("no {} there", kind.plural()));
        return Ok(());
    }
    let now = Clock::system().unix_ms();
    output::line(&match kind {
        Kind::Broker => brokers(&items, &problems, now),
        Kind::Service => services(&items, &problems),
        _ => triggers(&items, &problems, now),
    })
}

async fn list_problems(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    if arguments.name.is_some() {
        let message = "problems have no names; `pelton describe KIND NAME` shows those of one resource";
        return Err(Failure::usage(Some("PEL-1708"), message));
    }
    let answer = Api::from_environment()?.get("/api/v1/problems").await?;
    if global.output != Format::Table {
        return output::document(global.output, &answer);
    }
    let lines = Problems::of(&answer).lines();
    if lines.is_empty() {
        output::say("no problems there");
        return Ok(());
    }
    output::line(&lines.join("\n"))
}

fn ready(item: &Value, problems: &Problems) -> String {
    let ready = match item["ready"].as_bool() {
        Some(true) => "yes".to_owned(),
        _ => item["reason"].as_str().map_or_else(|| "no".to_owned(), |reason| format!("no: {reason}")),
    };
    if problems.errors_of(item).is_empty() { ready } else { format!("{ready} (document has errors)") }
}

fn oldest(item: &Value, now: u64) -> String {
    item["status"]["oldest"].as_str().map_or_else(|| "-".to_owned(), |time| age(time, now))
}

fn brokers(items: &[Value], problems: &Problems, now: u64) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "PATH", "PARTITIONS", "BACKLOG", "OLDEST"],
        items.iter().map(|item| {
            let (spec, status) = (&item["spec"], &item["status"]);
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                ready(item, problems),
                output::value(&spec["path"]),
                output::value(&spec["partitions"]),
                output::value(&status["backlog"]),
                oldest(item, now),
            ]
        }),
    )
}

fn triggers(items: &[Value], problems: &Problems, now: u64) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "BROKER", "SUBSCRIBER", "BACKLOG", "OLDEST"],
        items.iter().map(|item| {
            let (spec, status) = (&item["spec"], &item["status"]);
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                ready(item, problems),
                output::value(&spec["broker"]),
                output::value(&spec["subscriber"]),
                output::value(&status["backlog"]),
                oldest(item, now),
            ]
        }),
    )
}

fn services(items: &[Value], problems: &Problems) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "RUNS", "CONCURRENCY", "REPLICAS", "TRAFFIC"],
        items.iter().map(|item| {
            let spec = &item["spec"];
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                ready(item, problems),
                runs(spec),
                concurrency(&spec["containerConcurrency"]),
                bounds(spec),
                traffic(&spec["traffic"]),
            ]
        }),
    )
}

/// What a replica runs as a process, else its image.
fn runs(spec: &Value) -> String {
    let command = [&spec["processCommand"], &spec["command"]].into_iter().find_map(Value::as_array);
    let words = command.map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    words.or_else(|| spec["image"].as_str().map(str::to_owned)).unwrap_or_else(|| "-".to_owned())
}

/// Requests at a time; Knative's 0 is any number.
fn concurrency(value: &Value) -> String {
    if value == 0 { "any".to_owned() } else { output::value(value) }
}

/// `1..5`, or `0..` without an upper bound.
fn bounds(spec: &Value) -> String {
    let max = spec["maxScale"].as_u64().map(|max| max.to_string()).unwrap_or_default();
    format!("{}..{max}", output::value(&spec["minScale"]))
}

/// `latest=90, rev-1=10 (canary)`.
fn traffic(targets: &Value) -> String {
    let shown = targets.as_array().into_iter().flatten().map(|target| {
        let revision = target["revision"].as_str().unwrap_or("latest");
        let tag = target["tag"].as_str().map(|tag| format!(" ({tag})")).unwrap_or_default();
        format!("{revision}={}{tag}", target["percent"])
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn triggers_in_a_table() {
        let items = [json!({
            "namespace": "default", "name": "paid", "ready": false, "reason": "BrokerNotFound",
            "spec": {"broker": "default/shop", "subscriber": "http://127.0.0.1:9000/"},
            "status": {"backlog": 12, "oldest": "1970-01-01T00:00:01Z"},
        })];
        assert_eq!(
            triggers(&items, &Problems::of(&Value::Null), 61_000),
            "NAMESPACE  NAME  READY               BROKER        SUBSCRIBER              BACKLOG  OLDEST\n\
             default    paid  no: BrokerNotFound  default/shop  http://127.0.0.1:9000/  12       1m"
        );
        let item = json!({"kind": "Trigger", "namespace": "default", "name": "paid", "ready": true});
        let problems = Problems::of(&json!({"items": [{
            "severity": "error", "place": "t.yaml:2", "kind": "Trigger", "namespace": "default", "name": "paid",
        }]}));
        assert_eq!(ready(&item, &problems), "yes (document has errors)");
    }

    #[test]
    fn services_in_a_table() {
        let items = [
            json!({
                "namespace": "ai", "name": "model", "ready": false, "reason": "NotServedYet",
                "spec": {
                    "processCommand": ["python3", "serve.py"], "command": ["/serve"], "image": "example.com/model", "containerConcurrency": 1,
                    "minScale": 1, "maxScale": 5,
                    "traffic": [{"revision": "model-v1", "percent": 90, "tag": null}, {"revision": null, "percent": 10, "tag": "canary"}],
                },
            }),
            json!({
                "namespace": "ai", "name": "web", "ready": true,
                "spec": {
                    "image": "example.com/web", "command": null, "containerConcurrency": 0, "minScale": 0, "maxScale": null,
                    "traffic": [{"revision": null, "percent": 100, "tag": null}],
                },
            }),
        ];
        assert_eq!(
            services(&items, &Problems::of(&Value::Null)),
            "NAMESPACE  NAME   READY             RUNS              CONCURRENCY  REPLICAS  TRAFFIC\n\
             ai         model  no: NotServedYet  python3 serve.py  1            1..5      model-v1=90, latest=10 (canary)\n\
             ai         web    yes               example.com/web   any          0..       latest=100"
        );
    }

    #[test]
    fn brokers_in_a_table() {
        let items = [json!({
            "namespace": "default", "name": "shop", "ready": true,
            "spec": {"path": "/default/shop", "partitions": 10}, "status": {"backlog": null, "oldest": null},
        })];
        assert_eq!(
            brokers(&items, &Problems::of(&Value::Null), 0),
            "NAMESPACE  NAME  READY  PATH           PARTITIONS  BACKLOG  OLDEST\n\
             default    shop  yes    /default/shop  10          -        -"
        );
    }
}
