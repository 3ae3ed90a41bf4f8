//! Forward and backward passes over a network, value by value, in the order of its graph.

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

/// A network without its parameters and its state.
#[derive(Debug)]
pub(super) struct Passes {
    pub(super) graph: Graph,
    /// The form of each use of a layer.
    forms: Vec<Form>,
    /// Whether a `Relu` is fused, where possible: its forward pass with the layer before it, its backward pass with the
    /// layer after it.
    pub(super) fuses: bool,
}

/// What forward passes read and write besides values: all parameters and all state of a network. In a training step,
/// `step` is the number of steps taken before and the index of the minibatch within the step.
#[derive(Debug)]
pub(super) struct Context<'a, F> {
    pub(super) parameters: &'a [Array2<F>],
    pub(super) state: &'a mut [Array2<F>],
    pub(super) step: Option<[u32; 2]>,
}

impl<F> Context<'_, F> {
    /// The context of the backward pass that follows.
    pub(super) fn of_backward(&self) -> BackwardContext<'_, F> {
        BackwardContext {
            parameters: self.parameters,
            state: self.state,
            step: self.step,
        }
    }
}

/// What backward passes read besides values and gradients; they change none of it.
#[derive(Debug)]
pub(super) struct BackwardContext<'a, F> {
    pub(super) parameters: &'a [Array2<F>],
    /// The state after the forward pass.
    pub(super) state: &'a [Array2<F>],
    pub(super) step: Option<[u32; 2]>,
}

impl Passes {
    /// Uses the fastest form of each layer.
    pub(super) fn fast(graph: Graph) -> Self {
        Self::with(graph, Form::fast, true)
    }

    /// Uses the definition of each layer.
    pub(super) fn by_definition(graph: Graph) -> Self {
        let definition = |_: &Graph, of_use: &Use| Form::Layer(of_use.layer.reference());
        Self::with(graph, definition, false)
    }

    fn with(graph: Graph, form: impl Fn(&Graph, &Use) -> Form, fuses: bool) -> Self {
        let uses = graph.uses.iter();
        Self {
            forms: uses.map(|of_use| form(&graph, of_use)).collect(),
            graph,
            fuses,
        }
    }

    /// The value of the `Relu` after a layer, if both are fused: it is stored instead of the layer's own value.
    pub(super) fn in_place_of(&self, value: usize) -> Option<usize> {
        match self.graph.values[value].source {
            Source::Layer { layer, .. } if self.fuses => {
                self.graph.relu_behind(&self.graph.uses[layer])
            }
            _ => None,
        }
    }

    /// Whether a value is that of a `Relu` that is fused with the layer before it.
    fn is_in_product(&self, value: usize) -> bool {
        match self.graph.values[value].source {
            Source::Layer { x, .. } => self.in_place_of(x) == Some(value),
            _ => false,
        }
    }

    /// The first layer, if it is linear and the only reader of a single input.
    pub(super) fn fast_first(&self) -> Option<&Use> {
        let first = self.graph.first_use()?;
        let Source::Layer { layer, .. } = self.graph.values[first.value].source else {
            return None;
        };
        self.forms[layer].is_linear().then_some(first)
    }

    /// A loss: its fast form for fast layers, otherwise its definition.
    pub(super) fn criterion(&self, loss: &dyn ops::Loss) -> Criterion {
        if self.fuses {
            softmax::criterion(loss)
        } else {
            loss.reference()
        }
    }

    /// Whether it pays off for cores to share a step on `rows` rows.
    pub(super) fn is_shared(&self, rows: usize) -> bool {
        let uses = self.graph.uses.iter().zip(&self.forms);
        let mut products = uses.filter(|(_, form)| form.is_product());
        products.any(|(of_use, _)| {
            let multiplications = usize::try_from(of_use.spec.flops / 2).unwrap_or(usize::MAX);
            product::is_shared(multiplications.saturating_mul(rows))
        })
    }

    /// Scratch memory, in numbers, of the layer that needs the most.
    pub(super) fn scratch(&self) -> u64 {
        let layers = self.graph.values.iter().filter_map(|value| {
            let Source::Layer { layer, x } = value.source else {
                return None;
            };
            Some(self.forms[layer].scratch(self.graph.values[x].shape))
        });
        layers.max().unwrap_or(0)
    }

    /// The index of the network's output among its values.
    pub(super) fn output(&self) -> usize {
        self.graph.values.len() - 1
    }

    /// Elements of a value, per row.
    pub(super) fn columns(&self, value: usize) -> usize {
        self.graph.values[value].shape.len()
    }

