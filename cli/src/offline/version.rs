//! `pelton version`.

use serde::Serialize;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Serialize)]
struct Version {
    version: &'static str,
    target: String,
}

pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    };
    match global.output {
        Format::Table => output::line(&format!("pelton {} ({})", version.version, version.target)),
        format => output::document(format, &version),
    }
}
