//! The head of a network: the `Linear` layers and activations at its end that a fused kernel can compute together.

use super::memory::Values;
use super::{LossTensors, Model, TrainingPass, TrainingStep};
use crate::error::{Error, Unfused};
use crate::kernel::Element;
use crate::network::{Arrival, Graph, Source, Use, Wanted};
use crate::ops::head::{
    Form, Head, HeadActivation, HeadLayer, HeadLoss, HeadPass, HeadScratch, MOST_COLUMNS,
    MOST_LAYERS, MOST_WIDTH,
};
use crate::ops::{Linear, Loss, unwrapped};
use crate::plan::Recorder;
use crate::tensor::Tensor;

/// The head of a model, in the form that the head's kernels need.
#[derive(Debug)]
pub(crate) struct ModelHead {
    head: Head,
    /// Index of the value that is the head's input.
    input: usize,
    /// Index of the value that is the output of the head's first layer.
    first: usize,
    /// Indices of the head's parameters in the network.
    parameters: Vec<usize>,
}

/// A head for training, with its loss and temporary memory.
#[derive(Debug)]
pub(crate) struct TrainedHead<'a> {
    of: &'a ModelHead,
    loss: HeadLoss,
    scratch: HeadScratch,
}

impl Model {
    /// Returns the longest head that the kernels support.
    pub(crate) fn head(&self, form: Form) -> Result<ModelHead, Unfused> {
        let graph = &self.graph;
        let [block] = self.parameters.blocks() else {
            return Err(Unfused::Parameters);
        };
        let start = block.buffer().1;
        let place = |index: usize| {
            let at = (self.parameters.tensors()[index].buffer().1 - start) / 4;
            usize::try_from(at).unwrap_or(usize::MAX)
        };
        let mut layers: Vec<HeadLayer> = Vec::new();
        let mut parameters = Vec::new();
        let mut value = graph.values.len() - 1;
        let mut first = value;
        let mut made = 0;
        while layers.len() < MOST_LAYERS
            && (layers.is_empty() || graph.values[value].readers.len() == 1)
        {
            let Some((layer_use, x, activation)) = linear_behind(graph, value) else {
                break;
            };
            let [inputs, outputs] = [x, value].map(|value| graph.values[value].shape.len());
            let places = layer_use.parameters.clone();
            let layer = HeadLayer {
                inputs,
                outputs,
                weight: place(places.start),
                bias: places.clone().nth(1).map(place),
                activation,
            };
            made += layer.columns();
            if inputs.max(outputs) > MOST_WIDTH || inputs + made > MOST_COLUMNS {
                break;
            }
            layers.insert(0, layer);
            parameters.extend(places);
            first = layer_use.value;
            value = x;
        }
        if layers.is_empty() {
            return Err(no_head(graph));
        }
        let rectified = match graph.values[first].source {
            Source::Layer { layer, .. } => graph.relu_before(&graph.uses[layer]).is_some(),
            _ => false,
        };
        Ok(ModelHead {
            head: Head::new(layers, rectified, form, &self.gpu)?,
            input: value,
            first,
            parameters,
        })
    }

    /// Returns the head for forward passes that are not part of training. Each pass has at most as many rows as
    /// `features` has. Returns `None` if a fused head is not possible, or is not expected to be faster.
    pub(super) fn passing_head(&self, features: &Tensor) -> Option<ModelHead> {
        // The head's kernels read only floats. Packed bytes take a quarter of the memory, so leave them to the kernel
        // of the first layer, which can read them.
        if features.element() != Element::F32 {
            return None;
        }
        let head = self.faster_head().ok()?;
        head.check_rows(self, features.rows()).ok()?;
        Some(head)
    }

    /// Records a forward pass in evaluation mode, with the fused head if `head` is given.
    pub(super) fn record_passing(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Values,
        head: Option<&ModelHead>,
    ) -> Result<(), Error> {
        match head {
            Some(head) => self.record_with_head(recorder, values, head),
            None => self.record_forward(recorder, values, None),
        }
    }

    fn record_with_head(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Values,
        ModelHead { head, input, .. }: &ModelHead,
    ) -> Result<(), Error> {
        self.record_forward_to(recorder, values, None, *input)?;
        let tensors = [&values.of[*input], values.output()];
        // A head from `faster_head` stores its values in workgroup memory, so it needs no tensor for them.
        head.record_forward(recorder, &self.parameters.blocks()[0], tensors, None);
        Ok(())
    }

