//! `pelton pause` and `pelton resume`.

use clap::Args;
use pelton_resources::{Kind, NamespacedName};
use serde_json::{Value, json};

use super::name;
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton pause trigger paid       its events wait in the log
  pelton resume trigger paid
  pelton pause service model      it keeps as many replicas as it has
  pelton resume service model

A NAME alone is a trigger, or else a Service. It holds until it is taken back, also over restarts, and works for resources of \
your own files as well.")]
pub(crate) struct Arguments {
    /// The trigger or Service: NAME or NAMESPACE/NAME, with or without its kind in front
    #[arg(required = true, num_args = 1..=2, value_name = "[KIND] NAME")]
    resource: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global, pause: bool) -> Result<(), Failure> {
    let verb = if pause { "pause" } else { "resume" };
    let api = Api::from_environment()?;
    let (kind, name, result) = match name::resource(&arguments.resource, None, &global.namespace) {
        Ok((kind @ (Kind::Trigger | Kind::Service), name)) => {
            let result = api.post(&format!("{}/{verb}", name::path(kind, &name)), &json!({})).await?;
            (kind, name, result)
        }
        Ok((kind, _)) => {
            let message = format!("a {kind} cannot be paused; a Trigger and a Service can");
            return Err(Failure::usage(Some("PEL-1708"), message));
        }
        Err(_) => of_either_kind(&api, arguments, global, verb).await?,
    };
    match global.output {
        Format::Table => {
            let kind = kind.as_str().to_ascii_lowercase();
            output::line(&format!("{kind} {name} {}", state(pause, &result)))
        }
        format => output::document(format, &result),
    }
}

/// Pauses or resumes what is named without its kind: a trigger, or, if there is none of that name, a Service.
async fn of_either_kind(
    api: &Api,
    arguments: &Arguments,
    global: &Global,
    verb: &str,
) -> Result<(Kind, NamespacedName, Value), Failure> {
    let (_, name) = name::resource(&arguments.resource, Some(Kind::Trigger), &global.namespace)?;
    let path = |kind| format!("{}/{verb}", name::path(kind, &name));
    match api.post(&path(Kind::Trigger), &json!({})).await {
        Ok(result) => Ok((Kind::Trigger, name.clone(), result)),
        Err(failure) if failure.exit() == Exit::NotFound => {
            let result = api
                .post(&path(Kind::Service), &json!({}))
                .await
                .map_err(|other| if other.exit() == Exit::NotFound { failure.and(&other) } else { other })?;
            Ok((Kind::Service, name.clone(), result))
        }
        Err(failure) => Err(failure),
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
