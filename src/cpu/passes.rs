//! Forward and backward passes over a network, in the order of its graph. A value is a node of the graph: an input, the
//! output of a layer, a sum, or a concatenation.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip, s};

use super::form::Form;
use super::linear::Linear;
use super::product;
use super::softmax;
use super::sparse::Sparse;
use super::workspace::{Workspace, matrix, matrix_mut};
use crate::network::{Arrival, BackwardStep, Graph, Source, Use};
use crate::ops;
use crate::random::part_key;
use crate::reference::{Backward, Criterion, Draw, Float, Forward, Loss, LossPass, Mode, Targets};
use crate::shape::Shape;

/// The computations of a network, without its parameters and state.
#[derive(Debug)]
pub(super) struct Passes {
    pub(super) graph: Graph,
    /// How each use of a layer is computed; a layer may be used several times.
    forms: Vec<Form>,
    /// Whether `Relu` layers are fused with neighboring layers that support this: the forward pass of a `Relu` with the
    /// layer before it, the backward pass with the layer after it.
    pub(super) fuses: bool,
}

/// The parameters and the state of a network, which forward passes read and write besides the values. In a training
/// step, `step` has the number of earlier steps and the index of the minibatch within the step; otherwise it is `None`.
#[derive(Debug)]
pub(super) struct Context<'a, F> {
    pub(super) parameters: &'a [Array2<F>],
    pub(super) state: &'a mut [Array2<F>],
    pub(super) step: Option<[u32; 2]>,
}

impl<F> Context<'_, F> {
    /// Returns the context for the backward pass after this forward pass.
    pub(super) fn of_backward(&self) -> BackwardContext<'_, F> {
        BackwardContext {
            parameters: self.parameters,
            state: self.state,
            step: self.step,
        }
    }
}

/// The parameters and the state of a network, which backward passes read besides values and gradients.
#[derive(Debug)]
pub(super) struct BackwardContext<'a, F> {
    pub(super) parameters: &'a [Array2<F>],
    /// The state after the forward pass.
    pub(super) state: &'a [Array2<F>],
    pub(super) step: Option<[u32; 2]>,
}

impl Passes {
    /// Computes each layer in its fastest form.
    pub(super) fn fast(graph: Graph) -> Self {
        Self::with(graph, Form::fast, true)
    }

    /// Computes each layer by its definition in [`crate::reference`].
    pub(super) fn by_definition(graph: Graph) -> Self {
        let definition = |_: &Graph, layer_use: &Use| Form::Layer(layer_use.layer.reference());
        Self::with(graph, definition, false)
    }

    fn with(graph: Graph, form: impl Fn(&Graph, &Use) -> Form, fuses: bool) -> Self {
        let uses = graph.uses.iter();
        Self {
            forms: uses.map(|layer_use| form(&graph, layer_use)).collect(),
            graph,
            fuses,
        }
    }

    /// If `value` is the output of a layer that is fused with the `Relu` after it: returns the `Relu`'s value, which is
    /// stored instead.
    pub(super) fn fused_relu_of(&self, value: usize) -> Option<usize> {
        match self.graph.values[value].source {
            Source::Layer { layer, .. } if self.fuses => {
                self.graph.relu_after(&self.graph.uses[layer])
            }
            _ => None,
        }
    }

    /// Whether a value is the output of a `Relu` that is fused with the layer before it.
    fn is_in_product(&self, value: usize) -> bool {
        match self.graph.values[value].source {
            Source::Layer { x, .. } => self.fused_relu_of(x) == Some(value),
            _ => false,
        }
    }

    /// Returns the first layer if it is a `Linear`, and if the network has a single input that no other layer reads.
    pub(super) fn fast_first(&self) -> Option<&Use> {
        let first = self.graph.first_use()?;
        let Source::Layer { layer, .. } = self.graph.values[first.value].source else {
            return None;
        };
        self.forms[layer].is_linear().then_some(first)
    }

    /// Returns the fast form of a loss, or its definition if the layers are computed by their definitions.
    pub(super) fn criterion(&self, loss: &dyn ops::Loss) -> Criterion {
        if self.fuses {
            softmax::criterion(loss)
        } else {
            loss.reference()
        }
    }

