//! `pelton get`.

use clap::Args;
use pelton_resources::Kind;
use pelton_runtime::clock::Clock;
use serde_json::Value;

use super::describe::age;
use super::name::{self, Thing};
use super::problems::Problems;
use super::running;
use crate::api::admin::{Api, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton get triggers
  pelton get brokers --all-namespaces
  pelton get services
  pelton get revisions                 of all Services of the namespace
  pelton get routes -A
  pelton get trigger paid -o yaml
  pelton get problems                  what is wrong in the files of resources

A resource whose document has an error is marked; its last good state is in force.")]
pub(crate) struct Arguments {
    /// `brokers`, `triggers`, `services`, `revisions`, `routes` or `problems`; or KIND/NAME
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
        let (thing, resource) = name::named_thing(&texts, &global.namespace)?;
        let answer = api.get(&thing.path(&resource)).await;
        let problems = Problems::read(&api).await?;
        let answer = answer.map_err(|failure| match thing {
            Thing::Resource(kind) => problems.explain(failure, kind, &resource),
            Thing::Revision | Thing::Route => failure,
        });
        (thing, answer?, problems)
    } else {
        let kind = name::thing(&arguments.kind)?;
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
        Thing::Resource(Kind::Broker) => brokers(&items, &problems, now),
        Thing::Resource(Kind::Service) => services(&items, &problems),
        Thing::Revision => running::revisions(&items, now),
        Thing::Route => running::routes(&items),
        Thing::Resource(_) => triggers(&items, &problems, now),
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
        ["NAMESPACE", "NAME", "READY", "URL", "LATEST", "REPLICAS", "BOUNDS", "TRAFFIC"],
        items.iter().map(|item| {
            let (spec, serving) = (&item["spec"], &item["status"]["serving"]);
            [
                output::value(&item["namespace"]),
                output::value(&item["name"]),
                ready(item, problems),
                output::value(&serving["url"]),
                output::value(&serving["latestReadyRevision"]),
                running::replicas(&serving["replicas"]),
                bounds(spec),
                running::targets(&spec["traffic"]),
            ]
        }),
    )
}

/// `1..5`, or `0..` without an upper bound.
fn bounds(spec: &Value) -> String {
    let max = spec["maxScale"].as_u64().map(|max| max.to_string()).unwrap_or_default();
    format!("{}..{max}", output::value(&spec["minScale"]))
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
                "namespace": "ai", "name": "model", "ready": false, "reason": "RevisionMissing",
                "spec": {
                    "minScale": 1, "maxScale": 5,
                    "traffic": [{"revision": "m-1", "percent": 90}, {"revision": null, "percent": 10, "tag": "canary"}],
                },
                "status": {"serving": {
                    "url": "http://model.ai", "latestReadyRevision": "m-2",
                    "replicas": {"ready": 1, "wanted": 3, "starting": 2, "leaving": 0},
                }},
            }),
            json!({
                "namespace": "ai", "name": "web", "ready": false, "reason": "ServingNotServed",
                "spec": {"minScale": 0, "maxScale": null, "traffic": [{"revision": null, "percent": 100, "tag": null}]},
                "status": {"serving": null},
            }),
        ];
        assert_eq!(
            services(&items, &Problems::of(&Value::Null)),
            "NAMESPACE  NAME   READY                 URL              LATEST  REPLICAS  BOUNDS  TRAFFIC\n\
             ai         model  no: RevisionMissing   http://model.ai  m-2     1/3       1..5    m-1=90, latest=10 (canary)\n\
             ai         web    no: ServingNotServed  -                -       -         0..     latest=100"
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
