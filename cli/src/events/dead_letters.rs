//! `pelton dead-letters`.

use clap::{Args, Subcommand};
use pelton_resources::{Kind, NamespacedName};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::admin::{Api, part, with_query};
use crate::arguments::{Global, at_least_one};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resources::name;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton dead-letters list shop
  pelton dead-letters show shop 3-120
  pelton dead-letters replay shop 3-120 3-121
  pelton dead-letters discard shop --trigger paid")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the events that nobody took
    #[command(after_help = "Example:
  pelton dead-letters list shop --reason exhausted")]
    List(List),
    /// Show one with its event and the last answer of the subscriber
    #[command(after_help = "Example:
  pelton dead-letters show shop 3-120")]
    Show(Show),
    /// Deliver them once more, with a fresh policy
    #[command(after_help = "Example:
  pelton dead-letters replay shop --trigger paid")]
    Replay(Selection),
    /// Let them go
    #[command(after_help = "Example:
  pelton dead-letters discard shop 3-120")]
    Discard(Selection),
}

#[derive(Debug, Args)]
struct List {
    /// The broker: NAME or NAMESPACE/NAME
    broker: String,
    /// Those of this trigger
    #[arg(long, value_name = "TRIGGER")]
    trigger: Option<String>,
    /// Those with this reason: exhausted, rejected, bad-reply, loop, undecodable, forbidden
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = at_least_one)]
    limit: u64,
    /// Those from this one on: the `next` of the list before
    #[arg(long, value_name = "ID")]
    from: Option<String>,
}

#[derive(Debug, Args)]
struct Show {
    /// The broker: NAME or NAMESPACE/NAME
    broker: String,
    /// The dead letter, as `list` names it
    id: String,
}

#[derive(Debug, Args)]
struct Selection {
    /// The broker: NAME or NAMESPACE/NAME
    broker: String,
    /// Dead letters, as `list` names them
    #[arg(value_name = "ID", required_unless_present_any = ["trigger", "reason", "all"], conflicts_with_all = ["trigger", "reason", "all"])]
    ids: Vec<String>,
    /// Those of this trigger
    #[arg(long, value_name = "TRIGGER")]
    trigger: Option<String>,
    /// Those with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// All of the broker
    #[arg(long, conflicts_with_all = ["trigger", "reason"])]
    all: bool,
}

/// The largest page of the API.
const PAGE_MAX: u64 = 1000;

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(list) => list.run(global).await,
        Command::Show(show) => show.run(global).await,
        Command::Replay(selection) => selection.run(global, "replay").await,
        Command::Discard(selection) => selection.run(global, "discard").await,
    }
}

fn path(broker: &str, namespace: &str) -> Result<(NamespacedName, String), Failure> {
    let broker = name::name(broker, namespace)?;
    let path = format!("{}/dead-letters", name::path(Kind::Broker, &broker));
    Ok((broker, path))
}

impl List {
    async fn run(&self, global: &Global) -> Result<(), Failure> {
        let (broker, path) = path(&self.broker, &global.namespace)?;
        let (items, next) = self.items(&Api::from_environment()?, &path).await?;
        if global.output != Format::Table {
            return output::document(global.output, &json!({"items": items, "next": next}));
        }
        if items.is_empty() {
            output::say(&format!("no dead letters of {broker}"));
            return Ok(());
        }
        output::line(&table(&items))?;
        if let Some(next) = next {
            output::say(&format!("there are more: go on with --from {next}, or raise --limit"));
        }
        Ok(())
    }

    /// Page after page, up to the limit; and where the next one begins.
    async fn items(&self, api: &Api, path: &str) -> Result<(Vec<Value>, Option<String>), Failure> {
        let mut items = Vec::new();
        let mut from = self.from.clone();
        loop {
            let limit = (self.limit - items.len() as u64).min(PAGE_MAX).to_string();
            let parameters = [
                ("trigger", self.trigger.as_deref()),
                ("reason", self.reason.as_deref()),
                ("limit", Some(limit.as_str())),
                ("from", from.as_deref()),
            ];
            let mut page = api.get(&with_query(path, &parameters)).await?;
            if let Value::Array(found) = page["items"].take() {
                items.extend(found);
            }
            let next = page["next"].as_str().filter(|next| from.as_deref() != Some(next)).map(str::to_owned);
            if next.is_none() || items.len() as u64 >= self.limit {
                return Ok((items, next));
            }
            from = next;
        }
    }
}

impl Show {
    async fn run(&self, global: &Global) -> Result<(), Failure> {
        let (_, path) = path(&self.broker, &global.namespace)?;
        let text = Api::from_environment()?.get_text(&format!("{path}/{}", part(&self.id))).await?;
        let strange = |error: serde_json::Error| {
            Failure::failed(Some("PEL-1703"), format!("the answer cannot be read: {error}"))
        };
        let item: Value = serde_json::from_str(&text).map_err(strange)?;
        let event = serde_json::from_str::<WithEvent<'_>>(&text).map_err(strange)?.event;
        match global.output {
            Format::Table => output::line(&shown(&item, event)),
            Format::Json => output::line(&output::indented(&text)),
            Format::Yaml => output::line(&output::yaml_with_event(item, event)?),
        }
    }
}

