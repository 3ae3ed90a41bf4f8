//! Records backward passes, which compute the gradients with respect to parameters from the gradient with respect to
//! the outputs.

use super::forward::{TrainingStep, losses_tensor, mode, place, record_loss};
use super::memory::Values;
use super::{Model, ModelHead};
use crate::error::{Error, TargetKind};
use crate::kernel::Element;
use crate::network::{
    Arrival, BackwardStep, Gradients, Parameter, Source, Wanted, shares_gradient_of_sum,
};
use crate::ops::{Backward, Layer, Linear, Loss, LossPass, MaxPool2d, add, columns, unwrapped};
use crate::plan::Recorder;
use crate::shape::TensorShape;
use crate::tensor::{Arena, ArenaSpec, Tensor};

/// The tensors of a forward and a backward pass.
#[derive(Debug)]
pub(crate) struct TrainingPass {
    pub(crate) values: Values,
    /// The gradient with respect to each value; `None` if nothing reads this gradient.
    deltas: Vec<Option<Tensor>>,
    /// Temporary memory for a contribution to a gradient, before it is added to earlier contributions.
    arriving: Option<Tensor>,
    steps: Vec<BackwardStep>,
    /// The gradients with respect to all parameters.
    pub(crate) gradients: Arena,
    /// For each parameter of a layer that is used several times: temporary memory for the gradient of a later use,
    /// before it is added to the gradient of the first use.
    later: Vec<Option<Tensor>>,
}

/// The targets of a loss, and the computed loss of each row.
#[derive(Debug)]
pub(crate) struct LossTensors {
    /// Class indices, (1, rows) of `u32`, or values, (rows, outputs) of `f32`.
    pub(crate) targets: Tensor,
    /// The loss of each row, (1, rows).
    pub(crate) losses: Tensor,
}

impl LossTensors {
    pub(crate) fn new(model: &Model, rows: usize, targets: TargetKind) -> Result<Self, Error> {
        Self::with(model, model.targets_tensor(rows, targets)?, rows)
    }

    /// Uses an existing tensor of targets, and allocates the losses.
    pub(crate) fn with(model: &Model, targets: Tensor, rows: usize) -> Result<Self, Error> {
        let losses = losses_tensor(&model.gpu, rows)?;
        Ok(Self { targets, losses })
    }
}

impl TrainingPass {
    /// Allocates a pass over these features (floats or packed bytes) that computes the wanted gradients. With a fused
    /// head, the values end with the input of the head: values inside the head have no tensors.
    pub(crate) fn new(
        model: &Model,
        features: &Tensor,
        wanted: &Wanted,
        head: Option<&ModelHead>,
    ) -> Result<Self, Error> {
        let graph = &model.graph;
        let gpu = &model.gpu;
        let rows = features.rows();
        let last = head.map_or(graph.values.len() - 1, ModelHead::input);
        let backward = match head {
            None => Gradients::new(graph, true, wanted),
            Some(head) => Gradients::before_head(graph, wanted, head.first()),
        };
        let sizes = backward.slots.sizes.iter().enumerate();
        let slots = sizes.map(|(slot, &size)| {
            let label = format!("gradients by values, block {slot}");
            Tensor::zeros(gpu, label, [1, rows.saturating_mul(size)], Element::F32)
        });
        let slots = slots.collect::<Result<Vec<_>, _>>()?;
        let deltas = graph.values.iter().zip(&backward.slots.of).enumerate();
        let deltas = deltas.map(|(index, (value, slot))| {
            let shape = TensorShape::from((rows, value.shape));
            slot.map(|slot| slots[slot].reshaped(format!("gradients.{index}"), shape))
        });
        let deltas = deltas.collect();
        let arriving = match backward.arriving {
            0 => None,
            size => {
                let label = "a gradient to be added";
                let shape = [1, rows.saturating_mul(size)];
                Some(Tensor::zeros(gpu, label, shape, Element::F32)?)
            }
        };
        Ok(Self {
            values: model.values_to(last, features, true)?,
            deltas,
            arriving,
            steps: backward.steps,
            gradients: model.like_parameters("gradients")?,
            later: model.later_gradients()?,
        })
    }

    /// The gradient with respect to the last value, where the backward pass begins. The last value is the output of the
    /// network, or the input of a fused head.
    pub(crate) fn doutputs(&self) -> &Tensor {
        self.delta(self.values.of.len() - 1)
    }

    /// The tensor of the gradient with respect to a value. The gradient must have a tensor.
    #[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
    pub(super) fn delta(&self, value: usize) -> &Tensor {
        let delta = self.deltas[value].as_ref();
        delta.expect("backward: a gradient that is read has a tensor")
    }

    /// The value whose gradient the backward pass of a layer computes; `None` if that gradient is not needed. `value`
    /// is the layer's output.
    pub(super) fn gradient_to(&self, value: usize) -> Option<(usize, Arrival)> {
        let step = self.steps.iter().find(|step| step.value == value)?;
        step.to.first().copied().flatten()
    }

    /// The tensor to which a contribution to the gradient of `value` is written. The first contribution is written to
    /// the gradient's tensor, a later one to temporary memory, from which it is added.
    fn target(&self, value: usize, arrival: Arrival) -> Tensor {
        let delta = self.delta(value);
        match (arrival, &self.arriving) {
            (Arrival::Later, Some(arriving)) => {
                arriving.reshaped("a gradient to be added".to_owned(), delta.shape())
            }
            _ => delta.clone(),
        }
    }
}

