//! `pelton pause` and `pelton resume`.

use clap::Args;
use pelton_resources::Kind;
use serde_json::json;

use super::{apply, name};
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton pause trigger paid       its events wait in the log
  pelton resume trigger paid

It holds until it is taken back, also over restarts, and works for triggers of your own files as well.")]
pub(crate) struct Arguments {
    /// The trigger: NAME or NAMESPACE/NAME, with or without `trigger` in front
    #[arg(required = true, num_args = 1..=2, value_name = "[KIND] NAME")]
    trigger: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global, pause: bool) -> Result<(), Failure> {
    let (kind, text) = match arguments.trigger.as_slice() {
        [kind, text] => (name::kind(kind)?, text.as_str()),
        rest => (Kind::Trigger, rest.first().map_or("", String::as_str)),
    };
    if kind != Kind::Trigger {
        return Err(Failure::usage(Some("PEL-1708"), format!("a {kind} cannot be paused; a Trigger can")));
    }
    let trigger = name::name(text, &global.namespace)?;
    let verb = if pause { "pause" } else { "resume" };
    let path = format!("{}/{verb}", name::path(kind, &trigger));
    let result = Api::from_environment()?.post(&path, &json!({})).await?;
    apply::print_results(global.output, &json!([result]))
}
