use ndarray::{Array2, ArrayView1, ArrayView2, s};

use super::{
    Backward, Draw, Float, Forward, Loss, SoftmaxCrossEntropy, SparseBatch, SparseLayer, Targets,
    Twin, softmax_cross_entropy,
};
use crate::Sequential;
use crate::error::Error;

/// A network with its parameters, and the five functions of the book's `TwoLayerNet`.
#[derive(Debug)]
pub struct Network<F> {
    layers: Vec<Twin>,
    widths: Vec<usize>,
    /// What each layer draws its random numbers under.
    keys: Vec<[u32; 2]>,
    parameters: Vec<Vec<Array2<F>>>,
}

/// What a pass over one minibatch writes: made once, used every step.
#[derive(Debug)]
pub(super) struct Workspace<F> {
    /// Input and output of every layer, and their gradients: `values[0]` is the minibatch.
    pub(super) values: Vec<Array2<F>>,
    pub(super) deltas: Vec<Array2<F>>,
    pub(super) gradients: Vec<Vec<Array2<F>>>,
}

impl<F: Float> Network<F> {
    /// The network that `spec` describes, with its initial parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when a width of the network is out of range.
    pub fn new(spec: &Sequential) -> Result<Self, Error> {
        spec.check()?;
        let parameters = spec.map_parameters(|spec, values| {
            let values = values
                .into_iter()
                .map(|value| F::from_f64(value.into()))
                .collect();
            matrix(spec.shape, values)
        });
        Ok(Self {
            layers: spec
                .layers()
                .iter()
                .map(|layer| layer.reference())
                .collect(),
            widths: spec.widths(),
            keys: spec.keys(),
            parameters,
        })
    }

    /// Parameters of every layer, in the order of [`crate::ops::Layer::parameters`].
    #[must_use]
    pub fn parameters(&self) -> &[Vec<Array2<F>>] {
        &self.parameters
    }

    /// Replaces the parameters; all of them, in the same order.
    ///
    /// # Errors
    /// [`Error::Shape`] when one has another shape; then none is replaced.
    pub fn set_parameters(&mut self, values: &[Vec<Array2<F>>]) -> Result<(), Error> {
        let shapes = |layers: &[Vec<Array2<F>>]| {
            let of_layer = |layer: &Vec<Array2<F>>| layer.iter().map(Array2::dim).collect();
            layers.iter().map(of_layer).collect::<Vec<Vec<_>>>()
        };
        let (expected, found) = (shapes(&self.parameters), shapes(values));
        if expected == found {
            self.parameters.clone_from_slice(values);
            return Ok(());
        }
        let (expected, found) = (expected.concat(), found.concat());
        let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
        let shape = |shapes: &[(usize, usize)], count| match differs {
            Some(at) => shapes[at].into(),
            None => [1, count],
        };
        Err(Error::Shape {
            what: match differs {
                Some(at) => format!("parameter {at} of a network"),
                None => "parameters of a network".to_owned(),
            },
            expected: shape(&expected, expected.len()),
            found: shape(&found, found.len()),
        })
    }

    /// The same, to be changed in place; their shapes must stay.
    pub fn parameters_mut(&mut self) -> &mut [Vec<Array2<F>>] {
        &mut self.parameters
    }

    /// Features per example, then outputs of every layer.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Logits of rows `x` (rows, inputs).
    ///
    /// # Panics
    /// When `x` has not the network's width. These five are the formulas, and check nothing that they need
    /// not; those of [`Model`](crate::Model) return errors.
    #[must_use]
    pub fn predict(&self, x: ArrayView2<'_, F>) -> Array2<F> {
        let mut value = x.to_owned();
        for (i, layer) in self.layers.iter().enumerate() {
            let mut y = Array2::zeros((x.nrows(), self.widths[i + 1]));
            let pass = Forward::evaluation(value.view(), &self.parameters[i], y.view_mut());
            F::of(layer).forward(pass);
            value = y;
        }
        value
    }

