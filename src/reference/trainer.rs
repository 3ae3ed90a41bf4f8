use ndarray::{Array2, s};

use super::network::{Workspace, correct};
use super::sparse::SparseRows;
use super::{Float, Network, SparseBatch, sgd};
use crate::Sequential;
use crate::data::{Dataset, Sampling};
use crate::error::Error;
use crate::trainer::{Evaluation, check_fit, first_divergence};

/// Rows evaluated at a time.
const EVALUATION_ROWS: usize = 500;

/// The SGD loop on the CPU: the same minibatches, in the same order, as [`crate::Trainer`].
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::{TwoLayerNet, reference};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let spec = TwoLayerNet::spec(784, 50, 10).seed(1);
/// let mut trainer = reference::Trainer::<f32>::new(&spec, 0.1, &digits.train, 100, sampling)?;
/// let losses = trainer.steps(100)?;
/// assert!(losses[99] < losses[0]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<F> {
    network: Network<F>,
    learning_rate: F,
    dataset: Dataset,
    /// The same, where the first layer is faster over what is not 0 in it.
    sparse: Option<(SparseRows, SparseBatch<F>)>,
    sampling: Sampling,
    step: u32,
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
    /// [`Error::Setting`] when batch, sampling or learning rate make no sense, [`Error::Shape`]
    /// when the data set does not fit the network.
    pub fn new(
        spec: &Sequential,
        learning_rate: f32,
        dataset: &Dataset,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        use crate::ops::Optimizer as _;
        crate::ops::Sgd::new(learning_rate).check()?;
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
        Ok(Self {
            work,
            learning_rate: F::from_f64(learning_rate.into()),
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
        let first = u64::from(self.step);
        let mut losses = Vec::new();
        for _ in 0..count {
            losses.push(self.take_step());
        }
        #[expect(clippy::cast_possible_truncation, reason = "shown to a person")]
        let learning_rate = self.learning_rate.into_f64() as f32;
        #[expect(clippy::cast_possible_truncation, reason = "infinite stays infinite")]
        let as_f32 = losses.iter().map(|loss| loss.into_f64() as f32);
        first_divergence(first, as_f32.collect(), learning_rate)?;
        Ok(losses)
    }

    fn take_step(&mut self) -> F {
        self.sampling
            .minibatch(self.dataset.len(), self.step, &mut self.indices);
        let of_all = self.dataset.labels().indices();
        for (label, &example) in self.labels.iter_mut().zip(&self.indices) {
            *label = of_all[example as usize];
        }
        let loss = self.forward_backward();
        let parameters = self.network.parameters_mut().iter_mut().flatten();
        for (parameter, gradient) in parameters.zip(self.work.gradients.iter().flatten()) {
            sgd(parameter, gradient, self.learning_rate);
        }
        self.step = self.step.wrapping_add(1);
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
