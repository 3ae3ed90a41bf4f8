//! Compares every kernel with its formula in `f64`: for each op, for the forward and backward pass, and for many
//! shapes. All tensors are between guard bands.
//!
//! The tests of the kernels that only the trainer records (gather, sample, metrics, sgd) are in `src/ops`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/bounds.rs"]
mod bounds;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/norm_bounds.rs"]
mod norm_bounds;

#[path = "parity/activations.rs"]
mod activations;
#[path = "parity/add.rs"]
mod add;
#[path = "parity/adjusted_cross_entropy.rs"]
mod adjusted_cross_entropy;
#[path = "parity/batch_norm.rs"]
mod batch_norm;
#[path = "parity/binary_cross_entropy.rs"]
mod binary_cross_entropy;
#[path = "parity/columns.rs"]
mod columns;
#[path = "parity/conv2d.rs"]
mod conv2d;
#[path = "parity/dropout.rs"]
mod dropout;
#[path = "parity/embedding.rs"]
mod embedding;
#[path = "parity/encodings.rs"]
mod encodings;
#[path = "parity/extremes.rs"]
mod extremes;
#[path = "parity/frames.rs"]
mod frames;
#[path = "parity/hash_grid.rs"]
mod hash_grid;
#[path = "parity/head.rs"]
mod head;
#[path = "parity/huber.rs"]
mod huber;
#[path = "parity/layer_norm.rs"]
mod layer_norm;
#[path = "parity/linear.rs"]
mod linear;
#[path = "parity/loss_of_values.rs"]
mod loss_of_values;
#[path = "parity/mean_squared_error.rs"]
mod mean_squared_error;
#[path = "parity/mix.rs"]
mod mix;
#[path = "parity/passes.rs"]
mod passes;
#[path = "parity/pools.rs"]
mod pools;
#[path = "parity/relative_l2.rs"]
mod relative_l2;
#[path = "parity/row_weights.rs"]
mod row_weights;
#[path = "parity/softmax_cross_entropy.rs"]
mod softmax_cross_entropy;
