//! Layers, losses and optimizers on the GPU, one file each beside its shader.
//!
//! An op is plain data. It says its shapes and *records* its kernels into a
//! [`Recorder`]; it never submits. Its twin in [`crate::reference`] is the same formula on ndarray.

mod ada_grad;
mod adam;
mod clip;
mod dropout;
mod elementwise;
pub(crate) mod gather;
mod gelu;
mod leaky_relu;
pub(crate) mod linear;
mod mean_squared_error;
pub(crate) mod metrics;
mod relu;
mod rms_prop;
pub(crate) mod sample;
mod schedule;
mod sgd;
mod sigmoid;
mod softmax_cross_entropy;
mod tanh;
mod update;

use std::any::Any;
use std::fmt::Debug;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::init::Init;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::tensor::Tensor;

pub use crate::error::TargetKind;
pub use ada_grad::AdaGrad;
pub use adam::{Adam, AdamW};
pub use clip::Clipped;
pub use dropout::Dropout;
pub use gelu::Gelu;
pub use leaky_relu::LeakyRelu;
pub use linear::Linear;
pub use mean_squared_error::MeanSquaredError;
pub use relu::Relu;
pub use rms_prop::RmsProp;
pub use schedule::{Schedule, Scheduled};
pub use sgd::Sgd;
pub use sigmoid::Sigmoid;
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
pub use tanh::Tanh;
pub use update::Update;

/// A trainable parameter of a layer: name (`weight`, `bias`), shape, and how it starts.
#[derive(Debug, Clone)]
pub struct ParameterSpec {
    /// Name within the layer.
    pub name: &'static str,
    /// Rows and columns; of a vector, 1 and its length.
    pub shape: [usize; 2],
    /// Whether it has one dimension in a [checkpoint](crate::checkpoint), as PyTorch has a bias.
    pub is_vector: bool,
    /// Initial values.
    pub init: Init,
}

impl ParameterSpec {
    /// A matrix of so many rows and columns.
    #[must_use]
    pub fn matrix(name: &'static str, shape: [usize; 2], init: Init) -> Self {
        Self {
            name,
            shape,
            is_vector: false,
            init,
        }
    }

    /// A vector; for kernels a matrix of one row.
    #[must_use]
    pub fn vector(name: &'static str, length: usize, init: Init) -> Self {
        Self {
            is_vector: true,
            ..Self::matrix(name, [1, length], init)
        }
    }
}

/// What a layer draws random numbers from while it is trained. They are a function of the key, the
/// step and a counter of the layer's own, so that the backward pass and the reference draw the same.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Of this layer alone: from the seed of the network and the layer's place in it.
    pub key: [u32; 2],
    /// (1, 1) of `u32`: steps taken before this one.
    pub step_count: &'a Tensor,
}

/// What a layer's forward pass reads and writes. Shapes: `x` (rows, inputs), `y` (rows, outputs).
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// Its input.
    pub x: &'a Tensor,
    /// The layer's parameters.
    pub parameters: &'a [Tensor],
    /// Its output.
    pub y: &'a Tensor,
    /// In a step of training; `None` where a network is evaluated or its gradient checked.
    pub draw: Option<Draw<'a>>,
}

impl<'a> Forward<'a> {
    /// A pass outside of training.
    #[must_use]
    pub fn evaluation(x: &'a Tensor, parameters: &'a [Tensor], y: &'a Tensor) -> Self {
        Self {
            x,
            parameters,
            y,
            draw: None,
        }
    }
}

/// What a layer's backward pass reads and writes. Shapes: `x` and `dx` (rows, inputs), `y` and
/// `dy` (rows, outputs), gradients as their parameters.
#[derive(Debug, Clone, Copy)]
pub struct Backward<'a> {
    /// Input of the forward pass.
    pub x: &'a Tensor,
    /// Output of the forward pass.
    pub y: &'a Tensor,
    /// Gradient of the loss by `y`.
    pub dy: &'a Tensor,
    /// The layer's parameters.
    pub parameters: &'a [Tensor],
    /// Where their gradients go.
    pub gradients: &'a [Tensor],
    /// Where the gradient by `x` goes, if anybody reads it. Every element is to be written: it may hold
    /// another layer's gradient.
    pub dx: Option<&'a Tensor>,
    /// That of the forward pass.
    pub draw: Option<Draw<'a>>,
}

/// A layer of a network: rows of `inputs` features in, rows of outputs out.
pub trait Layer: Any + Debug + Send + Sync {
    /// Name as printed, for example `Linear(50)`.
    fn name(&self) -> String;

    /// Features per row out, given features per row in.
    fn outputs(&self, inputs: usize) -> usize {
        inputs
    }

    /// Trainable parameters, given features per row in.
    fn parameters(&self, inputs: usize) -> Vec<ParameterSpec> {
        let _ = inputs;
        Vec::new()
    }

    /// Whether its settings make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the one that does not.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Floating-point operations of the forward pass of one row, given features per row in; for
    /// [`Sequential::summary`](crate::Sequential::summary).
    fn flops(&self, inputs: usize) -> u64 {
        self.outputs(inputs) as u64
    }

