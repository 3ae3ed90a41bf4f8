use std::any::Any;

use ndarray::{Array2, ArrayView2};

use super::footprint;
use super::linear::Linear;
use super::sparse::SparseBatch;
use crate::confusion::correct;
use crate::error::Error;
use crate::fit::{check_input, check_parameters, check_rows};
use crate::ops;
use crate::reference::{
    self, Backward, Draw, Float, Forward, Loss, SoftmaxCrossEntropy, Targets, Twin,
    softmax_cross_entropy,
};
use crate::sequential::Sequential;

/// How a layer is computed.
#[derive(Debug)]
pub(super) enum Form {
    /// As it is defined.
    Definition(Twin),
    /// A fully connected layer, fast.
    Linear,
}

impl Form {
    /// The fastest that there is.
    fn fast(layer: &dyn ops::Layer) -> Self {
        match is_linear(layer) {
            true => Self::Linear,
            false => Self::Definition(layer.reference()),
        }
    }

    pub(super) fn formulas<F: Float>(&self) -> &dyn reference::Layer<F> {
        match self {
            Self::Definition(twin) => F::of(twin),
            Self::Linear => &Linear,
        }
    }
}

/// Whether a layer has a fast form here, over bytes that are mostly 0 too.
pub(super) fn is_linear(layer: &dyn ops::Layer) -> bool {
    let any: &dyn Any = layer;
    any.is::<ops::Linear>()
}

/// A network with its parameters, and the five functions of the book's `TwoLayerNet`.
#[derive(Debug)]
pub struct Network<F> {
    pub(super) layers: Vec<Form>,
    widths: Vec<usize>,
    /// What each layer draws its random numbers under.
    keys: Vec<[u32; 2]>,
    pub(super) parameters: Vec<Vec<Array2<F>>>,
    /// Name and shape of each of them.
    names: Vec<(String, [usize; 2])>,
    /// The first of `values` whose gradient is computed.
    deltas_from: usize,
}

/// What a step of training writes: made once, used every step.
#[derive(Debug)]
pub(super) struct Workspace<F> {
    /// Input and output of every layer: `values[0]` is the minibatch, without columns where the first layer reads
    /// it in another form.
    pub(super) values: Vec<Array2<F>>,
    /// Their gradients; those that nobody reads are empty.
    deltas: Vec<Array2<F>>,
    pub(super) gradients: Vec<Vec<Array2<F>>>,
}

impl<F: Float> Network<F> {
    /// The network that `spec` describes, with its initial parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when a width of the network is out of range, [`Error::Memory`] when the host has no room
    /// for it.
    pub fn new(spec: &Sequential) -> Result<Self, Error> {
        Self::with(spec, Form::fast)
    }

