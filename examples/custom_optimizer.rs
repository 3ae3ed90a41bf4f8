//! A custom optimizer, Lion: its WGSL kernel, the same formula in Rust, a call that compares the two, and a training on
//! both engines.
//!
//! Chen et al., "Symbolic discovery of optimization algorithms", 2023.
#![allow(clippy::cast_possible_truncation)] // no tensor has 2³² elements

use std::{io::Write as _, sync::Arc};

use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::data::{Sampling, synthetic};
use wgrad::kernel::{Binding, Kernel};
use wgrad::ndarray::{ArrayView2, ArrayViewMut2, Zip};
use wgrad::ops::{Linear, Optimizer, Relu, SoftmaxCrossEntropy, Update};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Rule, UpdateStep};
use wgrad::{Error, Gpu, Sequential, Trainer, check_optimizer, cpu, fields};

const WGSL: &str = "
// p ← p − η·(sign(β₁·m + (1 − β₁)·g) + λ·p),  m ← β₂·m + (1 − β₂)·g
struct Settings { elements: u32, slots: u32, rate: f32, weight_decay: f32, beta1: f32, beta2: f32 }
@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<f32>; // (slots, 4): η first
@group(0) @binding(3) var<storage, read> step_count: array<u32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> momenta: array<f32>;
@compute @workgroup_size(64)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
    let i = id.x + id.y * count.x * 64u;
    if (i < settings.elements) {
        let rate = settings.rate * coefficients[4u * (step_count[0] % settings.slots)];
        let g = gradients[i];
        let m = momenta[i];
        let p = parameters[i];
        let direction = sign(settings.beta1 * m + (1.0 - settings.beta1) * g);
        parameters[i] = p - rate * (direction + settings.weight_decay * p);
        momenta[i] = settings.beta2 * m + (1.0 - settings.beta2) * g;
    }
}";

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Settings {
    elements: u32,
    slots: u32,
    rate: f32,
    weight_decay: f32,
    beta1: f32,
    beta2: f32,
}

static UPDATE: Kernel<Settings> = Kernel::new(
    "lion",
    WGSL,
    "update",
    &[
        Binding::read("gradients"),
        Binding::read("coefficients"),
        Binding::read("step_count").of_u32(),
        Binding::write("parameters"),
        Binding::write("momenta"),
    ],
)
.fields(fields!(Settings: elements, slots, rate, weight_decay, beta1, beta2));

/// The optimizer Lion. Each step moves every parameter by the learning rate. The direction is the sign of a moving
/// average of the gradients.
#[derive(Debug, Clone, Copy)]
struct Lion {
    learning_rate: f32,
    betas: [f32; 2],
    weight_decay: f32,
}

impl Optimizer for Lion {
    fn describe(&self) -> String {
        format!("{self:?}")
    }

    fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Self {
            learning_rate,
            ..*self
        })
    }

    fn decay(&self) -> f32 {
        self.weight_decay
    }

    fn check(&self) -> Result<(), Error> {
        let is_right = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        is_right.then_some(()).ok_or_else(|| Error::Setting {
            name: "learning rate".to_owned(),
            expected: "a finite number above 0".to_owned(),
            found: self.learning_rate.to_string(),
        })
    }

    fn state(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        for part in pass.parts(self.weight_decay) {
            let elements = part.parameters.len();
            let settings = Settings {
                elements: elements as u32,
                slots: pass.coefficients.rows() as u32,
                rate: part.rate,
                weight_decay: part.weight_decay,
                beta1: self.betas[0],
                beta2: self.betas[1],
            };
            let read = [&part.gradients, pass.coefficients, pass.step_count];
            let tensors = [&read[..], &[&part.parameters, &part.state[0]]].concat();
            recorder.dispatch_each(&UPDATE, settings, &tensors, elements, Cost::default());
        }
        Ok(())
    }

    fn reference(&self) -> Rule {
        Rule::of(*self)
    }
}

impl<F: Float> reference::Optimizer<F> for Lion {
    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        let [beta1, beta2] = self.betas.map(|beta| F::from_f64(beta.into()));
        let rate = at.learning_rate;
        let decay = at.decay(self.weight_decay.into());
        let update = |p: &mut F, m: &mut F, &g: &F| {
            let mean = beta1 * *m + (F::one() - beta1) * g;
            // Handle 0 separately: Rust's `signum` maps 0 to 1, while WGSL's `sign` maps 0 to 0.
            let direction = if mean == F::zero() {
                mean
            } else {
                mean.signum()
            };
            *p -= rate * (direction + decay * *p);
            *m = beta2 * *m + (F::one() - beta2) * g;
        };
        Zip::from(parameter)
            .and(&mut state[0])
            .and(gradient)
            .for_each(update);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::new()?;
    let mut out = std::io::stdout();
    let lion = Lion {
        learning_rate: 3e-4,
        betas: [0.9, 0.99],
        weight_decay: 0.1,
    };
    writeln!(out, "{}", check_optimizer(&gpu, &lion)?)?;
    let digits = synthetic::digits_of(1, 2_000, 500)?;
    let hidden = Sequential::input(784).layer(Linear::new(50)).layer(Relu);
    let network = hidden.layer(Linear::new(10)).seed(1);
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Shuffled { seed: 1 };
    let model = network.build(&gpu)?;
    let copy = network.on_cpu()?;
    let mut on_gpu = Trainer::new(model, loss, lion, &digits.train, 100, sampling.clone())?;
    let mut on_cpu = cpu::Trainer::new(copy, loss, lion, &digits.train, 100, sampling)?;
    let losses = [on_gpu.steps(400)?[399], on_cpu.steps(400)?[399]];
    writeln!(out, "loss_on_gpu={} loss_on_cpu={}", losses[0], losses[1])?;
    Ok(())
}
