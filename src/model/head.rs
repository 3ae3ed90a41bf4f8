//! The head of a network: the chain of `Linear` layers and activations at its end, which one dispatch computes.

use super::memory::Values;
use super::{Compared, Model, TrainingPass, TrainingStep};
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

/// The head of a model, as its kernels take it.
#[derive(Debug)]
pub(crate) struct ModelHead {
    head: Head,
    /// The value that it takes.
    input: usize,
    /// What its first layer gives.
    first: usize,
    /// Its parameters among those of the network.
    parameters: Vec<usize>,
}

/// A head that is trained.
#[derive(Debug)]
pub(crate) struct TrainedHead<'a> {
    of: &'a ModelHead,
    loss: HeadLoss,
    scratch: HeadScratch,
}

impl Model {
    /// The longest head that the kernels can have.
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
            let Some((of_use, x, activation)) = linear_behind(graph, value) else {
                break;
            };
            let [inputs, outputs] = [x, value].map(|value| graph.values[value].shape.len());
            let places = of_use.parameters.clone();
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
            first = of_use.value;
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

    /// The head of a forward pass outside of training from at most these rows, if it is taken for faster in one dispatch.
    pub(super) fn passing_head(&self, features: &Tensor) -> Option<ModelHead> {
        // A first layer that takes bytes as they are reads a quarter of what floats are.
        if features.element() != Element::F32 {
            return None;
        }
        let head = self.faster_head().ok()?;
        head.check_rows(self, features.rows()).ok()?;
        Some(head)
    }

    /// Records a forward pass outside of training.
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
        // None that is taken for faster has its values in storage.
        head.record_forward(recorder, &self.parameters.blocks()[0], tensors, None);
        Ok(())
    }

    /// The head, if it is taken for faster in one dispatch.
    pub(crate) fn faster_head(&self) -> Result<ModelHead, Unfused> {
        let head = self.head(Head::form_for(&self.gpu))?;
        head.head.check_faster(&self.gpu)?;
        Ok(head)
    }
}

/// A `Linear` whose parameters nobody else has, and the activation behind it, that give a value; and what that takes.
fn linear_behind(graph: &Graph, value: usize) -> Option<(&Use, usize, HeadActivation)> {
    let made = |value: usize| match graph.values[value].source {
        Source::Layer { layer, x } => Some((&graph.uses[layer], x)),
        _ => None,
    };
    let (mut of_use, mut x) = made(value)?;
    let mut activation = HeadActivation::default();
    if let Some(kind) = HeadActivation::of(&*of_use.layer) {
        if graph.values[x].readers.len() != 1 {
            return None;
        }
        activation = kind;
        (of_use, x) = made(x)?;
    }
    let users = graph.uses.iter();
    let users = users.filter(|other| other.parameters == of_use.parameters);
    (unwrapped(&*of_use.layer).is::<Linear>() && users.count() == 1)
        .then_some((of_use, x, activation))
}

/// Why a network has no head.
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
    /// The value that it takes: all before it is recorded layer by layer.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// What its first layer gives.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Whether the gradients by all of its parameters are wanted: its kernels write no fewer.
    pub(crate) fn check_wanted(&self, model: &Model, wanted: &Wanted) -> Result<(), Unfused> {
        let mut parameters = self.parameters.iter();
        match parameters.find(|&&index| !wanted.parameters[index]) {
            None => Ok(()),
            Some(&index) => Err(Unfused::Frozen {
                name: model.graph.parameters[index].name.clone(),
            }),
        }
    }

    /// Whether the driver runs its kernels over so many rows.
    pub(crate) fn check_rows(&self, model: &Model, rows: usize) -> Result<(), Unfused> {
        self.head.check_iterations(&model.gpu, rows)
    }

    /// Makes room for steps of a training of so many rows.
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
    /// Records a step, or a part of its minibatch: forward, loss, backward.
    pub(crate) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        model: &Model,
        (pass, compared): (&TrainingPass, &Compared),
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
