//! Training neural networks on any GPU with hand-written WGSL compute shaders.
//!
//! Each layer's forward and backward pass is a compute shader that can be read; weights, data set,
//! minibatch sampling and the whole SGD loop stay on the GPU. Beside each shader lies the same
//! formula on [`ndarray`], which is the oracle of the tests. [`cpu`] is the engine of machines without a
//! GPU driver.
//!
//! # Train
//!
//! A network is plain data until it is built on a [`Gpu`]; a [`Trainer`] records one step of it and
//! runs it as often as asked:
//!
//! ```
//! use wgrad::data::{Sampling, synthetic};
//! use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
//! use wgrad::{Gpu, Sequential, Trainer};
//!
//! let digits = synthetic::digits_of(1, 2_000, 500)?;
//! let gpu = Gpu::new()?;
//! let network = Sequential::input(784).layer(Linear::new(50)).layer(Relu).layer(Linear::new(10));
//! let model = network.seed(42).build(&gpu)?;
//! let sampling = Sampling::WithReplacement { seed: 42 };
//! let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
//! let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 100, sampling)?;
//!
//! let losses = trainer.steps(200)?; // one readback
//! assert!(losses[199] < losses[0]);
//! let evaluation = trainer.evaluate(&digits.test)?;
//! assert!(evaluation.accuracy > Some(0.1));
//! # Ok::<(), wgrad::Error>(())
//! ```
//!
//! [`Trainer::plan`] lists what one step does, dispatch by dispatch. [`Trainer::predictions`] says which class
//! each example of a data set was taken for; a [`Confusion`] makes a table of that, class by class.
//!
//! # Networks that are no chain
//!
//! A [`Sequential`] can go back to a value: [`add`](Sequential::add) it to the last one, [`concat`](Sequential::concat)
//! both, or go on [`at`](Sequential::at) it. It can have [several inputs](Sequential::another_input), and a layer that is
//! given several times as one `Arc` has one set of parameters. Examples have [shapes](Shape) of one to four extents.
//!
//! # Parameters by name
//!
//! [`Parameters`] are arrays under names such as `layers.0.weight`: what [`Model::parameters`] reads,
//! [`Model::set_parameters`] writes, and [`Model::gradient`] returns for any loss and [`Targets`].
//! [`Model::activations`] says what each layer gives; [`Model::mix`] lets a network follow another one.
//!
//! ```
//! use wgrad::ndarray::Array2;
//! use wgrad::ops::{Linear, MeanSquaredError, Relu};
//! use wgrad::{Gpu, Sequential, Targets};
//!
//! let network = Sequential::input(3).layer(Linear::new(8)).named("skip");
//! let network = network.layer(Relu).layer(Linear::new(8)).add("skip").layer(Linear::new(1));
//! let model = network.build(&Gpu::new()?)?;
//! let (x, y) = (Array2::ones((5, 3)), Array2::zeros((5, 1)));
//! let gradients = model.gradient(&MeanSquaredError, x.view(), Targets::Values(y.view()))?;
//! assert_eq!(gradients["layers.2.weight"].shape(), [8, 8]);
//! # Ok::<(), wgrad::Error>(())
//! ```
//!
//! # Other optimizers, and values instead of classes
//!
//! [`ops`] has the optimizers of PyTorch by their names, learning rates that change
//! ([`ops::Schedule`]), and [`ops::MeanSquaredError`] for regression over a [`data::Table`] of floats:
//!
//! ```
//! use ndarray::Array2;
//! use wgrad::data::{Sampling, Table};
//! use wgrad::ops::{AdamW, Linear, MeanSquaredError, Optimizer, Schedule, Tanh};
//! use wgrad::{Gpu, Init, Sequential, Trainer};
//!
//! let x = Array2::from_shape_fn((256, 1), |(row, _)| row as f32 / 128.0 - 1.0);
//! let y = x.mapv(|x| (3.0 * x).sin());
//! let wave = Table::regression("wave", x.view(), y.view())?;
//! let linear = |outputs| Linear::new(outputs).weight_init(Init::XavierUniform);
//! let network = Sequential::input(1).layer(linear(32)).layer(Tanh).layer(linear(1));
//! let model = network.seed(1).build(&Gpu::new()?)?;
//! let optimizer = AdamW::new(0.03).scheduled(Schedule::cosine(480).warm_up(20));
//! let sampling = Sampling::Shuffled { seed: 1 };
//! let mut trainer = Trainer::new(model, MeanSquaredError, optimizer, &wave, 64, sampling)?;
//! let losses = trainer.steps(500)?;
//! assert!(losses[499] < losses[0] / 20.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Save, and go on
//!
//! [`Trainer::save`] writes weights and the state of the training to a safetensors file;
//! [`Trainer::resume`] goes on from it with the same bits as if nothing had happened.
//! [`Model::save`] writes the model alone. A file holds the network's layers as well: [`Model::load`] and [`cpu::Network::load`]
//! need nothing else. PyTorch reads and writes the same files: see [`checkpoint`].
//!
//! # Serve
//!
//! A [`cpu::Predictor`] answers a row of a small network in microseconds and without a GPU, a [`Predictor`] on one. [`softmax`],
//! [`sigmoid`] and [`Prediction::of`] say what outputs mean, and a [`ClassSampler`] draws classes.
//!
//! # Tables
//!
//! [`data::Records`] are the rows of a CSV, and [`data::Columns`] say what a network sees of them: numbers that are scaled, blanks,
//! categories by one-hot or by an embedding. They are fitted to the rows to train on, [`Sequential::of`] makes a network for
//! them, and its file keeps them. A [`Metric`] says how good it is by name, and [`EarlyStopping`] when to stop. With the feature `onnx`, `Model::export_onnx` writes the network for other runtimes.
//!
//! # Steps of your own
//!
//! [`Trainer::online`] takes steps on rows that are given now ([`Trainer::step_on`]), [`Trainer::external`] on what kernels
//! of the program have put into tensors, [`Trainer::streamed`] on blocks from an iterator. A [`Pass`] and an [`Updater`] are
//! the parts of a step: forward, any gradient by the outputs, backward, update. While it runs a training takes another
//! [learning rate](Trainer::set_learning_rate) or [optimizer](Trainer::set_optimizer), [groups](ops::Group) of
//! parameters and frozen ones, [accumulated](Trainer::accumulate) gradients, a [moving average](Trainer::average), and
//! keeps the [best parameters](Trainer::keep_if_best) so far.
//!
//! # On the CPU
//!
//! [`cpu::Trainer`] takes the same network, the same sampling and the same seed, and sees the
//! same minibatches. Without a GPU it is the faster of the two. [`Train`] is the trait of both, and [`Device::auto`] chooses.
//!
//! # Many processes
//!
//! [`Train::distribute`] shares the minibatches of a step out among processes, which have the bits of one: see
//! [`distributed`].
//!
//! # The book's network
//!
//! [`TwoLayerNet`] is the network of chapter 5 of "Deep Learning from Scratch", with its five
//! functions `predict`, `loss`, `accuracy`, `gradient` and `numerical_gradient`, and with the book's initial weights.
//! Other networks start by [what follows a layer](Init::Auto), or as they are told. [`MultiLayerNet`] is the network of
//! chapter 6.
//!
//! # Data
//!
//! A [`data::Dataset`] is labelled rows of bytes, which a network sees as `byte / 255`; a [`data::Table`] is rows of
//! floats with classes or values. [`data::mnist`] reads MNIST and data sets of its
//! form, and fetches it with the feature `download`; [`data::synthetic`] draws digits from strokes. Data that do not fit
//! in memory come as a [`data::Stream`].
//!
//! # A layer of your own
//!
//! A [`Layer`](ops::Layer) says by its [`LayerSpec`](ops::LayerSpec) what it gives, trains, keeps and does for rows of
//! a shape, records its kernels, and names its twin on ndarray. One call,
//! [`check_layer`], compares the kernels with their WGSL, the GPU with the twin, and the twin's gradient with
//! central differences, in all shapes that are known to make trouble; what is wrong is an error that says
//! so. This is a whole program, `examples/custom_layer.rs`:
//!
//! ```
#![doc = include_str!("../examples/custom_layer.rs")]
//! ```
//!
//! [`LayerCheck`] has settings: shapes, the range of inputs, the tolerance. [`kernel`] says what a kernel declares.
//! Losses and optimizers are open in the same way: see [`ops`]; [`check_loss`] checks a loss, as [`loss_check`] shows,
//! [`check_optimizer`] an optimizer (`examples/custom_optimizer.rs`).
//!
//! # Inside your own program
//!
//! [`Gpu::from_wgpu`] works in a device that your program owns, and leaves its error handlers alone.
//! [`Model::forward_plan`] is a forward pass from and to your buffers, for your command encoder;
//! [`Trainer::advance`] submits a few steps without waiting, `Trainer::advance_within` as many as fit a time of the frame,
//! and [`Trainer::encode`] puts them into your compute pass.
//! [`wgpu`] and [`ndarray`] are re-exported in the versions used here.
//!
//! # Errors
//!
//! Whatever a user can get wrong, and whatever a GPU can do to a program, is an [`Error`] that says
//! what was expected, what was found and what to do. A panic is a bug of this crate, but
//! where the documentation of a function has one under "Panics".
//!
//! # Limits
//!
//! GPUs may take numbers below 1.2e-38 in magnitude (subnormal ones) for 0, where the CPU has them: a setting that
//! is one is refused. So Adam, `AdaGrad` and `RMSProp` take the square of a gradient below 1e-19 for 0 there, and an
//! epsilon far below that then decides how long a step is. Whether a sum overflows on the way depends on its order,
//! which is another on each device. A loss is NaN wherever a logit is infinite or NaN, and infinite where it is too
//! large for `f32`, on every device; what its gradient is then is not said. The CPU path leaves features
//! that are 0 out of sums of the first layer over bytes, and of a single row that is mostly 0, even where their weights
//! are infinite.
mod best;
#[cfg(not(target_arch = "wasm32"))]
mod check;
pub mod checkpoint;
mod clock;
mod confusion;
mod conv_nets;
pub mod cpu;
pub mod data;
mod device;
#[cfg(not(target_arch = "wasm32"))]
pub mod distributed;
mod early_stopping;
mod error;
mod evaluation;
mod evaluator;
mod file_kind;
#[cfg(not(target_arch = "wasm32"))]
pub mod files;
mod fit;
pub mod gpu;
#[cfg(not(target_arch = "wasm32"))]
pub mod gradient_check;
mod guard;
pub mod init;
pub mod kernel;
mod latest;
#[cfg(not(target_arch = "wasm32"))]
pub mod layer_check;
#[cfg(not(target_arch = "wasm32"))]
pub mod loss_check;
mod memory;
mod metric;
mod model;
mod multi_layer_net;
mod network;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
#[cfg(not(target_arch = "wasm32"))]
pub mod optimizer_check;
mod pace;
mod parallel;
pub mod plan;
mod predictor;
mod probability;
pub mod random;
pub mod reference;
#[cfg(not(target_arch = "wasm32"))]
pub mod sanitize;
mod shape;
mod soundness;
mod steps;
pub mod tensor;
mod train;
mod trainer;
mod two_layer_net;
mod updater;