impl Selection {
    async fn run(&self, global: &Global, verb: &str) -> Result<(), Failure> {
        let (broker, path) = path(&self.broker, &global.namespace)?;
        let answer = Api::from_environment()?.post(&format!("{path}/{verb}"), &self.body()).await?;
        if global.output != Format::Table {
            return output::document(global.output, &answer);
        }
        output::line(&closed(&broker, verb, &answer))
    }

    fn body(&self) -> Value {
        if !self.ids.is_empty() {
            return json!({"ids": self.ids});
        }
        if self.all {
            return json!({"all": true});
        }
        let mut body = json!({});
        for (name, value) in [("trigger", &self.trigger), ("reason", &self.reason)] {
            if let Some(value) = value {
                body[name] = Value::from(value.as_str());
            }
        }
        body
    }
}

/// What became of the selected dead letters.
fn closed(broker: &NamespacedName, verb: &str, answer: &Value) -> String {
    let count = |member: &str| answer[member].as_u64().unwrap_or(0);
    let done = if verb == "replay" { "queued for delivery" } else { "discarded" };
    let mut text = format!("{broker}: {} {done}", output::counted(count("count"), "dead letter"));
    if count("skipped") > 0 {
        text.push_str(&format!(", {} skipped, without an event or a trigger", count("skipped")));
    }
    text
}

fn table(items: &[Value]) -> String {
    output::table(
        ["ID", "TIME", "TRIGGER", "REASON", "ATTEMPTS", "STATUS", "TYPE", "EVENT"],
        items.iter().map(|item| {
            [
                output::value(&item["id"]),
                output::value(&item["time"]),
                output::value(&item["trigger"]),
                output::value(&item["reason"]),
                output::value(&item["attempts"]),
                output::value(&item["status"]),
                output::value(&item["event"]["type"]),
                output::value(&item["event"]["id"]),
            ]
        }),
    )
}

/// The event of a dead letter, whose data must keep its text.
#[derive(Deserialize)]
struct WithEvent<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

fn shown(item: &Value, event: Option<&RawValue>) -> String {
    let set = |name: &str| item[name].as_str().map_or_else(|| output::value(&item[name]), str::to_owned);
    let facts = [
        ("Dead letter", set("id")),
        ("Time", set("time")),
        ("Trigger", set("trigger")),
        ("Reason", set("reason")),
        ("Message", set("message")),
        ("Attempts", set("attempts")),
        ("Destination", set("destination")),
        ("Status", set("status")),
        ("Body", item["body"].as_str().unwrap_or_default().to_owned()),
        (
            "Origin",
            format!(
                "partition {}, offset {}",
                output::value(&item["origin"]["partition"]),
                output::value(&item["origin"]["offset"])
            ),
        ),
        ("Event", event.map(|event| output::indented(event.get())).unwrap_or_default()),
    ];
    output::facts(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(ids: &[&str], trigger: Option<&str>, all: bool) -> Value {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Selection { broker: "b".into(), ids, trigger: trigger.map(str::to_owned), reason: None, all }.body()
    }

    #[test]
    fn a_selection_says_which() {
        assert_eq!(selection(&["3-1"], None, false), json!({"ids": ["3-1"]}));
        assert_eq!(selection(&[], Some("paid"), false), json!({"trigger": "paid"}));
        assert_eq!(selection(&[], None, true), json!({"all": true}));
    }

    #[test]
    fn a_result_counts_and_names_the_broker() {
        let broker = NamespacedName::new("default", "shop");
        let result =
            |verb, count, skipped| closed(&broker, verb, &json!({"count": count, "skipped": skipped}));
        assert_eq!(result("replay", 1, 0), "default/shop: 1 dead letter queued for delivery");
        assert_eq!(
            result("discard", 2, 1),
            "default/shop: 2 dead letters discarded, 1 skipped, without an event or a trigger"
        );
    }

    #[test]
    fn dead_letters_in_a_table_and_alone() {
        let item = json!({
            "id": "3-120", "time": "2026-05-01T12:00:00Z", "trigger": "default/paid", "reason": "exhausted", "attempts": 11,
            "destination": "http://127.0.0.1:9001/", "status": 503, "message": "no", "body": "busy",
            "origin": {"partition": 3, "offset": 4711}, "event": {"id": "1", "type": "order.paid"},
        });
        let listed = table(std::slice::from_ref(&item));
        assert!(
            listed
                .lines()
                .nth(1)
                .is_some_and(|row| row.starts_with("3-120  2026-05-01T12:00:00Z  default/paid")),
            "{listed}"
        );
        let event = serde_json::value::to_raw_value(&item["event"]).unwrap();
        let shown = shown(&item, Some(&event));
        assert!(
            shown.contains("partition 3, offset 4711")
                && shown.contains("order.paid")
                && shown.contains("busy"),
            "{shown}"
        );
    }
}
