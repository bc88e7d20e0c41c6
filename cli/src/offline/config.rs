//! `pelton config show`.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::run::SettingArguments;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton config show --config pelton.toml
  PELTON__LISTEN__INGRESS=0.0.0.0:8080 pelton config show -o json")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every setting, its value and where it comes from; secrets are hidden
    #[command(after_help = "Example:
  pelton config show --config pelton.toml")]
    Show(SettingArguments),
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
    origin: String,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let Command::Show(settings) = &arguments.command;
    let effective = settings.load()?;
    let rows = effective.show().into_iter();
    let rows = rows.map(|row| Row { key: row.key, value: row.value, origin: row.origin.to_string() });
    match global.output {
        Format::Table => {
            let rows = rows.map(|row| [row.key, row.value, row.origin]);
            output::line(&output::table(["KEY", "VALUE", "ORIGIN"], rows))
        }
        format => output::document(format, &rows.collect::<Vec<_>>()),
    }
}
