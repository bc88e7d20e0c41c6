//! `pelton simulate`: scaling policies without a running Pelton.

mod decide;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton simulate decide --spec spec.yaml --input metrics.csv")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay recorded metrics through the decision of policy `kpa`
    Decide(decide::Arguments),
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Result<(), Failure> {
    match &arguments.command {
        Command::Decide(arguments) => decide::run(arguments, format),
    }
}
