//! What the tests in a browser need of the crate: every kernel's source, and the tests of
//! `tests/parity`, each to be called by its number.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod browser;
#[path = "../../../tests/common/gpu.rs"]
mod gpu;

pub use browser::names;
use wasm_bindgen::prelude::*;

/// Name and function of a test.
type Case = (&'static str, fn());

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Of every kernel its shader's file name, the WGSL and the entry point, one after the other.
#[wasm_bindgen]
#[must_use]
pub fn kernels() -> Vec<String> {
    let contracts = wgrad::ops::contracts().into_iter();
    let words = contracts.flat_map(|kernel| [kernel.shader, kernel.source, kernel.entry]);
    words.map(str::to_owned).collect()
}
