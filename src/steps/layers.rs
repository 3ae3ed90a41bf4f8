use super::{Fusion, Minibatches, Rows, Runner, Steps, Training};
use crate::error::Error;
use crate::kernel::Element;
use crate::model::{LossTensors, Model, ModelHead, TrainedHead, TrainingPass, TrainingStep};
use crate::ops::{add, columns, gather, metrics, row_weights, sample};
use crate::plan::{Plan, Recorder};
use crate::tensor::{Arena, Tensor};

/// Records one step layer by layer: draw the examples, gather the minibatch, forward pass, loss, backward pass, update,
/// store the loss. With a `head`, the head's two dispatches compute the last layers and the loss.
pub(super) fn record(training: &Training<'_>, head: Option<&ModelHead>) -> Result<Steps, Error> {
    let step = step(training, head)?;
    let fusion = match head {
        None => Fusion::Layers,
        Some(_) => Fusion::Head,
    };
    Ok(Steps::new(fusion, Layers { step }))
}

/// Records one step as a plan. Rows in tensors of the caller are used directly, without drawing and gathering examples.
pub(super) fn step(training: &Training<'_>, head: Option<&ModelHead>) -> Result<Plan, Error> {
    let &Training {
        model,
        updater,
        rows,
        history,
        ..
    } = training;
    let gpu = model.gpu();
    let step_count = updater.step_count();
    let wanted = updater.wanted();
    let mut recorder = Recorder::new(gpu);
    let step = TrainingStep::new(step_count);
    let (gradients, losses) = match rows {
        Rows::Minibatches(minibatches) => {
            let tensors = MinibatchTensors::new(training, minibatches, head)?;
            tensors.choose(&mut recorder)?;
            let pass = &tensors.pass;
            let compared = &tensors.compared;
            let mut sum = Sum::new(model, pass, compared, minibatches.parts.count)?;
            for part in minibatches.parts.range() {
                tensors.record(&mut recorder, part)?;
                sum.add(&mut recorder, pass, compared);
            }
            sum.finish(&mut recorder, tensors.pass, tensors.compared)
        }
        Rows::Tensors(batch) => {
            let pass = TrainingPass::new(model, &batch.x, &wanted, head)?;
            let compared = LossTensors::with(model, batch.targets.clone(), batch.rows())?;
            let weights = batch.weights.as_ref();
            let both = (&pass, &compared);
            match trained(training, head, batch.rows())? {
                Some(head) => head.record(&mut recorder, model, both, step)?,
                None => record_pass(&mut recorder, training, both, weights, step)?,
            }
            (pass.gradients, compared.losses)
        }
    };
    updater.record(&mut recorder, model, &gradients)?;
    metrics::log_step(&mut recorder, &losses, history, step_count);
    recorder.finish()
}

/// The tensors of one minibatch. The minibatches of a step are computed one after another and reuse them.
pub(super) struct MinibatchTensors<'a> {
    training: &'a Training<'a>,
    minibatches: Minibatches<'a>,
    head: Option<TrainedHead<'a>>,
    features: Tensor,
    pub(super) pass: TrainingPass,
    pub(super) compared: LossTensors,
    /// Indices of the examples in all minibatches of the step, (1, rows).
    indices: Tensor,
}

impl<'a> MinibatchTensors<'a> {
    pub(super) fn new(
        training: &'a Training<'a>,
        minibatches: Minibatches<'a>,
        head: Option<&'a ModelHead>,
    ) -> Result<Self, Error> {
        let Minibatches {
            resident,
            batch,
            parts,
            ..
        } = minibatches;
        let model = training.model;
        let input = match head {
            // The head's kernels read floats only.
            Some(head) if head.input() == 0 => Element::F32,
            _ => model.input_element(resident.features()),
        };
        let features = model.features_tensor(batch, input)?;
        let label = "indices of the minibatch";
        let rows = batch * parts.of_step;
        Ok(Self {
            head: trained(training, head, batch)?,
            pass: TrainingPass::new(model, &features, &training.updater.wanted(), head)?,
            compared: LossTensors::new(model, batch, training.loss.targets())?,
            indices: Tensor::zeros(model.gpu(), label, [1, rows], Element::U32)?,
            features,
            training,
            minibatches,
        })
    }

