use super::{Fusion, Runner, Steps, Training};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::model::TrainingPass;
use crate::ops::{Update, gather, metrics, sample};
use crate::plan::{Plan, Recorder};
use crate::tensor::Tensor;

/// One step, layer by layer: choose, gather, forward, loss, backward, update, log.
pub(super) fn record(training: &Training<'_>) -> Result<Steps, Error> {
    let &Training {
        model,
        loss,
        optimizer,
        resident,
        batch,
        sampling,
        history,
        step_count,
        state,
        coefficients,
    } = training;
    let gpu = model.gpu();
    let input = model.input_element(resident.features());
    let pass = TrainingPass::new(model, batch, input, loss.targets())?;
    let indices = Tensor::zeros(gpu, "indices of the minibatch", [1, batch], Element::U32)?;

    let mut recorder = Recorder::new(gpu);
    let examples = resident.len();
    sample::minibatches(&mut recorder, sampling, examples, step_count, &indices)?;
    let (x, targets) = (&pass.values.features, &pass.targets);
    gather::batch(&mut recorder, resident, &indices, x, targets);
    model.record_forward(&mut recorder, &pass.values, Some(step_count))?;
    model.record_backward(&mut recorder, loss, &pass, Some(step_count))?;
    let update = Update {
        parameters: model.parameter_arena(),
        gradients: &pass.gradients,
        state,
        coefficients,
        step_count,
    };
    let who = || format!("the optimizer {optimizer:?}");
    recorder.watched(who, |recorder| optimizer.update(recorder, update))?;
    metrics::log_step(&mut recorder, &pass.losses, history, step_count);
    let step = recorder.finish()?;
    Ok(Steps::new(Fusion::Layers, Layers { step }))
}

/// Needs nothing before a step, and nothing between steps.
#[derive(Debug)]
struct Layers {
    step: Plan,
}

impl Runner for Layers {
    fn step(&self) -> &Plan {
        &self.step
    }

    fn reads_coefficients(&self) -> bool {
        true
    }

    fn submit(&mut self, gpu: &Gpu, most: usize) -> Result<(wgpu::SubmissionIndex, usize), Error> {
        Ok((gpu.submit(&self.step, most)?, most))
    }

    fn parameters_changed(&mut self) {}

    fn step_count_changed(&mut self) {}
}
