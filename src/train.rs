//! Training, whatever it runs on.

mod engines;

use std::fmt::Debug;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD};

use crate::checkpoint::Changes;
#[cfg(not(target_arch = "wasm32"))]
use crate::confusion::Prediction;
#[cfg(doc)]
use crate::cpu;
use crate::data::ToExamples;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::Distribution;
use crate::error::Error;
use crate::evaluation::Evaluation;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::metric::Metric;
use crate::network::Parameters;
use crate::ops::{Group, Optimizer};
use crate::reference::Targets;
#[cfg(doc)]
use crate::trainer::Trainer;

/// An answer of the time of the question: whatever happens until it is awaited does not change it.
#[cfg(not(target_arch = "wasm32"))]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;
/// An answer of the time of the question: whatever happens until it is awaited does not change it.
#[cfg(target_arch = "wasm32")]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A training on a GPU, [`Trainer`], or on the processor, [`cpu::Trainer`]: for programs that are written once for
/// both. Each method is that of the same name there, or of the network there, with the same errors. A name that ends in
/// `_async` is answered later; the same name without it, where there is one, waits for the answer.
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{Device, Train, TwoLayerNet};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let device = Device::auto();
/// println!("{device}");
/// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let network = TwoLayerNet::spec(784, 50, 10);
/// let mut trainer: Box<dyn Train> =
///     device.trainer(&network, loss, optimizer, &digits.train, 100, sampling)?;
/// trainer.steps(100)?;
/// println!("{}", trainer.evaluate(&digits.test)?);
/// # Ok::<(), wgrad::Error>(())
/// ```
pub trait Train: Debug + wgpu::WasmNotSend {
    /// Begins `count` steps and returns; on the processor, takes them. Their losses are among [`losses`](Self::losses).
    ///
    /// # Errors
    /// As [`Trainer::advance`].
    fn advance(&mut self, count: usize) -> Result<(), Error>;

    /// Begins as many steps as fit a time, once a frame, and returns how many; on the processor, takes them, and at least
    /// one, of a stream, too.
    ///
    /// # Errors
    /// As [`Trainer::advance_within`].
    fn advance_within(&mut self, time: Duration) -> Result<usize, Error>;

    /// Begins a step on rows that are given now; on the processor, takes it.
    ///
    /// # Errors
    /// As [`Trainer::advance_on`].
    fn advance_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<(), Error>;

    /// The same with a weight of each row.
    ///
    /// # Errors
    /// As [`Trainer::advance_on_weighted`].
    fn advance_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<(), Error>;

    /// Steps begun.
    fn steps_taken(&self) -> u64;

    /// Ready when all steps begun are done.
    fn done(&self) -> Later<()>;

    /// Losses of the last `count` steps, of 16,384 at the most: earlier ones are gone.
    fn losses_async(&self, count: usize) -> Later<Vec<f32>>;

    /// Mean loss and accuracy over a data set.
    fn evaluate_async(&mut self, examples: &dyn ToExamples) -> Later<Evaluation>;

    /// Outputs (rows, outputs) of rows `x` (rows, features).
    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>>;

    /// What the network gives for every example of a data set, (examples, outputs).
    fn outputs_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// The probability of every class for every example, (examples, classes).
    fn probabilities_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// How good the outputs for a data set are.
    fn metric_async(&mut self, metric: Metric, examples: &dyn ToExamples) -> Later<f64>;

    /// All parameters.
    fn parameters_async(&self) -> Later<Parameters>;

    /// The parameter of this name.
    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>>;

    /// The state of all layers.
    fn state_async(&self) -> Later<Parameters>;

    /// Replaces all parameters.
    ///
    /// # Errors
    /// As [`Trainer::set_parameters`].
    fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error>;

    /// Replaces the parameter of this name.
    ///
    /// # Errors
    /// As [`Trainer::set_parameter`].
    fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error>;

