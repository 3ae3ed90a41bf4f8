//! A custom layer: its WGSL, its formula, a call that checks one against the other, and a training with the layer.
#![allow(clippy::cast_possible_truncation)] // no tensor has 2³² elements

use std::io::Write as _;

use wgrad::data::{Sampling, synthetic};
use wgrad::kernel::{Binding, Kernel};
use wgrad::ops::{Adam, Backward, Forward, Layer, LayerSpec, Linear, SoftmaxCrossEntropy};
use wgrad::plan::{Cost, Recorder};
use wgrad::{Error, Gpu, Sequential, Shape, Trainer, check_layer, reference::Twin};

const WGSL: &str = "
// forward    y  = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|))
// backward   dx = dy / (1 + e⁻ˣ)
@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
    let i = id.x + id.y * count.x * 64u;
    if (i < elements) { y[i] = max(x[i], 0.0) + log(1.0 + exp(-abs(x[i]))); }
}
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
    let i = id.x + id.y * count.x * 64u;
    if (i < elements) { dx[i] = dy[i] / (1.0 + exp(-max(x[i], -80.0))); }
}";

const X: Binding = Binding::read("x");
static FORWARD: Kernel<u32> = kernel("forward", &[X, Binding::write("y")]);
static BACKWARD: Kernel<u32> = kernel("backward", &[X, Binding::read("dy"), Binding::write("dx")]);

const fn kernel(entry: &'static str, bindings: &'static [Binding]) -> Kernel<u32> {
    Kernel::new("softplus", WGSL, entry, bindings)
}

/// Softplus, a smooth version of `Relu`, applied to each element.
#[derive(Debug)]
struct Softplus;

impl Layer for Softplus {
    fn name(&self) -> String {
        "Softplus".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let tensors = [pass.x, pass.y];
        let n = pass.x.len();
        recorder.dispatch_each(&FORWARD, n as u32, &tensors, n, Cost::default());
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            let tensors = [pass.x, pass.dy, dx];
            let n = dx.len();
            recorder.dispatch_each(&BACKWARD, n as u32, &tensors, n, Cost::default());
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| x.exp().ln_1p(), |x| 1.0 / (1.0 + (-x).exp()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::new()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", check_layer(&gpu, &Softplus)?)?;
    let digits = synthetic::digits_of(1, 2_000, 500)?;
    let network = Sequential::input(784)
        .layer(Linear::new(50))
        .layer(Softplus)
        .layer(Linear::new(10));
    let model = network.build(&gpu)?;
    let optimizer = Adam::new(0.003);
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 100, sampling)?;
    trainer.steps(400)?;
    let test = trainer.evaluate(&digits.test)?;
    writeln!(out, "synthetic digits: {test}")?;
    Ok(())
}
