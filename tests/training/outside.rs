//! A loss and an optimizer from outside the crate.

use std::sync::Arc;
use wgrad::data::Table;
use wgrad::kernel::{Binding, Kernel};
use wgrad::ndarray::{ArrayView2, ArrayViewMut2};
use wgrad::ops::{Linear, Loss, LossPass, Optimizer, Sigmoid, TargetKind, Update};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Criterion, Float, Rule, Targets, UpdateStep};
use wgrad::{Error, Init, Sequential, Trainer, cpu, fields};

use super::assert_near;
use super::regression::{SAMPLING, surface};
use crate::gpu::gpu;

/// The mean absolute error: the mean of |o − t| over the outputs of a row.
#[derive(Debug, Clone, Copy)]
struct AbsoluteError;

const LOSS: &str = "
    struct Shape { rows: u32, outputs: u32 }
    @group(0) @binding(0) var<uniform> shape: Shape;
    @group(0) @binding(1) var<storage, read> outputs: array<f32>;
    @group(0) @binding(2) var<storage, read> targets: array<f32>;
    @group(0) @binding(3) var<storage, read_write> losses: array<f32>;
    @group(0) @binding(4) var<storage, read_write> doutputs: array<f32>;
    @compute @workgroup_size(64)
    fn forward_backward(@builtin(global_invocation_id) id: vec3u) {
        if (id.x >= shape.rows) { return; }
        var sum = 0.0;
        for (var c = 0u; c < shape.outputs; c++) {
            let i = id.x * shape.outputs + c;
            let error = outputs[i] - targets[i];
            sum += abs(error);
            doutputs[i] = sign(error) / f32(shape.rows * shape.outputs);
        }
        losses[id.x] = sum / f32(shape.outputs);
    }";

#[repr(C)]
#[derive(Debug, Clone, Copy, wgrad::bytemuck::Pod, wgrad::bytemuck::Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Shape {
    rows: u32,
    outputs: u32,
}

static FORWARD_BACKWARD: Kernel<Shape> = Kernel::new(
    "absolute_error",
    LOSS,
    "forward_backward",
    &[
        Binding::read("outputs"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("doutputs"),
    ],
)
.fields(fields!(Shape: rows, outputs));

impl Loss for AbsoluteError {
    fn describe(&self) -> String {
        "AbsoluteError".to_owned()
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let [rows, columns] = pass.outputs.dims();
        let shape = Shape {
            rows: rows as u32,
            outputs: columns as u32,
        };
        let tensors = [pass.outputs, pass.targets, pass.losses, pass.doutputs];
        recorder.dispatch_each(&FORWARD_BACKWARD, shape, &tensors, rows, Cost::default());
        Ok(())
    }

    fn reference(&self) -> Criterion {
        Criterion::of(*self)
    }
}

impl<F: Float> reference::Loss<F> for AbsoluteError {
    fn forward_backward(&self, mut pass: reference::LossPass<'_, F>) -> F {
        let Targets::Values(targets) = pass.targets else {
            unreachable!("the trainer has compared the kinds");
        };
        let errors = &pass.outputs - &targets;
        let all = F::from_f64(errors.len() as f64);
        pass.doutputs.assign(&errors.mapv(|error| {
            if error == F::zero() {
                F::zero()
            } else {
                error.signum() / all
            }
        }));
        errors.mapv(F::abs).sum() / all
    }
}

/// An optimizer whose steps have nearly the sign of the gradient: `p ← p − η·g / (|g| + ε)`.
#[derive(Debug, Clone, Copy)]
struct Signs;

const EPSILON: f64 = 0.01;

const UPDATE: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read> gradients: array<f32>;
    @group(0) @binding(2) var<storage, read> coefficients: array<f32>;
    @group(0) @binding(3) var<storage, read> step_count: array<u32>;
    @group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
    @compute @workgroup_size(64)
    fn update(@builtin(global_invocation_id) id: vec3u) {
        if (id.x >= elements) { return; }
        let slots = arrayLength(&coefficients) / 4u;
        let rate = coefficients[4u * (step_count[0] % slots)];
        let g = gradients[id.x];
        parameters[id.x] -= rate * g / (abs(g) + 0.01);
    }";

static STEP: Kernel<u32> = Kernel::new(
    "signs",
    UPDATE,
    "update",
    &[
        Binding::read("gradients"),
        Binding::read("coefficients"),
        Binding::read("step_count").of_u32(),
        Binding::write("parameters"),
    ],
);

impl Optimizer for Signs {
    fn describe(&self) -> String {
        "Signs".to_owned()
    }

    fn with_learning_rate(&self, _: f32) -> Arc<dyn Optimizer> {
        Arc::new(*self)
    }

    fn learning_rate(&self) -> f32 {
        0.01
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        for part in pass.parts(0.0) {
            let parameters = &part.parameters;
            let gradients = &part.gradients;
            let tensors = [gradients, pass.coefficients, pass.step_count, parameters];
            let elements = parameters.len();
            recorder.dispatch_each(&STEP, elements as u32, &tensors, elements, Cost::default());
        }
        Ok(())
    }

    fn reference(&self) -> Rule {
        Rule::of(*self)
    }
}

impl<F: Float> reference::Optimizer<F> for Signs {
    fn update(
        &self,
        at: UpdateStep<F>,
        mut parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        _: &mut [ArrayViewMut2<'_, F>],
    ) {
        let epsilon = F::from_f64(EPSILON);
        let step = gradient.mapv(|g| g / (g.abs() + epsilon));
        parameter.scaled_add(-at.learning_rate, &step);
    }
}

fn losses_on_cpu<F: Float>(spec: &Sequential, table: &Table) -> Vec<F> {
    let network = cpu::Network::<F>::new(spec).unwrap();
    let trainer = cpu::Trainer::new(network, AbsoluteError, Signs, table, 50, SAMPLING);
    trainer.unwrap().steps(60).unwrap()
}

#[test]
fn are_trained_with_as_by_their_formulas() {
    let table = surface();
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.5 });
    let spec = Sequential::input(2).layer(linear(16)).layer(Sigmoid);
    let spec = spec.layer(linear(2)).seed(7);
    for contract in [FORWARD_BACKWARD.contract(), STEP.contract()] {
        let none: [String; 0] = [];
        assert_eq!(contract.faults(), none, "{}", contract.name());
    }
    let loss = AbsoluteError;
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, Signs, &table, 50, SAMPLING).unwrap();
    let found = on_gpu.steps(60).unwrap();
    let double = losses_on_cpu::<f64>(&spec, &table);
    let single = losses_on_cpu::<f32>(&spec, &table);
    assert_near("absolute error", &found, &double, &single, 1e-3);
    assert!(found[59] < found[0] / 2.0, "{found:?}");
}