    /// For each input, the index of its value and its first column among the features.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (usize, usize)> {
        let values = self.graph.values.iter().enumerate();
        values.filter_map(|(index, value)| match value.source {
            Source::Input { first } => Some((index, first)),
            _ => None,
        })
    }

    /// Copies rows of features to the inputs.
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

    /// Computes the value `index`, unless it is an input; with `relu`, applies a `Relu` to a layer's output. `of`
    /// returns the values that it is made of.
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
                let of_use = &self.graph.uses[layer];
                let parameters = &context.parameters[of_use.parameters.clone()];
                let input: (ArrayView2<'_, F>, Shape) = (of(x), self.graph.values[x].shape);
                let mode = self.mode(layer, context.step);
                let pass = Forward::new(input, parameters, y.view_mut(), mode);
                let state = &mut context.state[of_use.state.clone()];
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

    /// Computes all values from the inputs on, except those that are fused with another. The first layer reads the
    /// sparse input, if there is one.
    pub(super) fn forward<F: Float>(
        &self,
        values: &mut [Array2<F>],
        kept: &mut [Vec<Array2<F>>],
        context: &mut Context<'_, F>,
        sparse: Option<&mut Sparse<F>>,
    ) {
        self.forward_values(self.fuses, values, kept, context, sparse);
    }

    /// Computes all values separately; `values` needs room for every one.
    pub(super) fn forward_apart<F: Float>(
        &self,
        values: &mut [Array2<F>],
        kept: &mut [Vec<Array2<F>>],
        context: &mut Context<'_, F>,
    ) {
        self.forward_values(false, values, kept, context, None);
    }

    /// With `fuses`, skips values that are fused with another.
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
            let relu = self.in_place_of(index).filter(|_| fuses);
            let y = after[relu.map_or(0, |relu| relu - index)].view_mut();
            let relu = relu.is_some();
            if let Some((x, of_use)) = self.sparse_use(index, sparse.as_deref_mut()) {
                let parameters = &context.parameters[of_use.parameters.clone()];
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

    /// Mean loss of the inputs in `work.values`, or of the sparse input; writes the gradients to `work.gradients`.
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

    /// Mean loss of `work.values`; writes the gradient by the outputs to where [`backward`](Self::backward) reads it.
    pub(super) fn loss<F: Float>(
        &self,
        work: &mut Workspace<F>,
        (loss, targets): (&dyn Loss<F>, Targets<'_, F>),
    ) -> F {
        let (outputs, doutputs) = work.outputs(self);
        // Reborrowed for the lifetime of the other views.
        let targets = match &targets {
            Targets::Classes(labels) => Targets::Classes(labels),
            Targets::Values(values) => Targets::Values(values.view()),
        };
        loss.forward_backward(LossPass::new(outputs, targets, doutputs))
    }

    /// The use of a layer that computes this value, if it reads the sparse input.
    fn sparse_use<'a, F>(
        &self,
        value: usize,
        sparse: Option<&'a mut Sparse<F>>,
    ) -> Option<(&'a mut Sparse<F>, &Use)> {
        let x = sparse?;
        let of_use = self.graph.first_use()?;
        (of_use.value == value).then_some((x, of_use))
    }

    /// Computes the gradients by backpropagation, starting from the gradient by the outputs. If several gradients
    /// arrive at one value, they are added.
    pub(super) fn backward<F: Float>(
        &self,
        work: &mut Workspace<F>,
        context: &BackwardContext<'_, F>,
        mut sparse: Option<&mut Sparse<F>>,
    ) {
        let plan = Arc::clone(&work.plan);
        for step in &plan.steps {
            let slot = plan.slot(step.value);
            // No step writes to the memory of its own gradient.
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
                        // A sum and its operand may share a gradient.
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
        let of_use = &self.graph.uses[layer];
        let range = of_use.parameters.clone();
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
            // A product that is fused with a `Relu` has no value of its own, and its gradients need none.
            let y = self.in_place_of(step.value).unwrap_or(step.value);
            let outputs = [work.values[y].view(), dy];
            let pass = Backward::new(input, outputs, dx, self.mode(layer, context.step))
                .with_parameters(&context.parameters[range.clone()], gradients)
                .with_state(&context.state[of_use.state.clone()])
                .with_kept(&work.kept[layer]);
            let relu = self.fuses && self.graph.relu_before(of_use).is_some();
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

    /// Writes a gradient to that of `operand`, or adds it there.
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
