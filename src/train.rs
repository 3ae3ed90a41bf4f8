//! Training on any engine.

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

/// A result as of the time of the call: nothing that happens until it is awaited changes it.
#[cfg(not(target_arch = "wasm32"))]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;
/// A result as of the time of the call: nothing that happens until it is awaited changes it.
#[cfg(target_arch = "wasm32")]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A training on a GPU ([`Trainer`]) or on the CPU ([`cpu::Trainer`]), for programs that are written once for both.
///
/// Each method does what the method of the same name does in the trainer or its network, with the same errors. A
/// method whose name ends in `_async` returns a future. The method without that ending, if there is one, waits for the
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
    /// Starts `count` steps and returns; on the CPU, takes them. [`losses`](Self::losses) returns their losses.
    ///
    /// # Errors
    /// As [`Trainer::advance`].
    fn advance(&mut self, count: usize) -> Result<(), Error>;

    /// Starts as many steps as fit in `time` and returns their number; call it once per frame. On the CPU it takes
    /// them: at least one, also from a stream.
    ///
    /// # Errors
    /// As [`Trainer::advance_within`].
    fn advance_within(&mut self, time: Duration) -> Result<usize, Error>;

    /// Starts a step on the given rows; on the CPU, takes it.
    ///
    /// # Errors
    /// As [`Trainer::advance_on`].
    fn advance_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<(), Error>;

    /// [`advance_on`](Self::advance_on) with a weight for each row.
    ///
    /// # Errors
    /// As [`Trainer::advance_on_weighted`].
    fn advance_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<(), Error>;

    /// Number of steps started.
    fn steps_taken(&self) -> u64;

    /// Waits until all steps started so far are done.
    fn done(&self) -> Later<()>;

    /// Losses of the last `count` steps, at most 16,384: earlier ones are not kept.
    fn losses_async(&self, count: usize) -> Later<Vec<f32>>;

    /// Mean loss and accuracy over a data set.
    fn evaluate_async(&mut self, examples: &dyn ToExamples) -> Later<Evaluation>;

    /// Outputs (rows, outputs) for the rows of `x` (rows, features).
    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>>;

    /// Outputs for every example of a data set (examples, outputs).
    fn outputs_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// Probability of every class for every example (examples, classes).
    fn probabilities_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>>;

    /// The value of a metric for a data set.
    fn metric_async(&mut self, metric: Metric, examples: &dyn ToExamples) -> Later<f64>;

    /// All parameters.
    fn parameters_async(&self) -> Later<Parameters>;

    /// The parameter with this name.
    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>>;

    /// The state of all layers.
    fn state_async(&self) -> Later<Parameters>;

    /// Replaces all parameters.
    ///
    /// # Errors
    /// As [`Trainer::set_parameters`].
    fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error>;

    /// Replaces the parameter with this name.
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

    /// Continues from a file made by [`to_safetensors_async`](Self::to_safetensors_async).
    ///
    /// # Errors
    /// As [`Trainer::set_safetensors`].
    fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Continues from such a file, whose training may differ in the properties that `changes` names.
    ///
    /// # Errors
    /// As [`Trainer::set_safetensors_with`].
    fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error>;

    /// Takes only the weights from a file.
    ///
    /// # Errors
    /// As [`Trainer::set_weights`].
    fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Describes in one line how a step is computed.
    fn plan_in_words(&self) -> String;

    /// Frees the GPU memory at once; dropping the trainer would leave it allocated until a browser collects its
    /// garbage. The trainer cannot be used afterwards.
    fn destroy(&self);

    /// The present optimizer.
    fn optimizer(&self) -> &dyn Optimizer;

    /// Continues with another learning rate.
    ///
    /// # Errors
    /// As [`Trainer::set_learning_rate`].
    fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error>;

    /// Continues with another optimizer.
    ///
    /// # Errors
    /// As [`Trainer::set_optimizer`].
    fn set_optimizer(&mut self, optimizer: Box<dyn Optimizer>) -> Result<(), Error>;

    /// Gives a group of parameters its own update settings.
    ///
    /// # Errors
    /// As [`Trainer::set_group`].
    fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error>;

    /// Computes each following step from this number of minibatches.
    ///
    /// # Errors
    /// As [`Trainer::accumulate`].
    fn accumulate(&mut self, minibatches: usize) -> Result<(), Error>;

    /// Shares all following steps among processes.
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

    /// Freezes parameters: they keep their values from now on.
    ///
    /// # Errors
    /// As [`Trainer::freeze`].
    fn freeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// Resumes updating frozen parameters.
    ///
    /// # Errors
    /// As [`Trainer::unfreeze`].
    fn unfreeze(&mut self, parameters: &str) -> Result<(), Error>;

    /// Metric and step of the kept parameters. [`EarlyStopping`](crate::EarlyStopping) negates its metric if higher is
    /// better.
    fn best(&self) -> Option<(f64, u64)>;

    /// Drops the kept parameters.
    fn forget_best(&mut self);

    /// Keeps a copy of the parameters if `metric` is the lowest so far; returns whether it does.
    ///
    /// # Errors
    /// As [`Trainer::keep_if_best`].
    fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error>;

    /// Restores the kept parameters.
    ///
    /// # Errors
    /// As [`Trainer::restore_best`].
    fn restore_best(&mut self) -> Result<(), Error>;

    /// Waits until all steps started so far are done.
    ///
    /// # Errors
    /// As [`Gpu::wait`](crate::Gpu::wait).
    #[cfg(not(target_arch = "wasm32"))]
    fn wait(&self) -> Result<(), Error> {
        block_on(self.done())
    }

    /// Losses of the last `count` steps, at most 16,384.
    ///
    /// # Errors
    /// As [`Trainer::losses`].
    #[cfg(not(target_arch = "wasm32"))]
    fn losses(&self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.losses_async(count))
    }

    /// Outputs (rows, outputs) for the rows of `x` (rows, features).
    ///
    /// # Errors
    /// As [`Trainer::predict_async`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predict(&mut self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        block_on(self.predict_async(x))
    }

    /// Outputs for every example of a data set (examples, outputs).
    ///
    /// # Errors
    /// As [`Trainer::outputs`].
    #[cfg(not(target_arch = "wasm32"))]
    fn outputs(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.outputs_async(examples))
    }

    /// Probability of every class for every example (examples, classes).
    ///
    /// # Errors
    /// As [`Trainer::probabilities`].
    #[cfg(not(target_arch = "wasm32"))]
    fn probabilities(&mut self, examples: &dyn ToExamples) -> Result<Array2<f32>, Error> {
        block_on(self.probabilities_async(examples))
    }

    /// The value of a metric for a data set.
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

    /// The parameter with this name.
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

    /// Whether a stream has ended and all of its minibatches were used.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_finished(&self) -> bool;

    /// Number of rows at the end of a stream that do not fill a minibatch, once the stream is finished.
    #[cfg(not(target_arch = "wasm32"))]
    fn rows_left(&self) -> Option<usize>;

    /// Takes `count` steps; returns the loss of each.
    ///
    /// # Errors
    /// As [`Trainer::steps`].
    #[cfg(not(target_arch = "wasm32"))]
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    /// Takes a step on the given rows; returns its loss.
    ///
    /// # Errors
    /// As [`Trainer::step_on`].
    #[cfg(not(target_arch = "wasm32"))]
    fn step_on(&mut self, x: ArrayView2<'_, f32>, targets: Targets<'_, f32>) -> Result<f32, Error>;

    /// [`step_on`](Self::step_on) with a weight for each row.
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

    /// The predicted class of every example, and its probability.
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

    /// Continues from a file.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume(&mut self, path: &Path) -> Result<(), Error> {
        self.resume_with(path, Changes::new())
    }

    /// Continues from a file, whose training may differ in the properties that `changes` names.
    ///
    /// # Errors
    /// As [`Trainer::resume_with`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume_with(&mut self, path: &Path, changes: Changes) -> Result<(), Error>;
}
