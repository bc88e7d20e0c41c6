//! `pelton run`: settings, then the parts in the order of an event's way, then the wait for the end.

mod settings;

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
pub(crate) use settings::SettingArguments;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton run examples/quickstart
  pelton run /etc/pelton/resources --data /var/lib/pelton --config /etc/pelton/pelton.toml

SIGTERM and SIGINT stop it gracefully: no new work, what is in flight finishes, progress is saved. A second one stops it
at once; nothing that was accepted is lost either way.")]
pub(crate) struct Arguments {
    /// Folder of YAML resources; it is watched, and changes are in force at once
    #[arg(default_value = ".", value_name = "DIR")]
    resources: PathBuf,
    #[command(flatten)]
    settings: SettingArguments,
    /// Kafka as the log (arrives with the kafka engine)
    #[arg(long, hide = true, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
}

/// Roles share a log through Kafka only: the embedded one belongs to one process.
pub(crate) fn single_role(role: &str) -> Failure {
    Failure::usage(
        Some("PEL-1706"),
        format!(
            "`pelton {role}` needs Kafka as the log, which this version does not have; `pelton run` runs all roles in one process"
        ),
    )
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let effective = arguments.settings.load()?;
    if arguments.kafka.is_some() {
        return Err(single_role("run --kafka"));
    }
    let _ = (effective, &arguments.resources);
    Err(Failure::failed(None, "not wired yet"))
}
