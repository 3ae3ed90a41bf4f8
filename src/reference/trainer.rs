#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use ndarray::{Array2, s};

use super::network::{Workspace, correct};
use super::sparse::SparseRows;
use super::{Float, Moment, Network, Rule, SparseBatch};
use crate::Sequential;
use crate::checkpoint::{self, Position};
use crate::data::{Dataset, Sampling};
use crate::error::Error;
use crate::ops::Optimizer;
use crate::trainer::{Evaluation, check_fit, first_divergence};

/// Rows evaluated at a time.
const EVALUATION_ROWS: usize = 500;

/// The training loop on the CPU: the same minibatches, in the same order, as [`crate::Trainer`].
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::Sgd;
/// use wgrad::{TwoLayerNet, reference};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let spec = TwoLayerNet::spec(784, 50, 10).seed(1);
/// let optimizer = Sgd::new(0.1);
/// let mut trainer =
///     reference::Trainer::<f32>::new(&spec, optimizer, &digits.train, 100, sampling)?;
/// let losses = trainer.steps(100)?;
/// assert!(losses[99] < losses[0]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<F> {
    spec: Sequential,
    network: Network<F>,
    optimizer: Box<dyn Optimizer>,
    rule: Rule,
    /// What the optimizer keeps of every parameter, in order.
    state: Vec<Vec<Array2<F>>>,
    dataset: Dataset,
    /// The same, where the first layer is faster over what is not 0 in it.
    sparse: Option<(SparseRows, SparseBatch<F>)>,
    sampling: Sampling,
    step: u64,
    work: Workspace<F>,
    indices: Vec<u32>,
    labels: Vec<u32>,
    /// `byte / 255` for every byte.
    unit: [F; 256],
}

