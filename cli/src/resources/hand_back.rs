//! `pelton hand-back`.

use clap::Args;
use pelton_resources::Kind;
use serde_json::{Value, json};

use super::name;
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton hand-back orders           Pelton stops, Knative can go on
  pelton hand-back orders --undo    Pelton goes on where Knative has stopped

Every dispatcher stops with the Broker; then the consumer group of each of its triggers is set to the lowest offset without an \
end. Knative's dispatchers go on from there: what Pelton delivered beyond it comes twice, nothing is left out. Events still \
come in here meanwhile. Given again, the command leaves a broker alone that has been handed back.")]
pub(crate) struct Arguments {
    /// The broker: NAME or NAMESPACE/NAME
    #[arg(value_name = "BROKER")]
    broker: String,
    /// Dispatch the broker here again
    #[arg(long)]
    undo: bool,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let broker = name::name(&arguments.broker, &global.namespace)?;
    let path = format!("{}/hand-back", name::path(Kind::Broker, &broker));
    let api = Api::from_environment()?;
    if arguments.undo {
        let result = api.delete(&path).await?;
        return match global.output {
            Format::Table => output::line(&format!("broker {broker} is dispatched here again")),
            format => output::document(format, &result),
        };
    }
    let result = api.post(&path, &json!({})).await?;
    if global.output != Format::Table {
        return output::document(global.output, &result);
    }
    let triggers = result["triggers"].as_array().map_or(&[][..], Vec::as_slice);
    output::line(&match triggers.len() {
        0 => format!("broker {broker} has been handed back: no consumer group is left to set"),
        count => {
            format!("broker {broker} is handed back: {} set", output::counted(count as u64, "consumer group"))
        }
    })?;
    for trigger in triggers {
        output::line(&line(trigger))?;
    }
    Ok(())
}

/// `default/paid  knative-trigger-default-paid  0=12 1=7`
fn line(trigger: &Value) -> String {
    let text = |key: &str| trigger[key].as_str().unwrap_or_default();
    let offsets = trigger["offsets"].as_array().map_or(&[][..], Vec::as_slice);
    let offsets: Vec<String> =
        offsets.iter().map(|offset| format!("{}={}", offset["partition"], offset["offset"])).collect();
    format!("  {}  {}  {}", text("trigger"), text("group"), offsets.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_group_and_its_offsets() {
        let trigger = json!({"trigger": "a/b", "group": "g", "offsets": [{"partition": 0, "offset": 12}, {"partition": 1, "offset": 7}]});
        assert_eq!(line(&trigger), "  a/b  g  0=12 1=7");
    }
}
