//! ONNX export: the contents of the file, and equal outputs in ONNX Runtime and in the crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/layers.rs"]
mod layers;

#[path = "onnx/networks.rs"]
mod networks;
#[path = "onnx/refusals.rs"]
mod refusals;
#[path = "onnx/runtime.rs"]
mod runtime;
#[path = "onnx/structure.rs"]
mod structure;
