//! `pelton explain`: the pages of `docs/errors`, inside the binary.

use clap::Args;
use rust_embed::RustEmbed;

use crate::failure::Failure;
use crate::output;

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

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Some(code) = &arguments.code else { return list() };
    let page = Pages::get(&format!("{}.md", normalized(code))).ok_or_else(|| {
        Failure::not_found(
            None,
            format!("there is no code {code}; `pelton explain` lists all, like PEL-1201"),
        )
    })?;
    output::line(String::from_utf8_lossy(&page.data).trim_end())
}

/// People write `1201`, `pel-1201` and `PEL-1201`.
fn normalized(code: &str) -> String {
    let code = code.trim().to_ascii_uppercase();
    if code.starts_with("PEL-") { code } else { format!("PEL-{code}") }
}

fn list() -> Result<(), Failure> {
    let mut names: Vec<_> = Pages::iter().collect();
    names.sort();
    let titles = names.iter().filter_map(|name| {
        let page = Pages::get(name)?;
        let text = String::from_utf8_lossy(&page.data).into_owned();
        Some(text.lines().next()?.trim_start_matches("# ").to_owned())
    });
    output::line(&titles.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for code in ["PEL-1002", "pel-1002", "1002"] {
            assert!(run(&Arguments { code: Some(code.to_owned()) }).is_ok(), "{code}");
        }
        let failure = run(&Arguments { code: Some("PEL-9999".to_owned()) }).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotFound);
    }

    #[test]
    fn a_page_cannot_be_asked_for_by_path() {
        assert!(run(&Arguments { code: Some("../cli".to_owned()) }).is_err());
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
