//! `pelton replay`.

use clap::Args;
use pelton_resources::Kind;
use serde_json::{Value, json};

use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resources::name;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton replay paid --from 2026-05-01T00:00:00Z
  pelton replay paid --from earliest --to 2026-05-01T12:00:00Z

The events that are still kept are delivered to the trigger's subscriber once more, beside those that come in meanwhile. \
Events of the replay that match are delivered whether they were delivered before or not.")]
pub(crate) struct Arguments {
    /// The trigger: NAME or NAMESPACE/NAME
    trigger: String,
    /// First event: a time, an offset, or earliest
    #[arg(long, value_name = "TIME|OFFSET|earliest")]
    from: String,
    /// First event that is no longer delivered: a time, an offset, or latest
    #[arg(long, value_name = "TIME|OFFSET|latest")]
    to: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let trigger = name::name(&arguments.trigger, &global.namespace)?;
    let path = format!("{}/replay", name::path(Kind::Trigger, &trigger));
    let answer =
        Api::from_environment()?.post(&path, &body(&arguments.from, arguments.to.as_deref())).await?;
    if global.output != Format::Table {
        return output::document(global.output, &answer);
    }
    let partitions = answer["partitions"].as_array().map_or(0, Vec::len) as u64;
    let (id, events) = (answer["id"].as_str().unwrap_or_default(), answer["events"].as_u64().unwrap_or(0));
    output::line(&format!(
        "replay {id} of {trigger}: {} in {} to be read once more",
        output::counted(events, "event"),
        output::counted(partitions, "partition")
    ))
}

fn body(from: &str, to: Option<&str>) -> Value {
    let mut body = json!({"from": position(from)});
    if let Some(to) = to {
        body["to"] = position(to);
    }
    body
}

/// An offset is a number in the API; everything else is text.
fn position(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_numbers_and_times_are_text() {
        assert_eq!(
            body("12", Some("2026-05-01T00:00:00Z")),
            json!({"from": 12, "to": "2026-05-01T00:00:00Z"})
        );
        assert_eq!(body("earliest", None), json!({"from": "earliest"}));
    }
}
