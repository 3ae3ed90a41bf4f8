//! Training, whatever it runs on.

use std::fmt::Debug;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::pin::Pin;

use ndarray::{Array2, ArrayD, ArrayView2};

use crate::checkpoint::Changes;
#[cfg(not(target_arch = "wasm32"))]
use crate::confusion::Prediction;
use crate::cpu;
use crate::data::Examples;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::network::Parameters;
use crate::ops::{Group, Optimizer};
use crate::reference::Targets;
use crate::steps::Fusion;
use crate::trainer::Trainer;

/// An answer of the time of the question: whatever happens until it is awaited does not change it.
#[cfg(not(target_arch = "wasm32"))]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;
/// An answer of the time of the question: whatever happens until it is awaited does not change it.
#[cfg(target_arch = "wasm32")]
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A training on a GPU, [`Trainer`], or on the processor, [`cpu::Trainer`]: for programs that are written once for
/// both. Each method is that of the same name there, with the same errors.
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
/// println!("{}", trainer.evaluate(&(&digits.test).into())?);
/// # Ok::<(), wgrad::Error>(())
/// ```
pub trait Train: Debug + wgpu::WasmNotSend {
    /// Begins `count` steps and returns; on the processor, takes them.
    ///
    /// # Errors
    /// As [`Trainer::advance`].
    fn advance(&mut self, count: usize) -> Result<(), Error>;

    /// Begins a step on rows that are given now; on the processor, takes it.
    ///
    /// # Errors
    /// As [`Trainer::advance_on`].
    fn advance_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<(), Error>;

    /// Steps begun.
    fn steps_taken(&self) -> u64;

    /// Ready when all steps begun are done.
    fn done(&self) -> Later<()>;

    /// Losses of the last `count` steps, of 16,384 at the most.
    fn losses_async(&self, count: usize) -> Later<Vec<f32>>;

    /// Mean loss and accuracy over a data set.
    fn evaluate_async(&mut self, examples: &Examples) -> Later<Evaluation>;

    /// Outputs (rows, outputs) of rows `x` (rows, features).
    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>>;

    /// The parameter of this name.
    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>>;

    /// Replaces all parameters.
    ///
    /// # Errors
    /// As [`Trainer::set_parameters`].
    fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error>;

    /// The state of the training as a safetensors file.
    fn to_safetensors_async(&self) -> Later<Vec<u8>>;

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

    /// Metric and step of the parameters that are kept.
    fn best(&self) -> Option<(f64, u64)>;

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
    fn evaluate(&mut self, examples: &Examples) -> Result<Evaluation, Error>;

    /// What every example is taken for.
    ///
    /// # Errors
    /// As [`Trainer::predictions`].
    #[cfg(not(target_arch = "wasm32"))]
    fn predictions(&mut self, examples: &Examples) -> Result<Vec<Prediction>, Error>;

    /// Writes the training to a file.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    #[cfg(not(target_arch = "wasm32"))]
    fn save(&self, path: &Path) -> Result<(), Error>;

    /// Goes on from such a file, whose training may differ in what `changes` names.
    ///
    /// # Errors
    /// As [`Trainer::resume_with`].
    #[cfg(not(target_arch = "wasm32"))]
    fn resume_with(&mut self, path: &Path, changes: Changes) -> Result<(), Error>;
}

