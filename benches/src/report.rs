//! The lines of a run, printed as they come and kept in `docs/benchmarks.md`.

use std::fmt::Write;
use std::process::Command;

/// One measured line.
struct Line {
    what: String,
    measured: String,
    beside: String,
    goal: String,
    met: Option<bool>,
}

/// All lines of a run.
pub struct Report {
    lines: Vec<Line>,
    /// Those of the machine: later this process is kept to some of them.
    cores: usize,
}

impl Report {
    /// No lines yet.
    pub fn new() -> Self {
        Self { lines: Vec::new(), cores: cores() }
    }

    /// Adds a line: what, the measured value, what stands beside it, the goal and whether it is met (`None`: no goal).
    pub fn line(&mut self, what: &str, measured: String, beside: String, goal: &str, met: Option<bool>) {
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        println!("{what:<58} {measured:>18}  {beside:<48} {goal} {verdict}");
        self.lines.push(Line { what: what.to_owned(), measured, beside, goal: goal.to_owned(), met });
    }

    /// Adds an open line: what cannot be measured here, and why.
    pub fn open(&mut self, what: &str, why: &str) {
        self.line(what, "open".to_owned(), why.to_owned(), "", None);
    }

    /// Writes the file if the run was a whole one.
    pub fn finish(self, whole: bool) {
        if !whole {
            println!("a part only: docs/benchmarks.md is left as it is");
            return;
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        std::fs::write(path, self.markdown()).unwrap_or_else(|error| panic!("{path}: {error}"));
        println!("written to docs/benchmarks.md");
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "# Benchmarks\n\nWritten by `make bench`; one run, all lines. CPU time is what the operating system charges the process \
             (user and system); ratios are to a baseline of the same run. Rates depend on the machine and on what else runs on it; \
             trust the \
             ratios. What is measured has one core to itself, what drives it another.\n\n",
        );
        let _ = writeln!(
            text,
            "Commit {}, {} cores, Linux {}.\n",
            output("git", &["rev-parse", "--short", "HEAD"]),
            self.cores,
            output("uname", &["-r"])
        );
        text.push_str("| what | measured | beside it | goal | |\n|---|---:|---|---|---|\n");
        for line in &self.lines {
            let met = match line.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {met} |",
                line.what, line.measured, line.beside, line.goal
            );
        }
        text
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
