use super::{Setting, StepPlan, Steps};
use crate::error::Error;
use crate::kernel::Element;
use crate::ops::{Update, gather, metrics, sample};
use crate::plan::Recorder;
use crate::tensor::Tensor;

/// One step, layer by layer: choose, gather, forward, loss, backward, update, log.
pub(super) fn record(setting: &Setting<'_>) -> Result<Steps, Error> {
    let &Setting {
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
    } = setting;
    let gpu = model.gpu();
    let pass = model.activations(
        batch,
        model.input_element(resident.features()),
        loss.targets(),
    )?;
    let indices = Tensor::zeros(gpu, "indices of the minibatch", [1, batch], Element::U32)?;
    let (parameters, gradients) = model.arenas();

    let mut recorder = Recorder::new(gpu);
    let examples = resident.len();
    sample::minibatches(&mut recorder, sampling, examples, step_count, &indices)?;
    let (x, targets) = (&pass.values[0], &pass.targets);
    gather::batch(&mut recorder, resident, &indices, x, targets);
    model.record_forward(&mut recorder, &pass.values, Some(step_count));
    model.record_backward(&mut recorder, loss, &pass, Some(step_count));
    let update = Update {
        parameters,
        gradients,
        state,
        coefficients,
        step_count,
    };
    optimizer.update(&mut recorder, update)?;
    metrics::log_step(&mut recorder, &pass.losses, history, step_count);
    Ok(Steps {
        refill: None,
        start: None,
        step: recorder.finish()?,
        reach: usize::MAX,
        kind: StepPlan::Layers,
        unfused: None,
    })
}
