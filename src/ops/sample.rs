use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::data::sampling::{Sampling, half_bits};
use crate::error::Error;
use crate::fields;
use crate::gpu::Gpu;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::random::minibatch_key;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Settings {
    key0: u32,
    key1: u32,
    examples: u32,
    rows: u32,
    minibatches: u32,
    steps: u32,
    first: u32,
    half_bits: u32,
}

const INDICES: Binding = Binding::write("indices").of_u32();
const STEP_COUNT: Binding = Binding::read("step_count").of_u32();

const SAMPLE: Kernel<Settings> = Kernel {
    shader: "sample",
    source: concat!(
        include_str!("../../shaders/threefry.wgsl"),
        include_str!("../../shaders/sample.wgsl")
    ),
    entry: "with_replacement",
    bindings: &[INDICES, STEP_COUNT],
    fields: fields!(Settings: key0, key1, examples, rows, minibatches, steps, first, half_bits),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
static WITH_REPLACEMENT: Kernel<Settings> = SAMPLE;
static SHUFFLED: Kernel<Settings> = Kernel {
    entry: "shuffled",
    ..SAMPLE
};
static LISTED: Kernel<Settings> = Kernel {
    entry: "listed",
    bindings: &[INDICES, STEP_COUNT, Binding::read("list").of_u32()],
    ..SAMPLE
};
static RANGE: Kernel<Settings> = Kernel {
    entry: "range",
    bindings: &[INDICES],
    ..SAMPLE
};

/// Records the choice of minibatches out of `examples` examples, for the step that `step_count` holds and the steps
/// after it. `indices`, (minibatches, rows), receives one minibatch per row. The number of minibatches must be a power
/// of two. The minibatch of step `t` is written to row `t` modulo the number of minibatches.
pub(crate) fn minibatches(
    recorder: &mut Recorder<'_>,
    sampling: &Sampling,
    examples: usize,
    step_count: &Tensor,
    indices: &Tensor,
) -> Result<(), Error> {
    let [minibatches, rows] = indices.dims();
    assert!(minibatches.is_power_of_two(), "sample: {minibatches}");
    let settings = Settings {
        examples: to_u32(examples),
        rows: to_u32(rows),
        minibatches: to_u32(minibatches),
        ..Settings::default()
    };
    let count = indices.len();
    let cost = Cost::default();
    match sampling {
        Sampling::WithReplacement { seed } => {
            let [key0, key1] = minibatch_key(*seed);
            let settings = Settings {
                key0,
                key1,
                ..settings
            };
            let tensors = [indices, step_count];
            recorder.dispatch_each(&WITH_REPLACEMENT, settings, &tensors, count, cost);
        }
        Sampling::Shuffled { seed } => {
            let [key0, key1] = minibatch_key(*seed);
            let settings = Settings {
                key0,
                key1,
                steps: to_u32(examples / rows),
                half_bits: half_bits(examples),
                ..settings
            };
            recorder.dispatch_each(&SHUFFLED, settings, &[indices, step_count], count, cost);
        }
        Sampling::Listed(list) => {
            let list = upload_list(recorder.gpu(), list, rows)?;
            let settings = Settings {
                steps: to_u32(list.rows()),
                ..settings
            };
            recorder.dispatch_each(
                &LISTED,
                settings,
                &[indices, step_count, &list],
                count,
                cost,
            );
        }
    }
    Ok(())
}

fn upload_list(gpu: &Gpu, list: &[u32], rows: usize) -> Result<Tensor, Error> {
    let shape = [list.len() / rows, rows];
    let tensor = Tensor::zeros(gpu, "list of minibatches", shape, Element::U32)?;
    gpu.write(&tensor, list)?;
    Ok(tensor)
}

/// Records `indices[r] = first + r`.
pub(crate) fn range(recorder: &mut Recorder<'_>, first: usize, indices: &Tensor) {
    let rows = indices.columns();
    let settings = Settings {
        rows: to_u32(rows),
        first: to_u32(first),
        ..Settings::default()
    };
    recorder.dispatch_each(&RANGE, settings, &[indices], rows, Cost::default());
}

pub(super) fn contracts() -> Vec<Contract> {
    [&WITH_REPLACEMENT, &SHUFFLED, &LISTED, &RANGE]
        .map(Kernel::contract)
        .to_vec()
}

#[cfg(test)]
mod tests;
