//! `pelton explain`: the pages of `docs/errors`, inside the binary.

use clap::Args;
use rust_embed::RustEmbed;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(RustEmbed)]
#[folder = "../docs/errors"]
struct Pages;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton explain PEL-1201
  pelton explain              list all codes")]
pub(crate) struct Arguments {
    /// The code, like PEL-1201
    code: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Result<(), Failure> {
    let Some(code) = &arguments.code else { return list(format) };
    let page = Pages::get(&format!("{}.md", normalized(code))).ok_or_else(|| {
        Failure::not_found(
            None,
            format!("there is no code {code}; `pelton explain` lists all, like PEL-1201"),
        )
    })?;
    let text = String::from_utf8_lossy(&page.data);
    match format {
        Format::Table => output::line(text.trim_end()),
        format => {
            let (code, title) = heading(&text);
            output::document(format, &json!({"code": code, "title": title, "page": text}))
        }
    }
}

/// The code and the title of a page.
fn heading(page: &str) -> (&str, &str) {
    let line = page.lines().next().unwrap_or_default().trim_start_matches("# ");
    line.split_once(": ").unwrap_or((line, ""))
}

/// People write `1201`, `pel-1201` and `PEL-1201`.
fn normalized(code: &str) -> String {
    let code = code.trim().to_ascii_uppercase();
    if code.starts_with("PEL-") { code } else { format!("PEL-{code}") }
}

fn list(format: Format) -> Result<(), Failure> {
    let mut names: Vec<_> = Pages::iter().collect();
    names.sort();
    let pages = names.iter().filter_map(|name| Pages::get(name));
    let pages: Vec<_> = pages.map(|page| String::from_utf8_lossy(&page.data).into_owned()).collect();
    let headings = pages.iter().map(|page| heading(page));
    match format {
        Format::Table => {
            let lines = headings.map(|(code, title)| format!("{code}: {title}"));
            output::line(&lines.collect::<Vec<_>>().join("\n"))
        }
        format => {
            let items = headings.map(|(code, title)| json!({"code": code, "title": title}));
            output::document(format, &json!({"items": items.collect::<Vec<_>>()}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for code in ["PEL-1002", "pel-1002", "1002"] {
            assert!(run(&Arguments { code: Some(code.to_owned()) }, Format::Json).is_ok(), "{code}");
        }
        let failure = run(&Arguments { code: Some("PEL-9999".to_owned()) }, Format::Table).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotFound);
    }

    #[test]
    fn a_page_cannot_be_asked_for_by_path() {
        assert!(run(&Arguments { code: Some("../cli".to_owned()) }, Format::Table).is_err());
    }

    #[test]
    fn every_page_is_named_as_it_is_titled() {
        for name in Pages::iter() {
            let page = Pages::get(&name).unwrap();
            let code = name.trim_end_matches(".md");
            assert!(String::from_utf8_lossy(&page.data).starts_with(&format!("# {code}: ")), "{name}");
        }
    }
}
