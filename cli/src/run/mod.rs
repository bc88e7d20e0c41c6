//! `pelton run`: settings, then the parts in the order in which they need each other, then the wait for the end.

mod log_metrics;
mod parts;
mod ready;
mod registered;
mod services;
mod settings;

use std::path::PathBuf;

use clap::Args;
use pelton_runtime::config::Effective;
use pelton_runtime::drain::{StopSignals, Stopped, drain};
use pelton_runtime::telemetry::init_logs;

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
            "this version has no Kafka engine, which `pelton {role}` needs; `pelton run` runs all roles in one process"
        ),
    )
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let effective = arguments.settings.load()?;
    if arguments.kafka.is_some() {
        return Err(single_role("run --kafka"));
    }
    init_logs(&effective.config.log_output)
        .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| could_not_start(format!("threads cannot be started: {error}")))?;
    runtime.block_on(serve(arguments, &effective))
}

fn could_not_start(what: String) -> Failure {
    Failure::failed(Some("PEL-1711"), what)
}

async fn serve(arguments: &Arguments, effective: &Effective) -> Result<(), Failure> {
    for (setting, origin) in effective.without_effect() {
        tracing::warn!(setting, %origin, "this version does not serve that listener; the setting has no effect");
    }
    let mut signals = StopSignals::install()
        .map_err(|error| could_not_start(format!("signals cannot be received: {error}")))?;
    let (trigger, drain) = drain();
    let mut running = parts::start(&arguments.resources, &effective.config, drain).await?;
    let died = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping; a second signal stops at once");
            None
        }
        part = running.ended() => Some(part),
    };
    let stopped = trigger.stop(effective.config.shutdown.grace.get(), signals.again()).await;
    running.close(!matches!(stopped, Stopped::Clean)).await;
    match (died, stopped) {
        (Some(part), _) => {
            Err(Failure::failed(Some("PEL-1713"), format!("{part} ended by a defect; Pelton stops")))
        }
        (None, Stopped::Clean) => {
            tracing::info!("stopped");
            Ok(())
        }
        (None, Stopped::GraceOver { .. }) => Err(Failure::failed(
            Some("PEL-1712"),
            "stopped at the end of the grace period, before everything was finished",
        )),
        (None, Stopped::Forced { .. }) => Err(Failure::failed(
            Some("PEL-1712"),
            "stopped at once by a second signal, before everything was finished",
        )),
    }
}
