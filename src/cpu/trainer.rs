mod saving;

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewD, ArrayViewMut1, ArrayViewMut2};

use super::cores::enter;
use super::passes::{Context, Passes, Workspace, is_linear, matrix};
use super::sparse::{Nonzero, SparseBatch, SparseRows};
use super::{Network, footprint};
use crate::confusion::{Prediction, correct};
use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::fit::{check_classes, check_fit};
use crate::network::{Parameters, Sequential};
use crate::ops::metrics::HISTORY;
use crate::ops::{Loss, Optimizer, SoftmaxCrossEntropy, TargetKind};
use crate::reference::{Criterion, Float, LossPass, Rule, Targets, UpdateStep};
use crate::soundness::Soundness;

/// The training loop on the CPU: the same minibatches, in the same order, as [`crate::Trainer`].
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::Sgd;
/// use wgrad::{TwoLayerNet, cpu};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let spec = TwoLayerNet::spec(784, 50, 10).seed(1);
/// let optimizer = Sgd::new(0.1);
/// let mut trainer =
///     cpu::Trainer::<f32>::new(&spec, optimizer, &digits.train, 100, sampling)?;
/// let losses = trainer.steps(100)?;
/// assert!(losses[99] < losses[0]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<F> {
    network: Network<F>,
    optimizer: Arc<dyn Optimizer>,
    soundness: Soundness,
    rule: Rule,
    /// What the optimizer keeps of every parameter, in order.
    state: Vec<Vec<Array2<F>>>,
    loss: Box<dyn Loss>,
    criterion: Criterion,
    examples: Examples,
    /// The same, where the first layer is faster over what is not 0 in it.
    sparse: Option<(SparseRows, SparseBatch<F>)>,
    sampling: Sampling,
    step: u64,
    work: Workspace<F>,
    indices: Vec<u32>,
    labels: Vec<u32>,
    /// Of the minibatch, (batch, outputs), where the loss compares values.
    values: Array2<F>,
    /// `byte / 255` for every byte.
    unit: [F; 256],
}

impl<F: Float> Trainer<F> {
    /// Trains `spec` on `examples` with minibatches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] when batch, sampling or a setting of the optimizer make no sense, [`Error::Shape`]
    /// when the data set does not fit the network, [`Error::Memory`] when the host has no room for the training.
    pub fn new(
        spec: &Sequential,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let loss = SoftmaxCrossEntropy;
        Self::with_loss(spec, loss, optimizer, examples, batch, sampling)
    }

