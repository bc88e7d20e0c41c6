//! `pelton check`.

use std::path::PathBuf;

use clap::Args;
use pelton_resources::{Kind, NamespacedName, Problem, Severity, Source};
use serde::Serialize;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resources::files;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton check .
  pelton check brokers.yaml triggers.yaml

The files are checked together, as `pelton run` would read them. Exit code 1 tells that there are errors; warnings alone
are no failure.")]
pub(crate) struct Arguments {
    /// Files or folders of YAML documents, or `-`
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Row<'a> {
    severity: &'static str,
    code: &'a str,
    place: &'a str,
    field: &'a str,
    message: &'a str,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let texts = files::read(&arguments.files)?;
    let problems = pelton_resources::check(&texts);
    if global.output == Format::Table {
        for problem in &problems {
            output::line(&problem_line(problem))?;
        }
    } else {
        let rows = problems.iter().map(|problem| Row {
            severity: severity(problem),
            code: problem.code,
            place: &problem.place,
            field: &problem.field,
            message: &problem.message,
        });
        output::document(global.output, &rows.collect::<Vec<_>>())?;
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let files = texts.len();
    match errors {
        0 => {
            output::say(&format!("{files} files, no errors, {} warnings", problems.len()));
            Ok(())
        }
        errors => {
            let warnings = problems.len() - errors;
            Err(Failure::failed(None, format!("{files} files, {errors} errors, {warnings} warnings")))
        }
    }
}

/// What is wrong with a text by itself, before anything else is known.
pub(crate) fn syntax_problems(file: &str, text: &str) -> Vec<Problem> {
    Source::read(file, text).problems().to_vec()
}

/// The resources in a text.
///
/// # Errors
/// The first error in it.
pub(crate) fn resources(file: &str, text: &str) -> Result<Vec<(Kind, NamespacedName)>, Box<Problem>> {
    let source = Source::read(file, text);
    match source.problems().iter().find(|problem| problem.severity == Severity::Error) {
        Some(error) => Err(Box::new(error.clone())),
        None => {
            Ok(source.documents().iter().map(|document| (document.kind(), document.name().clone())).collect())
        }
    }
}

/// `file:line: error PEL-1302 field: what is wrong`.
pub(crate) fn problem_line(problem: &Problem) -> String {
    let field = if problem.field.is_empty() { String::new() } else { format!(" {}", problem.field) };
    format!("{}: {} {}{field}: {}", problem.place, severity(problem), problem.code, problem.message)
}

fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";

    #[test]
    fn the_resources_of_a_file_by_kind_and_name() {
        let found = resources("f.yaml", BROKER).unwrap();
        assert_eq!(found, [(Kind::Broker, NamespacedName::new("default", "b"))]);
        assert!(
            resources("f.yaml", "kind: [").is_err()
                || resources("f.yaml", &BROKER.replace("name", "nam")).is_err()
        );
    }

    #[test]
    fn a_problem_names_place_code_and_field() {
        let problems = syntax_problems("f.yaml", &BROKER.replace("name", "nam"));
        let line = problem_line(problems.first().unwrap());
        assert!(line.starts_with("f.yaml:") && line.contains("error PEL-13"), "{line}");
    }
}
