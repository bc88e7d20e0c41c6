//! How a command fails: a message for people, a stable code, an exit code.

use std::process::ExitCode;

/// The exit codes of `docs/cli.md`; clap itself uses 2 for wrong arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    NotFound = 4,
}

#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    code: Option<String>,
    message: String,
}

impl Failure {
    fn new(exit: Exit, code: Option<&str>, message: impl Into<String>) -> Self {
        Self { exit, code: code.map(str::to_owned), message: message.into() }
    }

    /// It was tried and did not work.
    pub(crate) fn failed(code: Option<&str>, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// It was asked for in a wrong way.
    pub(crate) fn usage(code: Option<&str>, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// There is nobody to ask.
    pub(crate) fn unreachable(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, Some(code), message)
    }

    /// What was named is not there.
    pub(crate) fn not_found(code: Option<&str>, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// A file that cannot be read.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::usage(Some("PEL-1704"), format!("{} cannot be read: {error}", path.display()))
    }

    /// The same with the reason for it.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(reason);
        self
    }

    /// Both, with the exit code and the code of this one.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.message.push_str("\nerror: ");
        self.message.push_str(&other.message);
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Says it on standard error.
    #[allow(clippy::print_stderr, reason = "the one place where a command's failure is said")]
    pub(crate) fn report(self) -> ExitCode {
        match self.code {
            Some(code) => eprintln!("error: {}\n[{code}] `pelton explain {code}` says more", self.message),
            None => eprintln!("error: {}", self.message),
        }
        ExitCode::from(self.exit as u8)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
