//! A custom loss: its WGSL kernel, the same formula in Rust, a call that compares the two, and a training with the
//! loss.
#![allow(clippy::cast_possible_truncation)] // no tensor has 2³² elements

use std::io::Write as _;

use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::data::{Sampling, Table};
use wgrad::kernel::{Binding, Kernel};
use wgrad::ndarray::{Array2, Zip};
use wgrad::ops::{Adam, Linear, Loss, LossPass, TargetKind};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Criterion, Float, Targets};
use wgrad::{Error, Gpu, Sequential, Trainer, check_loss, fields};

const WGSL: &str = "
// With d = target − output:
// losses[row]  = Σ max(share·d, (share − 1)·d) / columns
// doutputs     = (0 − share where d ≥ 0, 1 − share elsewhere) / (rows·columns)
struct Settings { rows: u32, columns: u32, share: f32 }
@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> outputs: array<f32>;             // (rows, columns)
@group(0) @binding(2) var<storage, read> targets: array<f32>;             // (rows, columns)
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;        // (1, rows)
@group(0) @binding(4) var<storage, read_write> doutputs: array<f32>;      // (rows, columns)
@compute @workgroup_size(64)
fn forward_backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
    let row = id.x + id.y * count.x * 64u;
    if (row >= settings.rows) { return; }
    var sum = 0.0;
    for (var c = 0u; c < settings.columns; c++) {
        let i = row * settings.columns + c;
        let d = targets[i] - outputs[i];
        sum += max(settings.share * d, (settings.share - 1.0) * d);
        let slope = select(1.0, 0.0, d >= 0.0) - settings.share;
        doutputs[i] = slope / f32(settings.rows * settings.columns);
    }
    losses[row] = sum / f32(settings.columns);
}";

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Settings {
    rows: u32,
    columns: u32,
    share: f32,
}

static KERNEL: Kernel<Settings> = Kernel::new(
    "quantile",
    WGSL,
    "forward_backward",
    &[
        Binding::read("outputs"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("doutputs"),
    ],
)
.fields(fields!(Settings: rows, columns, share));

/// The "pinball" loss of quantile regression. The network learns outputs that a fraction `share` of the targets does
/// not exceed.
#[derive(Debug, Clone, Copy)]
struct Quantile {
    share: f32,
}

impl Loss for Quantile {
    fn describe(&self) -> String {
        format!("{self:?}")
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn check(&self, _outputs: usize) -> Result<(), Error> {
        if self.share > 0.0 && self.share < 1.0 {
            Ok(())
        } else {
            Err(Error::Setting {
                name: "share of Quantile".to_owned(),
                expected: "above 0 and below 1".to_owned(),
                found: self.share.to_string(),
            })
        }
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let [rows, columns] = pass.outputs.dims();
        let settings = Settings {
            rows: rows as u32,
            columns: columns as u32,
            share: self.share,
        };
        let tensors = [pass.outputs, pass.targets, pass.losses, pass.doutputs];
        let cost = Cost::new(6 * pass.outputs.len() as u64).iterations(columns as u64);
        recorder.dispatch_each(&KERNEL, settings, &tensors, rows, cost);
        Ok(())
    }

    fn reference(&self) -> Criterion {
        Criterion::of(*self)
    }
}

/// The same formula on the CPU. The check compares the kernel with it, and the CPU engine runs it.
impl<F: Float> reference::Loss<F> for Quantile {
    fn forward_backward(&self, mut pass: reference::LossPass<'_, F>) -> F {
        let Targets::Values(targets) = pass.targets else {
            unreachable!("a loss of values is given values");
        };
        let share = F::from_f64(self.share.into());
        let n = F::from_f64(targets.len() as f64);
        let mut sum = F::zero();
        Zip::from(&mut pass.doutputs)
            .and(pass.outputs)
            .and(targets)
            .for_each(|slope, &y, &t| {
                let factor = if t >= y { share } else { share - F::one() };
                sum += factor * (t - y);
                *slope = -factor / n;
            });
        sum / n
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::new()?;
    let mut out = std::io::stdout();
    let loss = Quantile { share: 0.9 };
    writeln!(out, "{}", check_loss(&gpu, &loss)?)?;
    // Synthetic waiting times that depend on the time of day. Most of them are short, and some are long.
    let hours = Array2::from_shape_fn((1_000, 1), |(row, _)| row as f32 / 1_000.0);
    let waits = Array2::from_shape_fn((1_000, 1), |(row, _)| {
        let chance = (row * 617 % 1_000) as f32 / 1_000.0;
        hours[[row, 0]] - 0.2 * (1.0 - chance).ln()
    });
    let table = Table::regression("waits", hours.view(), waits.view())?;
    let model = Sequential::input(1).layer(Linear::new(1)).build(&gpu)?;
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut trainer = Trainer::new(model, loss, Adam::new(0.01), &table, 100, sampling)?;
    trainer.steps(1_000)?;
    let predicted = trainer.model().predict(hours.view())?;
    let below = waits
        .iter()
        .zip(&predicted)
        .filter(|(wait, most)| wait <= most);
    writeln!(
        out,
        "{} of 1000 waits are no longer than predicted",
        below.count()
    )?;
    Ok(())
}
