//! Training on either engine.

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

/// A future whose result describes the trainer at the time of the call, whatever happens before the future completes.
#[cfg(not(target_arch = "wasm32"))]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;
/// A future whose result describes the trainer at the time of the call, whatever happens before the future completes.
#[cfg(target_arch = "wasm32")]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A training on a GPU ([`Trainer`]) or on the CPU ([`cpu::Trainer`]), for programs that support both engines.
///
/// Each method does the same as the method of the same name of the trainer, or of its network, with the same errors. A
/// method whose name ends in `_async` returns a future. The method without this ending, if there is one, waits for the
/// result.
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
    /// Starts `count` steps and returns; on the CPU, takes them before it returns. [`losses`](Self::losses) reads their
    /// losses.
    ///
    /// # Errors
    /// The errors of [`Trainer::advance`].
    fn advance(&mut self, count: usize) -> Result<(), Error>;

    /// Starts as many steps as fit in `time`, and returns their number; call it once per frame. On the CPU, takes the
    /// steps before it returns: at least one step, even from a stream.
    ///
    /// # Errors
    /// The errors of [`Trainer::advance_within`].
    fn advance_within(&mut self, time: Duration) -> Result<usize, Error>;

    /// Starts a step on the minibatch `x` (rows, features); on the CPU, takes it before it returns.
    ///
    /// # Errors
    /// The errors of [`Trainer::advance_on`].
    fn advance_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<(), Error>;

    /// [`advance_on`](Self::advance_on) with one weight per row.
    ///
    /// # Errors
    /// The errors of [`Trainer::advance_on_weighted`].
    fn advance_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<(), Error>;

    /// The number of steps started.
    fn steps_taken(&self) -> u64;

    /// Returns a future that completes when all steps started so far have ended.
    fn done(&self) -> Later<()>;

    /// Reads the losses of the last `count` steps; at most 16,384 are stored.
    fn losses_async(&self, count: usize) -> Later<Vec<f32>>;

    /// Computes the mean loss and the accuracy over a data set.
    fn evaluate_async(&mut self, examples: &dyn ToExamples) -> Later<Evaluation>;

    /// Computes the outputs (rows, outputs) for the inputs `x` (rows, features).
    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>>;

    /// Computes the outputs for every example of a data set, of shape (examples, outputs).
    fn outputs_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// Computes the probability of every class for every example, of shape (examples, classes).
    fn probabilities_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// Computes a [`Metric`] from the network's outputs for a data set.
    fn metric_async(&mut self, metric: Metric, examples: &dyn ToExamples) -> Later<f64>;

    /// Reads all parameters.
    fn parameters_async(&self) -> Later<Parameters>;

    /// Reads the parameter called `name`.
    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>>;

    /// Reads the state of all layers.
    fn state_async(&self) -> Later<Parameters>;

    /// Replaces all parameters.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_parameters`].
    fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error>;

    /// Replaces the parameter called `name`.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_parameter`].
    fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error>;

    /// Replaces the state of all layers.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_state`].
    fn set_state(&mut self, values: &Parameters) -> Result<(), Error>;

    /// Writes the parameters and the training state into the bytes of a safetensors file.
    ///
    /// # Errors
    /// The errors of [`Trainer::to_safetensors`].
    #[cfg(not(target_arch = "wasm32"))]
    fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_safetensors_async())
    }

    /// Writes the parameters and the training state into the bytes of a safetensors file.
    fn to_safetensors_async(&self) -> Later<Vec<u8>>;

    /// Resumes from a file that [`to_safetensors_async`](Self::to_safetensors_async) made.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_safetensors`].
    fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Resumes from a file that [`to_safetensors_async`](Self::to_safetensors_async) made. The settings that `changes`
    /// names may differ from the file's.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_safetensors_with`].
    fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error>;

    /// Loads only the parameters and the layers' state from a file.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_weights`].
    fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Describes in one line how a step is computed.
    fn plan_in_words(&self) -> String;

    /// Frees the GPU memory at once; the trainer cannot be used afterwards. If a trainer in a browser were only
    /// dropped, its memory would stay allocated until the next garbage collection.
    fn destroy(&self);

    /// The current optimizer.
    fn optimizer(&self) -> &dyn Optimizer;

    /// Sets the learning rate of the following steps.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_learning_rate`].
    fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error>;

    /// Replaces the optimizer.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_optimizer`].
    fn set_optimizer(&mut self, optimizer: Box<dyn Optimizer>) -> Result<(), Error>;

    /// Assigns parameters to a group, whose settings change how the optimizer updates them.
    ///
    /// # Errors
    /// The errors of [`Trainer::set_group`].
    fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error>;

    /// Makes each following step accumulate the gradients of `minibatches` minibatches.
    ///
    /// # Errors
    /// The errors of [`Trainer::accumulate`].
    fn accumulate(&mut self, minibatches: usize) -> Result<(), Error>;

    /// Distributes all following steps among processes.
    ///
    /// # Errors
    /// The errors of [`Trainer::distribute`].
    #[cfg(not(target_arch = "wasm32"))]
    fn distribute(&mut self, distribution: Distribution) -> Result<(), Error>;

    /// Keeps a moving average of all parameters, which starts at their current values.
    ///
    /// # Errors
    /// The errors of [`Trainer::average`].
    fn average(&mut self, decay: f32) -> Result<(), Error>;

    /// Reads the moving average; `None` if [`average`](Self::average) was never called.
    fn averaged_async(&self) -> Later<Option<Parameters>>;

    /// Freezes parameters: steps no longer change their values.
    ///
    /// # Errors
    /// The errors of [`Trainer::freeze`].
    fn freeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// Trains frozen parameters again.
    ///
    /// # Errors
    /// The errors of [`Trainer::unfreeze`].
    fn unfreeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// The metric of the parameters that [`keep_if_best`](Self::keep_if_best) stored, and the number of steps taken
    /// before they were stored. [`EarlyStopping`](crate::EarlyStopping) passes a negated metric if higher is better.
    fn best(&self) -> Option<(f64, u64)>;

    /// Drops the stored parameters.
    fn forget_best(&mut self);

    /// Stores a copy of the parameters if `metric` is the lowest so far. Returns whether it stored them.
    ///
    /// # Errors
    /// The errors of [`Trainer::keep_if_best`].
    fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error>;

    /// Restores the stored parameters.
    ///
    /// # Errors
    /// The errors of [`Trainer::restore_best`].
    fn restore_best(&mut self) -> Result<(), Error>;

    /// Waits until all steps started so far have ended.
    ///
    /// # Errors
    /// The errors of [`Gpu::wait`](crate::Gpu::wait).
    #[cfg(not(target_arch = "wasm32"))]
    fn wait(&self) -> Result<(), Error> {
        block_on(self.done())
    }

    /// Reads the losses of the last `count` steps; at most 16,384 are stored.
    ///
    /// # Errors
    /// The errors of [`Trainer::losses`].
    #[cfg(not(target_arch = "wasm32"))]
    fn losses(&self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.losses_async(count))
    }

    /// Computes the outputs (rows, outputs) for the inputs `x` (rows, features).
    ///
    /// # Errors
    /// The errors of [`Trainer::predict_async`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predict(&mut self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        block_on(self.predict_async(x))
    }

    /// Computes the outputs for every example of a data set, of shape (examples, outputs).
    ///
    /// # Errors
    /// The errors of [`Trainer::outputs`].
    #[cfg(not(target_arch = "wasm32"))]
    fn outputs(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.outputs_async(examples))
    }

    /// Computes the probability of every class for every example, of shape (examples, classes).
    ///
    /// # Errors
    /// The errors of [`Trainer::probabilities`].
    #[cfg(not(target_arch = "wasm32"))]
    fn probabilities(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.probabilities_async(examples))
    }

    /// Computes a [`Metric`] from the network's outputs for a data set.
    ///
    /// # Errors
    /// The errors of [`Trainer::metric`].
    #[cfg(not(target_arch = "wasm32"))]
    fn metric(&mut self, metric: Metric, examples: &dyn ToExamples) -> Result<f64, Error> {
        block_on(self.metric_async(metric, examples))
    }

    /// Reads all parameters.
    ///
    /// # Errors
    /// The errors of [`Model::parameters`](crate::Model::parameters).
    #[cfg(not(target_arch = "wasm32"))]
    fn parameters(&self) -> Result<Parameters, Error> {
        block_on(self.parameters_async())
    }

    /// Reads the parameter called `name`.
    ///
    /// # Errors
    /// The errors of [`Model::parameter`](crate::Model::parameter).
    #[cfg(not(target_arch = "wasm32"))]
    fn parameter(&self, name: &str) -> Result<ArrayD<f32>, Error> {
        block_on(self.parameter_async(name))
    }

    /// Reads the state of all layers.
    ///
    /// # Errors
    /// The errors of [`Model::state`](crate::Model::state).
    #[cfg(not(target_arch = "wasm32"))]
    fn state(&self) -> Result<Parameters, Error> {
        block_on(self.state_async())
    }

    /// Reads the moving average; `None` if [`average`](Self::average) was never called.
    ///
    /// # Errors
    /// The errors of [`Trainer::averaged`].
    #[cfg(not(target_arch = "wasm32"))]
    fn averaged(&self) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async())
    }

    /// Returns whether the stream has ended and all its minibatches were used.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_finished(&self) -> bool;

    /// The number of rows at the end of a stream that do not fill a minibatch; `None` until the stream is finished.
    #[cfg(not(target_arch = "wasm32"))]
    fn rows_left(&self) -> Option<usize>;

    /// Takes `count` steps. Returns the loss of each step.
    ///
    /// # Errors
    /// The errors of [`Trainer::steps`].
    #[cfg(not(target_arch = "wasm32"))]
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    /// Takes a step on the minibatch `x` (rows, features). Returns its mean loss.
    ///
    /// # Errors
    /// The errors of [`Trainer::step_on`].
    #[cfg(not(target_arch = "wasm32"))]
    fn step_on(&mut self, x: ArrayView2<'_, f32>, targets: Targets<'_, f32>) -> Result<f32, Error>;

    /// [`step_on`](Self::step_on) with one weight per row.
    ///
    /// # Errors
    /// The errors of [`Trainer::step_on_weighted`].
    #[cfg(not(target_arch = "wasm32"))]
    fn step_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<f32, Error>;

    /// Computes the mean loss and the accuracy over a data set.
    ///
    /// # Errors
    /// The errors of [`Trainer::evaluate`].
    #[cfg(not(target_arch = "wasm32"))]
    fn evaluate(&mut self, examples: &dyn ToExamples) -> Result<Evaluation, Error>;

    /// Returns the predicted class of every example, and its probability.
    ///
    /// # Errors
    /// The errors of [`Trainer::predictions`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predictions(&mut self, examples: &dyn ToExamples) -> Result<Vec<Prediction>, Error>;

    /// Writes the parameters and the training state to a file.
    ///
    /// # Errors
    /// The errors of [`Trainer::save`].
    #[cfg(not(target_arch = "wasm32"))]
    fn save(&self, path: &Path) -> Result<(), Error>;

    /// Resumes from a file.
    ///
    /// # Errors
    /// The errors of [`Trainer::resume`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume(&mut self, path: &Path) -> Result<(), Error> {
        self.resume_with(path, Changes::new())
    }

    /// Resumes from a file. The settings that `changes` names may differ from the file's.
    ///
    /// # Errors
    /// The errors of [`Trainer::resume_with`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume_with(&mut self, path: &Path, changes: Changes) -> Result<(), Error>;
}
