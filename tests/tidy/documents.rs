//! What the documents promise: every error code has a page, every metric a row, every link a target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{files, read, root, shown};

/// Texts of the form `PEL-` and four digits in `text`.
fn codes(text: &str) -> BTreeSet<String> {
    text.match_indices("PEL-")
        .filter_map(|(at, _)| text.get(at..at + 8))
        .filter(|code| code[4..].bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

fn shipped_sources() -> Vec<std::path::PathBuf> {
    super::imports::MAY_IMPORT
        .iter()
        .flat_map(|(name, _)| files(&root().join(name).join("src"), &["rs"]))
        .collect()
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let used: BTreeSet<String> = shipped_sources().iter().flat_map(|path| codes(&read(path))).collect();
    let pages: BTreeSet<String> = files(&root().join("docs/errors"), &["md"])
        .iter()
        .filter_map(|path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned))
        .filter(|stem| stem.starts_with("PEL-"))
        .collect();
    // PEL-9999 is the code of no error; tests of `explain` ask for it.
    let without_page: Vec<_> = used.difference(&pages).filter(|code| *code != "PEL-9999").collect();
    let without_code: Vec<_> = pages.difference(&used).collect();
    assert!(without_page.is_empty(), "codes without a page in docs/errors: {without_page:?}");
    assert!(without_code.is_empty(), "pages whose code no source uses: {without_code:?}");
}

#[test]
fn every_error_page_says_what_to_do() {
    for path in files(&root().join("docs/errors"), &["md"]) {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if !stem.starts_with("PEL-") {
            continue;
        }
        let text = read(&path);
        assert!(text.starts_with(&format!("# {stem}: ")), "{}: the title names the code", shown(&path));
        for section in ["## What happened", "## What to do"] {
            assert!(text.contains(section), "{}: no section `{section}`", shown(&path));
        }
    }
}

/// Names of metrics: string literals that begin with `pelton_` in files named `metrics.rs` or in `metrics/`.
#[test]
fn every_metric_has_a_row_and_every_row_a_metric() {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for path in shipped_sources() {
        for literal in read(&path).split('"').skip(1).step_by(2) {
            let plain = literal
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let metric = [
                "_total",
                "_seconds",
                "_bytes",
                "_events",
                "_requests",
                "_deliveries",
                "_ready",
                "_segments",
                "_unavailable",
                "_replicas",
                "_concurrency",
                "_capacity",
                "_panicking",
                "_ratio",
            ]
            .iter()
            .any(|unit| literal.ends_with(unit));
            if plain && metric && literal.starts_with("pelton_") && !literal.starts_with("pelton_test_") {
                names.insert(literal.to_owned(), shown(&path));
            }
        }
    }
    let documented: BTreeSet<String> = read(&root().join("docs/metrics.md"))
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split('`').next())
        .filter(|name| name.starts_with("pelton_"))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = names.iter().filter(|(name, _)| !documented.contains(*name)).collect();
    let stale: Vec<_> = documented.iter().filter(|name| !names.contains_key(*name)).collect();
    assert!(!names.is_empty(), "no metric found in the sources");
    assert!(missing.is_empty(), "metrics without a row in docs/metrics.md: {missing:?}");
    assert!(stale.is_empty(), "rows of docs/metrics.md without a metric: {stale:?}");
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for path in files(&root(), &["md"]) {
        let folder = path.parent().unwrap_or(Path::new("."));
        for target in links(&read(&path)) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            if !folder.join(file).exists() {
                broken.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// Targets of `[text](target)` outside code blocks.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            if let Some(end) = part.find(')') {
                found.push(part[..end].to_owned());
            }
        }
    }
    found
}
