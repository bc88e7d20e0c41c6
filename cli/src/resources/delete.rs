//! `pelton delete`.

use std::path::PathBuf;

use clap::Args;
use pelton_resources::{Kind, NamespacedName};
use serde_json::Value;

use super::{apply, documents, files, name};
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton delete trigger paid
  pelton delete -f trigger.yaml

What was made by `pelton apply` is deleted; what a file of yours defines is deleted there. The progress of a trigger and \
the events of a broker are kept for 7 days in case they come back.")]
pub(crate) struct Arguments {
    /// Kind and name, as in `trigger paid` or `trigger/paid`
    #[arg(num_args = 1..=2, value_name = "KIND NAME", conflicts_with = "files")]
    resource: Vec<String>,
    /// File or folder of YAML documents, or `-`; may be repeated
    #[arg(short, long = "file", required_unless_present = "resource", value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let api = Api::from_environment()?;
    let resources = if arguments.resource.is_empty() {
        resources_of(&arguments.files, global)?
    } else {
        vec![name::resource(&arguments.resource, None, &global.namespace)?]
    };
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for (kind, resource) in resources {
        match api.delete(&name::path(kind, &resource)).await {
            Ok(result) => results.push(result),
            // The others are still deleted.
            Err(failure) => failures.push(failure),
        }
    }
    if !results.is_empty() {
        apply::print_results(global.output, &Value::Array(results))?;
    }
    failures.into_iter().reduce(|first, other| first.and(&other)).map_or(Ok(()), Err)
}

/// The resources of files, triggers before their brokers.
fn resources_of(paths: &[PathBuf], global: &Global) -> Result<Vec<(Kind, NamespacedName)>, Failure> {
    let sources = documents::read(&files::read(paths)?, global);
    documents::judge(&sources, global, "nothing was deleted")?;
    let all = sources.iter().flat_map(|source| source.documents());
    let mut resources: Vec<_> = all.map(|document| (document.kind(), document.name().clone())).collect();
    resources.reverse();
    Ok(resources)
}
