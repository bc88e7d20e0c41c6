//! `pelton run`: settings, then the parts in the order in which they need each other, then the wait for the end.

mod log;
mod log_metrics;
mod parts;
mod ready;
mod registered;
pub(crate) mod replica_shim;
mod services;
mod settings;

use std::path::PathBuf;

use clap::Args;
use pelton_runtime::config::Effective;
use pelton_runtime::drain::{StopSignals, Stopped, drain};
use pelton_runtime::telemetry::init_logs;

use crate::failure::Failure;
pub(crate) use settings::SettingArguments;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    All,
    /// Events come in.
    Broker,
    /// Events go out.
    Dispatcher,
    /// Topics and the admin API, which every process has.
    Control,
}

impl Role {
    const fn takes_events(self) -> bool {
        matches!(self, Self::All | Self::Broker)
    }

    /// Whether it runs Services.
    const fn serves(self) -> bool {
        matches!(self, Self::All)
    }

    const fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Dispatcher)
    }

    const fn command(self) -> &'static str {
        match self {
            Self::All => "run",
            Self::Broker => "broker",
            Self::Dispatcher => "dispatcher",
            Self::Control => "control",
        }
    }
}

/// How long threads may take that are left when everything has ended.
const LEFTOVERS: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of YAML resources; it is watched, and changes are in force at once
    #[arg(default_value = ".", value_name = "DIR")]
    resources: PathBuf,
    #[command(flatten)]
    settings: SettingArguments,
}

/// Below `pelton run --help`.
pub(crate) const HELP: &str = "Example:
  pelton run examples/quickstart
  pelton run /etc/pelton/resources --data /var/lib/pelton --config /etc/pelton/pelton.toml
  pelton run examples/quickstart --kafka 127.0.0.1:9092

SIGTERM and SIGINT stop it gracefully: no new work, what is in flight finishes, progress is saved. A second one stops it
at once; nothing that was accepted is lost either way.";

/// Below the help of a single role.
pub(crate) fn role_help(role: &str) -> String {
    format!(
        "Example:
  pelton {role} /etc/pelton/resources --kafka kafka-1:9092,kafka-2:9092

Any number of processes of each role share one Kafka; all of them read the same resources. Without Kafka the log belongs to
one process, which `pelton run` is."
    )
}

pub(crate) fn run(arguments: &Arguments, role: Role) -> Result<(), Failure> {
    let effective = arguments.settings.load()?;
    if role != Role::All && effective.config.kafka.servers.is_empty() {
        // Roles share a log through Kafka only: the embedded one belongs to one process.
        let role = role.command();
        return Err(Failure::usage(
            Some("PEL-1706"),
            format!(
                "`pelton {role}` needs Kafka (--kafka HOST:PORT): the embedded log belongs to one process, and `pelton run` \
                 runs all roles in it"
            ),
        ));
    }
    init_logs(&effective.config.log_output)
        .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| could_not_start(format!("threads cannot be started: {error}")))?;
    let served = runtime.block_on(serve(arguments, role, &effective));
    // All parts have ended and the log is closed; what a library still waits for in a thread of its own is not waited for.
    runtime.shutdown_timeout(LEFTOVERS);
    served
}

fn could_not_start(what: String) -> Failure {
    Failure::failed(Some("PEL-1711"), what)
}

async fn serve(arguments: &Arguments, role: Role, effective: &Effective) -> Result<(), Failure> {
    for (setting, origin) in effective.without_effect() {
        tracing::warn!(setting, %origin, "this version does not serve that listener; the setting has no effect");
    }
    let mut signals = StopSignals::install()
        .map_err(|error| could_not_start(format!("signals cannot be received: {error}")))?;
    let (trigger, drain) = drain();
    let mut running = parts::start(&arguments.resources, &effective.config, role, drain).await?;
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