/// What is the same on both.
macro_rules! forward {
    () => {
        fn advance_on(
            &mut self,
            x: ArrayView2<'_, f32>,
            targets: Targets<'_, f32>,
        ) -> Result<(), Error> {
            Self::advance_on(self, x, targets)
        }

        fn steps_taken(&self) -> u64 {
            Self::steps_taken(self)
        }

        fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
            Self::set_parameters(self, values)
        }

        fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error> {
            Self::set_safetensors_with(self, bytes, changes)
        }

        fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
            Self::set_weights(self, bytes)
        }

        fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
            Self::set_learning_rate(self, learning_rate)
        }

        fn set_optimizer(&mut self, optimizer: Box<dyn Optimizer>) -> Result<(), Error> {
            Self::set_optimizer(self, optimizer)
        }

        fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
            Self::set_group(self, parameters, group)
        }

        fn accumulate(&mut self, minibatches: usize) -> Result<(), Error> {
            Self::accumulate(self, minibatches)
        }

        fn average(&mut self, decay: f32) -> Result<(), Error> {
            Self::average(self, decay)
        }

        fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
            Self::freeze(self, parameters)
        }

        fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
            Self::unfreeze(self, parameters)
        }

        fn best(&self) -> Option<(f64, u64)> {
            Self::best(self)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn step_on_weighted(
            &mut self,
            x: ArrayView2<'_, f32>,
            targets: Targets<'_, f32>,
            weights: &[f32],
        ) -> Result<f32, Error> {
            Self::step_on_weighted(self, x, targets, weights)
        }

        fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error> {
            Self::keep_if_best(self, metric)
        }

        fn restore_best(&mut self) -> Result<(), Error> {
            Self::restore_best(self)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
            Self::steps(self, count)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn step_on(
            &mut self,
            x: ArrayView2<'_, f32>,
            targets: Targets<'_, f32>,
        ) -> Result<f32, Error> {
            Self::step_on(self, x, targets)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn evaluate(&mut self, examples: &Examples) -> Result<Evaluation, Error> {
            Self::evaluate(self, examples.clone())
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn predictions(&mut self, examples: &Examples) -> Result<Vec<Prediction>, Error> {
            Self::predictions(self, examples.clone())
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn save(&self, path: &Path) -> Result<(), Error> {
            Self::save(self, path)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn resume_with(&mut self, path: &Path, changes: Changes) -> Result<(), Error> {
            Self::resume_with(self, path, changes)
        }
    };
}

impl Train for Trainer {
    forward!();

    fn advance(&mut self, count: usize) -> Result<(), Error> {
        Self::advance(self, count)
    }

    fn done(&self) -> Later<()> {
        Box::pin(self.model().gpu().wait_async())
    }

    fn losses_async(&self, count: usize) -> Later<Vec<f32>> {
        Box::pin(Self::losses_async(self, count))
    }

    fn evaluate_async(&mut self, examples: &Examples) -> Later<Evaluation> {
        Box::pin(Self::evaluate_async(self, examples.clone()))
    }

    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        Box::pin(Self::predict_async(self, x))
    }

    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>> {
        Box::pin(self.model().parameter_async(name))
    }

    fn to_safetensors_async(&self) -> Later<Vec<u8>> {
        Box::pin(Self::to_safetensors(self))
    }

    fn plan_in_words(&self) -> String {
        let kind = match (self.fusion(), self.unfused()) {
            (Fusion::Fused, _) => "fused".to_owned(),
            (_, Some(unfused)) => format!("layers, as {unfused}"),
            (_, None) => "layers".to_owned(),
        };
        let plan = self.plan();
        format!(
            "{kind}; a step is {} dispatches, {:.1} MFLOP, {:.1} MB",
            plan.len(),
            plan.flops() as f64 / 1e6,
            plan.bytes() as f64 / 1e6
        )
    }

    fn destroy(&self) {
        Self::destroy(self);
    }

    fn averaged_async(&self) -> Later<Option<Parameters>> {
        Box::pin(Self::averaged_async(self))
    }
}

/// An answer that is there.
fn now<T: Send + 'static>(answer: Result<T, Error>) -> Later<T> {
    Box::pin(std::future::ready(answer))
}

impl Train for cpu::Trainer<f32> {
    forward!();

    fn advance(&mut self, count: usize) -> Result<(), Error> {
        Self::steps(self, count).map(drop)
    }

    fn done(&self) -> Later<()> {
        now(Ok(()))
    }

    fn losses_async(&self, count: usize) -> Later<Vec<f32>> {
        now(self.losses(count))
    }

    fn evaluate_async(&mut self, examples: &Examples) -> Later<Evaluation> {
        now(Self::evaluate(self, examples.clone()))
    }

    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        now(self.network().predict(x))
    }

    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>> {
        now(self.network().parameter(name))
    }

    fn to_safetensors_async(&self) -> Later<Vec<u8>> {
        now(Self::to_safetensors(self))
    }

    fn plan_in_words(&self) -> String {
        "formulas on the processor".to_owned()
    }

    fn destroy(&self) {}

    fn averaged_async(&self) -> Later<Option<Parameters>> {
        now(Ok(self.averaged()))
    }
}
