//! A layer that draws in training: it drops what a function of key, step and element says.

use wgrad::kernel::{Binding, Kernel};
use wgrad::layer_check::{LayerError, Mode};
use wgrad::ndarray::{ArrayView2, ArrayViewMut2};
use wgrad::ops::{self, Backward, Forward, Layer};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Twin};
use wgrad::tensor::Tensor;
use wgrad::{Error, check_layer};

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

impl Drop {
    fn record(
        self,
        recorder: &mut Recorder<'_>,
        draw: Option<ops::Draw<'_>>,
        x: &Tensor,
        y: &Tensor,
    ) {
        let kernel = |entry, bindings| {
            &*Box::leak(Box::new(Kernel::new("drop", self.source, entry, bindings)))
        };
        let [read, elements] = [Binding::read("x"), Binding::write("y")];
        let n = x.len() as u32;
        let Some(ops::Draw { key, step_count }) = draw else {
            let kernel = kernel("copy", vec![read, Binding::write("copied")].leak());
            recorder.dispatch_each(kernel, [n, 0, 0, 0], &[x, y], x.len(), Cost::default());
            return;
        };
        let step = Binding::read("step_count").of_u32();
        let kernel = kernel("drop", vec![read, step, elements].leak());
        let tensors = [x, step_count, y];
        recorder.dispatch_each(
            kernel,
            [n, key[0], key[1], 0],
            &tensors,
            x.len(),
            Cost::default(),
        );
    }
}

impl Layer for Drop {
    fn name(&self) -> String {
        "Drop".to_owned()
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        self.record(recorder, pass.draw, pass.x, pass.y);
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        if let Some(dx) = pass.dx {
            self.record(recorder, pass.draw, pass.dy, dx);
        }
    }

    fn reference(&self) -> Twin {
        Twin::of(Formula)
    }
}

#[derive(Debug, Clone, Copy)]
struct Formula;

fn drop<F: Float>(
    draw: Option<reference::Draw>,
    x: ArrayView2<'_, F>,
    mut y: ArrayViewMut2<'_, F>,
) {
    let kept = |i: u32| {
        draw.is_none_or(|draw| {
            let element = (i ^ draw.key[0]).wrapping_mul(747_796_405);
            let step = (draw.step ^ draw.key[1]).wrapping_mul(2_891_336_453);
            element.wrapping_add(step) <= 0x8000_0000
        })
    };
    for (i, (y, &x)) in (0..).zip(y.iter_mut().zip(&x)) {
        *y = if kept(i) { x } else { F::zero() };
    }
}

impl<F: Float> reference::Layer<F> for Formula {
    fn forward(&self, pass: reference::Forward<'_, F>) {
        drop(pass.draw, pass.x, pass.y);
    }

    fn backward(&self, pass: reference::Backward<'_, F>) {
        if let Some(dx) = pass.dx {
            drop(pass.draw, pass.dy, dx);
        }
    }
}

#[test]
fn what_is_drawn_is_checked_in_training() {
    let table =
        check_layer(gpu(), &Drop { source: WGSL }).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(table.kernels, ["drop::copy", "drop::drop"]);
    assert!(table.rows.iter().any(|row| row.mode == Mode::Training));
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
            Err(Error::Layer(LayerError::Parity { at, .. })) => assert_eq!(at.tensor, "y"),
            other => panic!("{other:?}"),
        }
    }
}