    /// Whether on this device the layer, as the first of a network, takes bytes as its input:
    /// `x` is then (rows, inputs / 4 rounded up) of `u32`, four bytes to a word, lowest first,
    /// spare bytes 0, and stands for `byte / 255`.
    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        let _ = gpu;
        false
    }

    /// Records `y = layer(x)`.
    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>);

    /// Records the gradients by the parameters, and by `x` where it is wanted.
    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>);

    /// The same layer on ndarray.
    fn reference(&self) -> reference::Twin;
}

/// A loss over rows of outputs.
///
/// A [checkpoint](crate::checkpoint) knows it by its `Debug` text: that names all settings, and has nothing that
/// differs from run to run, as an address.
pub trait Loss: Any + Debug + Send + Sync {
    /// What it needs to know of every row.
    fn targets(&self) -> TargetKind {
        TargetKind::Classes
    }

    /// Records the loss of every row, and the gradient of their mean by the outputs.
    ///
    /// Shapes: `outputs` and `doutputs` (rows, outputs), `losses` (1, rows), `targets` as
    /// [`targets`](Self::targets) says.
    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        outputs: &Tensor,
        targets: &Tensor,
        losses: &Tensor,
        doutputs: &Tensor,
    );

    /// The same loss on ndarray.
    fn reference(&self) -> reference::Criterion;
}

/// A rule that changes parameters by their gradients. A [checkpoint](crate::checkpoint) knows it by its `Debug`
/// text, as a [`Loss`].
pub trait Optimizer: Any + Debug + Send + Sync {
    /// The learning rate, before any [`Schedule`].
    fn learning_rate(&self) -> f32;

    /// Weight decay that takes `learning rate · decay` of every parameter in each step, whatever its gradient;
    /// 0 without it, and where it is scaled as part of the gradient, as by [`Adam`]. An [`Error::Diverged`]
    /// names it where it is the cause.
    fn decay(&self) -> f32 {
        0.0
    }

    /// Whether its settings make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the one that does not.
    fn check(&self) -> Result<(), Error>;

    /// Names of what it keeps for every parameter from step to step: see [`Update::state`].
    fn state(&self) -> &'static [&'static str] {
        &[]
    }

    /// Numbers of a step, counted from 0, that change from step to step: first the learning rate, then
    /// whatever the update wants. The host computes them for many steps at a time.
    fn coefficients(&self, step: u64) -> [f32; 4] {
        let _ = step;
        [self.learning_rate(), 0.0, 0.0, 0.0]
    }

    /// Records one update of all parameters.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] without room for what lies between its kernels.
    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error>;

    /// The same rule on ndarray.
    fn reference(&self) -> reference::Rule;

    /// The same with a learning rate that changes.
    fn scheduled(self, schedule: Schedule) -> Scheduled<Self>
    where
        Self: Sized,
    {
        Scheduled {
            optimizer: self,
            schedule,
        }
    }

    /// The same on gradients whose norm, of those by all parameters together, is at most `max_norm`, as
    /// after `torch.nn.utils.clip_grad_norm_`: larger ones are scaled down.
    ///
    /// Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013.
    ///
    /// ```
    /// use wgrad::ops::{Adam, Optimizer, Schedule};
    ///
    /// let optimizer = Adam::new(1e-3).clip_norm(1.0).scheduled(Schedule::cosine(10_000));
    /// # assert!(optimizer.check().is_ok());
    /// ```
    fn clip_norm(self, max_norm: f32) -> Clipped<Self>
    where
        Self: Sized,
    {
        Clipped {
            optimizer: self,
            max_norm,
        }
    }
}

/// An optimizer that is chosen while the program runs.
impl Optimizer for Box<dyn Optimizer> {
    fn learning_rate(&self) -> f32 {
        (**self).learning_rate()
    }

    fn decay(&self) -> f32 {
        (**self).decay()
    }

    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn state(&self) -> &'static [&'static str] {
        (**self).state()
    }

    fn coefficients(&self, step: u64) -> [f32; 4] {
        (**self).coefficients(step)
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        (**self).update(recorder, pass)
    }

    fn reference(&self) -> reference::Rule {
        (**self).reference()
    }
}

/// The contracts of all kernels here.
pub(crate) fn contracts() -> Vec<Contract> {
    [
        gather::contracts().as_slice(),
        &linear::contracts(),
        &relu::contracts(),
        &leaky_relu::contracts(),
        &gelu::contracts(),
        &sigmoid::contracts(),
        &tanh::contracts(),
        &dropout::contracts(),
        &softmax_cross_entropy::contracts(),
        &mean_squared_error::contracts(),
        &clip::contracts(),
        &sgd::contracts(),
        &adam::contracts(),
        &ada_grad::contracts(),
        &rms_prop::contracts(),
        &sample::contracts(),
        &metrics::contracts(),
    ]
    .concat()
}

/// Sizes are bounded by [`MAX_WIDTH`](crate::MAX_WIDTH) and by what a buffer holds, far below
/// `u32::MAX`: more is a bug of ours.
pub(crate) fn to_u32(count: usize) -> u32 {
    assert!(
        u32::try_from(count).is_ok(),
        "{count} does not fit a shader's u32"
    );
    #[expect(clippy::cast_possible_truncation, reason = "just checked")]
    let count = count as u32;
    count
}