impl Model {
    /// Allocates temporary memory for the parameter gradients of later uses of layers that are used several times.
    fn later_gradients(&self) -> Result<Vec<Option<Tensor>>, Error> {
        let mut later = vec![None; self.graph.parameters.len()];
        let spec = |index: usize| {
            let Parameter { name, spec } = &self.graph.parameters[index];
            ArenaSpec::new(format!("gradients to be added.{name}"), spec.tensor_shape())
        };
        let specs: Vec<ArenaSpec> = self.graph.repeated().map(spec).collect();
        let arena = Arena::zeros(&self.gpu, "gradients to be added", &specs)?;
        for (index, tensor) in self.graph.repeated().zip(arena.tensors()) {
            later[index] = Some(tensor.clone());
        }
        Ok(later)
    }

    /// Records the loss of each row, and the gradient of the mean loss with respect to the outputs.
    pub(crate) fn record_loss(
        &self,
        recorder: &mut Recorder<'_>,
        loss: &dyn Loss,
        pass: &TrainingPass,
        compared: &LossTensors,
    ) -> Result<(), Error> {
        let from = [pass.values.output(), &compared.targets];
        let to = [&compared.losses, pass.doutputs()];
        record_loss(recorder, loss, LossPass::new(from, to))
    }

    /// Records the computation of the wanted gradients from the gradient with respect to the outputs: in training mode
    /// if `training` is given, otherwise in evaluation mode.
    pub(crate) fn record_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &TrainingPass,
        training: Option<TrainingStep<'_>>,
    ) -> Result<(), Error> {
        self.record_backward_from(recorder, pass, training, self.graph.values.len() - 1)
    }

    /// Records the backward pass from the value with index `first` to the inputs. The gradient of that value must
    /// already be computed.
    pub(super) fn record_backward_from(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &TrainingPass,
        training: Option<TrainingStep<'_>>,
        first: usize,
    ) -> Result<(), Error> {
        let values = &pass.values;
        for step in pass.steps.iter().filter(|step| step.value <= first) {
            let dy = pass.delta(step.value);
            match &self.graph.values[step.value].source {
                Source::Input { .. } => {}
                Source::Layer { layer, x } => {
                    self.record_layer_backward(recorder, pass, step, [*layer, *x], training)?;
                }
                Source::Sum(of) => {
                    for (&operand, target) in of.iter().zip(&step.to) {
                        match target {
                            None => {}
                            Some(_) if shares_gradient_of_sum(&self.graph, step.value, operand) => {
                            }
                            &Some((value, Arrival::First)) => {
                                add::copy(recorder, dy, pass.delta(value));
                            }
                            &Some((value, Arrival::Later)) => {
                                add::accumulate(recorder, dy, pass.delta(value));
                            }
                        }
                    }
                }
                Source::Concat(of) => {
                    let mut first = 0;
                    for (&operand, target) in of.iter().zip(&step.to) {
                        let columns = values.of[operand].columns();
                        if let &Some((value, arrival)) = target {
                            let to = pass.target(value, arrival);
                            columns::copy(recorder, (dy, first), (&to, 0), columns);
                            meet(recorder, arrival, &to, pass.delta(value));
                        }
                        first += columns;
                    }
                }
            }
        }
        Ok(())
    }

    fn record_layer_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &TrainingPass,
        step: &BackwardStep,
        [index, x]: [usize; 2],
        training: Option<TrainingStep<'_>>,
    ) -> Result<(), Error> {
        let layer_use = &self.graph.uses[index];
        let values = &pass.values;
        let to = step.to.first().copied().flatten();
        let dx = to.map(|(value, arrival)| pass.target(value, arrival));
        let places = layer_use.parameters.clone();
        let all = &pass.gradients.tensors()[places.clone()];
        let later: Vec<Tensor>;
        let gradients = match step.parameters {
            Arrival::First => all,
            Arrival::Later => {
                later = pass.later[places].iter().flatten().cloned().collect();
                &later
            }
        };
        if dx.is_none() && gradients.is_empty() {
            return Ok(());
        }
        let from = [
            &values.of[x],
            &values.of[step.value],
            pass.delta(step.value),
        ];
        let backward = Backward::new(from, dx.as_ref(), mode(layer_use, training))
            .with_input(self.graph.values[x].shape)
            .with_parameters(self.parameters_of(layer_use), gradients)
            .with_state(self.state_of(layer_use))
            .with_kept(&values.kept[index]);
        let who = || format!("the backward pass of {}", place(index, layer_use));
        recorder.watched(who, |recorder| match self.graph.relu_before(layer_use) {
            Some(_) => record_with_relu(&*layer_use.layer, recorder, &backward),
            None => layer_use.layer.backward(recorder, backward),
        })?;
        if let (Some((value, arrival)), Some(dx)) = (to, &dx) {
            meet(recorder, arrival, dx, pass.delta(value));
        }
        if step.parameters == Arrival::Later {
            for (part, total) in gradients.iter().zip(all) {
                add::accumulate(recorder, part, total);
            }
        }
        Ok(())
    }
}

/// Records the backward pass of a `Linear` or `MaxPool2d` and of the `Relu` before it as one dispatch: see
/// [`Graph::relu_before`](crate::network::Graph::relu_before).
fn record_with_relu(
    layer: &dyn Layer,
    recorder: &mut Recorder<'_>,
    pass: &Backward<'_>,
) -> Result<(), Error> {
    match unwrapped(layer).downcast_ref::<MaxPool2d>() {
        Some(pool) => pool.record_backward(recorder, pass, true),
        None => {
            Linear::record_backward(recorder, pass, true);
            Ok(())
        }
    }
}

/// Adds the contribution `part` to the gradient `total`, unless it is the first contribution, which was written to
/// `total` directly.
fn meet(recorder: &mut Recorder<'_>, arrival: Arrival, part: &Tensor, total: &Tensor) {
    if arrival == Arrival::Later {
        add::accumulate(recorder, part, total);
    }
}
