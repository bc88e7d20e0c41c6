//! `pelton apply`.

use std::path::PathBuf;

use clap::Args;
use pelton_resources::{Problem, Severity};
use serde_json::Value;

use super::files;
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::offline::check;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton apply -f trigger.yaml
  pelton apply -f brokers/ -f triggers/

All resources are applied or, if one is wrong, none. They are kept in DIR/pelton-managed/ of the running Pelton; what a
file of yours defines there is changed in that file.")]
pub(crate) struct Arguments {
    /// File or folder of YAML documents, or `-`; may be repeated
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let api = Api::from_environment()?;
    let texts = files::read(&arguments.files)?;
    refuse_wrong(&texts)?;
    let documents: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
    let answer = api.post_yaml("/api/v1/apply", documents.join("\n---\n")).await?;
    print_results(global.output, &answer["results"])
}

/// What can be told to be wrong here is told with file and line; the server sees one text without names.
fn refuse_wrong(texts: &[files::Text]) -> Result<(), Failure> {
    let problems: Vec<Problem> =
        texts.iter().flat_map(|(file, text)| check::syntax_problems(file, text)).collect();
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    for warning in &warnings {
        output::say(&check::problem_line(warning));
    }
    let Some(first) = errors.first() else { return Ok(()) };
    let lines: Vec<_> = errors.iter().map(check::problem_line).collect();
    Err(Failure::failed(Some(first.code), format!("nothing was applied\n{}", lines.join("\n"))))
}

/// `kind namespace/name action`, one a line, as kubectl has it.
pub(super) fn print_results(format: Format, results: &Value) -> Result<(), Failure> {
    if format != Format::Table {
        return output::document(format, results);
    }
    for result in results.as_array().into_iter().flatten() {
        output::line(&result_line(result))?;
    }
    Ok(())
}

fn result_line(result: &Value) -> String {
    let text = |name: &str| result[name].as_str().unwrap_or_default();
    let kind = text("kind").to_ascii_lowercase();
    format!("{kind} {}/{} {}", text("namespace"), text("name"), text("action"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_line() {
        let result = serde_json::json!({"kind": "Trigger", "namespace": "default", "name": "paid", "action": "created"});
        assert_eq!(result_line(&result), "trigger default/paid created");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_before_anything_is_sent() {
        let text = (
            "t.yaml".to_owned(),
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {nam: b}\n".to_owned(),
        );
        let failure = refuse_wrong(&[text]).unwrap_err().to_string();
        assert!(failure.contains("t.yaml") && failure.contains("nothing was applied"), "{failure}");
    }
}
