//! Layers, losses and optimizers from outside the crate that leave out required results, or whose names are misleading.

use std::sync::Arc;

use wgrad::data::Sampling;
use wgrad::kernel::{Binding, Kernel};
use wgrad::ops::{
    Backward, Forward, Layer, LayerSpec, Linear, Loss, LossPass, MeanSquaredError, Optimizer, Relu,
    Sgd, TargetKind, Update,
};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{Criterion, Rule, Twin};
use wgrad::tensor::Tensor;
use wgrad::{Error, Model, Sequential, Shape, Targets, Trainer};

use super::{SAMPLING, rows, surface};
use crate::gpu::gpu;

const WGSL: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read> input: array<f32>;
    @group(0) @binding(2) var<storage, read_write> output: array<f32>;
    @compute @workgroup_size(64)
    fn copy(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < elements) { output[id.x] = input[id.x]; }
    }";

static COPY: Kernel<u32> = Kernel::new(
    "copy",
    WGSL,
    "copy",
    &[Binding::read("input"), Binding::write("output")],
);

fn copy(recorder: &mut Recorder<'_>, from: &Tensor, to: &Tensor) {
    let elements = u32::try_from(to.len()).unwrap();
    recorder.dispatch_each(&COPY, elements, &[from, to], to.len(), Cost::default());
}

fn model() -> Model {
    Sequential::input(4)
        .layer(Linear::new(1))
        .build(gpu())
        .unwrap()
}

/// A loss that writes only the results that its fields name.
#[derive(Debug, Clone, Copy)]
struct Mute {
    losses: bool,
    doutputs: bool,
}

impl Loss for Mute {
    fn describe(&self) -> String {
        format!("{self:?}")
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let outputs = [(self.losses, pass.losses), (self.doutputs, pass.doutputs)];
        for (_, output) in outputs.into_iter().filter(|(writes, _)| *writes) {
            copy(recorder, pass.outputs, output);
        }
        Ok(())
    }

    fn reference(&self) -> Criterion {
        MeanSquaredError.reference()
    }
}

#[test]
fn a_loss_that_leaves_something_out_is_refused_wherever_it_is_given() {
    let table = surface(20, 4);
    let x = rows(3, 4);
    let y = rows(3, 1);
    for (losses, doutputs, expected) in [
        (
            false,
            false,
            "number of kernels that the loss Mute { losses: false, doutputs: false } records",
        ),
        (
            true,
            false,
            "output of the loss Mute { losses: true, doutputs: false } must be all of doutputs (2 × 1)",
        ),
        (
            false,
            true,
            "output of the loss Mute { losses: false, doutputs: true } must be all of losses (1 × 2)",
        ),
    ] {
        let loss = Mute { losses, doutputs };
        let model = model();
        let targets = Targets::Values(y.view());
        let errors = [
            model.loss(&loss, x.view(), targets).map(drop),
            model.gradient(&loss, x.view(), targets).map(drop),
            model.evaluate(&loss, &table).map(drop),
            Trainer::new(model, loss, Sgd::new(0.1), &table, 3, SAMPLING).map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[derive(Debug)]
struct Idle;

impl Optimizer for Idle {
    fn describe(&self) -> String {
        "Idle".to_owned()
    }

    fn with_learning_rate(&self, _: f32) -> Arc<dyn Optimizer> {
        Arc::new(Self)
    }

    fn learning_rate(&self) -> f32 {
        0.1
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn update(&self, _: &mut Recorder<'_>, _: Update<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn reference(&self) -> Rule {
        Sgd::new(0.1).reference()
    }
}

#[test]
fn an_optimizer_that_records_nothing_is_refused() {
    let trainer = Trainer::new(
        model(),
        MeanSquaredError,
        Idle,
        &surface(20, 4),
        3,
        SAMPLING,
    );
    let error = trainer.unwrap_err().to_string();
    assert!(
        error.contains("number of kernels that the optimizer Idle records must be at least 1"),
        "{error}"
    );
}

/// A layer that works only as the first layer, where `dx` is not needed, or only with certain numbers of rows.
#[derive(Debug, Clone, Copy)]
enum Picky {
    First,
    TwoRows,
}

impl Layer for Picky {
    fn name(&self) -> String {
        "Picky".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        if pass.x.rows() == 2 || matches!(self, Self::First) {
            copy(recorder, pass.x, pass.y);
        }
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        if let Self::First = self {
            return Err(Error::Setting {
                name: "place".to_owned(),
                expected: "the first of a network".to_owned(),
                found: "behind others".to_owned(),
            });
        }
        copy(recorder, pass.dy, dx);
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| x, |_| 1.0)
    }
}

#[test]
fn a_pass_is_asked_for_as_in_training() {
    // In the first layer, nothing reads the gradient with respect to the features.
    let first = Sequential::input(4)
        .layer(Picky::First)
        .layer(Linear::new(1));
    let model = first.build(gpu()).unwrap();
    let table = surface(20, 4);
    let sampling = Sampling::Shuffled { seed: 1 };
    Trainer::new(model, MeanSquaredError, Sgd::new(0.1), &table, 3, sampling).unwrap();
    // The error contains the layer's own error and the layer's position.
    let second = Sequential::input(4)
        .layer(Linear::new(4))
        .layer(Picky::First);
    let error = second.build(gpu()).unwrap_err().to_string();
    assert_eq!(
        error,
        "place of the backward pass of layers.1, Picky, must be the first of a network; it is behind others"
    );
    // A layer may pass the check when the network is built, and still fail for another number of rows.
    let some = Sequential::input(4)
        .layer(Picky::TwoRows)
        .layer(Linear::new(1));
    let model = some.build(gpu()).unwrap();
    assert_eq!(model.predict(rows(2, 4).view()).unwrap().dim(), (2, 1));
    let error = model.predict(rows(5, 4).view()).unwrap_err().to_string();
    assert!(
        error.contains("number of kernels that the forward pass of layers.0, Picky, records"),
        "{error}"
    );
}

/// Two networks are different if they reuse different layers.
#[test]
fn networks_with_other_wiring_are_others() {
    let [a, b] = [(); 2].map(|()| Arc::new(Linear::new(4)) as Arc<dyn Layer>);
    let network = |layers: [&Arc<dyn Layer>; 3]| {
        let layers = layers.into_iter().cloned();
        layers.fold(Sequential::input(4), Sequential::layer)
    };
    let [first, second] = [network([&a, &b, &a]), network([&a, &b, &b])];
    assert_ne!(first.summary().unwrap(), second.summary().unwrap());
    let [mut one, two] = [first, second].map(|network| network.build(gpu()).unwrap());
    let error = one.copy_from(&two).unwrap_err().to_string();
    assert!(
        error.contains("Linear(4) (layers.0 again); it is"),
        "{error}"
    );
    // A layer that is taken from a network is still the same layer.
    let network = Sequential::input(4).layer(Linear::new(4)).layer(Relu);
    let again = network.layers()[0].clone();
    assert_eq!(network.layer(again).summary().unwrap().parameters(), 20);
}
