//! Log lines on standard error: text for people, JSON for machines.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogOutput};

/// Logs or traces could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// `log-output.level` is not a filter.
    #[error("log-output.level: {problem}")]
    Level {
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The process has a subscriber for logs already.
    #[error("logs are set up already: {problem}")]
    AlreadySet {
        /// What the library said.
        problem: String,
    },
    /// Spans cannot be exported.
    #[error("spans cannot be exported (traces.endpoint): {problem}")]
    Traces {
        /// What is wrong. The URL is not in it, since it may hold a token.
        problem: String,
    },
}

impl TelemetryError {
    /// The stable code, see `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Level { .. } => "PEL-1504",
            Self::AlreadySet { .. } => "PEL-1530",
            Self::Traces { .. } => "PEL-1531",
        }
    }
}

/// Starts logging for the whole process, on standard error. Text is coloured only on a terminal, and never with
/// `NO_COLOR` set.
///
/// # Errors
/// When the level cannot be read, or logging was started before.
pub fn init_logs(config: &LogOutput) -> Result<(), TelemetryError> {
    let filter = filter(&config.level).map_err(|problem| TelemetryError::Level { problem })?;
    let color =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(color).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| TelemetryError::AlreadySet { problem: error.to_string() })
}

/// Says what is wrong with a level, if anything.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let wrong = |problem: &dyn std::fmt::Display| {
        format!(
            "{level:?} is not a log level ({problem}); write error, warn, info, debug or trace, or levels by module like \"info,pelton_broker=debug\""
        )
    };
    // A lone word that is no level would count as the name of a module, and everything else would fall silent.
    for part in level.split(',').filter(|part| !part.contains(['=', '['])) {
        let is_level = !part.trim().is_empty() && LevelFilter::from_str(part.trim()).is_ok();
        if !is_level {
            return Err(wrong(&format_args!("{part:?} is none")));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_levels_and_not_names_of_modules() {
        for level in ["info", "warn,pelton_broker=debug", "off", "info,hyper=off,tower[span]=trace", "INFO"] {
            assert_eq!(check_level(level), Ok(()), "{level}");
        }
        for level in ["", "inof", "pelton_broker", "info,", "info,pelton=loud", "info debug"] {
            assert!(check_level(level).is_err(), "{level}");
        }
    }
}
