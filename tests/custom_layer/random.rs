//! A layer with random numbers in training. Which elements it drops is a function of the key, the step and the
//! element's index.

use wgrad::kernel::{Binding, Kernel};
use wgrad::layer_check::{Call, CheckError};
use wgrad::ndarray::{ArrayView2, ArrayViewMut2};
use wgrad::ops::{Backward, Draw, Forward, Layer, LayerSpec, Mode};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Twin};
use wgrad::tensor::Tensor;
use wgrad::{Error, Shape, check_layer};

use crate::gpu::gpu;

const WGSL: &str = "
    @group(0) @binding(0) var<uniform> block: vec4u; // elements, key, nothing
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read> step_count: array<u32>;
    @group(0) @binding(3) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn drop(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= block.x) { return; }
        let drawn = (i ^ block.y) * 747796405u + (step_count[0] ^ block.z) * 2891336453u;
        y[i] = select(x[i], 0.0, drawn > 0x80000000u);
    }
    @group(0) @binding(2) var<storage, read_write> copied: array<f32>;
    @compute @workgroup_size(64)
    fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i < block.x) { copied[i] = x[i]; }
    }";

#[derive(Debug, Clone, Copy)]
struct Drop {
    source: &'static str,
}

const X: Binding = Binding::read("x");
const STEP: Binding = Binding::read("step_count").of_u32();

impl Drop {
    fn record(self, recorder: &mut Recorder<'_>, mode: Mode<'_>, x: &Tensor, y: &Tensor) {
        let kernel = |entry, bindings| Kernel::new("drop", self.source, entry, bindings);
        let n = x.len() as u32;
        let cost = Cost::default();
        match mode {
            Mode::Evaluation => {
                let kernel = kernel("copy", const { &[X, Binding::write("copied")] });
                recorder.dispatch_each(&kernel, [n, 0, 0, 0], &[x, y], x.len(), cost);
            }
            Mode::Training(Draw {
                key, step_count, ..
            }) => {
                let kernel = kernel("drop", const { &[X, STEP, Binding::write("y")] });
                let block = [n, key[0], key[1], 0];
                let tensors = [x, step_count, y];
                recorder.dispatch_each(&kernel, block, &tensors, x.len(), cost);
            }
        }
    }
}

impl Layer for Drop {
    fn name(&self) -> String {
        "Drop".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        self.record(recorder, pass.mode, pass.x, pass.y);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            self.record(recorder, pass.mode, pass.dy, dx);
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::of(Formula)
    }
}

#[derive(Debug, Clone, Copy)]
struct Formula;

fn drop<F: Float>(mode: reference::Mode, x: ArrayView2<'_, F>, mut y: ArrayViewMut2<'_, F>) {
    let kept = |i: u32| match mode {
        reference::Mode::Evaluation => true,
        reference::Mode::Training(draw) => {
            let element = (i ^ draw.key[0]).wrapping_mul(747_796_405);
            let step = (draw.step ^ draw.key[1]).wrapping_mul(2_891_336_453);
            element.wrapping_add(step) <= 0x8000_0000
        }
    };
    for (i, (y, &x)) in (0..).zip(y.iter_mut().zip(&x)) {
        *y = if kept(i) { x } else { F::zero() };
    }
}

impl<F: Float> reference::Layer<F> for Formula {
    fn forward(&self, pass: reference::Forward<'_, F>) {
        drop(pass.mode, pass.x, pass.y);
    }

    fn backward(&self, pass: reference::Backward<'_, F>) {
        if let Some(dx) = pass.dx {
            drop(pass.mode, pass.dy, dx);
        }
    }
}

#[test]
fn what_is_drawn_is_checked_in_training() {
    let report =
        check_layer(gpu(), &Drop { source: WGSL }).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels, ["drop::copy", "drop::drop"]);
    assert!(
        report
            .rows
            .iter()
            .any(|row| row.call == Some(Call::Training))
    );
}

#[test]
fn another_draw_on_the_gpu_is_found() {
    for (from, to) in [
        ("step_count[0] ^", "step_count[0] + 1u ^"),
        ("(i ^ block.y)", "i"),
    ] {
        assert!(WGSL.contains(from));
        let source = WGSL.replace(from, to).leak();
        match check_layer(gpu(), &Drop { source }) {
            Err(Error::Check(CheckError::Parity { at, .. })) => assert_eq!(at.tensor, "y"),
            other => panic!("{other:?}"),
        }
    }
}
