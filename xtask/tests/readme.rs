//! The examples in the README must match the crate.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const README: &str = include_str!("../../README.md");
const GUIDE: &str = include_str!("../../docs/guide.md");

/// Returns the Rust code blocks of a document, in order.
fn programs(document: &str) -> Vec<&str> {
    let blocks = document.split("\n```rust").skip(1);
    let blocks = blocks.map(|block| block.split_once('\n').unwrap().1);
    blocks
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

#[test]
fn the_first_program_is_the_example_and_short() {
    let example = include_str!("../../examples/mnist.rs");
    assert_eq!(programs(README)[0], example.trim_end());
    assert!(example.lines().count() <= 20);
    let mut lines = README.lines();
    let before = lines.position(|line| line.starts_with("```")).unwrap();
    assert!(before < 15, "{before} lines stand before the first program");
}

#[test]
fn the_guide_has_the_example_of_a_layer() {
    let example = include_str!("../../examples/custom_layer.rs");
    assert!(programs(GUIDE).contains(&example.trim_end()));
}

/// Returns the paths of the repository's Markdown files.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["", "docs", "benches/peers", "wgsl-sanitizer"];
    let files = folders
        .iter()
        .filter_map(|folder| fs::read_dir(root.join(folder)).ok());
    let paths = files.flatten().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Returns the targets of links and pictures in a document, except in code blocks.
fn links(document: &str) -> Vec<&str> {
    let text = document.split("\n```").step_by(2);
    let after = text.flat_map(|text| text.split("](").skip(1));
    after
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .collect()
}

/// Returns the anchor that a Markdown renderer gives to a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_ascii_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for path in documents() {
        let document = fs::read_to_string(&path).unwrap();
        for target in links(&document) {
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            assert!(file.exists(), "{}: no file {target}", path.display());
            if !fragment.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|heading| anchor(heading) == fragment);
                assert!(found, "{}: no heading {target}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} links");
}
