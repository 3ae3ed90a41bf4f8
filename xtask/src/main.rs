//! The project's own commands: `cargo xtask test`, `sanitize`, `mutants`, `setup`, `web`, `web-test`,
//! `serve` and `ci`.
//!
//! xtask uses the standard library only: the first command that a newcomer types then starts within seconds and
//! needs only the toolchain.

mod apt;
mod browser;
mod cli;
mod driver;
#[cfg(test)]
mod fake;
mod host;
mod mpi;
mod mutants;
mod python;
mod sanitize;
mod scratch;
mod serve;
mod steps;
mod web;

use std::process::ExitCode;

use cli::Task;
use host::{Failure, Native};

fn main() -> ExitCode {
    let task = match Task::parse(std::env::args_os().skip(1)) {
        Ok(task) => task,
        Err(mistake) => {
            eprintln!("xtask: {mistake}\n\n{}", cli::USAGE);
            return ExitCode::from(2);
        }
    };
    match perform(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn perform(task: Task) -> Result<(), Failure> {
    let host = Native;
    match task {
        Task::Help => {
            println!("{}", cli::USAGE);
            Ok(())
        }
        Task::Setup => driver::setup(&host),
        Task::Test(args) => steps::test(&host, &args),
        Task::Sanitize => sanitize::run(&host),
        Task::Mutants(request) => mutants::run(&host, &request),
        Task::Web => web::build(&host),
        Task::WebTest => browser::test(&host),
        Task::Serve(port) => {
            web::build(&host)?;
            serve::serve(&host, port)
        }
        Task::Ci => steps::ci(&host),
    }
}
