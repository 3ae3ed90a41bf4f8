//! The program `wgsl-sanitizer`: interprets WGSL compute shaders and reports their bugs.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(mistake) => {
            let message = mistake.to_string();
            // naga's messages already begin with "error: ".
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            eprintln!("error: {}", message.trim_end());
            ExitCode::from(2)
        }
    }
}
