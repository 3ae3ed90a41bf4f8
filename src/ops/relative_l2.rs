use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::update::check_above_zero;
use super::{Loss, LossPass, TargetKind};
use crate::error::{Error, number};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;

/// Relative L2 loss, for values of very different magnitudes, such as the brightness of pixels: each squared difference
/// is divided by about the square of the output.
///
/// Outputs and targets are (rows, outputs). `loss = mean_{r,c}((y − t)² / (y² + epsilon))`, and the gradient with
/// respect to the outputs is `2·(y − t) / (y² + epsilon) / (rows · outputs)`. This gradient treats the denominator as a
/// constant. It is therefore not the derivative of the loss, but it moves each output toward the mean of its targets
/// even if these are noisy. (Lehtinen et al., "Learning image restoration without clean data", 2018, for rendered
/// light, with the denominator `(y + 0.01)²`; Müller et al., "Instant neural graphics primitives with a multiresolution
/// hash encoding", 2022.) A row with an infinite or NaN output has a NaN loss.
///
/// ```
/// use wgrad::data::{Sampling, Table};
/// use wgrad::ndarray::Array2;
/// use wgrad::ops::{Adam, Linear, RelativeL2};
/// use wgrad::{Sequential, cpu};
///
/// let x = Array2::from_shape_fn((50, 1), |(row, _)| row as f32 / 50.0);
/// let y = x.mapv(|x| 0.2 + 0.1 * x);
/// let table = Table::regression("line", x.view(), y.view())?;
/// let network = Sequential::input(1).layer(Linear::new(1)).on_cpu()?;
/// let (loss, sampling) = (RelativeL2::default(), Sampling::Shuffled { seed: 1 });
/// let mut trainer = cpu::Trainer::new(network, loss, Adam::new(0.01), &table, 50, sampling)?;
/// trainer.steps(2_000)?;
/// // A twentieth off at the most, in the root of the mean square.
/// assert!(trainer.evaluate(&table)?.loss < 0.05 * 0.05);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RelativeL2 {
    pub(super) epsilon: f32,
}

impl RelativeL2 {
    /// Creates a loss with this `epsilon`, a finite number above 0, which is added to the square of each output. It
    /// limits the denominator: an output far below `√epsilon` counts as if it were `√epsilon`.
    #[must_use]
    pub fn new(epsilon: f32) -> Self {
        Self { epsilon }
    }
}

/// The default `epsilon` is 0.01.
impl Default for RelativeL2 {
    fn default() -> Self {
        Self::new(0.01)
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    outputs: u32,
    epsilon: f32,
    scale: f32,
}

static FORWARD_BACKWARD: Kernel<Shape> = Kernel {
    shader: "relative_l2",
    source: concat!(
        include_str!("../../shaders/is_finite.wgsl"),
        include_str!("../../shaders/logistic.wgsl"),
        include_str!("../../shaders/loss_terms.wgsl"),
        include_str!("../../shaders/loss_rows.wgsl"),
        include_str!("../../shaders/relative_l2.wgsl"),
    ),
    entry: "forward_backward",
    bindings: &[
        Binding::read("y"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("dy"),
    ],
    fields: fields!(Shape: rows, outputs, epsilon, scale),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Loss for RelativeL2 {
    fn describe(&self) -> String {
        format!("RelativeL2 {{ epsilon: {} }}", number(self.epsilon))
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn check(&self, _outputs: usize) -> Result<(), Error> {
        check_above_zero("epsilon of RelativeL2", self.epsilon)
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        pass.record_of_values(recorder, &FORWARD_BACKWARD, 9, |of| Shape {
            rows: of.rows,
            outputs: of.outputs,
            epsilon: self.epsilon,
            // The derivative of a square has a factor of 2.
            scale: 2.0 * of.scale,
        });
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::RelativeL2 {
            epsilon: self.epsilon.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
