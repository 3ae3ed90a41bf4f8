//! Layers, losses and optimizers on the GPU. Each has its own file; its WGSL is in `shaders/`.
//!
//! An op (a layer, a loss or an optimizer) is a plain value. It declares its shapes and *records* its kernels into a
//! [`Recorder`](crate::plan::Recorder); it never submits them to the GPU. [`crate::reference`] implements the same
//! formulas with ndarray.

mod ada_grad;
mod adam;
pub(crate) mod add;
mod adjusted_cross_entropy;
mod avg_pool2d;
mod batch_norm;
mod binary_cross_entropy;
mod clip;
pub(crate) mod columns;
pub(crate) mod conv2d;
mod dropout;
mod elementwise;
mod embedding;
mod flatten;
mod frequency;
pub(crate) mod gather;
mod gelu;
mod group;
pub(crate) mod hash_grid;
pub(crate) mod head;
mod huber;
mod known;
mod layer;
mod layer_norm;
mod leaky_relu;
pub(crate) mod linear;
mod loss;
mod max_pool2d;
mod mean_squared_error;
pub(crate) mod metrics;
pub(crate) mod mix;
mod one_blob;
mod one_cycle;
mod optimizer;
mod plateau;
mod pool;
mod relative_l2;
mod relu;
mod rms_prop;
pub(crate) mod row_weights;
pub(crate) mod sample;
mod schedule;
mod sgd;
mod sigmoid;
mod softmax_cross_entropy;
mod spherical_harmonics;
mod tanh;
mod update;
mod window;

use crate::kernel::Contract;

pub use crate::error::TargetKind;
pub use ada_grad::AdaGrad;
pub use adam::{Adam, AdamW};
pub use adjusted_cross_entropy::AdjustedCrossEntropy;
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::BatchNorm;
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use clip::Clipped;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use frequency::Frequency;
pub use gelu::Gelu;
pub use group::Group;
pub use hash_grid::HashGrid;
pub use huber::Huber;
pub(crate) use known::Known;
#[cfg(feature = "onnx")]
pub(crate) use known::Sizes;
pub use layer::{
    Backward, Draw, Forward, KeptSpec, Layer, LayerSpec, Layout, Mode, ParameterSpec, Response,
};
pub(crate) use layer::{shared, unwrapped};
pub use layer_norm::LayerNorm;
pub use leaky_relu::LeakyRelu;
pub use linear::Linear;
use loss::OfValues;
pub use loss::{Loss, LossPass};
pub(crate) use loss::{unwrapped_loss, weight_of_rows};
pub use max_pool2d::MaxPool2d;
pub use mean_squared_error::MeanSquaredError;
pub use one_blob::OneBlob;
pub use one_cycle::OneCycle;
pub use optimizer::Optimizer;
pub(crate) use optimizer::{coefficients, unwrapped_optimizer};
pub use plateau::Plateau;
pub use relative_l2::RelativeL2;
pub use relu::Relu;
pub use rms_prop::RmsProp;
pub use schedule::{Schedule, Scheduled};
pub use sgd::Sgd;
pub use sigmoid::Sigmoid;
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
pub use spherical_harmonics::SphericalHarmonics;
pub use tanh::Tanh;
pub(crate) use update::check_below_one;
pub use update::{Update, UpdatePart};
pub use window::Size2;
pub(crate) use window::Window;

/// Returns the [`Contract`] of every kernel in this module.
pub(crate) fn contracts() -> Vec<Contract> {
    [
        gather::contracts().as_slice(),
        &linear::contracts(),
        &conv2d::contracts(),
        &add::contracts(),
        &mix::contracts(),
        &columns::contracts(),
        &relu::contracts(),
        &leaky_relu::contracts(),
        &gelu::contracts(),
        &sigmoid::contracts(),
        &tanh::contracts(),
        &dropout::contracts(),
        &max_pool2d::contracts(),
        &avg_pool2d::contracts(),
        &batch_norm::contracts(),
        &layer_norm::contracts(),
        &embedding::contracts(),
        &frequency::contracts(),
        &one_blob::contracts(),
        &spherical_harmonics::contracts(),
        &hash_grid::contracts(),
        &softmax_cross_entropy::contracts(),
        &mean_squared_error::contracts(),
        &huber::contracts(),
        &relative_l2::contracts(),
        &binary_cross_entropy::contracts(),
        &adjusted_cross_entropy::contracts(),
        &head::contracts(),
        &clip::contracts(),
        &sgd::contracts(),
        &adam::contracts(),
        &ada_grad::contracts(),
        &rms_prop::contracts(),
        &row_weights::contracts(),
        &sample::contracts(),
        &metrics::contracts(),
    ]
    .concat()
}

/// Converts a size to a shader's `u32`. Panics if it does not fit: the size limit of GPU buffers is far below
/// `u32::MAX`, so a larger size is a bug in this crate.
pub(crate) fn to_u32(count: usize) -> u32 {
    assert!(
        u32::try_from(count).is_ok(),
        "{count} does not fit a shader's u32"
    );
    #[expect(clippy::cast_possible_truncation, reason = "just checked")]
    let count = count as u32;
    count
}
