//! The book's formulas on ndarray, as they are defined: the oracle of the tests. It shares no code and no algorithm
//! with [`crate::ops`], nor with [`crate::cpu`], which computes some of them in a faster way.

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

/// `f32` or `f64`.
pub trait Float: NdFloat {
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;

    /// As `f64`, exactly.
    fn into_f64(self) -> f64;

    /// The layer of this precision out of both.
    fn of(twin: &Twin) -> &dyn Layer<Self>;

    /// The optimizer of this precision out of both.
    fn rule(rule: &Rule) -> &dyn Optimizer<Self>;

    /// The loss of this precision out of both.
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

/// A layer as its formulas. Both passes write into arrays that exist.
pub trait Layer<F>: Debug + Send + Sync {
    /// `y = layer(x)`.
    fn forward(&self, pass: Forward<'_, F>);

    /// The gradients by the parameters, and by `x` where it is wanted.
    fn backward(&self, pass: Backward<'_, F>);
}

/// One layer in both precisions.
#[derive(Debug, Clone)]
pub struct Twin {
    single: Arc<dyn Layer<f32>>,
    double: Arc<dyn Layer<f64>>,
}

impl Twin {
    /// From a layer that is written once for both.
    pub fn of<L: Layer<f32> + Layer<f64> + Clone + 'static>(layer: L) -> Self {
        Self {
            single: Arc::new(layer.clone()),
            double: Arc::new(layer),
        }
    }

    /// An activation by a function of `x` and its derivative: `y = f(x)`, `dx = dy·f′(x)`, element by
    /// element.
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

/// An optimizer as its formula.
pub trait Optimizer<F>: Debug + Send + Sync {
    /// Changes all gradients before the updates of a step.
    fn prepare(&self, gradients: &mut [Array2<F>]) {
        let _ = gradients;
    }

    /// Changes a parameter by its gradient; `state` is what
    /// [`Optimizer::state`](crate::ops::Optimizer::state) names, of this parameter. Each element changes by its own
    /// gradient and state alone: of a large parameter it is called with some rows at a time.
    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    );
}

/// One optimizer in both precisions.
#[derive(Debug, Clone)]
pub struct Rule {
    single: Arc<dyn Optimizer<f32>>,
    double: Arc<dyn Optimizer<f64>>,
}

impl Rule {
    /// From an optimizer that is written once for both.
    pub fn of<O: Optimizer<f32> + Optimizer<f64> + Clone + 'static>(optimizer: O) -> Self {
        Self {
            single: Arc::new(optimizer.clone()),
            double: Arc::new(optimizer),
        }
    }
}

/// A loss as its formula.
pub trait Loss<F>: Debug + Send + Sync {
    /// The mean loss of rows of outputs, and its gradient by them.
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F;
}

/// One loss in both precisions.
#[derive(Debug, Clone)]
pub struct Criterion {
    single: Arc<dyn Loss<f32>>,
    double: Arc<dyn Loss<f64>>,
}

impl Criterion {
    /// From a loss that is written once for both.
    pub fn of<L: Loss<f32> + Loss<f64> + Clone + 'static>(loss: L) -> Self {
        Self {
            single: Arc::new(loss.clone()),
            double: Arc::new(loss),
        }
    }
}
