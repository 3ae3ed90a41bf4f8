//! Tests that the README is right: its commands print the output that it shows, and its files are valid.

#![cfg(feature = "cli")]

use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");

/// Returns the README's code block in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = README
        .split_once(&format!("```{language}\n"))
        .unwrap_or_else(|| panic!("there is no block of {language}"));
    rest.split_once("```").map_or("", |(block, _)| block)
}

/// Runs the program in a new folder with these files. Returns its exit code and its output.
fn run(name: &str, [shader, toml]: [&str; 2], arguments: &[&str]) -> (Option<i32>, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    for (name, text) in [("shift.wgsl", shader), ("shift.toml", toml)] {
        std::fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("{error}"));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_wgsl-sanitizer"))
        .current_dir(&folder)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn the_command_prints_what_it_says() {
    let (command, told) = block("console").split_once('\n').unwrap_or(("", ""));
    let command = command.replace('\'', "");
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("$"));
    assert_eq!(words.next(), Some("wgsl-sanitizer"));
    let files = [block("wgsl"), ""];
    let (code, out) = run("readme_command", files, &words.collect::<Vec<_>>());
    assert_eq!(code, Some(1));
    assert_eq!(out, told);
}

#[test]
fn the_shader_is_right_with_a_barrier() {
    let shader = block("wgsl");
    let toml = block("toml");
    let (code, out) = run("readme_racy", [shader, toml], &["shift.toml"]);
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(out.matches("data race").count(), 2, "{out}");
    let whole = shader.replace("    y[i]", "    workgroupBarrier();\n    y[i]");
    let (code, out) = run("readme_right", [&whole, toml], &["shift.toml"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("[0]: 2.0 3.0 4.0"), "{out}");
}

#[test]
fn the_library_is_used_as_in_the_example() {
    let example = include_str!("../examples/library.rs");
    let code = example.split_once("\n\n").map(|(_, code)| code);
    assert_eq!(code, Some(block("rust")));
}

#[test]
fn the_licenses_are_those_of_the_workspace() {
    for (name, text) in [
        ("LICENSE-MIT", include_str!("../LICENSE-MIT")),
        ("LICENSE-APACHE", include_str!("../LICENSE-APACHE")),
    ] {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        // The published crate does not contain the workspace's files, so there is nothing to compare.
        if let Ok(above) = std::fs::read_to_string(above) {
            assert_eq!(above, text, "{name}");
        }
    }
}