/// Guard bands for the kernels that only the trainer records.
#[cfg(test)]
#[path = "../tests/common/gpu.rs"]
mod testing;
// Under the name by which integration tests know it.
#[cfg(test)]
extern crate self as wgrad;

pub use bytemuck;
pub use ndarray;
pub use wgpu;
#[cfg(not(target_arch = "wasm32"))]
pub use wgsl_sanitizer;

/// For this crate's own tests and measurements; not part of the API.
#[doc(hidden)]
pub mod plumbing {
    use crate::kernel::Contract;
    pub use crate::ops::conv2d::Variant as ConvVariant;
    pub use crate::ops::linear::Variant;
    use crate::{ops, steps};

    /// The contracts of all kernels, for the tests that compare them with the shaders.
    #[must_use]
    pub fn contracts() -> Vec<Contract> {
        [ops::contracts(), steps::contracts()].concat()
    }

    /// The head of a network in one dispatch.
    pub mod head {
        pub use crate::ops::head::{
            Form, Head, HeadActivation, HeadLayer, HeadLoss, HeadPass, HeadScratch,
        };
    }

    /// What networks record between their layers.
    pub mod values {
        pub use crate::ops::add::{accumulate, add, copy, scale};
        pub use crate::ops::columns::copy as copy_columns;
        pub use crate::ops::metrics::count_step;
        pub use crate::ops::mix::record as mix_in;
        pub use crate::ops::row_weights::weigh;
    }

