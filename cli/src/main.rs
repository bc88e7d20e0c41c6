//! Pelton: an eventing broker and trigger service in one binary.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod arguments;
mod events;
mod failure;
mod offline;
mod output;
mod resources;
mod run;

use std::process::ExitCode;

use arguments::{Cli, Command, Global};
use failure::Failure;
use run::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::of_process();
    match execute(cli.command, &cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        // The server.
        Command::Run(arguments) => run::run(&arguments, Role::All),
        Command::Broker(arguments) => run::run(&arguments, Role::Broker),
        Command::Dispatcher(arguments) => run::run(&arguments, Role::Dispatcher),
        Command::Control(arguments) => run::run(&arguments, Role::Control),
        Command::ReplicaShim(arguments) => run::replica_shim::run(arguments),
        // Tools that work alone.
        Command::Check(arguments) => offline::check::run(&arguments, global),
        Command::Simulate(arguments) => offline::simulate::run(&arguments, global.output),
        Command::Match(arguments) => offline::match_cases::run(&arguments, global.output),
        Command::Config(arguments) => offline::config::run(&arguments, global),
        Command::Explain(arguments) => offline::explain::run(&arguments, global.output),
        Command::Version => offline::version::run(global),
        // Tools that talk to a running Pelton, or stand beside it.
        Command::Apply(arguments) => wait(resources::apply::run(&arguments, global)),
        Command::Delete(arguments) => wait(resources::delete::run(&arguments, global)),
        Command::Get(arguments) => wait(resources::get::run(&arguments, global)),
        Command::Describe(arguments) => wait(resources::describe::run(&arguments, global)),
        Command::Pause(arguments) => wait(resources::pause::run(&arguments, global, true)),
        Command::Resume(arguments) => wait(resources::pause::run(&arguments, global, false)),
        Command::Traffic(arguments) => wait(resources::traffic::run(&arguments, global)),
        Command::Rollback(arguments) => wait(resources::traffic::rollback(&arguments, global)),
        Command::Logs(arguments) => wait(resources::logs::run(&arguments, global)),
        Command::HandBack(arguments) => wait(resources::hand_back::run(&arguments, global)),
        Command::Send(arguments) => wait(events::send::run(arguments, global)),
        Command::Tail(arguments) => wait(events::tail::run(&arguments, global)),
        Command::Sink(arguments) => wait(events::sink::run(arguments, global)),
        Command::DeadLetters(arguments) => wait(events::dead_letters::run(&arguments, global)),
        Command::Replay(arguments) => wait(events::replay::run(&arguments, global)),
    }
}

/// Runs a tool; two threads are enough for one.
fn wait(tool: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let failed = |error: std::io::Error| {
        Failure::failed(None, format!("the asynchronous runtime cannot start: {error}"))
    };
    runtime.map_err(failed)?.block_on(tool)
}
