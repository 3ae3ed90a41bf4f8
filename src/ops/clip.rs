use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::update::check_above_zero;
use super::{Optimizer, Update, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::tensor::Tensor;

/// Maximum number of partial sums per gradient tensor.
const MOST_PARTS: usize = 4_096;
/// Elements per partial sum, unless a tensor would then need more than [`MOST_PARTS`] partial sums.
const ELEMENTS_PER_PART: usize = 16;

/// An optimizer that clips the gradients by their global norm before each update. Created by [`Optimizer::clip_norm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clipped<O> {
    pub(super) optimizer: O,
    pub(super) max_norm: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    first: u32,
    parts: u32,
    max_norm: f32,
}

static SUM_SQUARES: Kernel<Settings> = Kernel {
    shader: "clip",
    source: concat!(
        include_str!("../../shaders/is_nan.wgsl"),
        include_str!("../../shaders/clip.wgsl"),
    ),
    entry: "sum_squares",
    bindings: &[Binding::read("gradients"), Binding::write("sums")],
    fields: fields!(Settings: elements, first, parts, max_norm),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static COMBINE: Kernel<Settings> = Kernel {
    entry: "combine",
    bindings: &[Binding::read("all_sums"), Binding::write("factor")],
    ..SUM_SQUARES
};

static SCALE: Kernel<Settings> = Kernel {
    entry: "scale",
    bindings: &[Binding::read("by"), Binding::write("scaled")],
    workgroup_size: WORKGROUP_SIZE,
    ..SUM_SQUARES
};

fn parts_of(block: &Tensor) -> usize {
    block.len().div_ceil(ELEMENTS_PER_PART).min(MOST_PARTS)
}

/// Records the kernels that scale `gradients` so that their global norm, over all tensors together, is at most
/// `max_norm`.
fn record(recorder: &mut Recorder<'_>, gradients: &[Tensor], max_norm: f32) -> Result<(), Error> {
    let gpu = recorder.gpu();
    let all_parts = gradients.iter().map(parts_of).sum();
    let sums = Tensor::zeros(gpu, "sums of squares", [all_parts, 2], Element::F32)?;
    let factor = Tensor::zeros(gpu, "factor of gradients", [1, 2], Element::F32)?;
    record_with(recorder, gradients, max_norm, [&sums, &factor]);
    Ok(())
}

/// Like [`record`], with the caller's tensors for the sums of squares, (parts, 2), and for the scale factor, (1, 2).
///
/// Large squares overflow `f32`. So gradients above 2⁴⁰ are multiplied by 2⁻⁸⁰ before they are squared, and these
/// squares are summed in the second column of the sums. The second column of the factor is 1 if all gradients must be
/// multiplied by 2⁻⁸⁰ before they are multiplied by the factor, and otherwise 0.
fn record_with(
    recorder: &mut Recorder<'_>,
    gradients: &[Tensor],
    max_norm: f32,
    [sums, factor]: [&Tensor; 2],
) {
    let all_parts = sums.rows();
    let settings = |elements: usize, first: usize, parts: usize| Settings {
        elements: to_u32(elements),
        first: to_u32(first),
        parts: to_u32(parts),
        max_norm,
    };
    let cost = |flops: usize, iterations: usize| Cost {
        flops: flops as u64,
        iterations: iterations as u64,
        bytes: None,
    };
    let mut first = 0;
    for block in gradients {
        let elements = block.len();
        let parts = parts_of(block);
        let cost = cost(3 * elements, elements.div_ceil(parts));
        let settings = settings(elements, first, parts);
        recorder.dispatch_each(&SUM_SQUARES, settings, &[block, sums], parts, cost);
        first += parts;
    }
    let combined = cost(2 * all_parts, all_parts.div_ceil(64) + 6);
    let of_sums = settings(all_parts, 0, all_parts);
    recorder.dispatch(&COMBINE, of_sums, &[sums, factor], 1, combined);
    for block in gradients {
        let elements = block.len();
        let settings = settings(elements, 0, 0);
        record_elements(recorder, &SCALE, settings, &[factor, block], elements, 1);
    }
}

impl<O: Optimizer> Optimizer for Clipped<O> {
    fn describe(&self) -> String {
        let optimizer = self.optimizer.describe();
        let max_norm = self.max_norm;
        format!("Clipped {{ optimizer: {optimizer}, max_norm: {max_norm:?} }}")
    }

    fn learning_rate(&self) -> f32 {
        self.optimizer.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Clipped {
            optimizer: self.optimizer.with_learning_rate(learning_rate),
            max_norm: self.max_norm,
        })
    }

    fn decay(&self) -> f32 {
        self.optimizer.decay()
    }

    fn has_weight_decay(&self) -> bool {
        self.optimizer.has_weight_decay()
    }

    fn check(&self) -> Result<(), Error> {
        self.optimizer.check()?;
        check_above_zero("largest norm of the gradient", self.max_norm)
    }

    fn state(&self) -> &'static [&'static str] {
        self.optimizer.state()
    }

    fn coefficients(&self, step: u64) -> [f32; 4] {
        self.optimizer.coefficients(step)
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        // The norm excludes the gradients of frozen parameters. In PyTorch, frozen parameters have no gradients.
        let parts = pass.parts(0.0).into_iter().map(|part| part.gradients);
        let gradients: Vec<Tensor> = parts.collect();
        if gradients.is_empty() {
            return Ok(());
        }
        record(recorder, &gradients, self.max_norm)?;
        self.optimizer.update(recorder, pass)
    }

    fn reference(&self) -> reference::Rule {
        reference::Rule::of(reference::Clipped {
            rule: self.optimizer.reference(),
            max_norm: self.max_norm.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![SUM_SQUARES.contract(), COMBINE.contract(), SCALE.contract()]
}

#[cfg(test)]
mod tests;
