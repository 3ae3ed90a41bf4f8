//! Interprets both forms of the kernels that compute the head of a network in one dispatch.

use wgrad::Gpu;
use wgrad::kernel::Element;
use wgrad::ops::{
    BinaryCrossEntropy, Gelu, Huber, Layer, LeakyRelu, Loss, MeanSquaredError, RelativeL2, Relu,
    Sigmoid, SoftmaxCrossEntropy, Tanh,
};
use wgrad::plan::{Plan, Recorder};
use wgrad::plumbing::head::{Form, Head, HeadActivation, HeadLayer, HeadLoss, HeadPass};
use wgrad::tensor::Tensor;

use crate::Case;
use crate::gpu::{Fill, Numbers, folding_gpu, gpu};

pub(crate) const FORMS: [Form; 2] = [Form::Tiles, Form::Registers];

/// The number of inputs, and the number of outputs of each layer with the activation after it.
type Layers = (usize, Vec<(usize, HeadActivation)>);

/// Three settings: whether the layers have biases, whether a `Relu` precedes the head, and whether the gradient with
/// respect to the input is computed.
type Settings = [bool; 3];

fn activations() -> [HeadActivation; 6] {
    let of = |layer: &dyn Layer| HeadActivation::of(layer).unwrap();
    let leaky = LeakyRelu::new(0.1);
    [
        HeadActivation::default(),
        of(&Relu),
        of(&Sigmoid),
        of(&leaky),
        of(&Tanh),
        of(&Gelu),
    ]
}

fn losses() -> [Box<dyn Loss>; 5] {
    [
        Box::new(MeanSquaredError),
        Box::new(RelativeL2::default()),
        Box::new(Huber::new(0.5)),
        Box::new(BinaryCrossEntropy),
        Box::new(SoftmaxCrossEntropy),
    ]
}

/// A plan with the training step and the forward pass of a head, and its tensors.
pub(crate) struct Recorded {
    pub(crate) plan: Plan,
    /// The input `x`, the parameters and, for a loss of values, the targets.
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) losses: Tensor,
    pub(crate) y: Tensor,
}

/// Records the training step and the forward pass of a head.
pub(crate) fn recorded(
    gpu: &Gpu,
    form: Form,
    (inputs, widths): &Layers,
    rows: usize,
    loss: &dyn Loss,
    [is_biased, is_rectified, has_dx]: Settings,
) -> Recorded {
    let mut layers = Vec::new();
    let mut at = 0;
    let mut width = *inputs;
    for &(outputs, activation) in widths {
        let weight = at;
        at += width * outputs;
        let bias = is_biased.then_some(at);
        at += bias.map_or(0, |_| outputs);
        layers.push(HeadLayer {
            inputs: width,
            outputs,
            weight,
            bias,
            activation,
        });
        width = outputs;
    }
    let tensor = |label, shape: [usize; 2], seed| {
        let tensor = Tensor::zeros(gpu, label, shape, Element::F32).unwrap();
        let numbers = Numbers::new(seed).fill(shape[0] * shape[1], Fill::Moderate);
        gpu.write(&tensor, &numbers).unwrap();
        tensor
    };
    let head = Head::new(layers, is_rectified, form, gpu).unwrap();
    let scratch = head.scratch(gpu, rows).unwrap();
    let [parameters, gradients] =
        [("parameters", 1), ("gradients", 2)].map(|(label, seed)| tensor(label, [1, at], seed));
    let [x, dx] = [("x", 3), ("dx", 4)].map(|(label, seed)| tensor(label, [rows, *inputs], seed));
    let y = tensor("y", [rows, width], 5);
    let losses = tensor("losses", [1, rows], 6);
    let of_classes = loss.targets() == wgrad::ops::TargetKind::Classes;
    let targets = if of_classes {
        Tensor::zeros(gpu, "labels", [1, rows], Element::U32).unwrap()
    } else {
        tensor("targets", [rows, width], 7)
    };
    let pass = HeadPass {
        parameters: &parameters,
        gradients: &gradients,
        x: &x,
        dx: has_dx.then_some(&dx),
        targets: &targets,
        losses: &losses,
    };
    let mut recorder = Recorder::new(gpu);
    head.record_training(&mut recorder, HeadLoss::of(loss).unwrap(), pass, &scratch);
    head.record_forward(
        &mut recorder,
        &parameters,
        [&x, &y],
        scratch.values.as_ref(),
    );
    let plan = recorder.finish().unwrap();
    let mut inputs = vec![x, parameters];
    inputs.extend((!of_classes).then_some(targets));
    Recorded {
        plan,
        inputs,
        losses,
        y,
    }
}

/// Returns layers in which every activation follows a hidden layer. The activation number `last` is after the last
/// layer.
pub(crate) fn all_behind(last: usize) -> Layers {
    let all = activations();
    let hidden = [9, 10, 7, 3, 4, 6].into_iter().zip(all);
    (5, hidden.chain([(3, all[last])]).collect())
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |gpu: &'static Gpu, form, layers: Layers, rows, loss: usize, settings| {
        let name = format!("head, {form:?}, {layers:?}, {rows} rows, loss {loss}, {settings:?}");
        let of_case = name.clone();
        cases.push((
            name,
            Box::new(move |coverage| {
                let loss = &*losses()[loss];
                let recorded = recorded(gpu, form, &layers, rows, loss, settings);
                coverage.run(gpu, &of_case, &recorded.plan);
            }),
        ));
    };
    let linear = HeadActivation::default();
    for form in FORMS {
        for last in 0..activations().len() {
            // One of the four losses of values, and the loss of classes (4).
            for loss in [last % 4, 4] {
                add(gpu(), form, all_behind(last), 7, loss, [true, false, true]);
            }
        }
        for loss in [1, 4] {
            add(gpu(), form, all_behind(0), 43, loss, [false, true, true]);
            add(
                gpu(),
                form,
                (20, vec![(17, linear)]),
                3,
                loss,
                [true, false, false],
            );
            // With so many rows, there are more blocks than workgroups, and more workgroups than fit in one dimension.
            let rows = if form == Form::Tiles { 33_000 } else { 1_300 };
            add(
                gpu(),
                form,
                (1, vec![(1, linear)]),
                rows,
                loss,
                [true, false, true],
            );
            add(
                folding_gpu(),
                form,
                (1, vec![(1, linear)]),
                170,
                loss,
                [true, false, true],
            );
        }
    }
    cases
}
