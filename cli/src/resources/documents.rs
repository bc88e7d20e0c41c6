//! The documents of files, judged before anything is asked of a running Pelton: only here their files are known by name.

use std::sync::Arc;

use pelton_resources::{Problem, Severity, Source, duplicates};
use serde_json::json;

use super::files;
use crate::api::admin::problem_line;
use crate::arguments::Global;
use crate::failure::Failure;

/// Reads texts; a document that names no namespace is in that of the command.
pub(crate) fn read(texts: &[files::Text], global: &Global) -> Vec<Arc<Source>> {
    texts.iter().map(|(file, text)| Arc::new(Source::read_in(file, text, &global.namespace))).collect()
}

/// An error for each document in another namespace than the one asked for with `-n`.
pub(crate) fn outside(sources: &[Arc<Source>], global: &Global) -> Vec<Problem> {
    let asked_for = global.namespace_is_asked_for.then_some(global.namespace.as_str());
    asked_for
        .into_iter()
        .flat_map(|namespace| sources.iter().flat_map(|source| source.outside(namespace)))
        .collect()
}

/// What is worth knowing about documents for a command.
///
/// # Errors
/// All that is wrong with them; `undone` says what was not done because of it.
pub(super) fn judge(sources: &[Arc<Source>], global: &Global, undone: &str) -> Result<Vec<Problem>, Failure> {
    let own = sources.iter().flat_map(|source| source.problems().iter().cloned());
    let all = own.chain(duplicates(sources)).chain(outside(sources, global));
    let (errors, warnings): (Vec<_>, Vec<_>) = all.partition(|problem| problem.severity == Severity::Error);
    let Some(first) = errors.first() else { return Ok(warnings) };
    let lines: Vec<_> = errors.iter().map(line).collect();
    Err(Failure::failed(Some(first.code), format!("{undone}\n{}", lines.join("\n"))))
}

/// `file:line: error PEL-1302 field: what is wrong`.
pub(crate) fn line(problem: &Problem) -> String {
    problem_line(&json!(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";

    fn global(namespace: &str, namespace_is_asked_for: bool) -> Global {
        Global { namespace: namespace.to_owned(), namespace_is_asked_for, output: Format::Table }
    }

    fn judged(texts: &[&str], global: &Global) -> Result<Vec<Arc<Source>>, String> {
        let texts: Vec<_> = texts.iter().map(|text| ("f.yaml".to_owned(), (*text).to_owned())).collect();
        let sources = read(&texts, global);
        judge(&sources, global, "nothing was done").map_err(|failure| failure.to_string())?;
        Ok(sources)
    }

    #[test]
    fn documents_are_in_the_namespace_of_the_command_unless_they_name_one() {
        let names = |text: &str, global: &Global| {
            judged(&[text], global).map(|sources| sources[0].documents()[0].name().to_string())
        };
        let named = BROKER.replace("name: b", "name: b, namespace: own");
        assert_eq!(names(BROKER, &global("team", true)).as_deref(), Ok("team/b"));
        assert_eq!(names(BROKER, &global("team", false)).as_deref(), Ok("team/b"));
        assert_eq!(names(&named, &global("team", false)).as_deref(), Ok("own/b"));
        assert_eq!(names(&named, &global("own", true)).as_deref(), Ok("own/b"));
        let error = names(&named, &global("team", true)).unwrap_err();
        assert!(
            error.starts_with("nothing was done\nf.yaml:1: error PEL-1317 metadata.namespace: is own"),
            "{error}"
        );
        assert!(names(BROKER, &global("No!", true)).unwrap_err().contains("PEL-1315"));
    }

    #[test]
    fn every_mistake_is_told_with_its_file() {
        let error =
            judged(&[&BROKER.replace("name", "nam"), BROKER, BROKER], &global("default", false)).unwrap_err();
        assert!(error.contains("f.yaml:3: error PEL-1304 metadata.name"), "{error}");
        assert!(error.contains("error PEL-1308 metadata.name: is already defined"), "{error}");
    }
}
