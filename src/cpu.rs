//! The engine for machines without a GPU driver: networks and their training on the CPU, in `f32`, or in `f64` for
//! comparison. The code here is fast; [`crate::reference`] defines its results.

mod activation;
mod conv2d;
mod cores;
mod dense;
mod direct;
#[cfg(not(target_arch = "wasm32"))]
mod dropout;
mod encoding;
mod evaluation;
mod features;
mod footprint;
mod form;
mod hash_grid;
mod layer_norm;
mod linear;
mod network;
mod pass;
mod passes;
mod pooling;
mod predictor;
mod product;
mod relu;
mod row;
mod rows;
mod sharing;
mod softmax;
mod sparse;
#[cfg(not(target_arch = "wasm32"))]
mod team;
mod trainer;
mod updater;
mod workspace;

pub use network::Network;
pub use pass::Pass;
pub use predictor::Predictor;
pub use trainer::Trainer;
pub use updater::Updater;
