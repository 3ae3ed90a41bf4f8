//! A loss for values: the mean over a row of ln cosh(output − target). Its fields can contain mistakes.

use wgrad::Error;
use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::fields;
use wgrad::kernel::{Binding, KernelRef};
use wgrad::ops::{Loss, LossPass, TargetKind};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Criterion, Float, Targets};

pub(crate) const WGSL: &str = "
    // With d = output − target, of a row:
    //   loss       mean of ln cosh d = |d| + ln(1 + e^(−2|d|)) − ln 2
    //   gradient   tanh d / (rows·columns): that of the mean over the rows
    struct Size { rows: u32, columns: u32 }
    @group(0) @binding(0) var<uniform> size: Size;
    @group(0) @binding(1) var<storage, read> outputs: array<f32>;
    @group(0) @binding(2) var<storage, read> targets: array<f32>;
    @group(0) @binding(3) var<storage, read_write> losses: array<f32>;
    @group(0) @binding(4) var<storage, read_write> doutputs: array<f32>;

    @compute @workgroup_size(64)
    fn log_cosh(@builtin(global_invocation_id) id: vec3u) {
        let row = id.x;
        if (row >= size.rows) { return; }
        var sum = 0.0;
        for (var c = 0u; c < size.columns; c++) {
            let i = row * size.columns + c;
            let d = outputs[i] - targets[i];
            let e = exp(-2.0 * abs(d));
            sum += abs(d) + log(1.0 + e) - 0.6931472;
            doutputs[i] = sign(d) * (1.0 - e) / (1.0 + e) / f32(size.rows * size.columns);
        }
        losses[row] = sum / f32(size.columns);
    }";

pub(crate) const OUTPUTS: Binding = Binding::read("outputs");
pub(crate) const TARGETS: Binding = Binding::read("targets");
const WRITTEN: [Binding; 2] = [Binding::write("losses"), Binding::write("doutputs")];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Size {
    rows: u32,
    columns: u32,
}

/// The loss, with fields that can contain a mistake. `Debug` prints only the name.
#[derive(Clone)]
pub(crate) struct LogCosh {
    pub(crate) source: String,
    pub(crate) read: [Binding; 2],
    /// Returns the number of invocations for a number of rows. `None` records no dispatch.
    pub(crate) invocations: Option<fn(usize) -> usize>,
    pub(crate) twin: Formula,
}

impl std::fmt::Debug for LogCosh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogCosh")
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Formula {
    /// Factors by which the reference multiplies the loss (`loss`) and the gradient, for a number of rows.
    pub(crate) loss: fn(f64) -> f64,
    pub(crate) gradient: fn(f64) -> f64,
    pub(crate) panics: bool,
}

impl LogCosh {
    pub(crate) fn good() -> Self {
        Self {
            source: WGSL.to_owned(),
            read: [OUTPUTS, TARGETS],
            invocations: Some(|rows| rows),
            twin: Formula {
                loss: |_| 1.0,
                gradient: |_| 1.0,
                panics: false,
            },
        }
    }

    /// Returns the loss with one change in its WGSL: `from` is replaced by `to`.
    pub(crate) fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        Self {
            source: WGSL.replace(from, to),
            ..Self::good()
        }
    }
}

impl Loss for LogCosh {
    fn describe(&self) -> String {
        "LogCosh".to_owned()
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let Some(invocations) = self.invocations else {
            return Ok(());
        };
        let bindings = [self.read, WRITTEN].concat();
        let kernel = KernelRef::new("log_cosh", &self.source, "log_cosh", &bindings);
        let kernel = kernel.fields(fields!(Size: rows, columns));
        let [rows, columns] = pass.outputs.dims();
        let size = Size {
            rows: rows as u32,
            columns: columns as u32,
        };
        let tensors = [pass.outputs, pass.targets, pass.losses, pass.doutputs];
        recorder.dispatch_each(&kernel, size, &tensors, invocations(rows), Cost::default());
        Ok(())
    }

    fn reference(&self) -> Criterion {
        Criterion::of(self.twin)
    }
}

impl<F: Float> reference::Loss<F> for Formula {
    fn forward_backward(&self, mut pass: reference::LossPass<'_, F>) -> F {
        assert!(!self.panics, "an array of another shape");
        let Targets::Values(targets) = pass.targets else {
            unreachable!("it compares values");
        };
        let difference = &pass.outputs - &targets;
        let rows = difference.nrows() as f64;
        let n = difference.len() as f64;
        let gradient = F::from_f64((self.gradient)(rows) / n);
        pass.doutputs
            .assign(&difference.mapv(|d| d.tanh() * gradient));
        let two = F::from_f64(2.0);
        let log_cosh = |d: F| d.abs() + (-two * d.abs()).exp().ln_1p() - two.ln();
        difference.mapv(log_cosh).sum() * F::from_f64((self.loss)(rows) / n)
    }
}
