//! A loss for classes: the squared hinge loss `Σ max(0, 1 + z_c − z_label)²`, summed over all classes `c` except the
//! label.

use wgrad::Error;
use wgrad::kernel::{Binding, Kernel};
use wgrad::ops::{Loss, LossPass};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Criterion, Float, Targets};

const WGSL: &str = "
    // With m_c = max(0, 1 + z_c − z_label) for every other class c:
    //   loss       Σ m_c²
    //   gradient   2·m_c/rows by z_c, and −Σ 2·m_c/rows by z_label
    @group(0) @binding(0) var<uniform> size: vec2u; // rows, classes
    @group(0) @binding(1) var<storage, read> logits: array<f32>;
    @group(0) @binding(2) var<storage, read> labels: array<u32>;
    @group(0) @binding(3) var<storage, read_write> losses: array<f32>;
    @group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;

    @compute @workgroup_size(64)
    fn hinge(@builtin(global_invocation_id) id: vec3u) {
        let row = id.x;
        if (row >= size.x) { return; }
        let label = labels[row];
        var sums = vec2f();
        for (var c = 0u; c < size.y; c++) {
            if (c != label) {
                let margin = max(0.0, 1.0 + logits[row * size.y + c] - logits[row * size.y + label]);
                sums += vec2f(margin * margin, margin);
                dlogits[row * size.y + c] = 2.0 * margin / f32(size.x);
            }
        }
        dlogits[row * size.y + label] = -2.0 * sums.y / f32(size.x);
        losses[row] = sums.x;
    }";

static KERNEL: Kernel<[u32; 2]> = Kernel::new(
    "hinge",
    WGSL,
    "hinge",
    &[
        Binding::read("logits"),
        Binding::read("labels").of_u32(),
        Binding::write("losses"),
        Binding::write("dlogits"),
    ],
);

#[derive(Debug)]
pub(crate) struct SquaredHinge;

impl Loss for SquaredHinge {
    fn describe(&self) -> String {
        "SquaredHinge".to_owned()
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let [rows, classes] = pass.outputs.dims();
        let size = [rows, classes].map(|extent| extent as u32);
        let tensors = [pass.outputs, pass.targets, pass.losses, pass.doutputs];
        recorder.dispatch_each(&KERNEL, size, &tensors, rows, Cost::default());
        Ok(())
    }

    fn reference(&self) -> Criterion {
        Criterion::of(Formula)
    }
}

#[derive(Debug, Clone, Copy)]
struct Formula;

impl<F: Float> reference::Loss<F> for Formula {
    fn forward_backward(&self, mut pass: reference::LossPass<'_, F>) -> F {
        let Targets::Classes(labels) = pass.targets else {
            unreachable!("it compares classes");
        };
        let scale = F::from_f64(1.0 / labels.len() as f64);
        let mut sum = F::zero();
        let rows = pass.outputs.rows().into_iter().zip(labels);
        for ((z, &label), mut dz) in rows.zip(pass.doutputs.rows_mut()) {
            let label = label as usize;
            let mut margins = z.mapv(|other| (F::one() + other - z[label]).max(F::zero()));
            margins[label] = F::zero();
            sum += margins.mapv(|margin| margin * margin).sum();
            dz.assign(&margins.mapv(|margin| (margin + margin) * scale));
            dz[label] = -dz.sum();
        }
        sum * scale
    }
}
