use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Capacity of the loss history on the GPU: the number of steps whose losses can wait to be read back.
pub(crate) const HISTORY: usize = 16_384;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    classes: u32,
    slot: u32,
}

const METRICS: Kernel<Shape> = Kernel {
    shader: "metrics",
    source: include_str!("../../shaders/metrics.wgsl"),
    entry: "log_step",
    bindings: &[
        Binding::read("losses"),
        Binding::write("history"),
        Binding::write("step_count").of_u32(),
    ],
    fields: fields!(Shape: rows, classes, slot),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
static LOG_STEP: Kernel<Shape> = METRICS;
static EVALUATE: Kernel<Shape> = Kernel {
    entry: "evaluate",
    bindings: &[
        Binding::read("losses"),
        Binding::read("logits"),
        Binding::read("labels").of_u32(),
        Binding::write("totals"),
    ],
    ..METRICS
};
static EVALUATE_PROBABILITIES: Kernel<Shape> = Kernel {
    entry: "evaluate_probabilities",
    bindings: &[
        Binding::read("losses"),
        Binding::read("logits"),
        Binding::read("targets"),
        Binding::write("totals"),
    ],
    ..METRICS
};
static SUM_LOSSES: Kernel<Shape> = Kernel {
    entry: "sum_losses",
    bindings: &[Binding::read("losses"), Binding::write("loss_totals")],
    ..METRICS
};

static COUNT_STEP: Kernel<Shape> = Kernel {
    entry: "count_step",
    bindings: &[Binding::write("steps_counted").of_u32()],
    workgroup_size: [1, 1, 1],
    ..METRICS
};

/// Records the end of a step whose loss is not logged: increments the step counter.
pub fn count_step(recorder: &mut Recorder<'_>, step_count: &Tensor) {
    let shape = Shape {
        rows: 0,
        classes: 0,
        slot: 1,
    };
    recorder.dispatch(&COUNT_STEP, shape, &[step_count], 1, Cost::default());
}

/// Records the end of a step: writes the mean of `losses` to `history[step mod capacity]`, and increments the step
/// counter.
pub(crate) fn log_step(
    recorder: &mut Recorder<'_>,
    losses: &Tensor,
    history: &Tensor,
    step_count: &Tensor,
) {
    let shape = Shape {
        rows: to_u32(losses.columns()),
        classes: 0,
        slot: to_u32(history.columns()),
    };
    let cost = Cost {
        flops: losses.len() as u64,
        iterations: losses.len() as u64 / 64 + 7,
        bytes: None,
    };
    recorder.dispatch(&LOG_STEP, shape, &[losses, history, step_count], 1, cost);
}

/// Records `totals[slot] = (sum of losses, number of correctly classified rows)`; `totals` is (slots, 2).
pub(crate) fn evaluate(recorder: &mut Recorder<'_>, compared: [&Tensor; 3], to: (&Tensor, usize)) {
    let [losses, logits, labels] = compared;
    assert_eq!(losses.columns(), logits.rows(), "metrics::evaluate: rows");
    assert_eq!(
        labels.dims(),
        [1, logits.rows()],
        "metrics::evaluate: labels"
    );
    count_hits(recorder, &EVALUATE, compared, to, 1);
}

/// Records `totals[slot] = (sum of losses, number of correct outputs)`, for targets that are probabilities, 0 to 1;
/// `totals` is (slots, 2).
pub(crate) fn evaluate_probabilities(
    recorder: &mut Recorder<'_>,
    compared: [&Tensor; 3],
    to: (&Tensor, usize),
) {
    let [losses, logits, targets] = compared;
    assert_eq!(
        [logits.dims(), [losses.columns(), logits.columns()]],
        [targets.dims(); 2],
        "metrics::evaluate_probabilities: rows"
    );
    count_hits(recorder, &EVALUATE_PROBABILITIES, compared, to, 2);
}

/// Records a kernel that sums losses and counts correct predictions. For each row, the kernel's loops take one
/// iteration per output, plus `rounds` iterations.
fn count_hits(
    recorder: &mut Recorder<'_>,
    kernel: &'static Kernel<Shape>,
    [losses, logits, targets]: [&Tensor; 3],
    (totals, slot): (&Tensor, usize),
    rounds: u64,
) {
    assert!(
        slot < totals.rows() && totals.columns() == 2,
        "metrics::{}: totals",
        kernel.entry
    );
    let shape = Shape {
        rows: to_u32(logits.rows()),
        classes: to_u32(logits.columns()),
        slot: to_u32(slot),
    };
    let cost = Cost {
        flops: (losses.len() + logits.len()) as u64,
        iterations: (losses.len() as u64 / 64 + 1) * (logits.columns() as u64 + rounds) + 6,
        bytes: None,
    };
    recorder.dispatch(kernel, shape, &[losses, logits, targets, totals], 1, cost);
}

/// Records `totals[slot] = (sum of losses, 0)`.
pub(crate) fn sum_losses(
    recorder: &mut Recorder<'_>,
    losses: &Tensor,
    totals: &Tensor,
    slot: usize,
) {
    assert!(
        slot < totals.rows() && totals.columns() == 2,
        "metrics::sum_losses: totals"
    );
    let shape = Shape {
        rows: to_u32(losses.columns()),
        classes: 0,
        slot: to_u32(slot),
    };
    let cost = Cost {
        flops: losses.len() as u64,
        iterations: losses.len() as u64 / 64 + 7,
        bytes: None,
    };
    recorder.dispatch(&SUM_LOSSES, shape, &[losses, totals], 1, cost);
}

pub(super) fn contracts() -> Vec<Contract> {
    [
        &LOG_STEP,
        &EVALUATE,
        &EVALUATE_PROBABILITIES,
        &SUM_LOSSES,
        &COUNT_STEP,
    ]
    .map(Kernel::contract)
    .to_vec()
}

#[cfg(test)]
mod tests;
