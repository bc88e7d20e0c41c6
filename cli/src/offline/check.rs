//! `pelton check`.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use pelton_resources::{Kind, NamespacedName, Problem, Severity, Source};
use serde_json::{Value, json};

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

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let texts = files::read(&arguments.files)?;
    let mut problems = pelton_resources::check(&texts);
    sort(&mut problems, &texts);
    if global.output == Format::Table {
        for problem in &problems {
            output::line(&problem_line(problem))?;
        }
    } else {
        output::document(global.output, &document(&problems))?;
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let summary = summary(texts.len(), errors, problems.len() - errors);
    if errors > 0 {
        return Err(Failure::failed(None, summary));
    }
    output::say(&summary);
    Ok(())
}

/// File by file as they were given, each from its first line on.
fn sort(problems: &mut [Problem], texts: &[files::Text]) {
    let order: HashMap<_, _> =
        texts.iter().enumerate().map(|(index, (file, _))| (file.as_str(), index)).collect();
    problems.sort_by_key(|problem| {
        let split = problem.place.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
        let (file, line): (_, u64) = split.unwrap_or((&problem.place, 0));
        (order.get(file).copied(), line)
    });
}

fn summary(files: usize, errors: usize, warnings: usize) -> String {
    let parts = [(files, "file"), (errors, "error"), (warnings, "warning")];
    parts.map(|(count, what)| output::counted(count as u64, what)).join(", ")
}

/// As `/api/v1/problems` has it.
fn document(problems: &[Problem]) -> Value {
    let item = |problem: &Problem| {
        let resource = problem.resource.as_ref();
        json!({
            "severity": severity(problem),
            "code": problem.code,
            "place": problem.place,
            "kind": resource.map(|(kind, _)| kind.as_str()),
            "namespace": resource.map(|(_, name)| name.namespace()),
            "name": resource.map(|(_, name)| name.name()),
            "field": problem.field,
            "message": problem.message,
        })
    };
    json!({"items": problems.iter().map(item).collect::<Vec<_>>()})
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
    fn problems_go_through_each_file_from_its_first_line_on() {
        let trigger = |name: &str, rest: &str| {
            format!(
                "{}\nspec:\n  broker: b\n  subscriber: {{uri: 'http://sink/'}}\n{rest}---\n",
                BROKER.replace("Broker", "Trigger").replace("name: b", &format!("name: {name}")).trim_end()
            )
        };
        // What is told of triggers without a broker is found after what is wrong in single documents.
        let text = trigger("a", "") + &trigger("c", "  colour: red\n") + &trigger("d", "");
        let texts = [("z.yaml".to_owned(), text), ("a.yaml".to_owned(), trigger("e", "  colour: red\n"))];
        let mut problems = pelton_resources::check(&texts);
        sort(&mut problems, &texts);
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["z.yaml:5", "z.yaml:14", "z.yaml:20", "a.yaml:7"]);
    }

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
        let problems = syntax_problems("f.yaml", &format!("{BROKER}spec: {{colour: red}}\n"));
        let first = &document(&problems)["items"][0];
        assert_eq!((&first["severity"], &first["kind"]), (&json!("error"), &json!("Broker")));
        assert_eq!(summary(1, 1, 0), "1 file, 1 error, 0 warnings");
    }
}