    /// One step of a training, to be measured: whoever runs it leaves the trainer's counters behind.
    #[must_use]
    pub fn step_plan(trainer: &crate::Trainer) -> Option<&crate::plan::Plan> {
        trainer.step_plan()
    }

    /// For each dispatch of a plan, in order, a plan of all the others, to be measured.
    pub fn leaving_one_out(plan: &crate::plan::Plan) -> impl Iterator<Item = crate::plan::Plan> {
        plan.leaving_one_out()
    }

    /// The tensors of all dispatches of a plan, in order, each as often as it is bound.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn tensors(plan: &crate::plan::Plan) -> Vec<crate::tensor::Tensor> {
        let recorded = plan.recorded();
        recorded
            .flat_map(|recorded| recorded.tensors.iter().cloned())
            .collect()
    }

    /// Everything that a training runs: its steps', and those of evaluations that were asked for.
    #[must_use]
    pub fn plans(trainer: &crate::Trainer) -> Vec<&crate::plan::Plan> {
        trainer.plans()
    }

    /// The gradient of max pooling behind a `Relu`, by the input of the `Relu`: what networks record for both.
    ///
    /// # Errors
    /// As [`Layer::backward`](ops::Layer::backward).
    pub fn max_pool_backward_relu(
        layer: &ops::MaxPool2d,
        recorder: &mut crate::plan::Recorder<'_>,
        pass: ops::Backward<'_>,
    ) -> Result<(), crate::Error> {
        layer.record_backward(recorder, &pass, true)
    }

    /// The messages of ONNX, to be read back.
    #[cfg(feature = "onnx")]
    pub mod onnx {
        pub use crate::onnx::proto::*;
    }

    /// Tensors between guard bands.
    pub mod guard {
        pub use crate::guard::{Contents, GuardSpec, Guarded, Touch};
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use checkpoint::CheckpointError;
pub use confusion::{ClassMetrics, Confusion, Prediction};
pub use conv_nets::{DeepConvNet, SimpleConvNet};
pub use device::Device;
pub use early_stopping::EarlyStopping;
pub use error::Error;
pub use error::Unfused;
pub use evaluation::Evaluation;
pub use gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
pub use gradient_check::gradient_check;
pub use init::Init;
#[cfg(not(target_arch = "wasm32"))]
pub use layer_check::{LayerCheck, check_layer};
#[cfg(not(target_arch = "wasm32"))]
pub use loss_check::{LossCheck, check_loss};
pub use metric::Metric;
pub use model::{Model, Pass};
pub use multi_layer_net::MultiLayerNet;
pub use network::{Activation, Parameters, PassSpec, Sequential, ValueRef, summary};
#[cfg(not(target_arch = "wasm32"))]
pub use optimizer_check::{OptimizerCheck, check_optimizer};
pub use predictor::Predictor;
pub use probability::{ClassSampler, sigmoid, softmax};
pub use reference::Targets;
#[cfg(not(target_arch = "wasm32"))]
pub use sanitize::{Sanitizer, sanitize};
pub use shape::{Shape, TensorShape};
pub use steps::{Batch, Fusion};
pub use train::{Later, Train};
pub use trainer::Trainer;
pub use two_layer_net::TwoLayerNet;
pub use updater::Updater;
