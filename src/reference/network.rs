use ndarray::{Array2, ArrayView1, ArrayView2};

use super::{
    Backward, Draw, Float, Forward, Loss, SoftmaxCrossEntropy, SparseBatch, SparseLayer, Targets,
    Twin, footprint, softmax_cross_entropy,
};
use crate::Sequential;
use crate::error::Error;

/// A network with its parameters, and the five functions of the book's `TwoLayerNet`.
#[derive(Debug)]
pub struct Network<F> {
    pub(super) layers: Vec<Twin>,
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
            layers: spec
                .layers()
                .iter()
                .map(|layer| layer.reference())
                .collect(),
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
            F::of(layer).forward(Forward {
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
        self.forward_from(1, work, Some(step));
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
        for i in (self.deltas_from - 1..last).rev() {
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
                dx: (i >= self.deltas_from).then(|| below[i].view_mut()),
                draw: self.draw(i, step),
            });
        }
        loss
    }
}

/// Whether rows have as many columns as a network has inputs.
pub(crate) fn check_input(widths: &[usize], [rows, columns]: [usize; 2]) -> Result<(), Error> {
    if columns == widths[0] {
        return Ok(());
    }
    Err(Error::Shape {
        what: "input of the network".to_owned(),
        expected: [rows, widths[0]],
        found: [rows, columns],
        remedy: "Give each row as many columns as the network has inputs, or build a network with as many inputs",
    })
}

/// Whether there is a row: none has no mean.
pub(crate) fn check_rows(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::setting(
            "number of rows",
            "at least 1, as their mean is asked for",
            0,
        )),
        _ => Ok(()),
    }
}

/// Whether these are all parameters of a network, each in its shape, in their order; which layer they are of does
/// not count.
pub(crate) fn check_parameters<'a, F>(
    expected: impl ExactSizeIterator<Item = (&'a str, [usize; 2])>,
    values: &[Vec<Array2<F>>],
) -> Result<(), Error> {
    let found = values.iter().map(Vec::len).sum();
    if found != expected.len() {
        let names: Vec<_> = expected.map(|(name, _)| name).collect();
        return Err(Error::Count {
            what: format!("parameters of the network ({})", names.join(", ")),
            expected: names.len(),
            found,
        });
    }
    for ((name, expected), value) in expected.zip(values.iter().flatten()) {
        let found: [usize; 2] = value.dim().into();
        if found != expected {
            let [rows, columns] = expected;
            return Err(Error::Shape {
                what: name.to_owned(),
                expected,
                found,
                remedy: match found == [columns, rows] {
                    true => "It is transposed: a weight is (inputs, outputs) here",
                    false => {
                        "Give the parameters of a network with the same layers, in their order"
                    }
                },
            });
        }
    }
    Ok(())
}

/// Number of rows whose largest logit is their label's.
pub(crate) fn correct<F: Float>(logits: ArrayView2<'_, F>, labels: &[u32]) -> usize {
    assert_eq!(logits.nrows(), labels.len(), "rows and labels");
    let pairs = logits.outer_iter().zip(labels);
    pairs
        .filter(|(row, label)| largest(*row) == **label as usize)
        .count()
}

/// Where the largest of a row is; of equal ones the first. NaN is none, so that of nothing but NaN it is 0.
pub(crate) fn largest<F: Float>(row: ArrayView1<'_, F>) -> usize {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] || (row[best].is_nan() && !logit.is_nan()) {
            best = class;
        }
    }
    best
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
