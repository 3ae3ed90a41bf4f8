//! The WebAssembly module for the browser tests. It exports the source of every kernel of `wgrad`, and the tests of
//! `tests/parity`, which JavaScript calls by their index.
#![cfg(target_arch = "wasm32")]
// Clippy allows these in tests by default, but this crate is no test for Clippy.
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

/// A test: its name and its function.
type Case = (&'static str, fn());

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Returns four strings per kernel, one after another: the shader's file name, its WGSL source, the entry point, and
/// the names of its pipeline constants (`override`), separated by spaces.
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
