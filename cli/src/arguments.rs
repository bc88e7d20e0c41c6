//! The command line: every command in one list.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::events::{dead_letters, replay, send, sink, tail};
use crate::offline::{check, config, explain, match_cases, simulate};
use crate::output::Format;
use crate::resources::{apply, delete, describe, get, hand_back, logs, pause, traffic};
use crate::run;

/// An eventing broker and trigger service in one binary: CloudEvents come in over HTTP, are made durable, matched against
/// triggers and delivered to subscribers with retries.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Start here:
  pelton run examples/quickstart      a broker with its triggers, durable, on this machine
  pelton sink 127.0.0.1:9000          a subscriber that prints what it gets
  pelton send -b quickstart -t greeting -d '{\"hello\":\"pelton\"}'

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no Pelton answers, 4 not found, 74 the disk failed (run). \
Every error has a code; `pelton explain CODE` says what to do.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Namespace of the resources that are named without one, in documents too
    #[arg(
        short,
        long,
        global = true,
        default_value = "default",
        env = "PELTON_NAMESPACE",
        value_name = "NAMESPACE"
    )]
    pub(crate) namespace: String,
    /// Whether it was asked for with `-n`, so that no other is meant
    #[arg(skip)]
    pub(crate) namespace_is_asked_for: bool,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORM")]
    pub(crate) output: Format,
}

impl Cli {
    /// Reads the command line; a mistake in it ends the process.
    pub(crate) fn of_process() -> Self {
        let matches = Self::command().get_matches();
        Self::of(&matches).unwrap_or_else(|error| error.exit())
    }

    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        cli.global.namespace_is_asked_for =
            matches.value_source("namespace") == Some(ValueSource::CommandLine);
        Ok(cli)
    }
}

/// Reads how many, where none makes no sense.
pub(crate) fn at_least_one(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "write a whole number from 1 on".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all roles in one process
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Run the ingress alone: events from HTTP into Kafka
    #[command(after_help = run::role_help("broker"))]
    Broker(run::Arguments),
    /// Run the dispatcher alone: events from Kafka to their subscribers
    #[command(after_help = run::role_help("dispatcher"))]
    Dispatcher(run::Arguments),
    /// Run control alone: topics and the admin API
    #[command(after_help = run::role_help("control"))]
    Control(run::Arguments),
    /// Hold a replica of a Service; Pelton starts it
    #[command(hide = true)]
    ReplicaShim(run::replica_shim::Arguments),
    /// Create or change the resources of YAML files
    Apply(apply::Arguments),
    /// Delete resources
    Delete(delete::Arguments),
    /// List resources
    Get(get::Arguments),
    /// Show a resource with its state
    Describe(describe::Arguments),
    /// Hold a trigger's deliveries back, or keep the replicas of a Service as many as they are
    Pause(pause::Arguments),
    /// Go on with a paused trigger or Service
    Resume(pause::Arguments),
    /// Say which revisions of a Service get how much of its requests
    Traffic(traffic::Arguments),
    /// Give all requests of a Service back to the revision that had them before
    Rollback(traffic::RollbackArguments),
    /// Show what the replicas of a Service write
    Logs(logs::Arguments),
    /// Return a broker's work to Knative
    HandBack(hand_back::Arguments),
    /// Send events to a broker
    Send(send::Arguments),
    /// Show the events of a broker as they come in
    Tail(tail::Arguments),
    /// Be a subscriber that prints what it gets, or fails as told
    Sink(sink::Arguments),
    /// The events that nobody took
    DeadLetters(dead_letters::Arguments),
    /// Deliver a trigger's events once more
    Replay(replay::Arguments),
    /// Check resource files without a running Pelton
    Check(check::Arguments),
    /// Test filters against events without a running Pelton
    Match(match_cases::Arguments),
    /// Try scaling policies out without a running Pelton
    Simulate(simulate::Arguments),
    /// Show the settings and where each comes from
    Config(config::Arguments),
    /// Explain an error code
    Explain(explain::Arguments),
    /// Show the version
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_namespace_is_asked_for_before_or_behind_the_command() {
        let read = |arguments: &[&str]| {
            let cli = Cli::of(&Cli::command().get_matches_from(arguments)).unwrap();
            (cli.global.namespace, cli.global.namespace_is_asked_for)
        };
        assert_eq!(read(&["pelton", "-n", "team", "version"]), ("team".to_owned(), true));
        assert_eq!(read(&["pelton", "check", "f.yaml", "-n", "default"]), ("default".to_owned(), true));
        assert!(!read(&["pelton", "version"]).1);
    }

    #[test]
    fn none_is_no_count() {
        assert_eq!(at_least_one("2"), Ok(2));
        for wrong in ["0", "-1", "x", ""] {
            assert!(at_least_one(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let has_example = help.contains(&format!("pelton {name}"));
            assert!(name == "version" || has_example, "`pelton {name} --help` has no example");
        }
    }
}
