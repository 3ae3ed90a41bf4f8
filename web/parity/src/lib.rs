//! The parts of the crate for the tests in a browser: the source of every kernel, and the tests of `tests/parity`,
//! which are called by number.
#![cfg(target_arch = "wasm32")]
// Clippy allows these in tests by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity)]

#[path = "../../../tests/common/bounds.rs"]
mod bounds;
mod browser;
#[path = "../../../tests/common/gpu.rs"]
mod gpu;
#[path = "../../../tests/common/norm_bounds.rs"]
mod norm_bounds;

pub use browser::names;
use wasm_bindgen::prelude::*;

/// Name and function of a test.
type Case = (&'static str, fn());

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// For every kernel, four strings: its shader's file name, the WGSL, the entry point, and the names of its constants
/// separated by spaces.
#[wasm_bindgen]
#[must_use]
pub fn kernels() -> Vec<String> {
    let contracts = wgrad::plumbing::contracts().into_iter();
    let words = contracts.flat_map(|kernel| {
        let constants: Vec<_> = kernel.constants.into_iter().map(|c| c.name).collect();
        let source = kernel.source.to_string();
        [kernel.shader, source, kernel.entry, constants.join(" ")]
    });
    words.collect()
}
