//! `pelton pause` and `pelton resume`.

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
  pelton pause trigger paid       its events wait in the log
  pelton resume trigger paid

It holds until it is taken back, also over restarts, and works for triggers of your own files as well.")]
pub(crate) struct Arguments {
    /// The trigger: NAME or NAMESPACE/NAME, with or without `trigger` or `trigger/` in front
    #[arg(required = true, num_args = 1..=2, value_name = "[KIND] NAME")]
    trigger: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global, pause: bool) -> Result<(), Failure> {
    let (kind, trigger) = name::resource(&arguments.trigger, Some(Kind::Trigger), &global.namespace)?;
    if kind != Kind::Trigger {
        return Err(Failure::usage(Some("PEL-1708"), format!("a {kind} cannot be paused; a Trigger can")));
    }
    let verb = if pause { "pause" } else { "resume" };
    let path = format!("{}/{verb}", name::path(kind, &trigger));
    let result = Api::from_environment()?.post(&path, &json!({})).await?;
    match global.output {
        Format::Table => output::line(&format!("trigger {trigger} {}", state(pause, &result))),
        format => output::document(format, &result),
    }
}

fn state(pause: bool, result: &Value) -> &'static str {
    match (pause, result["action"] == "unchanged") {
        (true, false) => "paused",
        (true, true) => "already paused",
        (false, false) => "resumed",
        (false, true) => "not paused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_says_so() {
        let result = |action: &str| json!({"kind": "Trigger", "action": action});
        assert_eq!(state(true, &result("configured")), "paused");
        assert_eq!(state(true, &result("unchanged")), "already paused");
        assert_eq!(state(false, &result("configured")), "resumed");
        assert_eq!(state(false, &result("unchanged")), "not paused");
    }
}
