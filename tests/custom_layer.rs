//! Layers from outside the crate, correct ones and ones with mistakes, and what the layer check reports about them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

#[path = "custom_layer/activation.rs"]
mod activation;
#[path = "custom_layer/batch_norm.rs"]
mod batch_norm;
#[path = "custom_layer/divergence.rs"]
mod divergence;
#[path = "custom_layer/good.rs"]
mod good;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "custom_layer/layer_norm.rs"]
mod layer_norm;
#[path = "common/layers.rs"]
mod layers;
#[path = "custom_layer/memory.rs"]
mod memory;
#[path = "../src/parallel.rs"]
mod parallel;
#[path = "custom_layer/random.rs"]
mod random;
#[path = "custom_layer/sanitizer.rs"]
mod sanitizer;
#[path = "custom_layer/scale.rs"]
mod scale;
#[path = "custom_layer/stated.rs"]
mod stated;
#[path = "custom_layer/training.rs"]
mod training;
