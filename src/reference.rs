//! The reference implementation: every formula as it is defined, computed with ndarray. The tests compare the other
//! implementations with it.
//!
//! This module shares no code and no algorithm with [`crate::ops`] or [`crate::cpu`]; the latter computes some formulas
//! in a faster way. In the formulas, `dx` stands for the gradient of the loss with respect to `x`, and so on.

mod ada_grad;
mod adam;
mod adjusted_cross_entropy;
mod avg_pool2d;
mod batch_norm;
mod binary_cross_entropy;
mod clip;
mod conv2d;
mod dropout;
mod elementwise;
mod embedding;
mod flatten;
mod frequency;
mod gelu;
mod hash_grid;
mod huber;
mod images;
mod layer_norm;
mod leaky_relu;
mod linear;
mod loss_of_values;
mod max_pool2d;
mod mean_squared_error;
mod one_blob;
mod passes;
mod relative_l2;
mod relu;
mod rms_prop;
mod sgd;
mod sigmoid;
mod softmax_cross_entropy;
mod spherical_harmonics;
mod tanh;

use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, NdFloat};

pub use ada_grad::AdaGrad;
pub use adam::Adam;
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
pub use hash_grid::HashGrid;
pub use huber::Huber;
pub use layer_norm::LayerNorm;
pub use leaky_relu::LeakyRelu;
pub use linear::Linear;
pub use max_pool2d::MaxPool2d;
pub use mean_squared_error::MeanSquaredError;
pub use one_blob::OneBlob;
pub use passes::{Backward, Draw, Forward, LossPass, Mode, Targets, UpdateStep};
pub use relative_l2::RelativeL2;
pub use relu::Relu;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;
pub use sigmoid::Sigmoid;
pub use softmax_cross_entropy::{SoftmaxCrossEntropy, softmax_cross_entropy};
pub use spherical_harmonics::SphericalHarmonics;
pub use tanh::Tanh;

/// The floating-point types that the reference computes with: `f32` and `f64`.
pub trait Float: NdFloat {
    /// Returns the value of this type that is nearest to `value`.
    fn from_f64(value: f64) -> Self;

    /// Converts to `f64`, without rounding.
    fn into_f64(self) -> f64;

    /// Returns the layer of `twin` in this precision.
    fn of(twin: &Twin) -> &dyn Layer<Self>;

    /// Returns the optimizer of `rule` in this precision.
    fn rule(rule: &Rule) -> &dyn Optimizer<Self>;

    /// Returns the loss of `criterion` in this precision.
    fn criterion(criterion: &Criterion) -> &dyn Loss<Self>;
}

impl Float for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn into_f64(self) -> f64 {
        self.into()
    }

    fn of(twin: &Twin) -> &dyn Layer<Self> {
        &*twin.single
    }

    fn rule(rule: &Rule) -> &dyn Optimizer<Self> {
        &*rule.single
    }

    fn criterion(criterion: &Criterion) -> &dyn Loss<Self> {
        &*criterion.single
    }
}

impl Float for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn into_f64(self) -> f64 {
        self
    }

    fn of(twin: &Twin) -> &dyn Layer<Self> {
        &*twin.double
    }

    fn rule(rule: &Rule) -> &dyn Optimizer<Self> {
        &*rule.double
    }

    fn criterion(criterion: &Criterion) -> &dyn Loss<Self> {
        &*criterion.double
    }
}

/// The reference implementation of a layer. Both passes write into arrays that the caller allocates.
pub trait Layer<F>: Debug + Send + Sync {
    /// Computes `y = layer(x)`.
    fn forward(&self, pass: Forward<'_, F>);

    /// Computes the gradients with respect to the parameters and, if `pass.dx` is set, with respect to `x`.
    fn backward(&self, pass: Backward<'_, F>);
}

/// The reference implementation of a layer in both precisions, `f32` and `f64`.
#[derive(Debug, Clone)]
pub struct Twin {
    single: Arc<dyn Layer<f32>>,
    double: Arc<dyn Layer<f64>>,
}

impl Twin {
    /// Creates a twin from a layer that is generic over the precision.
    pub fn of<L: Layer<f32> + Layer<f64> + Clone + 'static>(layer: L) -> Self {
        Self {
            single: Arc::new(layer.clone()),
            double: Arc::new(layer),
        }
    }

    /// Creates an activation from a function of `x` and the function's derivative. Both are applied to each element:
    /// `y = f(x)`, `dx = dy·f′(x)`.
    ///
    /// ```
    /// use wgrad::reference::Twin;
    ///
    /// let softplus = Twin::elementwise(|x| x.exp().ln_1p(), |x| 1.0 / (1.0 + (-x).exp()));
    /// ```
    #[must_use]
    pub fn elementwise(function: fn(f64) -> f64, derivative: fn(f64) -> f64) -> Self {
        Self::of(elementwise::Elementwise {
            function,
            derivative,
        })
    }
}

/// The reference implementation of an optimizer.
pub trait Optimizer<F>: Debug + Send + Sync {
    /// Changes the gradients of all parameters before the update reads them, for example to clip them. By
    /// default, changes nothing.
    fn prepare(&self, gradients: &mut [Array2<F>]) {
        let _ = gradients;
    }

    /// Updates a parameter by its gradient. `state` holds this parameter's values of
    /// [`Optimizer::state`](crate::ops::Optimizer::state), in that order. A large parameter is updated some rows at a
    /// time, so each element may depend only on its own gradient and state.
    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    );
}

/// The reference implementation of an optimizer in both precisions, `f32` and `f64`.
#[derive(Debug, Clone)]
pub struct Rule {
    single: Arc<dyn Optimizer<f32>>,
    double: Arc<dyn Optimizer<f64>>,
}

impl Rule {
    /// Creates a rule from an optimizer that is generic over the precision.
    pub fn of<O: Optimizer<f32> + Optimizer<f64> + Clone + 'static>(optimizer: O) -> Self {
        Self {
            single: Arc::new(optimizer.clone()),
            double: Arc::new(optimizer),
        }
    }
}

/// The reference implementation of a loss.
pub trait Loss<F>: Debug + Send + Sync {
    /// Returns the mean loss over the rows, and writes its gradient with respect to the outputs.
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F;
}

/// The reference implementation of a loss in both precisions, `f32` and `f64`.
#[derive(Debug, Clone)]
pub struct Criterion {
    single: Arc<dyn Loss<f32>>,
    double: Arc<dyn Loss<f64>>,
}

impl Criterion {
    /// Creates a criterion from a loss that is generic over the precision.
    pub fn of<L: Loss<f32> + Loss<f64> + Clone + 'static>(loss: L) -> Self {
        Self {
            single: Arc::new(loss.clone()),
            double: Arc::new(loss),
        }
    }
}
