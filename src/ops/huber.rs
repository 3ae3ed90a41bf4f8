use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::update::check_not_subnormal;
use super::{Loss, LossPass, TargetKind};
use crate::error::{Error, number};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;

/// Huber loss, for regression with outliers: quadratic for differences up to `delta`, linear beyond, like
/// `torch.nn.HuberLoss`.
///
/// Outputs and targets are (rows, outputs). With `d = y − t` for each output, `loss = mean_{r,c}(h(d))`, where
/// `h(d) = d²/2` for `|d| ≤ delta` and `delta·(|d| − delta/2)` elsewhere. The gradient with respect to the outputs is
/// `d`, clamped to `−delta` and `delta`, divided by `rows · outputs` (Huber, "Robust Estimation of a Location
/// Parameter", 1964). A row with an infinite or NaN output has a NaN loss.
///
/// ```
/// use wgrad::data::{Sampling, Table};
/// use wgrad::ndarray::Array2;
/// use wgrad::ops::{Adam, Huber, Linear};
/// use wgrad::{Sequential, cpu};
///
/// // A line, but for one measurement that went wrong.
/// let x = Array2::from_shape_fn((50, 1), |(row, _)| row as f32 / 50.0);
/// let mut y = x.mapv(|x| 2.0 * x + 1.0);
/// y[[25, 0]] = 500.0;
/// let table = Table::regression("line", x.view(), y.view())?;
/// let network = Sequential::input(1).layer(Linear::new(1)).on_cpu()?;
/// let (loss, sampling) = (Huber::new(0.1), Sampling::Shuffled { seed: 1 });
/// let mut trainer = cpu::Trainer::new(network, loss, Adam::new(0.05), &table, 50, sampling)?;
/// trainer.steps(500)?;
/// let at_half = trainer.network().predict(Array2::from_elem((1, 1), 0.5).view())?;
/// assert!((at_half[[0, 0]] - 2.0).abs() < 0.1);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "HuberLoss")]
#[doc(alias = "SmoothL1Loss")]
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    pub(super) delta: f32,
}

impl Huber {
    /// Creates a loss that is quadratic for differences up to `delta`, a finite number above 0, and linear for larger
    /// ones.
    #[must_use]
    pub fn new(delta: f32) -> Self {
        Self { delta }
    }
}

/// The default `delta` is 1, like PyTorch's.
impl Default for Huber {
    fn default() -> Self {
        Self::new(1.0)
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    outputs: u32,
    delta: f32,
    scale: f32,
}

static FORWARD_BACKWARD: Kernel<Shape> = Kernel {
    shader: "huber",
    source: concat!(
        include_str!("../../shaders/is_finite.wgsl"),
        include_str!("../../shaders/logistic.wgsl"),
        include_str!("../../shaders/loss_terms.wgsl"),
        include_str!("../../shaders/loss_rows.wgsl"),
        include_str!("../../shaders/huber.wgsl"),
    ),
    entry: "forward_backward",
    bindings: &[
        Binding::read("y"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("dy"),
    ],
    fields: fields!(Shape: rows, outputs, delta, scale),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Loss for Huber {
    fn describe(&self) -> String {
        format!("Huber {{ delta: {} }}", number(self.delta))
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn check(&self, _outputs: usize) -> Result<(), Error> {
        let name = "delta of Huber";
        let delta = self.delta;
        if !(delta.is_finite() && delta > 0.0) {
            return Err(Error::setting(name, "a finite number above 0", delta));
        }
        check_not_subnormal(name, "", delta)
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        pass.record_of_values(recorder, &FORWARD_BACKWARD, 10, |of| Shape {
            rows: of.rows,
            outputs: of.outputs,
            delta: self.delta,
            scale: of.scale,
        });
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::Huber {
            delta: self.delta.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
