//! Where the jars are, and how Java is run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::skip;

/// Small and quick: no second compiler, no threads for collecting garbage.
const FLAGS: [&str; 5] =
    ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];

/// The folder of `tests/kafka`.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka")
}

/// The folder of jars: `PELTON_KAFKA_LIBS`, else where `tests/kafka/fetch.sh` puts them. Says so where there are none.
pub(super) fn libraries() -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(path) => Some(path),
        Err(why) => {
            skip(why);
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    let folder = match std::env::var_os("PELTON_KAFKA_LIBS") {
        Some(path) => PathBuf::from(path),
        None => fetched()?,
    };
    if !folder.is_dir() {
        return Err(format!("no Kafka: {} is no folder", folder.display()));
    }
    let java = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    if !java.is_ok_and(|output| output.status.success()) {
        return Err("no Kafka: java cannot be run".to_owned());
    }
    Ok(folder)
}

fn fetched() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kafka-libs");
    // The stamp is a copy of the pom.xml and made last.
    let stamp = std::fs::read(folder.join(".fetched")).unwrap_or_default();
    if stamp != include_bytes!("../../kafka/pom.xml") {
        return Err("no Kafka: its jars are not fetched, run tests/kafka/fetch.sh".to_owned());
    }
    Ok(folder)
}

/// Java with the jars on its class path; what it runs is still to be named.
pub(super) fn java(libraries: &Path) -> Command {
    let mut command = Command::new("java");
    let log = sources().join("log4j2.properties");
    command.args(FLAGS).arg(format!("-Dlog4j2.configurationFile={}", log.display()));
    command.arg("-cp").arg(libraries.join("*"));
    command
}
