use super::{Fusion, Rows, Runner, Steps, Training};
use crate::error::Error;
use crate::kernel::Element;
use crate::model::{Compared, TrainingPass};
use crate::ops::{gather, metrics, row_weights, sample};
use crate::plan::{Plan, Recorder};
use crate::tensor::Tensor;

/// One step, layer by layer: choose, gather, forward, loss, backward, update, log.
pub(super) fn record(training: &Training<'_>) -> Result<Steps, Error> {
    let step = step(training)?;
    Ok(Steps::new(Fusion::Layers, Layers { step }))
}

/// The same as a plan. Rows in tensors are neither chosen nor gathered.
pub(super) fn step(training: &Training<'_>) -> Result<Plan, Error> {
    let &Training {
        model,
        loss,
        updater,
        rows,
        history,
    } = training;
    let (gpu, step_count, wanted) = (model.gpu(), updater.step_count(), updater.wanted());
    let mut recorder = Recorder::new(gpu);
    let (pass, compared, weights) = match rows {
        Rows::Minibatches {
            resident,
            batch,
            sampling,
        } => {
            let input = model.input_element(resident.features());
            let features = model.features_tensor(batch, input)?;
            let pass = TrainingPass::new(model, &features, &wanted)?;
            let compared = Compared::new(model, batch, loss.targets())?;
            let label = "indices of the minibatch";
            let indices = Tensor::zeros(gpu, label, [1, batch], Element::U32)?;
            let examples = resident.len();
            sample::minibatches(&mut recorder, sampling, examples, step_count, &indices)?;
            gather::batch(
                &mut recorder,
                resident,
                &indices,
                &features,
                &compared.targets,
            );
            (pass, compared, None)
        }
        Rows::Tensors(batch) => {
            let pass = TrainingPass::new(model, &batch.x, &wanted)?;
            let compared = Compared::with(model, batch.targets.clone(), batch.rows())?;
            (pass, compared, batch.weights.as_ref())
        }
    };
    model.record_forward(&mut recorder, &pass.values, Some(step_count))?;
    model.record_loss(&mut recorder, loss, &pass, &compared)?;
    if let Some(weights) = weights {
        row_weights::weigh(&mut recorder, weights, &compared.losses, pass.doutputs());
    }
    model.record_backward(&mut recorder, &pass, Some(step_count))?;
    updater.record(&mut recorder, model, &pass.gradients)?;
    metrics::log_step(&mut recorder, &compared.losses, history, step_count);
    recorder.finish()
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

    fn next(&mut self, most: usize) -> (Vec<(&Plan, usize)>, usize) {
        (vec![(&self.step, most)], most)
    }

    fn parameters_changed(&mut self) {}

    fn step_count_changed(&mut self) {}
}
