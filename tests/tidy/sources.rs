//! Sources stay readable: files short, nothing left open.

use super::{files, read, root, shown};

/// Lines of a file; more than one room is in a file that is longer.
const FILE_LINES_MAX: usize = 650;
/// Columns of a line of code or comment. Text in quotes and rows of tables cannot always be broken.
const LINE_COLUMNS_MAX: usize = 145;

#[test]
fn files_and_lines_are_short() {
    let mut long = Vec::new();
    for path in files(&root(), &["rs"]) {
        let text = read(&path);
        if text.lines().count() > FILE_LINES_MAX {
            long.push(format!("{}: {} lines", shown(&path), text.lines().count()));
        }
        for (index, line) in text.lines().enumerate() {
            let unbreakable = line.contains('"') || line.trim_start().starts_with("//! |");
            if line.chars().count() > LINE_COLUMNS_MAX && !unbreakable {
                long.push(format!("{}:{}: {} columns", shown(&path), index + 1, line.chars().count()));
            }
        }
    }
    assert!(long.is_empty(), "too long: {long:#?}");
}

#[test]
fn nothing_is_left_open() {
    // Spelled in two parts, so that this file does not find itself.
    let open = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]]
        .map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files(&root(), &["rs", "sh", "py", "js", "toml"]) {
        for (index, line) in read(&path).lines().enumerate() {
            if open.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", shown(&path), index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "left open: {found:#?}");
}
