//! Every kernel against its formula in `f64`: op × direction × shape, between guard bands.
//!
//! The kernels that only the trainer records (gather, sample, metrics, sgd) have such tests beside
//! them in `src/ops`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/gpu.rs"]
mod gpu;

#[path = "parity/activations.rs"]
mod activations;
#[path = "parity/add.rs"]
mod add;
#[path = "parity/columns.rs"]
mod columns;
#[path = "parity/conv2d.rs"]
mod conv2d;
#[path = "parity/dropout.rs"]
mod dropout;
#[path = "parity/extremes.rs"]
mod extremes;
#[path = "parity/frames.rs"]
mod frames;
#[path = "parity/linear.rs"]
mod linear;
#[path = "parity/mean_squared_error.rs"]
mod mean_squared_error;
#[path = "parity/mix.rs"]
mod mix;
#[path = "parity/row_weights.rs"]
mod row_weights;
#[path = "parity/softmax_cross_entropy.rs"]
mod softmax_cross_entropy;
