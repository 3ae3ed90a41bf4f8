//! The implementations of [`Train`] for both engines.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::time::Duration;

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD};

use super::{Later, Train};
use crate::checkpoint::Changes;
#[cfg(not(target_arch = "wasm32"))]
use crate::confusion::Prediction;
use crate::cpu;
use crate::data::ToExamples;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::Distribution;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::metric::Metric;
use crate::network::Parameters;
use crate::ops::{Group, Optimizer};
use crate::reference::Targets;
use crate::steps::Fusion;
use crate::trainer::Trainer;

/// Methods that both engines implement in the same way.
macro_rules! forward {
    () => {
        fn advance(&mut self, count: usize) -> Result<(), Error> {
            Self::advance(self, count)
        }

        fn advance_within(&mut self, time: Duration) -> Result<usize, Error> {
            Self::advance_within(self, time)
        }

        fn advance_on(
            &mut self,
            x: ArrayView2<'_, f32>,
            targets: Targets<'_, f32>,
        ) -> Result<(), Error> {
            Self::advance_on(self, x, targets)
        }

        fn advance_on_weighted(
            &mut self,
            x: ArrayView2<'_, f32>,
            targets: Targets<'_, f32>,
            weights: &[f32],
        ) -> Result<(), Error> {
            Self::advance_on_weighted(self, x, targets, weights)
        }

        fn steps_taken(&self) -> u64 {
            Self::steps_taken(self)
        }

        fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
            Self::set_parameters(self, values)
        }

        fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error> {
            Self::set_parameter(self, name, value)
        }

        fn set_state(&mut self, values: &Parameters) -> Result<(), Error> {
            Self::set_state(self, values)
        }

        fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error> {
            Self::set_safetensors_with(self, bytes, changes)
        }

        fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
            Self::set_weights(self, bytes)
        }

        fn optimizer(&self) -> &dyn Optimizer {
            Self::optimizer(self)
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

        #[cfg(not(target_arch = "wasm32"))]
        fn distribute(&mut self, distribution: Distribution) -> Result<(), Error> {
            Self::distribute(self, distribution)
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

        fn forget_best(&mut self) {
            Self::forget_best(self);
        }

        fn best(&self) -> Option<(f64, u64)> {
            Self::best(self)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn is_finished(&self) -> bool {
            Self::is_finished(self)
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn rows_left(&self) -> Option<usize> {
            Self::rows_left(self)
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
        fn evaluate(&mut self, examples: &dyn ToExamples) -> Result<Evaluation, Error> {
            Self::evaluate(self, examples.to_examples())
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn predictions(&mut self, examples: &dyn ToExamples) -> Result<Vec<Prediction>, Error> {
            Self::predictions(self, examples.to_examples())
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

    fn done(&self) -> Later<()> {
        Box::pin(self.model().gpu().wait_async())
    }

    fn losses_async(&self, count: usize) -> Later<Vec<f32>> {
        Box::pin(Self::losses_async(self, count))
    }

    fn evaluate_async(&mut self, examples: &dyn ToExamples) -> Later<Evaluation> {
        Box::pin(Self::evaluate_async(self, examples.to_examples()))
    }

    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        Box::pin(Self::predict_async(self, x))
    }

    fn outputs_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>> {
        Box::pin(Self::outputs_async(self, examples.to_examples()))
    }

    fn probabilities_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>> {
        Box::pin(Self::probabilities_async(self, examples.to_examples()))
    }

    fn metric_async(&mut self, metric: Metric, examples: &dyn ToExamples) -> Later<f64> {
        Box::pin(Self::metric_async(self, metric, examples.to_examples()))
    }

    fn parameters_async(&self) -> Later<Parameters> {
        Box::pin(self.model().parameters_async())
    }

    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>> {
        Box::pin(self.model().parameter_async(name))
    }

    fn state_async(&self) -> Later<Parameters> {
        Box::pin(self.model().state_async())
    }

    fn to_safetensors_async(&self) -> Later<Vec<u8>> {
        Box::pin(Self::to_safetensors_async(self))
    }

    fn plan_in_words(&self) -> String {
        let kind = match (self.fusion(), self.unfused()) {
            (Fusion::Fused, _) => "fused".to_owned(),
            (Fusion::Head, _) => "head fused".to_owned(),
            (_, Some(unfused)) => format!("layers, because {unfused}"),
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

/// A future whose result is available at once.
fn now<T: Send + 'static>(answer: Result<T, Error>) -> Later<T> {
    Box::pin(std::future::ready(answer))
}

impl Train for cpu::Trainer<f32> {
    forward!();

    fn done(&self) -> Later<()> {
        now(Ok(()))
    }

    fn losses_async(&self, count: usize) -> Later<Vec<f32>> {
        now(Self::losses(self, count))
    }

    fn evaluate_async(&mut self, examples: &dyn ToExamples) -> Later<Evaluation> {
        now(Self::evaluate(self, examples.to_examples()))
    }

    fn predict_async(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        now(self.network().predict(x))
    }

    fn outputs_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>> {
        now(Self::outputs(self, examples.to_examples()))
    }

    fn probabilities_async(&mut self, examples: &dyn ToExamples) -> Later<Array2<f32>> {
        now(Self::probabilities(self, examples.to_examples()))
    }

    fn metric_async(&mut self, metric: Metric, examples: &dyn ToExamples) -> Later<f64> {
        now(Self::metric(self, metric, examples.to_examples()))
    }

    fn parameters_async(&self) -> Later<Parameters> {
        now(Ok(self.network().parameters()))
    }

    fn parameter_async(&self, name: &str) -> Later<ArrayD<f32>> {
        now(self.network().parameter(name))
    }

    fn state_async(&self) -> Later<Parameters> {
        now(Ok(self.network().state()))
    }

    fn to_safetensors_async(&self) -> Later<Vec<u8>> {
        now(Self::to_safetensors(self))
    }

    fn plan_in_words(&self) -> String {
        "formulas on the processor".to_owned()
    }

    fn destroy(&self) {}

    fn averaged_async(&self) -> Later<Option<Parameters>> {
        now(Self::averaged(self))
    }
}
