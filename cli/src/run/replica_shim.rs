//! `pelton replica-shim`: what stands between Pelton and each replica.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use pelton_serving_scaler::replicas::{ShimArguments, run as run_shim};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long the replica may go on after SIGTERM, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    grace_ms: u64,
    /// The program of the replica and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let arguments =
        ShimArguments { grace: Duration::from_millis(arguments.grace_ms), program: arguments.program };
    run_shim(&arguments)
        .map_err(|error| Failure::usage(None, format!("this is no command for people: {error}")))
}
