//! The examples in the README must match the crate.
#![allow(clippy::unwrap_used)]

const README: &str = include_str!("../README.md");

/// The Rust blocks, in order.
fn programs() -> Vec<&'static str> {
    let blocks = README.split("\n```rust").skip(1);
    let blocks = blocks.map(|block| block.split_once('\n').unwrap().1);
    blocks
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

#[test]
fn the_first_program_is_the_example_and_short() {
    let example = include_str!("../examples/mnist.rs");
    assert_eq!(programs()[0], example.trim_end());
    assert!(example.lines().count() <= 30);
    let before = README
        .lines()
        .position(|line| line.starts_with("```"))
        .unwrap();
    assert!(before < 15, "{before} lines stand before the first program");
}
