//! `pelton get`.

use clap::Args;
use pelton_resources::Kind;
use pelton_runtime::clock::Clock;
use serde_json::Value;

use super::describe::age;
use super::name;
use crate::api::admin::{Api, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton get triggers
  pelton get brokers --all-namespaces
  pelton get trigger paid -o yaml")]
pub(crate) struct Arguments {
    /// `brokers` or `triggers`
    kind: String,
    /// The name: NAME or NAMESPACE/NAME; all of the namespace if not given
    name: Option<String>,
    /// Those of every namespace
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let kind = name::kind(&arguments.kind)?;
    let api = Api::from_environment()?;
    let answer = match &arguments.name {
        Some(text) => api.get(&name::path(kind, &name::name(text, &global.namespace)?)).await?,
        None => {
            let namespace = (!arguments.all_namespaces).then_some(global.namespace.as_str());
            let path = format!("/api/v1/{}", kind.plural());
            api.get(&with_query(&path, &[("namespace", namespace)])).await?
        }
    };
    if global.output != Format::Table {
        return output::document(global.output, &answer);
    }
    let items = answer["items"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    if items.is_empty() {
        output::say(&format!("no {} there", kind.plural()));
        return Ok(());
    }
    let now = Clock::system().unix_ms();
    output::line(&match kind {
        Kind::Broker => brokers(&items, now),
        _ => triggers(&items, now),
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn ready(item: &Value) -> String {
    match item["ready"].as_bool() {
        Some(true) => "yes".to_owned(),
        _ => item["reason"].as_str().map_or_else(|| "no".to_owned(), |reason| format!("no: {reason}")),
    }
}

fn oldest(item: &Value, now: u64) -> String {
    item["status"]["oldest"].as_str().map_or_else(|| "-".to_owned(), |time| age(time, now))
}

fn brokers(items: &[Value], now: u64) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "PATH", "PARTITIONS", "BACKLOG", "OLDEST"],
        items.iter().map(|item| {
            let (spec, status) = (&item["spec"], &item["status"]);
            [
                text(&item["namespace"]),
                text(&item["name"]),
                ready(item),
                text(&spec["path"]),
                text(&spec["partitions"]),
                text(&status["backlog"]),
                oldest(item, now),
            ]
        }),
    )
}

fn triggers(items: &[Value], now: u64) -> String {
    output::table(
        ["NAMESPACE", "NAME", "READY", "BROKER", "SUBSCRIBER", "BACKLOG", "OLDEST"],
        items.iter().map(|item| {
            let (spec, status) = (&item["spec"], &item["status"]);
            [
                text(&item["namespace"]),
                text(&item["name"]),
                ready(item),
                text(&spec["broker"]),
                text(&spec["subscriber"]),
                text(&status["backlog"]),
                oldest(item, now),
            ]
        }),
    )
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
            triggers(&items, 61_000),
            "NAMESPACE  NAME  READY               BROKER        SUBSCRIBER              BACKLOG  OLDEST\n\
             default    paid  no: BrokerNotFound  default/shop  http://127.0.0.1:9000/  12       1m"
        );
    }

    #[test]
    fn brokers_in_a_table() {
        let items = [json!({
            "namespace": "default", "name": "shop", "ready": true,
            "spec": {"path": "/default/shop", "partitions": 10}, "status": {"backlog": null, "oldest": null},
        })];
        assert_eq!(
            brokers(&items, 0),
            "NAMESPACE  NAME  READY  PATH           PARTITIONS  BACKLOG  OLDEST\n\
             default    shop  yes    /default/shop  10          -        -"
        );
    }
}