    /// [`new`](Self::new) with another loss than softmax cross-entropy.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_loss(
        spec: &Sequential,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let examples = examples.into();
        optimizer.check()?;
        sampling.check(examples.len(), batch)?;
        let passes = Passes::fast(spec.graph()?);
        check_fit(&passes.graph, &loss, &examples)?;
        // A first layer that has a form for rows given by what is not 0 in them, and bytes that are mostly 0.
        let nonzero = match (&examples, passes.graph.first_use()) {
            (Examples::Bytes(dataset), Some(first)) if is_linear(&*first.layer) => {
                let outputs = first.spec.output.len();
                Nonzero::of(dataset, outputs).map(|nonzero| (dataset, nonzero, outputs))
            }
            _ => None,
        };
        let footprint = footprint::Training {
            passes: &passes,
            kept: optimizer.state().len(),
            examples: &examples,
            batch,
            nonzero: nonzero.as_ref().map(|(_, nonzero, _)| nonzero),
        };
        footprint.check::<F>()?;
        let network = Network::with(passes)?;
        let work = network.passes.workspace(batch, nonzero.is_some());
        let sparse = nonzero.map(|(dataset, nonzero, outputs)| {
            (
                SparseRows::new(dataset, &nonzero),
                SparseBatch::new(outputs),
            )
        });
        let mut unit = [F::zero(); 256];
        for (byte, unit) in (0u8..=255).zip(&mut unit) {
            *unit = F::from_f64(byte.into()) / F::from_f64(255.0);
        }
        let of_parameter = |parameter: &Array2<F>| {
            let names = optimizer.state().iter();
            names.map(|_| Array2::zeros(parameter.raw_dim())).collect()
        };
        let state = network.parameters.iter().map(of_parameter).collect();
        let optimizer: Arc<dyn Optimizer> = Arc::new(optimizer);
        Ok(Self {
            state,
            work,
            rule: optimizer.reference(),
            soundness: Soundness::new(Arc::clone(&optimizer), examples.clone()),
            optimizer,
            criterion: loss.reference(),
            values: match loss.targets() {
                TargetKind::Classes => Array2::zeros((0, 0)),
                TargetKind::Values => Array2::zeros((batch, examples.outputs())),
            },
            loss: Box::new(loss),
            examples,
            sparse,
            sampling,
            step: 0,
            indices: vec![0; batch],
            labels: vec![0; batch],
            unit,
            network,
        })
    }

    /// The network as trained so far.
    #[must_use]
    pub fn network(&self) -> &Network<F> {
        &self.network
    }

    /// Replaces the parameters: all of them, in any order. The optimizer and the layers' state go on as with
    /// [`crate::Trainer::set_parameters`].
    ///
    /// # Errors
    /// As [`Network::set_parameters`].
    pub fn set_parameters(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        self.network.set_parameters(values)?;
        self.begin_anew();
        Ok(())
    }

    /// Replaces the parameter of this name. A training that has diverged needs all of them.
    ///
    /// # Errors
    /// As [`Network::set_parameter`], or [`Error::Diverged`].
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, F>) -> Result<(), Error> {
        self.soundness.check()?;
        self.network.set_parameter(name, value)
    }

    /// Replaces the state of all layers. A training that has diverged needs other parameters first.
    ///
    /// # Errors
    /// As [`Network::set_state`], or [`Error::Diverged`].
    pub fn set_state(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        self.soundness.check()?;
        self.network.set_state(values)
    }

    /// After the parameters came from outside.
    fn begin_anew(&mut self) {
        if self.soundness.has_diverged() {
            let kept = self.state.iter_mut().flatten();
            kept.for_each(|values| values.fill(F::zero()));
            self.network.reset_state();
        }
        self.soundness.begin_anew(self.step);
    }

    /// Steps taken, of those before a [`resume`](Trainer::resume) too.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.step
    }

    /// Takes `count` steps; returns the mean loss of each minibatch before its update.
    ///
    /// With the feature `gemm` they run on the threads of rayon's current pool. As everywhere with rayon,
    /// a thread that waits there for its part of the work may take up another task of the pool: hold no
    /// lock during this call that such a task wants.
    ///
    /// # Errors
    /// [`Error::Diverged`] at the first loss that is not a number below 2²⁴: then no more steps are taken and nothing
    /// is saved, until [`resume`](Trainer::resume), [`set_weights`](Trainer::set_weights) or
    /// [`set_parameters`](Self::set_parameters) bring other parameters: those of all layers are enough.
    pub fn steps(&mut self, count: usize) -> Result<Vec<F>, Error> {
        self.soundness.check()?;
        let first = self.step;
        let mut losses = Vec::with_capacity(count.min(HISTORY));
        let is_sound = enter(|| {
            for _ in 0..count {
                let loss = self.take_step();
                losses.push(loss);
                if !self.soundness.is_sound(as_f32(loss)) {
                    return false;
                }
            }
            true
        });
        if !is_sound {
            let losses: Vec<f32> = losses.iter().map(|&loss| as_f32(loss)).collect();
            self.soundness.judge(first, &losses)?;
        }
        Ok(losses)
    }

    fn take_step(&mut self) -> F {
        let step = self.step_in_u32();
        self.sampling
            .minibatch(self.examples.len(), step, &mut self.indices);
        if let Some(of_all) = self.examples.labels() {
            for (label, &example) in self.labels.iter_mut().zip(&self.indices) {
                *label = of_all.indices()[example as usize];
            }
        }
        let loss = self.forward_backward();
        let learning_rate = F::from_f64(self.optimizer.coefficients(self.step)[0].into());
        let rule = F::rule(&self.rule);
        rule.prepare(&mut self.work.gradients);
        let of_graph = self.network.passes.graph.parameters.iter();
        let parameters = of_graph.zip(&mut self.network.parameters);
        let gradients = self.work.gradients.iter().zip(&mut self.state);
        for ((of, parameter), (gradient, state)) in parameters.zip(gradients) {
            let at = UpdateStep {
                step: self.step,
                learning_rate,
                decays: of.spec.decays,
            };
            rule.update(at, parameter, gradient, state);
        }
        self.step += 1;
        loss
    }

    /// Steps taken, as a GPU counts them.
    fn step_in_u32(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        let step = self.step as u32;
        step
    }

    /// Mean loss of the minibatch, with the gradients in the work space.
    fn forward_backward(&mut self) -> F {
        let step = Some(self.step_in_u32());
        let Network {
            passes,
            parameters,
            state,
        } = &mut self.network;
        let (loss, work) = (F::criterion(&self.criterion), &mut self.work);
        let mut context = Context {
            parameters,
            state,
            step,
        };
        if let Some((rows, x)) = &mut self.sparse {
            x.gather(rows, &self.indices, &self.unit);
            let compared = (loss, Targets::Classes(&self.labels));
            return passes.forward_backward(work, &mut context, compared, Some(x));
        }
        for (input, first) in passes.inputs() {
            for (x, &example) in work.values[input].outer_iter_mut().zip(&self.indices) {
                copy_features(x, &self.examples, (example as usize, first), &self.unit);
            }
        }
        let targets = match self.examples.values() {
            None => Targets::Classes(&self.labels),
            Some(values) => {
                let rows = self.values.outer_iter_mut().zip(&self.indices);
                rows.for_each(|(to, &example)| {
                    let first = to.len() * example as usize;
                    copy_row(to, &values[first..]);
                });
                Targets::Values(self.values.view())
            }
        };
        passes.forward_backward(work, &mut context, (loss, targets), None)
    }

    /// Mean loss and accuracy over a whole data set. Of parameters that have diverged the loss may be infinite or
    /// NaN, which is no error here.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network.
    pub fn evaluate(&self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        let examples = examples.into();
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        let criterion = F::criterion(&self.criterion);
        let outputs = examples.outputs();
        let mut values: Vec<F> = Vec::new();
        let (mut loss, mut hits) = (0.0, 0);
        self.for_each_pass(&examples, |rows, logits, unread| {
            let labels = examples
                .labels()
                .map(|labels| &labels.indices()[rows.clone()]);
            values.clear();
            if let Some(of_all) = examples.values() {
                let of_rows = &of_all[rows.start * outputs..rows.end * outputs];
                values.extend(of_rows.iter().map(|&value| F::from_f64(value.into())));
            }
            let targets = match labels {
                Some(labels) => Targets::Classes(labels),
                None => Targets::Values(matrix(&values, [rows.len(), outputs])),
            };
            let mean = criterion.forward_backward(LossPass::new(logits, targets, unread));
            loss += mean.into_f64() * rows.len() as f64;
            hits += labels.map_or(0, |labels| correct(logits, labels));
        })?;
        let hits = examples.labels().map(|_| hits);
        Ok(Evaluation::new(loss, hits, examples.len()))
    }

    /// The class that the network takes every example for, and its probability; a
    /// [`Confusion`](crate::Confusion) counts them.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values, no classes; [`Error::Shape`] when it does not fit
    /// the network.
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        let mut predictions = Vec::with_capacity(examples.len());
        self.for_each_pass(&examples, |_, logits, _| {
            predictions.extend(logits.outer_iter().map(Prediction::of));
        })?;
        Ok(predictions)
    }

    /// [`Network::for_each_pass`] over examples.
    fn for_each_pass(
        &self,
        examples: &Examples,
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let copy = |rows: Range<usize>, first: usize, mut to: ArrayViewMut2<'_, F>| {
            for (example, x) in rows.zip(to.outer_iter_mut()) {
                copy_features(x, examples, (example, first), &self.unit);
            }
        };
        self.network.for_each_pass(examples.len(), copy, see)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "infinite stays infinite")]
fn as_f32<F: Float>(loss: F) -> f32 {
    loss.into_f64() as f32
}

/// The features of one example from a column on; `unit` is `byte / 255` for every byte.
fn copy_features<F: Float>(
    mut to: ArrayViewMut1<'_, F>,
    examples: &Examples,
    (example, first): (usize, usize),
    unit: &[F; 256],
) {
    match examples {
        Examples::Bytes(dataset) => {
            for (to, &byte) in to.iter_mut().zip(&dataset.row(example)[first..]) {
                *to = unit[usize::from(byte)];
            }
        }
        Examples::Table(table) => {
            copy_row(to, &table.features()[example * table.width() + first..]);
        }
    }
}

/// As many values as there is room for.
fn copy_row<F: Float>(mut to: ArrayViewMut1<'_, F>, values: &[f32]) {
    for (to, &value) in to.iter_mut().zip(values) {
        *to = F::from_f64(value.into());
    }
}

#[cfg(test)]
mod tests;
