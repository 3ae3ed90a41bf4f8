mod kernels;

use super::update::check_above_zero;
use super::{Backward, Forward, KeptSpec, Layer, LayerSpec, Mode, ParameterSpec, Response};
use crate::error::{Error, number};
use crate::init::Init;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use kernels::Channels;

pub(super) use kernels::contracts;

/// Batch normalization: normalizes each channel to mean 0 and variance 1, then scales and shifts it.
///
/// The mean and the variance of a channel are taken over all rows of a minibatch and all positions of the channel
/// (Ioffe and Szegedy, 2015), as in `torch.nn.BatchNorm1d` and `BatchNorm2d`.
///
/// `y = weight·(x − mean)/√(variance + eps) + bias`. In an input with one dimension, (features), each feature is a
/// channel. In an input with more dimensions, such as (channels, length) or (channels, height, width), the first one is
/// the channels. `weight` starts at 1 and `bias` at 0. Weight decay does not apply to them.
///
/// A training step uses the mean and the variance of the minibatch. This variance is the sum of the squared deviations
/// divided by the number of values. The step also updates the layer's state, the running mean and variance:
/// `running ← (1 − momentum)·running + momentum·minibatch`. For this update, the sum is divided by the number of values
/// minus one. (The variance of a single value is 0 in both cases. PyTorch rejects a single value.)
///
/// Outside of training, the layer uses the running mean and variance instead. `running_mean` starts at 0 and
/// `running_var` at 1. Names and shapes are PyTorch's, so that files are compatible.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{BatchNorm, Linear, Relu};
///
/// let network = Sequential::input(784).layer(Linear::new(100)).layer(BatchNorm::new()).layer(Relu);
/// let network = network.layer(Linear::new(10)).on_cpu()?;
/// assert_eq!(network.parameters()["layers.1.weight"].shape(), [100]);
/// assert_eq!(network.state()["layers.1.running_var"][[0]], 1.0);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// The layer of "Deep Learning from Scratch", chapter 6, differs in three points:
///
/// - It adds 1e-6 under the root. `BatchNorm::new().eps(1e-6)` does the same.
/// - It normalizes each value of an image separately, not each channel. A `Flatten` before this layer does the same,
///   because it makes each value a feature.
/// - Its running mean and variance start at 0, and for the running variance it divides by the number of values, `n`,
///   not by `n − 1`. Neither affects training. After `t` steps, the running variance differs by a factor of `1 − 1/n`
///   because of the divisor (1 % for a hundred rows), and by a fraction of `0.9ᵗ` because of the start (3·10⁻⁵ after a
///   hundred steps).
#[doc(alias = "BatchNormalization")]
#[doc(alias = "BatchNorm1d")]
#[doc(alias = "BatchNorm2d")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    pub(super) eps: f32,
    pub(super) momentum: f32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchNorm {
    /// Creates the layer with PyTorch's defaults: `eps` 1e-5 and `momentum` 0.1.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// Sets the number, above 0, that is added to the variance before the square root is taken.
    #[must_use]
    pub const fn eps(self, eps: f32) -> Self {
        Self { eps, ..self }
    }

    /// Sets the fraction, 0 to 1, by which each training step moves the running mean and variance toward the
    /// minibatch's.
    #[must_use]
    pub const fn momentum(self, momentum: f32) -> Self {
        Self { momentum, ..self }
    }
}

impl Layer for BatchNorm {
    fn name(&self) -> String {
        format!("BatchNorm(eps {:e}, momentum {})", self.eps, self.momentum)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        check_above_zero("eps", self.eps)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            let found = number(self.momentum);
            return Err(Error::setting("momentum", "0 to 1", found));
        }
        let channels = input.extents()[0];
        let of_channels = |name, init| ParameterSpec::new(name, channels, init).without_decay();
        Ok(LayerSpec::new(*input)
            .parameter(of_channels("weight", Init::Ones))
            .parameter(of_channels("bias", Init::Zeros))
            .state(of_channels("running_mean", Init::Zeros))
            .state(of_channels("running_var", Init::Ones))
            .kept(KeptSpec::per_batch("mean", channels))
            .kept(KeptSpec::per_batch("inverse", channels))
            .flops((input.len() as u64).saturating_mul(kernels::FLOPS))
            // Before the first training step, the layer returns its input nearly unchanged.
            .response(Response::PassesOn))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let channels = Channels::new(pass.x, self.eps);
        match pass.mode {
            Mode::Training(_) => channels.measure(recorder, pass, self.momentum)?,
            Mode::Evaluation => channels.take_running(recorder, pass),
        }
        channels.normalize(recorder, pass);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let channels = Channels::new(pass.x, self.eps);
        channels.sum_gradients(recorder, pass)?;
        channels.backward_input(recorder, pass);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::BatchNorm {
            eps: self.eps.into(),
            momentum: self.momentum.into(),
        })
    }
}
