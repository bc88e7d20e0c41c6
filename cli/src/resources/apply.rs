//! `pelton apply`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::problems::is_not_ready;
use super::{documents, files};
use crate::api::admin::{Api, problem_line, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton apply -f trigger.yaml
  pelton apply -f brokers/ -f triggers/

All resources are applied or, if one is wrong, none. Those that name no namespace are in that of -n; one that names another \
than -n is refused. They are kept in DIR/pelton-managed/ of the running Pelton; what a \
file of yours defines there is changed in that file.")]
pub(crate) struct Arguments {
    /// File or folder of YAML documents, or `-`; may be repeated
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let api = Api::from_environment()?;
    let texts = files::read(&arguments.files)?;
    // What can be told to be wrong here is told with file and line; the server sees one text without names.
    let warnings = documents::judge(&documents::read(&texts, global), global, "nothing was applied")?;
    for warning in &warnings {
        output::say(&documents::line(warning));
    }
    let documents: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
    let path = with_query("/api/v1/apply", &[("namespace", Some(&global.namespace))]);
    let answer = api.post_yaml(&path, documents.join("\n---\n")).await?;
    print_results(global.output, &answer["results"])?;
    for line in doubts(&answer, &json!(warnings)) {
        output::say(&line);
    }
    Ok(())
}

/// What the answer says beside the results: warnings that are not in `told` yet, and what is not ready for another reason.
fn doubts(answer: &Value, told: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let is = |members: &[&str], a: &Value, b: &Value| members.iter().all(|member| a[member] == b[member]);
    let told = list(told);
    let known = |warning: &Value| {
        told.iter()
            .any(|other| is(&["code", "kind", "namespace", "name", "field", "message"], warning, other))
    };
    let warnings: Vec<_> = list(&answer["warnings"]).into_iter().filter(|warning| !known(warning)).collect();
    let waits = |result: &Value| {
        let why =
            |warning: &Value| is_not_ready(warning) && is(&["kind", "namespace", "name"], warning, result);
        warnings.iter().any(why)
    };
    let results = list(&answer["results"]);
    let not_ready =
        results.iter().filter(|result| result["ready"] == false && !waits(result)).map(|result| {
            let message = result["message"].as_str().or(result["reason"].as_str()).unwrap_or_default();
            format!("{} is not ready: {message}", named(result))
        });
    warnings.iter().map(problem_line).chain(not_ready).collect()
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
    format!("{} {}", named(result), result["action"].as_str().unwrap_or_default())
}

/// `kind namespace/name`.
fn named(result: &Value) -> String {
    let text = |name: &str| result[name].as_str().unwrap_or_default();
    format!("{} {}/{}", text("kind").to_ascii_lowercase(), text("namespace"), text("name"))
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
    fn what_is_doubtful_is_told_once() {
        let warning = |code: &str, name: &str| {
            json!({"severity": "warning", "code": code, "place": "p.yaml:1", "kind": "Trigger", "namespace": "default", "name": name,
                   "field": "spec.broker", "message": format!("{name} is odd")})
        };
        let result = |name: &str, ready: bool| {
            json!({"kind": "Trigger", "namespace": "default", "name": name, "action": "created", "ready": ready,
                   "reason": "Because", "message": "it is broken"})
        };
        let answer = json!({
            "results": [result("fine", true), result("waits", false), result("broken", false)],
            "warnings": [warning("PEL-1310", "waits"), warning("PEL-1307", "fine")],
        });
        let lines = doubts(&answer, &json!([warning("PEL-1307", "fine")]));
        assert_eq!(
            lines,
            [
                "p.yaml:1: warning PEL-1310 spec.broker: waits is odd",
                "trigger default/broken is not ready: it is broken"
            ]
        );
    }
}