    /// Mean loss over rows `x` with their labels.
    ///
    /// # Panics
    /// As [`predict`](Self::predict), and unless there is a label of the network's classes for each row.
    #[must_use]
    pub fn loss(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> F {
        let logits = self.predict(x);
        let mut unread = Array2::zeros(logits.raw_dim());
        softmax_cross_entropy(logits.view(), labels, unread.view_mut())
    }

    /// Share of rows whose largest logit is their label's.
    ///
    /// # Panics
    /// As [`loss`](Self::loss), and when there are no rows.
    #[must_use]
    pub fn accuracy(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> f64 {
        assert!(!labels.is_empty(), "accuracy of no rows");
        correct(self.predict(x).view(), labels) as f64 / labels.len() as f64
    }

    /// Gradients of the loss by all parameters, by backpropagation.
    ///
    /// # Panics
    /// As [`loss`](Self::loss).
    #[must_use]
    pub fn gradient(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> Vec<Vec<Array2<F>>> {
        let mut work = self.workspace(x.nrows());
        work.values[0].assign(&x);
        let targets = Targets::Classes(labels);
        self.forward_backward(&mut work, &SoftmaxCrossEntropy, targets, None);
        work.gradients
    }

    /// The same gradients by central differences, `(L(p + h) − L(p − h)) / 2h`.
    ///
    /// `h` is the cube root of the float's epsilon (6·10⁻⁶ in `f64`), where rounding and curvature
    /// err about equally. The book's 10⁻⁴ steps over the kink of a rectifier 16 times as often.
    ///
    /// # Panics
    /// As [`loss`](Self::loss).
    #[must_use]
    pub fn numerical_gradient(
        &mut self,
        x: ArrayView2<'_, F>,
        labels: &[u32],
    ) -> Vec<Vec<Array2<F>>> {
        let h = F::epsilon().cbrt();
        let mut gradients = self.zero_gradients();
        for (layer, gradients) in gradients.iter_mut().enumerate() {
            for (index, gradient) in gradients.iter_mut().enumerate() {
                for (at, gradient) in gradient.indexed_iter_mut() {
                    let value = self.parameters[layer][index][at];
                    self.parameters[layer][index][at] = value + h;
                    let above = self.loss(x, labels);
                    self.parameters[layer][index][at] = value - h;
                    let below = self.loss(x, labels);
                    self.parameters[layer][index][at] = value;
                    *gradient = (above - below) / (h + h);
                }
            }
        }
        gradients
    }

    fn zero_gradients(&self) -> Vec<Vec<Array2<F>>> {
        let zeros = |parameters: &Vec<Array2<F>>| {
            parameters
                .iter()
                .map(|parameter| Array2::zeros(parameter.raw_dim()))
                .collect()
        };
        self.parameters.iter().map(zeros).collect()
    }

    pub(super) fn workspace(&self, rows: usize) -> Workspace<F> {
        let zeros = || {
            self.widths
                .iter()
                .map(|&width| Array2::zeros((rows, width)))
                .collect()
        };
        Workspace {
            values: zeros(),
            deltas: zeros(),
            gradients: self.zero_gradients(),
        }
    }

    /// Logits of the first `rows` rows of `work.values[0]`, into the last of `work.values`, outside of
    /// training.
    pub(super) fn forward(&self, work: &mut Workspace<F>, rows: usize) {
        self.forward_from(0, work, rows, None);
    }

    /// What a layer draws from in a step of training.
    fn draw(&self, layer: usize, step: Option<u32>) -> Option<Draw> {
        step.map(|step| Draw {
            key: self.keys[layer],
            step,
        })
    }

    fn forward_from(&self, first: usize, work: &mut Workspace<F>, rows: usize, step: Option<u32>) {
        for (i, layer) in self.layers.iter().enumerate().skip(first) {
            let (before, after) = work.values.split_at_mut(i + 1);
            F::of(layer).forward(Forward {
                x: before[i].slice(s![..rows, ..]),
                parameters: &self.parameters[i],
                y: after[0].slice_mut(s![..rows, ..]),
                draw: self.draw(i, step),
            });
        }
    }

    /// Mean loss of `work.values[0]`, with the gradients in `work.gradients`: in a step of training, or
    /// outside of it.
    pub(super) fn forward_backward(
        &self,
        work: &mut Workspace<F>,
        loss: &dyn Loss<F>,
        targets: Targets<'_, F>,
        step: Option<u32>,
    ) -> F {
        self.forward_from(0, work, work.values[0].nrows(), step);
        self.backward(work, loss, targets, step, None)
    }

    /// The first layer, if it has a form for rows given by what is not 0 in them.
    pub(super) fn first_sparse(&self) -> Option<&dyn SparseLayer<F>> {
        self.layers.first().and_then(|layer| F::of(layer).sparse())
    }

    /// [`forward_backward`](Self::forward_backward) of `x` instead of `work.values[0]`.
    pub(super) fn sparse_forward_backward(
        &self,
        first: &dyn SparseLayer<F>,
        x: &SparseBatch<F>,
        work: &mut Workspace<F>,
        loss: &dyn Loss<F>,
        targets: Targets<'_, F>,
        step: u32,
    ) -> F {
        first.forward(x, &self.parameters[0], work.values[1].view_mut());
        self.forward_from(1, work, work.values[0].nrows(), Some(step));
        self.backward(work, loss, targets, Some(step), Some((first, x)))
    }

    /// Loss and gradients from the logits; the first layer's from a sparse input, if there is one.
    fn backward(
        &self,
        work: &mut Workspace<F>,
        loss: &dyn Loss<F>,
        targets: Targets<'_, F>,
        step: Option<u32>,
        sparse: Option<(&dyn SparseLayer<F>, &SparseBatch<F>)>,
    ) -> F {
        let last = self.layers.len();
        let Workspace {
            values,
            deltas,
            gradients,
        } = work;
        let logits = values[last].view();
        let loss = loss.forward_backward(logits, targets, deltas[last].view_mut());
        // Nobody reads a gradient below the first parameters.
        let first = self
            .parameters
            .iter()
            .position(|parameters| !parameters.is_empty());
        for i in (first.unwrap_or(last)..last).rev() {
            let (below, above) = deltas.split_at_mut(i + 1);
            let dy = above[0].view();
            if let (0, Some((layer, x))) = (i, sparse) {
                layer.backward(x, dy, &mut gradients[0]);
                continue;
            }
            F::of(&self.layers[i]).backward(Backward {
                x: values[i].view(),
                y: values[i + 1].view(),
                dy,
                parameters: &self.parameters[i],
                gradients: &mut gradients[i],
                dx: (Some(i) > first).then(|| below[i].view_mut()),
                draw: self.draw(i, step),
            });
        }
        loss
    }
}

/// Number of rows whose largest logit is their label's.
pub(crate) fn correct<F: Float>(logits: ArrayView2<'_, F>, labels: &[u32]) -> usize {
    assert_eq!(logits.nrows(), labels.len(), "rows and labels");
    let pairs = logits.outer_iter().zip(labels);
    pairs
        .filter(|(row, label)| largest(*row) == **label as usize)
        .count()
}

/// Where the largest of a row is; of equal ones the first.
pub(crate) fn largest<F: Float>(row: ArrayView1<'_, F>) -> usize {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] {
            best = class;
        }
    }
    best
}

/// Row-major values as a matrix.
fn matrix<F: Float>(shape: [usize; 2], values: Vec<F>) -> Array2<F> {
    let [rows, columns] = shape;
    Array2::from_shape_fn((rows, columns), |(r, c)| values[r * columns + c])
}