    /// Whether a step on `rows` rows is so large that it is faster on several cores.
    pub(super) fn is_shared(&self, rows: usize) -> bool {
        let uses = self.graph.uses.iter().zip(&self.forms);
        let mut products = uses.filter(|(_, form)| form.is_product());
        products.any(|(layer_use, _)| {
            let multiplications = usize::try_from(layer_use.spec.flops / 2).unwrap_or(usize::MAX);
            product::is_shared(multiplications.saturating_mul(rows))
        })
    }

    /// Scratch memory of the layer that needs the most, as a number of elements.
    pub(super) fn scratch(&self) -> u64 {
        let layers = self.graph.values.iter().filter_map(|value| {
            let Source::Layer { layer, x } = value.source else {
                return None;
            };
            Some(self.forms[layer].scratch(self.graph.values[x].shape))
        });
        layers.max().unwrap_or(0)
    }

    /// Index of the network's output among its values.
    pub(super) fn output(&self) -> usize {
        self.graph.values.len() - 1
    }

    /// Number of elements of a value per row.
    pub(super) fn columns(&self, value: usize) -> usize {
        self.graph.values[value].shape.len()
    }

    /// Returns, for each input, the index of its value and its first column among a row's features.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (usize, usize)> {
        let values = self.graph.values.iter().enumerate();
        values.filter_map(|(index, value)| match value.source {
            Source::Input { first } => Some((index, first)),
            _ => None,
        })
    }

    /// Copies the features `x` to the network's inputs.
    pub(super) fn copy_inputs<F: Float>(&self, x: ArrayView2<'_, F>, values: &mut [Array2<F>]) {
        for (input, first) in self.inputs() {
            let columns = first..first + self.columns(input);
            values[input].assign(&x.slice(s![.., columns]));
        }
    }

    fn mode(&self, layer: usize, step: Option<[u32; 2]>) -> Mode {
        let key = self.graph.uses[layer].key;
        step.map_or(Mode::Evaluation, |[count, part]| {
            Mode::Training(Draw::new(part_key(key, part), count))
        })
    }

    /// Computes the value `index` into `y`; does nothing for an input. With `relu`, also applies the `Relu` after the
    /// layer. `of` returns a value from which the value `index` is computed.
    pub(super) fn value<'v, F: Float>(
        &self,
        (index, relu): (usize, bool),
        of: impl Fn(usize) -> ArrayView2<'v, F>,
        mut y: ArrayViewMut2<'_, F>,
        kept: &mut [Array2<F>],
        context: &mut Context<'_, F>,
    ) {
        match &self.graph.values[index].source {
            Source::Input { .. } => {}
            &Source::Layer { layer, x } => {
                let layer_use = &self.graph.uses[layer];
                let parameters = &context.parameters[layer_use.parameters.clone()];
                let input: (ArrayView2<'_, F>, Shape) = (of(x), self.graph.values[x].shape);
                let mode = self.mode(layer, context.step);
                let pass = Forward::new(input, parameters, y.view_mut(), mode);
                let state = &mut context.state[layer_use.state.clone()];
                let pass = pass.with_state(state).with_kept(kept);
                self.forms[layer].forward(pass, relu);
            }
            &Source::Sum([a, b]) => {
                let sum = |y: &mut F, &a: &F, &b: &F| *y = a + b;
                Zip::from(&mut y).and(&of(a)).and(&of(b)).for_each(sum);
            }
            Source::Concat(parts) => {
                let mut first = 0;
                for &part in parts {
                    let columns = first..first + self.columns(part);
                    first = columns.end;
                    y.slice_mut(s![.., columns]).assign(&of(part));
                }
            }
        }
    }

    /// Computes all values from the inputs, except values of layers that are fused with a `Relu`. The first layer reads
    /// the sparse input, if there is one.
    pub(super) fn forward<F: Float>(
        &self,
        values: &mut [Array2<F>],
        kept: &mut [Vec<Array2<F>>],
        context: &mut Context<'_, F>,
        sparse: Option<&mut Sparse<F>>,
    ) {
        self.forward_values(self.fuses, values, kept, context, sparse);
    }

    /// Computes all values without fusing any; `values` must have memory for all of them.
    pub(super) fn forward_apart<F: Float>(
        &self,
        values: &mut [Array2<F>],
        kept: &mut [Vec<Array2<F>>],
        context: &mut Context<'_, F>,
    ) {
        self.forward_values(false, values, kept, context, None);
    }

    /// Computes all values from the inputs; with `fuses`, except values of layers that are fused with a `Relu`.
    fn forward_values<F: Float>(
        &self,
        fuses: bool,
        values: &mut [Array2<F>],
        kept: &mut [Vec<Array2<F>>],
        context: &mut Context<'_, F>,
        mut sparse: Option<&mut Sparse<F>>,
    ) {
        for index in self.graph.inputs..self.graph.values.len() {
            if fuses && self.is_in_product(index) {
                continue;
            }
            let (before, after) = values.split_at_mut(index);
            let relu = self.fused_relu_of(index).filter(|_| fuses);
            let y = after[relu.map_or(0, |relu| relu - index)].view_mut();
            let relu = relu.is_some();
            if let Some((x, layer_use)) = self.sparse_use(index, sparse.as_deref_mut()) {
                let parameters = &context.parameters[layer_use.parameters.clone()];
                Linear::sparse_forward(x, parameters, y, relu);
            } else {
                let kept: &mut [Array2<F>] = match self.graph.values[index].source {
                    Source::Layer { layer, .. } => &mut kept[layer],
                    _ => &mut [],
                };
                let of = |value: usize| before[value].view();
                self.value((index, relu), of, y, kept, context);
            }
        }
    }

    /// Computes the forward pass, the loss and the backward pass, for the inputs in `work.values` or for the sparse
    /// input. Returns the mean loss, and writes the parameters' gradients to `work.gradients`.
    pub(super) fn forward_backward<F: Float>(
        &self,
        work: &mut Workspace<F>,
        context: &mut Context<'_, F>,
        compared: (&dyn Loss<F>, Targets<'_, F>),
        mut sparse: Option<&mut Sparse<F>>,
    ) -> F {
        let of_input = sparse.as_deref_mut();
        self.forward(&mut work.values, &mut work.kept, context, of_input);
        let loss = self.loss(work, compared);
        self.backward(work, &context.of_backward(), sparse);
        loss
    }

    /// Returns the mean loss of the outputs in `work.values`. Writes the gradient with respect to the outputs to the
    /// memory from which [`backward`](Self::backward) reads it.
    pub(super) fn loss<F: Float>(
        &self,
        work: &mut Workspace<F>,
        (loss, targets): (&dyn Loss<F>, Targets<'_, F>),
    ) -> F {
        let (outputs, doutputs) = work.outputs(self);
        // Reborrow the targets, for the lifetime of the other views.
        let targets = match &targets {
            Targets::Classes(labels) => Targets::Classes(labels),
            Targets::Values(values) => Targets::Values(values.view()),
        };
        loss.forward_backward(LossPass::new(outputs, targets, doutputs))
    }

    /// Returns the sparse input and the first layer, if this layer computes `value` and reads the sparse input.
    fn sparse_use<'a, F>(
        &self,
        value: usize,
        sparse: Option<&'a mut Sparse<F>>,
    ) -> Option<(&'a mut Sparse<F>, &Use)> {
        let x = sparse?;
        let layer_use = self.graph.first_use()?;
        (layer_use.value == value).then_some((x, layer_use))
    }

    /// Computes the gradients by backpropagation, starting from the gradient with respect to the outputs. If several
    /// layers read a value, their gradients are added.
    pub(super) fn backward<F: Float>(
        &self,
        work: &mut Workspace<F>,
        context: &BackwardContext<'_, F>,
        mut sparse: Option<&mut Sparse<F>>,
    ) {
        let plan = Arc::clone(&work.plan);
        for step in &plan.steps {
            let slot = plan.slot(step.value);
            // No backward step writes to the memory of the gradient that it reads.
            let dy = std::mem::take(&mut work.deltas[slot]);
            let of_value = matrix(&dy, [work.rows, self.columns(step.value)]);
            match &self.graph.values[step.value].source {
                Source::Input { .. } => {}
                &Source::Layer { layer, x } => {
                    self.layer_back(
                        work,
                        context,
                        step,
                        (layer, x),
                        of_value,
                        sparse.as_deref_mut(),
                    );
                }
                Source::Sum(_) => {
                    for &(operand, arrival) in step.to.iter().flatten() {
                        // A sum and its operand may share the memory of their gradients. Then there is nothing to copy.
                        if plan.slot(operand) != slot {
                            self.arrive(work, operand, arrival, of_value);
                        }
                    }
                }
                Source::Concat(parts) => {
                    let mut first = 0;
                    for (&part, to) in parts.iter().zip(&step.to) {
                        let columns = first..first + self.columns(part);
                        first = columns.end;
                        if let &Some((operand, arrival)) = to {
                            self.arrive(work, operand, arrival, of_value.slice(s![.., columns]));
                        }
                    }
                }
            }
            work.deltas[slot] = dy;
        }
    }

    /// Backpropagates through one use of a layer, given the gradient `dy` of its output.
    fn layer_back<F: Float>(
        &self,
        work: &mut Workspace<F>,
        context: &BackwardContext<'_, F>,
        step: &BackwardStep,
        (layer, x): (usize, usize),
        dy: ArrayView2<'_, F>,
        sparse: Option<&mut Sparse<F>>,
    ) {
        let layer_use = &self.graph.uses[layer];
        let range = layer_use.parameters.clone();
        let gradients = match step.parameters {
            Arrival::First => &mut work.gradients[range.clone()],
            Arrival::Later => &mut work.later[range.clone()],
        };
        if let Some((sparse, _)) = self.sparse_use(step.value, sparse) {
            Linear::sparse_backward(sparse, dy, gradients);
        } else {
            let to = step.to.first().copied().flatten();
            let dx = to.map(|(operand, arrival)| {
                let room = match arrival {
                    Arrival::First => &mut work.deltas[work.plan.slot(operand)],
                    Arrival::Later => &mut work.arriving,
                };
                matrix_mut(room, [work.rows, self.columns(operand)])
            });
            let input = (work.values[x].view(), self.graph.values[x].shape);
            // If this layer is fused with the `Relu` after it, its output is not stored. The layer's backward pass does
            // not read its output, so the pass gets the output of the `Relu` instead.
            let y = self.fused_relu_of(step.value).unwrap_or(step.value);
            let outputs = [work.values[y].view(), dy];
            let pass = Backward::new(input, outputs, dx, self.mode(layer, context.step))
                .with_parameters(&context.parameters[range.clone()], gradients)
                .with_state(&context.state[layer_use.state.clone()])
                .with_kept(&work.kept[layer]);
            let relu = self.fuses && self.graph.relu_before(layer_use).is_some();
            self.forms[layer].backward(pass, relu);
            if let Some((operand, Arrival::Later)) = to {
                let arriving = std::mem::take(&mut work.arriving);
                let dx = matrix(&arriving, [work.rows, self.columns(operand)]);
                self.arrive(work, operand, Arrival::Later, dx);
                work.arriving = arriving;
            }
        }
        if step.parameters == Arrival::Later {
            for (sum, later) in work.gradients[range.clone()]
                .iter_mut()
                .zip(&work.later[range])
            {
                *sum += later;
            }
        }
    }

    /// Stores `gradient` as the gradient by `operand` if it is the first contribution, otherwise adds it to the earlier
    /// ones.
    fn arrive<F: Float>(
        &self,
        work: &mut Workspace<F>,
        operand: usize,
        arrival: Arrival,
        gradient: ArrayView2<'_, F>,
    ) {
        let dims = [work.rows, self.columns(operand)];
        let mut sum = matrix_mut(&mut work.deltas[work.plan.slot(operand)], dims);
        match arrival {
            Arrival::First => sum.assign(&gradient),
            Arrival::Later => sum += &gradient,
        }
    }
}

#[cfg(test)]
mod tests;
