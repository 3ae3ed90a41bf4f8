//! Writes and checks `docs/public-api.txt`, the list of wgrad's public API. With this list, every change of the API is
//! visible in review.
//!
//! ```text
//! cargo run --release -p wgrad-public-api              # writes the list
//! cargo run --release -p wgrad-public-api -- --check   # fails if it differs from the API
//! ```
//!
//! The list comes from rustdoc's JSON, whose format changes between Rust versions. If the `public-api` crate cannot
//! read the format of the installed Rust, the check is skipped and the reason is printed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use public_api::{Builder, Error};

const LIST: &str = "docs/public-api.txt";

/// The environment variable with the path of the real rustdoc. It is set only for the cargo command that runs this
/// program in place of rustdoc.
const RUSTDOC: &str = "WGRAD_RUSTDOC";

fn main() -> ExitCode {
    if let Some(rustdoc) = env::var_os(RUSTDOC) {
        return run_rustdoc(&rustdoc);
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let checks = match &arguments[..] {
        [] => false,
        [only] if only == "--check" => true,
        other => {
            eprintln!("expected no argument or --check, found {other:?}");
            return ExitCode::from(2);
        }
    };
    match run(checks) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("public API: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(checks: bool) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let json = document(&root)?;
    let found = match list(&json) {
        Err(Error::SerdeJsonError(error)) if checks => {
            return Ok(format!(
                "left out: this Rust writes JSON of another format: {error}"
            ));
        }
        other => other.map_err(|error| format!("{}: {error}", json.display()))?,
    };
    let path = root.join(LIST);
    if !checks {
        fs::write(&path, &found).map_err(|error| format!("{LIST}: {error}"))?;
        return Ok(format!("{LIST}: {} items", found.lines().count()));
    }
    let kept = fs::read_to_string(&path).map_err(|error| format!("{LIST}: {error}"))?;
    if found == kept {
        return Ok(format!("{LIST} is the public API"));
    }
    let [found, kept] = [&found, &kept].map(|list| list.lines().collect::<BTreeSet<_>>());
    let added = found.difference(&kept).map(|item| format!("\n+{item}"));
    let removed = kept.difference(&found).map(|item| format!("\n-{item}"));
    let changes: String = removed.chain(added).collect();
    Err(format!(
        "it changed; if that is intended, `cargo run --release -p wgrad-public-api` writes {LIST}:{changes}"
    ))
}

/// Runs rustdoc to describe the library, with its features, as JSON. Returns the path of the JSON file.
fn document(root: &Path) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let line = "rustdoc --release -p wgrad --lib --features download,gemm,onnx -- -Zunstable-options --output-format json";
    let build = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    // The list has a directory of its own, because cargo would delete the library's HTML documentation. Checked
    // dependencies are in the common directory.
    let target = build.join("public-api");
    let this = env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let rustdoc = env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(line.split(' '));
    command.env("RUSTDOC", this).env(RUSTDOC, rustdoc);
    command
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_BUILD_BUILD_DIR", build);
    let status = command
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("`cargo {line}` failed"));
    }
    Ok(target.join("doc/wgrad.json"))
}

/// Runs rustdoc with the arguments of this program. `RUSTC_BOOTSTRAP` allows a stable rustdoc to write JSON. Only
/// rustdoc gets this variable: if cargo had it, cargo would build all dependencies again.
fn run_rustdoc(rustdoc: &OsStr) -> ExitCode {
    let mut command = Command::new(rustdoc);
    command
        .args(env::args_os().skip(1))
        .env("RUSTC_BOOTSTRAP", "1");
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", rustdoc.display());
            ExitCode::FAILURE
        }
    }
}

fn list(json: &Path) -> Result<String, Error> {
    let builder = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true);
    Ok(builder
        .build()?
        .items()
        .map(|item| format!("{item}\n"))
        .collect())
}
