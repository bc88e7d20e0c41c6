//! `pelton check`.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use pelton_resources::{Problem, Severity};
use serde_json::json;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resources::{documents, files};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton check .
  pelton check brokers.yaml triggers.yaml

The files are checked together, as `pelton run` would read them. Exit code 1 tells that there are errors; warnings alone \
are no failure.")]
pub(crate) struct Arguments {
    /// Files or folders of YAML documents, or `-`
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let texts = files::read(&arguments.files)?;
    let sources = documents::read(&texts, global);
    let mut problems = pelton_resources::check(&sources);
    problems.extend(documents::outside(&sources, global));
    sort(&mut problems, &texts);
    if global.output == Format::Table {
        for problem in &problems {
            output::line(&documents::line(problem))?;
        }
    } else {
        output::document(global.output, &json!({"items": problems}))?;
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

#[cfg(test)]
mod tests {
    use pelton_resources::Source;

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
        let sources = texts.each_ref().map(|(file, text)| Source::read(file, text).into());
        let mut problems = pelton_resources::check(&sources);
        sort(&mut problems, &texts);
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["z.yaml:5", "z.yaml:14", "z.yaml:20", "a.yaml:7"]);
    }

    #[test]
    fn a_summary_counts() {
        assert_eq!(summary(1, 1, 0), "1 file, 1 error, 0 warnings");
    }
}