    /// The same, to compare others with: every layer as its definition in [`crate::reference`] says, without the
    /// faster products of [`new`](Self::new), whose last bits are others.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn by_definition(spec: &Sequential) -> Result<Self, Error> {
        Self::with(spec, |layer| Form::Definition(layer.reference()))
    }

    fn with(spec: &Sequential, form: impl Fn(&dyn ops::Layer) -> Form) -> Result<Self, Error> {
        spec.check()?;
        footprint::check_network::<F>(spec)?;
        let parameters = spec.map_parameters(|spec, values| {
            let values = values.into_iter();
            // Values of f32 stay in the block that they are in.
            matrix(
                spec.shape,
                values.map(|value| F::from_f64(value.into())).collect(),
            )
        });
        Ok(Self {
            layers: spec.layers().iter().map(|layer| form(&**layer)).collect(),
            widths: spec.widths(),
            keys: spec.keys(),
            parameters,
            names: spec.map_specs(|name, spec| (name, spec.shape)).concat(),
            deltas_from: footprint::deltas_from(spec),
        })
    }

    /// Parameters of every layer, in the order of [`crate::ops::Layer::parameters`].
    #[must_use]
    pub fn parameters(&self) -> &[Vec<Array2<F>>] {
        &self.parameters
    }

    /// Replaces the parameters; all of them, in the same order. Layers without parameters may be left out.
    ///
    /// # Errors
    /// [`Error::Count`] when there are more or fewer, [`Error::Shape`] when one has another shape; then none is
    /// replaced.
    pub fn set_parameters(&mut self, values: &[Vec<Array2<F>>]) -> Result<(), Error> {
        let expected = self
            .names
            .iter()
            .map(|(name, shape)| (name.as_str(), *shape));
        check_parameters(expected, values)?;
        let parameters = self.parameters.iter_mut().flatten();
        for (parameter, value) in parameters.zip(values.iter().flatten()) {
            parameter.clone_from(value);
        }
        Ok(())
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

    /// Logits (rows, outputs) of rows `x` (rows, inputs), of which there may be none. Many rows take no more memory
    /// than their logits.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, [`Error::Memory`] without room for the logits.
    pub fn predict(&self, x: ArrayView2<'_, F>) -> Result<Array2<F>, Error> {
        check_input(&self.widths, x.dim().into())?;
        self.outputs(x)
    }

    /// Mean loss over rows `x` with their labels.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, [`Error::Count`] when labels and rows differ in
    /// number, [`Error::Setting`] when a label is none of the network's classes or there are no rows.
    pub fn loss(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> Result<F, Error> {
        self.check_labelled(x, labels)?;
        let mut sum = F::zero();
        self.for_each_pass_over(x, |rows, logits, unread| {
            let count = F::from_f64(rows.len() as f64);
            sum += count * softmax_cross_entropy(logits, &labels[rows], unread);
        })?;
        Ok(sum / F::from_f64(labels.len() as f64))
    }

    /// Share of rows whose largest logit is their label's.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> Result<f64, Error> {
        self.check_labelled(x, labels)?;
        let mut hits = 0;
        self.for_each_pass_over(x, |rows, logits, _| hits += correct(logits, &labels[rows]))?;
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Gradients of the loss by all parameters, by backpropagation, of all rows at once.
    ///
    /// # Errors
    /// As [`loss`](Self::loss), or [`Error::Memory`] without room for what every layer gives for these rows.
    pub fn gradient(
        &self,
        x: ArrayView2<'_, F>,
        labels: &[u32],
    ) -> Result<Vec<Vec<Array2<F>>>, Error> {
        self.check_labelled(x, labels)?;
        footprint::check_gradient::<F>(
            &self.widths,
            self.deltas_from,
            &self.parameters,
            x.nrows(),
        )?;
        let mut work = self.workspace(x.nrows(), false);
        work.values[0].assign(&x);
        let targets = Targets::Classes(labels);
        self.forward_backward(&mut work, &SoftmaxCrossEntropy, targets, None);
        Ok(work.gradients)
    }

    /// The same gradients by central differences, `(L(p + h) − L(p − h)) / 2h`.
    ///
    /// `h` is the cube root of the float's epsilon (6·10⁻⁶ in `f64`), where rounding and curvature
    /// err about equally. The book's 10⁻⁴ steps over the kink of a rectifier 16 times as often.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn numerical_gradient(
        &mut self,
        x: ArrayView2<'_, F>,
        labels: &[u32],
    ) -> Result<Vec<Vec<Array2<F>>>, Error> {
        self.check_labelled(x, labels)?;
        let h = F::epsilon().cbrt();
        let mut gradients = self.zero_gradients();
        for (layer, gradients) in gradients.iter_mut().enumerate() {
            for (index, gradient) in gradients.iter_mut().enumerate() {
                for (at, gradient) in gradient.indexed_iter_mut() {
                    let value = self.parameters[layer][index][at];
                    self.parameters[layer][index][at] = value + h;
                    let above = self.loss(x, labels)?;
                    self.parameters[layer][index][at] = value - h;
                    let below = self.loss(x, labels)?;
                    self.parameters[layer][index][at] = value;
                    *gradient = (above - below) / (h + h);
                }
            }
        }
        Ok(gradients)
    }

    /// Whether there is a label of a class for each of at least one row.
    fn check_labelled(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> Result<(), Error> {
        let widths = &self.widths;
        check_input(widths, x.dim().into())?;
        check_rows(x.nrows())?;
        if labels.len() != x.nrows() {
            return Err(Error::Count {
                what: "labels, one for each row".to_owned(),
                expected: x.nrows(),
                found: labels.len(),
            });
        }
        let classes = widths[widths.len() - 1];
        match labels.iter().position(|&label| label as usize >= classes) {
            None => Ok(()),
            Some(row) => Err(Error::setting(
                format!("label of row {row}"),
                format!("below {classes}, the number of the network's outputs"),
                labels[row],
            )),
        }
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

    /// Room for a step over so many rows; `is_sparse` where the first layer reads them in another form.
    pub(super) fn workspace(&self, rows: usize, is_sparse: bool) -> Workspace<F> {
        let widths = self.widths.iter().enumerate();
        let values = widths.clone().map(|(i, &width)| match i == 0 && is_sparse {
            true => Array2::zeros((rows, 0)),
            false => Array2::zeros((rows, width)),
        });
        let deltas = widths.map(|(i, &width)| match i < self.deltas_from {
            true => Array2::zeros((0, 0)),
            false => Array2::zeros((rows, width)),
        });
        Workspace {
            values: values.collect(),
            deltas: deltas.collect(),
            gradients: self.zero_gradients(),
        }
    }

    /// What a layer draws from in a step of training.
    fn draw(&self, layer: usize, step: Option<u32>) -> Option<Draw> {
        step.map(|step| Draw {
            key: self.keys[layer],
            step,
        })
    }

    fn forward_from(&self, first: usize, work: &mut Workspace<F>, step: Option<u32>) {
        for (i, layer) in self.layers.iter().enumerate().skip(first) {
            let (before, after) = work.values.split_at_mut(i + 1);
            layer.formulas().forward(Forward {
                x: before[i].view(),
                parameters: &self.parameters[i],
                y: after[0].view_mut(),
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
        self.forward_from(0, work, step);
        self.backward(work, loss, targets, step, None)
    }

    /// [`forward_backward`](Self::forward_backward) of `x` instead of `work.values[0]`, where the first layer
    /// [is linear](is_linear).
    pub(super) fn sparse_forward_backward(
        &self,
        x: &SparseBatch<F>,
        work: &mut Workspace<F>,
        loss: &dyn Loss<F>,
        targets: Targets<'_, F>,
        step: u32,
    ) -> F {
        Linear::sparse_forward(x, &self.parameters[0], work.values[1].view_mut());
        self.forward_from(1, work, Some(step));
        self.backward(work, loss, targets, Some(step), Some(x))
    }

    /// Loss and gradients from the logits; the first layer's from a sparse input, if there is one.
    fn backward(
        &self,
        work: &mut Workspace<F>,
        loss: &dyn Loss<F>,
        targets: Targets<'_, F>,
        step: Option<u32>,
        sparse: Option<&SparseBatch<F>>,
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
        for i in (self.deltas_from - 1..last).rev() {
            let (below, above) = deltas.split_at_mut(i + 1);
            let dy = above[0].view();
            if let (0, Some(x)) = (i, sparse) {
                Linear::sparse_backward(x, dy, &mut gradients[0]);
                continue;
            }
            self.layers[i].formulas().backward(Backward {
                x: values[i].view(),
                y: values[i + 1].view(),
                dy,
                parameters: &self.parameters[i],
                gradients: &mut gradients[i],
                dx: (i >= self.deltas_from).then(|| below[i].view_mut()),
                draw: self.draw(i, step),
            });
        }
        loss
    }
}

/// Row-major values as a matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn matrix<F: Float>(shape: [usize; 2], values: Vec<F>) -> Array2<F> {
    Array2::from_shape_vec(shape, values).expect("a parameter has as many values as its shape")
}

#[cfg(test)]
impl<F> Workspace<F> {
    pub(super) fn values_and_deltas(&self) -> impl Iterator<Item = &Array2<F>> {
        self.values.iter().chain(&self.deltas)
    }
}