    /// Records the dispatch that draws the indices of the step's examples.
    pub(super) fn choose(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let Minibatches {
            resident, sampling, ..
        } = self.minibatches;
        let step_count = self.training.updater.step_count();
        sample::minibatches(
            recorder,
            sampling,
            resident.len(),
            step_count,
            &self.indices,
        )
    }

    /// Records the dispatches that compute the gradients and losses of minibatch `part`.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>, part: usize) -> Result<(), Error> {
        let Minibatches {
            resident, batch, ..
        } = self.minibatches;
        let chosen = (&self.indices, part * batch);
        let targets = &self.compared.targets;
        gather::batch(recorder, resident, chosen, &self.features, targets);
        let both = (&self.pass, &self.compared);
        let step = TrainingStep::new(self.training.updater.step_count()).part(part);
        match &self.head {
            Some(head) => head.record(recorder, self.training.model, both, step),
            None => record_pass(recorder, self.training, both, None, step),
        }
    }
}

/// Prepares the head for training, if there is one.
fn trained<'a>(
    training: &Training<'_>,
    head: Option<&'a ModelHead>,
    rows: usize,
) -> Result<Option<TrainedHead<'a>>, Error> {
    let wanted = training.updater.wanted();
    let trained = head.map(|head| head.trained(training.model, training.loss, &wanted, rows));
    trained.transpose()
}

/// Records the forward pass, the loss and the backward pass.
fn record_pass(
    recorder: &mut Recorder<'_>,
    training: &Training<'_>,
    (pass, compared): (&TrainingPass, &LossTensors),
    weights: Option<&Tensor>,
    step: TrainingStep<'_>,
) -> Result<(), Error> {
    let model = training.model;
    model.record_forward(recorder, &pass.values, Some(step))?;
    model.record_loss(recorder, training.loss, pass, compared)?;
    if let Some(weights) = weights {
        row_weights::weigh(recorder, weights, &compared.losses, pass.doutputs());
    }
    model.record_backward(recorder, pass, Some(step))
}

/// Sums the gradients of a step's minibatches and collects their losses. Does nothing for a single minibatch.
struct Sum {
    /// The sum of gradients, and the losses of all rows. `None` for a single minibatch.
    of_parts: Option<(Arena, Tensor)>,
    parts: usize,
    done: usize,
}

impl Sum {
    fn new(
        model: &Model,
        pass: &TrainingPass,
        compared: &LossTensors,
        parts: usize,
    ) -> Result<Self, Error> {
        let of_parts = match parts {
            1 => None,
            _ => {
                let label = "losses of all parts";
                let rows = parts * pass.values.features.rows();
                let losses = &compared.losses;
                let losses = Tensor::zeros(model.gpu(), label, [1, rows], losses.element())?;
                Some((model.like_parameters("sums of gradients")?, losses))
            }
        };
        Ok(Self {
            of_parts,
            parts,
            done: 0,
        })
    }

    /// Records the dispatches that add a minibatch's gradients to the sum and copy its losses.
    fn add(&mut self, recorder: &mut Recorder<'_>, pass: &TrainingPass, compared: &LossTensors) {
        let Some((sum, losses)) = &self.of_parts else {
            return;
        };
        for (part, sum) in pass.gradients.blocks().iter().zip(sum.blocks()) {
            match self.done {
                0 => add::copy(recorder, part, sum),
                _ => add::accumulate(recorder, part, sum),
            }
        }
        let of_part = &compared.losses;
        let rows = of_part.columns();
        columns::copy(recorder, (of_part, 0), (losses, self.done * rows), rows);
        self.done += 1;
    }

    /// Records the division by the number of minibatches. Returns the mean gradients and the losses of all rows.
    fn finish(
        self,
        recorder: &mut Recorder<'_>,
        pass: TrainingPass,
        compared: LossTensors,
    ) -> (Arena, Tensor) {
        let Some((sum, losses)) = self.of_parts else {
            return (pass.gradients, compared.losses);
        };
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let share = 1.0 / self.parts as f32;
        for sum in sum.blocks() {
            add::scale(recorder, sum, share);
        }
        (sum, losses)
    }
}

/// A runner with a single plan, which computes one step. No other plan runs before or between the steps.
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
