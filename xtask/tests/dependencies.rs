//! Checks the dependencies that a user of the library gets: their licenses, their Rust versions and their number.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use spdx::{Expression, LicenseItem, ParseMode};

/// The licenses that dependencies may have. Of a license expression with `OR`, one license must be in this list.
const ACCEPTED: [&str; 8] = [
    "Apache-2.0",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// The maximum number of crates that a user builds without features, including the library itself.
const MOST_CRATES: usize = 109;

/// The file with the list of all dependencies and their licenses.
const LIST: &str = "docs/dependencies.txt";

/// Returns the directory of the library's package, which is the root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.current_dir(root()).args(arguments).output().unwrap();
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {failure}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Returns the packages that a user of the library may build, with any features and on any system. Dependencies of
/// tests are not included.
fn packages() -> Vec<Value> {
    let metadata = cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let root = packages.iter().find(|package| package["name"] == "wgrad");
    let mut waiting = vec![text(&root.unwrap()["id"])];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    let is_found = |package: &&Value| found.contains(text(&package["id"]));
    packages.iter().filter(is_found).cloned().collect()
}

/// Returns whether this license, including its exception if it has one, is in [`ACCEPTED`].
fn is_accepted(license: &LicenseItem) -> bool {
    ACCEPTED.contains(&license.to_string().as_str())
}

#[test]
fn licenses_are_accepted_and_listed() {
    let mut lines = BTreeSet::new();
    for package in packages() {
        let name = text(&package["name"]);
        let license = package["license"].as_str();
        let license = license.unwrap_or_else(|| panic!("{name} names no license"));
        let expression = Expression::parse_mode(license, ParseMode::LAX).unwrap();
        assert!(
            expression.evaluate(|requirement| is_accepted(&requirement.license)),
            "{name} has the license {license}, which is not accepted"
        );
        lines.insert(format!("{name}: {license}\n"));
    }
    let found: String = lines.into_iter().collect();
    let path = root().join(LIST);
    if env::var_os("WGRAD_UPDATE").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, kept,
        "dependencies changed: look at them, then run `WGRAD_UPDATE=1 cargo test --release -p xtask --test dependencies`, which writes {LIST}"
    );
}

/// Parses the first two numbers of a version: `1.89`, `1.89.1` or `1`.
fn version(text: &str) -> [u32; 2] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [0; 2].map(|_| parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_needs_a_newer_rust_than_the_library() {
    let packages = packages();
    let own = packages.iter().find(|package| package["name"] == "wgrad");
    let own = version(text(&own.unwrap()["rust_version"]));
    let mut compared = 0;
    for package in &packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(
                version(needed) <= own,
                "{} needs Rust {needed}",
                package["name"]
            );
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared} crates say which Rust they need");
}

#[test]
fn the_library_alone_brings_few_crates() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--package=wgrad",
        "--edges=normal,build",
        "--prefix=none",
        "--no-dedupe",
    ]);
    let crates: BTreeSet<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    assert!(
        crates.len() <= MOST_CRATES,
        "{} crates: {crates:?}",
        crates.len()
    );
    assert!(crates.len() > 20, "{crates:?}");
}
