//! `pelton config show`.

use clap::{Args, Subcommand};
use pelton_runtime::config::Row;
use serde_json::json;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::run::SettingArguments;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton config show --config pelton.toml
  PELTON__INGRESS__BODY_LIMIT=2MiB pelton config show -o json")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every setting, its value and where it comes from, then what is wrong with them; secrets are hidden
    #[command(after_help = "Example:
  pelton config show --config pelton.toml")]
    Show(SettingArguments),
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let Command::Show(settings) = &arguments.command;
    let (rows, told) = settings.survey();
    match global.output {
        Format::Table => {
            let rows = rows.into_iter().map(|row| [row.key, row.value.to_string(), row.origin.to_string()]);
            output::line(&output::table(["KEY", "VALUE", "ORIGIN"], rows))?;
        }
        format => {
            let row =
                |row: Row| json!({"key": row.key, "value": row.value, "origin": row.origin.to_string()});
            output::document(format, &rows.into_iter().map(row).collect::<Vec<_>>())?;
        }
    }
    told
}