    /// Returns the head if one dispatch is expected to be faster than a dispatch per layer.
    pub(crate) fn faster_head(&self) -> Result<ModelHead, Unfused> {
        let head = self.head(Head::form_for(&self.gpu))?;
        head.head.check_faster(&self.gpu)?;
        Ok(head)
    }
}

/// Finds the `Linear` that computes this value, alone or followed by an activation. Returns the `Linear`, the index of
/// its input value, and the activation. `None` if there is no such `Linear`, if it is used several times, or if
/// something else also reads its output before the activation.
fn linear_behind(graph: &Graph, value: usize) -> Option<(&Use, usize, HeadActivation)> {
    let made = |value: usize| match graph.values[value].source {
        Source::Layer { layer, x } => Some((&graph.uses[layer], x)),
        _ => None,
    };
    let (mut layer_use, mut x) = made(value)?;
    let mut activation = HeadActivation::default();
    if let Some(kind) = HeadActivation::of(&*layer_use.layer) {
        if graph.values[x].readers.len() != 1 {
            return None;
        }
        activation = kind;
        (layer_use, x) = made(x)?;
    }
    let users = graph.uses.iter();
    let users = users.filter(|other| other.parameters == layer_use.parameters);
    (unwrapped(&*layer_use.layer).is::<Linear>() && users.count() == 1)
        .then_some((layer_use, x, activation))
}

/// The reason why a network has no head.
fn no_head(graph: &Graph) -> Unfused {
    match graph.output().source {
        Source::Layer { layer, .. } => Unfused::Layer {
            index: layer,
            name: graph.uses[layer].layer.name(),
            expected: "the end of a head: a Linear with at most 128 inputs and outputs that is used once, or after it \
                       a Relu, Sigmoid, Tanh, Gelu, or a LeakyRelu that never falls",
        },
        _ => Unfused::Graph,
    }
}

impl ModelHead {
    /// Index of the value that is the head's input. The layers before the head have their own dispatches.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// Index of the value that is the output of the head's first layer.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Checks that the gradients of all parameters of the head are wanted, because the kernels always write all of
    /// them.
    pub(crate) fn check_wanted(&self, model: &Model, wanted: &Wanted) -> Result<(), Unfused> {
        let mut parameters = self.parameters.iter();
        match parameters.find(|&&index| !wanted.parameters[index]) {
            None => Ok(()),
            Some(&index) => Err(Unfused::Frozen {
                name: model.graph.parameters[index].name.clone(),
            }),
        }
    }

    /// Checks that the loops of the head's kernels over this many rows are within the driver's limit.
    pub(crate) fn check_rows(&self, model: &Model, rows: usize) -> Result<(), Unfused> {
        self.head.check_iterations(&model.gpu, rows)
    }

    /// Prepares the head for training steps of this many rows.
    pub(crate) fn trained<'a>(
        &'a self,
        model: &Model,
        loss: &dyn Loss,
        wanted: &Wanted,
        rows: usize,
    ) -> Result<TrainedHead<'a>, Error> {
        let loss = HeadLoss::of(loss).map_err(Error::Plan)?;
        self.check_wanted(model, wanted).map_err(Error::Plan)?;
        Ok(TrainedHead {
            of: self,
            loss,
            scratch: self.head.scratch(&model.gpu, rows)?,
        })
    }
}

impl TrainedHead<'_> {
    /// Records the forward pass, the loss and the backward pass of a training step, or of one part of its minibatch.
    pub(crate) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        model: &Model,
        (pass, compared): (&TrainingPass, &LossTensors),
        step: TrainingStep<'_>,
    ) -> Result<(), Error> {
        let ModelHead {
            head, input, first, ..
        } = self.of;
        model.record_forward_to(recorder, &pass.values, Some(step), *input)?;
        let to = pass.gradient_to(*first);
        debug_assert!(to.is_none_or(|(_, arrival)| arrival == Arrival::First));
        let dx: Option<Tensor> = to.map(|(value, _)| pass.delta(value).clone());
        let of_head = HeadPass {
            parameters: &model.parameters.blocks()[0],
            gradients: &pass.gradients.blocks()[0],
            x: &pass.values.of[*input],
            dx: dx.as_ref(),
            targets: &compared.targets,
            losses: &compared.losses,
        };
        head.record_training(recorder, self.loss, of_head, &self.scratch);
        model.record_backward_from(recorder, pass, Some(step), *input)
    }
}