impl<F: Float> Trainer<F> {
    /// Trains `spec` on `dataset` with minibatches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] when batch, sampling or a setting of the optimizer make no sense, [`Error::Shape`]
    /// when the data set does not fit the network.
    pub fn new(
        spec: &Sequential,
        optimizer: impl Optimizer + 'static,
        dataset: &Dataset,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        optimizer.check()?;
        sampling.check(dataset.len(), batch)?;
        let network = Network::new(spec)?;
        check_fit(network.widths(), dataset)?;
        let work = network.workspace(batch);
        let sparse = network
            .first_sparse()
            .and_then(|_| SparseRows::of(dataset, network.widths()[1]))
            .map(|rows| (rows, SparseBatch::new(network.widths()[1])));
        let mut unit = [F::zero(); 256];
        for (byte, unit) in (0u8..=255).zip(&mut unit) {
            *unit = F::from_f64(byte.into()) / F::from_f64(255.0);
        }
        let of_parameter = |parameter: &Array2<F>| {
            let names = optimizer.state().iter();
            names.map(|_| Array2::zeros(parameter.raw_dim())).collect()
        };
        let parameters = network.parameters().iter().flatten();
        Ok(Self {
            spec: spec.clone(),
            state: parameters.map(of_parameter).collect(),
            work,
            rule: optimizer.reference(),
            optimizer: Box::new(optimizer),
            dataset: dataset.clone(),
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

    /// Replaces the parameters; all of them, in the order of [`crate::ops::Layer::parameters`].
    ///
    /// # Errors
    /// [`Error::Shape`] when one has another shape; then none is replaced.
    pub fn set_parameters(&mut self, values: &[Vec<Array2<F>>]) -> Result<(), Error> {
        self.network.set_parameters(values)
    }

    /// Takes `count` steps; returns the mean loss of each minibatch before its update.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is not a number below 2²⁴.
    pub fn steps(&mut self, count: usize) -> Result<Vec<F>, Error> {
        let first = self.step;
        let mut losses = Vec::new();
        for _ in 0..count {
            losses.push(self.take_step());
        }
        #[expect(clippy::cast_possible_truncation, reason = "infinite stays infinite")]
        let as_f32 = losses.iter().map(|loss| loss.into_f64() as f32);
        first_divergence(first, as_f32.collect(), self.optimizer.learning_rate())?;
        Ok(losses)
    }

    fn take_step(&mut self) -> F {
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        let step = self.step as u32;
        self.sampling
            .minibatch(self.dataset.len(), step, &mut self.indices);
        let of_all = self.dataset.labels().indices();
        for (label, &example) in self.labels.iter_mut().zip(&self.indices) {
            *label = of_all[example as usize];
        }
        let loss = self.forward_backward();
        let at = Moment {
            step: self.step,
            learning_rate: F::from_f64(self.optimizer.coefficients(self.step)[0].into()),
        };
        let rule = F::rule(&self.rule);
        let parameters = self.network.parameters_mut().iter_mut().flatten();
        let gradients = self.work.gradients.iter().flatten();
        for ((parameter, gradient), state) in parameters.zip(gradients).zip(&mut self.state) {
            rule.update(at, parameter, gradient, state);
        }
        self.step += 1;
        loss
    }

    /// Mean loss of the minibatch, with the gradients in the work space.
    fn forward_backward(&mut self) -> F {
        let (work, labels) = (&mut self.work, &self.labels);
        if let (Some((rows, x)), Some(first)) = (&mut self.sparse, self.network.first_sparse()) {
            x.gather(rows, &self.indices, &self.unit);
            return self.network.sparse_forward_backward(first, x, work, labels);
        }
        for (mut x, &example) in work.values[0].outer_iter_mut().zip(&self.indices) {
            for (x, &byte) in x.iter_mut().zip(self.dataset.row(example as usize)) {
                *x = self.unit[usize::from(byte)];
            }
        }
        self.network.forward_backward(work, labels)
    }

    /// Mean loss and accuracy over a whole data set.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<Evaluation, Error> {
        check_fit(self.network.widths(), dataset)?;
        let mut work = self.network.workspace(EVALUATION_ROWS.min(dataset.len()));
        let (mut loss, mut hits) = (0.0, 0);
        let labels = dataset.labels().indices().chunks(EVALUATION_ROWS);
        let bytes = dataset.features().chunks(EVALUATION_ROWS * dataset.width());
        for (labels, bytes) in labels.zip(bytes) {
            for (x, &byte) in work.values[0].iter_mut().zip(bytes) {
                *x = self.unit[usize::from(byte)];
            }
            let rows = labels.len();
            self.network.forward(&mut work, rows);
            let (logits, unread) = work.outputs(rows);
            let mean = super::softmax_cross_entropy(logits, labels, unread);
            loss += mean.into_f64() * rows as f64;
            hits += correct(work.outputs(rows).0, labels);
        }
        Ok(Evaluation::new(loss, hits, dataset.len()))
    }
}

/// Checkpoints hold `f32`.
impl Trainer<f32> {
    fn position(&self) -> Position {
        Position {
            step: self.step,
            batch: self.indices.len(),
            examples: self.dataset.len(),
            sampling: self.sampling.clone(),
        }
    }

    /// Parameters and the state of the training as a safetensors file, which [`crate::Trainer`] takes
    /// too: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the format has no room for it.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let roles = self.optimizer.state().iter().enumerate();
        let of_role = |at: usize| self.state.iter().map(|kept| kept[at].clone()).collect();
        let state = roles.map(|(at, role)| (*role, of_role(at))).collect();
        let training = Some((&state, &self.position()));
        checkpoint::encode(&self.spec, self.network.parameters(), training)
    }

    /// Goes on from such a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let training = Some((self.optimizer.state(), &self.position()));
        let contents = checkpoint::decode(&self.spec, training, bytes)?;
        self.network.set_parameters(&contents.parameters)?;
        for (at, values) in contents.state.into_iter().enumerate() {
            for (kept, value) in self.state.iter_mut().zip(values) {
                kept[at] = value;
            }
        }
        self.step = contents.step;
        Ok(())
    }

    /// Writes parameters and the state of the training to a safetensors file. Whatever happens, the
    /// whole old file or the whole new one is there.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(checkpoint::write(path.as_ref(), &self.to_safetensors()?)?)
    }

    /// Goes on from a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there, or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = checkpoint::read(path.as_ref(), self.spec.largest_checkpoint())?;
        self.set_safetensors(&bytes)
    }
}

impl<F: Float> Workspace<F> {
    /// Logits of the first rows, and room for their gradient.
    fn outputs(
        &mut self,
        rows: usize,
    ) -> (ndarray::ArrayView2<'_, F>, ndarray::ArrayViewMut2<'_, F>) {
        let last = self.values.len() - 1;
        let logits = self.values[last].slice(s![..rows, ..]);
        (logits, self.deltas[last].slice_mut(s![..rows, ..]))
    }
}