    /// Replaces the state of all layers.
    ///
    /// # Errors
    /// As [`Trainer::set_state`].
    fn set_state(&mut self, values: &Parameters) -> Result<(), Error>;

    /// The state of the training as a safetensors file.
    ///
    /// # Errors
    /// As [`Trainer::to_safetensors`].
    #[cfg(not(target_arch = "wasm32"))]
    fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_safetensors_async())
    }

    /// The state of the training as a safetensors file.
    fn to_safetensors_async(&self) -> Later<Vec<u8>>;

    /// Goes on from such a file.
    ///
    /// # Errors
    /// As [`Trainer::set_safetensors`].
    fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Goes on from such a file, whose training may differ in what `changes` names.
    ///
    /// # Errors
    /// As [`Trainer::set_safetensors_with`].
    fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error>;

    /// Takes the weights alone out of a file.
    ///
    /// # Errors
    /// As [`Trainer::set_weights`].
    fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// How a step is made, in a line.
    fn plan_in_words(&self) -> String;

    /// Frees what is on a GPU at once, where dropping it would leave it there until a browser collects its garbage. The
    /// training is of no use afterwards.
    fn destroy(&self);

    /// The optimizer as it is now.
    fn optimizer(&self) -> &dyn Optimizer;

    /// Goes on with another learning rate.
    ///
    /// # Errors
    /// As [`Trainer::set_learning_rate`].
    fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error>;

    /// Goes on with another optimizer.
    ///
    /// # Errors
    /// As [`Trainer::set_optimizer`].
    fn set_optimizer(&mut self, optimizer: Box<dyn Optimizer>) -> Result<(), Error>;

    /// Updates parameters in another way than the optimizer says.
    ///
    /// # Errors
    /// As [`Trainer::set_group`].
    fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error>;

    /// Makes each step of so many minibatches from now on.
    ///
    /// # Errors
    /// As [`Trainer::accumulate`].
    fn accumulate(&mut self, minibatches: usize) -> Result<(), Error>;

    /// Shares the steps from now on out among processes.
    ///
    /// # Errors
    /// As [`Trainer::distribute`].
    #[cfg(not(target_arch = "wasm32"))]
    fn distribute(&mut self, distribution: Distribution) -> Result<(), Error>;

    /// Keeps a moving average of all parameters from now on.
    ///
    /// # Errors
    /// As [`Trainer::average`].
    fn average(&mut self, decay: f32) -> Result<(), Error>;

    /// The moving average, if one is kept.
    fn averaged_async(&self) -> Later<Option<Parameters>>;

    /// Leaves parameters as they are from now on.
    ///
    /// # Errors
    /// As [`Trainer::freeze`].
    fn freeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// Goes on with frozen parameters.
    ///
    /// # Errors
    /// As [`Trainer::unfreeze`].
    fn unfreeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// Metric and step of the parameters that are kept. An [`EarlyStopping`](crate::EarlyStopping) keeps them by its metric
    /// with the sign turned where a higher one is better.
    fn best(&self) -> Option<(f64, u64)>;

    /// Keeps no parameters any more.
    fn forget_best(&mut self);

    /// Keeps a copy of the parameters if `metric` is the lowest so far.
    ///
    /// # Errors
    /// As [`Trainer::keep_if_best`].
    fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error>;

    /// Takes the parameters that are kept for those of the training.
    ///
    /// # Errors
    /// As [`Trainer::restore_best`].
    fn restore_best(&mut self) -> Result<(), Error>;

    /// Returns when all steps begun are done.
    ///
    /// # Errors
    /// As [`Gpu::wait`](crate::Gpu::wait).
    #[cfg(not(target_arch = "wasm32"))]
    fn wait(&self) -> Result<(), Error> {
        block_on(self.done())
    }

    /// Losses of the last `count` steps, of 16,384 at the most.
    ///
    /// # Errors
    /// As [`Trainer::losses`].
    #[cfg(not(target_arch = "wasm32"))]
    fn losses(&self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.losses_async(count))
    }

    /// Outputs (rows, outputs) of rows `x` (rows, features).
    ///
    /// # Errors
    /// As [`Trainer::predict_async`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predict(&mut self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        block_on(self.predict_async(x))
    }

    /// What the network gives for every example of a data set, (examples, outputs).
    ///
    /// # Errors
    /// As [`Trainer::outputs`].
    #[cfg(not(target_arch = "wasm32"))]
    fn outputs(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.outputs_async(examples))
    }

    /// The probability of every class for every example, (examples, classes).
    ///
    /// # Errors
    /// As [`Trainer::probabilities`].
    #[cfg(not(target_arch = "wasm32"))]
    fn probabilities(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.probabilities_async(examples))
    }

    /// How good the outputs for a data set are.
    ///
    /// # Errors
    /// As [`Trainer::metric`].
    #[cfg(not(target_arch = "wasm32"))]
    fn metric(&mut self, metric: Metric, examples: &dyn ToExamples) -> Result<f64, Error> {
        block_on(self.metric_async(metric, examples))
    }

    /// All parameters.
    ///
    /// # Errors
    /// As [`Model::parameters`](crate::Model::parameters).
    #[cfg(not(target_arch = "wasm32"))]
    fn parameters(&self) -> Result<Parameters, Error> {
        block_on(self.parameters_async())
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// As [`Model::parameter`](crate::Model::parameter).
    #[cfg(not(target_arch = "wasm32"))]
    fn parameter(&self, name: &str) -> Result<ArrayD<f32>, Error> {
        block_on(self.parameter_async(name))
    }

    /// The state of all layers.
    ///
    /// # Errors
    /// As [`Model::state`](crate::Model::state).
    #[cfg(not(target_arch = "wasm32"))]
    fn state(&self) -> Result<Parameters, Error> {
        block_on(self.state_async())
    }

    /// The moving average, if one is kept.
    ///
    /// # Errors
    /// As [`Trainer::averaged`].
    #[cfg(not(target_arch = "wasm32"))]
    fn averaged(&self) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async())
    }

    /// Whether a stream has ended and all of its minibatches were trained on.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_finished(&self) -> bool;

    /// How many rows at the end of a stream fill no minibatch, once it is finished.
    #[cfg(not(target_arch = "wasm32"))]
    fn rows_left(&self) -> Option<usize>;

    /// Takes `count` steps; returns the loss of each.
    ///
    /// # Errors
    /// As [`Trainer::steps`].
    #[cfg(not(target_arch = "wasm32"))]
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    /// Takes a step on rows that are given now; returns their loss.
    ///
    /// # Errors
    /// As [`Trainer::step_on`].
    #[cfg(not(target_arch = "wasm32"))]
    fn step_on(&mut self, x: ArrayView2<'_, f32>, targets: Targets<'_, f32>) -> Result<f32, Error>;

    /// The same with a weight of each row.
    ///
    /// # Errors
    /// As [`Trainer::step_on_weighted`].
    #[cfg(not(target_arch = "wasm32"))]
    fn step_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<f32, Error>;

    /// Mean loss and accuracy over a data set.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    #[cfg(not(target_arch = "wasm32"))]
    fn evaluate(&mut self, examples: &dyn ToExamples) -> Result<Evaluation, Error>;

    /// What every example is taken for.
    ///
    /// # Errors
    /// As [`Trainer::predictions`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predictions(&mut self, examples: &dyn ToExamples) -> Result<Vec<Prediction>, Error>;

    /// Writes the training to a file.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    #[cfg(not(target_arch = "wasm32"))]
    fn save(&self, path: &Path) -> Result<(), Error>;

    /// Goes on from a file.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume(&mut self, path: &Path) -> Result<(), Error> {
        self.resume_with(path, Changes::new())
    }

    /// Goes on from a file, whose training may differ in what `changes` names.
    ///
    /// # Errors
    /// As [`Trainer::resume_with`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume_with(&mut self, path: &Path, changes: Changes) -> Result<(), Error>;
}
