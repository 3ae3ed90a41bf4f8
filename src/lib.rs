//! Train neural networks on any GPU, natively or in a browser, with hand-written WGSL compute shaders.
//!
//! Each layer's forward pass and backward pass is one short shader, which opens with its mathematics. Parameters, data
//! set, minibatches and the state of the training loop stay in GPU buffers. The tests compare each shader with a
//! reference: the same formula on [`ndarray`]. Machines without a GPU train on the CPU engine, [`cpu`].
//!
//! ```
//! use wgrad::data::{Sampling, synthetic};
//! use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
//! use wgrad::{Device, Sequential};
//!
//! let digits = synthetic::digits_of(1, 2_000, 500)?; // or data::mnist::open_or_download()
//! let network = Sequential::input(784).layer(Linear::new(50)).layer(Relu).layer(Linear::new(10));
//! let loss = SoftmaxCrossEntropy;
//! let sgd = Sgd::new(0.1);
//! let sampling = Sampling::Shuffled { seed: 42 };
//! let device = Device::auto(); // a GPU, or the CPU engine where there is none
//! let mut trainer = device.trainer(&network.seed(42), loss, sgd, &digits.train, 100, sampling)?;
//!
//! let losses = trainer.steps(200)?; // 200 minibatches, one readback
//! assert!(losses[199] < losses[0]);
//! let evaluation = trainer.evaluate(&digits.test)?;
//! assert!(evaluation.accuracy > Some(0.1));
//! # Ok::<(), wgrad::Error>(())
//! ```
//!
//! **[The guide](guide) shows each task with a program**: your own data, your own training loop, training inside a wgpu
//! program, checkpoints, a layer of your own.
//!
//! # Map
//!
//! To **use** it:
//!
//! | | |
//! |---|---|
//! | [`Sequential`], [`ops`], [`Init`] | describe a network: its layers, loss and optimizer |
//! | [`data`] | data sets: MNIST, tables, CSV files, streams, synthetic digits |
//! | [`Device`], [`Train`] | choose an engine; train on either engine by the same code |
//! | [`Gpu`], [`Model`], [`Trainer`], [`Predictor`] | the GPU engine |
//! | [`cpu`] | the CPU engine: `Network`, `Trainer`, `Predictor` |
//! | [`Pass`], [`Updater`] | the parts of a step, for your own training loop: forward, backward, update |
//! | [`EarlyStopping`], [`Metric`], [`Confusion`], [`Evaluation`] | measure how good a network is; stop its training |
//! | [`softmax`], [`sigmoid`], [`Prediction`], [`ClassSampler`] | turn outputs into probabilities and classes |
//! | [`checkpoint`], [`Parameters`] | files of parameters and training state; parameters by name |
//! | [`distributed`] | training by several processes |
//! | [`TwoLayerNet`], [`MultiLayerNet`], [`SimpleConvNet`], [`DeepConvNet`] | networks of "Deep Learning from Scratch" |
//!
//! To **extend** it:
//!
//! | | |
//! |---|---|
//! | [`ops::Layer`], [`ops::Loss`], [`ops::Optimizer`] | the traits to implement for a GPU |
//! | [`reference`](mod@reference) | the same formulas on [`ndarray`], in `f32` and `f64` |
//! | [`kernel`], [`plan`], [`tensor`] | declarations of a kernel, recorded dispatches, GPU buffers with a shape |
//! | [`check_layer`], [`check_loss`], [`check_optimizer`] | check a layer, a loss or an optimizer in one call |
//!
//! To **inspect** it:
//!
//! | | |
//! |---|---|
//! | [`Trainer::plan`], [`summary`] | the dispatches of a step; the layers of a network |
//! | [`sanitize`](mod@sanitize) | interprets a plan and reports data races and accesses out of bounds |
//! | [`gradient_check`](mod@gradient_check) | compares backpropagation with central differences |
//! | [`random`], [`init`], [`gpu`], [`files`] | random numbers, initial weights, adapters, atomic writes of files |
//!
//! The features `download`, `gemm`, `onnx` and `mpi` are off by default: see
//! [the guide](guide#features-and-versions), which also has the [limits](guide#limits).
//!
//! # Errors
//!
//! Every mistake of the caller and every failure of a GPU is an [`Error`], which says what was expected, what was found
//! and what to do. Functions panic only where their documentation says so; any other panic is a bug of this crate.
#![cfg_attr(docsrs, feature(doc_cfg))]

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

/// The integration tests' helpers for running kernels. Unit tests use them for kernels that only the trainer records:
/// they put guard bands around the tensors of these kernels.
#[cfg(test)]
#[path = "../tests/common/gpu.rs"]
mod testing;
// Integration tests know this crate by this name; the unit tests share code with them.
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

    /// A network's last layers, computed together by fused kernels.
    pub mod head {
        pub use crate::ops::head::{
            Form, Head, HeadActivation, HeadLayer, HeadLoss, HeadPass, HeadScratch,
        };
    }

    /// Kernels that networks record between layers.
    pub mod values {
        pub use crate::ops::add::{accumulate, add, copy, scale};
        pub use crate::ops::columns::copy as copy_columns;
        pub use crate::ops::metrics::count_step;
        pub use crate::ops::mix::record as mix_in;
        pub use crate::ops::row_weights::weigh;
    }

    /// The plan of one training step, for benchmarks. Running the plan counts a step on the device but not in the
    /// trainer on the host, so do not train with this trainer afterwards.
    #[must_use]
    pub fn step_plan(trainer: &crate::Trainer) -> Option<&crate::plan::Plan> {
        trainer.step_plan()
    }

    /// For each dispatch of `plan`, in order: a copy of the plan without this dispatch. A benchmark compares the times.
    pub fn leaving_one_out(plan: &crate::plan::Plan) -> impl Iterator<Item = crate::plan::Plan> {
        plan.leaving_one_out()
    }

    /// The tensors that the dispatches of `plan` bind, in order. A tensor that is bound twice is listed twice.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn tensors(plan: &crate::plan::Plan) -> Vec<crate::tensor::Tensor> {
        let recorded = plan.recorded();
        recorded
            .flat_map(|recorded| recorded.tensors.iter().cloned())
            .collect()
    }

    /// All recorded plans of a trainer: those of its steps, and those of the evaluations requested so far.
    #[must_use]
    pub fn plans(trainer: &crate::Trainer) -> Vec<&crate::plan::Plan> {
        trainer.plans()
    }

    /// Records the backward pass of a max pooling that follows a `Relu`, fused: it computes the gradient of the input
    /// of the `Relu`. Networks record it for these two layers.
    ///
    /// # Errors
    /// The errors of [`Layer::backward`](ops::Layer::backward).
    pub fn max_pool_backward_relu(
        layer: &ops::MaxPool2d,
        recorder: &mut crate::plan::Recorder<'_>,
        pass: ops::Backward<'_>,
    ) -> Result<(), crate::Error> {
        layer.record_backward(recorder, &pass, true)
    }

    /// The protocol buffer messages of the ONNX format, for tests that decode a written file.
    #[cfg(feature = "onnx")]
    pub mod onnx {
        pub use crate::onnx::proto::*;
    }

    /// Tensors with guard bands: elements before and after them that reveal accesses out of bounds.
    pub mod guard {
        pub use crate::guard::{Contents, GuardSpec, Guarded, Touch};
    }
}

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

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
