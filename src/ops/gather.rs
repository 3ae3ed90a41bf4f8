use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::data::Dataset;
use crate::error::Error;
use crate::fields;
use crate::gpu::Gpu;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// A data set on the GPU: four feature bytes to a word, each row starting a new word.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    bytes: Tensor,
    labels: Tensor,
    width: usize,
}

impl Resident {
    pub(crate) fn upload(gpu: &Gpu, dataset: &Dataset) -> Result<Self, Error> {
        let words = dataset.width().div_ceil(4);
        let name = dataset.name();
        let shape = [dataset.len(), words];
        let bytes = Tensor::zeros(gpu, format!("features of {name}"), shape, Element::U32)?;
        if dataset.width().is_multiple_of(4) {
            gpu.write(&bytes, dataset.features())?;
        } else {
            let mut padded = vec![0u8; 4 * words * dataset.len()];
            let rows = dataset.features().chunks_exact(dataset.width());
            for (to, from) in padded.chunks_exact_mut(4 * words).zip(rows) {
                to[..from.len()].copy_from_slice(from);
            }
            gpu.write(&bytes, &padded)?;
        }
        let shape = [1, dataset.len()];
        let labels = Tensor::zeros(gpu, format!("labels of {name}"), shape, Element::U32)?;
        gpu.write(&labels, dataset.labels().indices())?;
        Ok(Self {
            bytes,
            labels,
            width: dataset.width(),
        })
    }

    /// Number of examples.
    pub(crate) fn len(&self) -> usize {
        self.bytes.rows()
    }

    /// (examples, words) of packed bytes.
    pub(crate) fn bytes(&self) -> &Tensor {
        &self.bytes
    }

    /// (1, examples).
    pub(crate) fn labels(&self) -> &Tensor {
        &self.labels
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    columns: u32,
    words: u32,
}

const GATHER: Kernel<Shape> = Kernel {
    shader: "gather",
    source: include_str!("../../shaders/gather.wgsl"),
    entry: "floats",
    bindings: &[
        Binding::read("indices").of_u32(),
        Binding::read("bytes").of_u32(),
        Binding::read("labels").of_u32(),
        Binding::write("x"),
        Binding::write("batch_labels").of_u32(),
    ],
    fields: fields!(Shape: rows, columns, words),
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static FLOATS: Kernel<Shape> = GATHER;
static WORDS: Kernel<Shape> = Kernel {
    entry: "words",
    bindings: &[
        GATHER.bindings[0],
        GATHER.bindings[1],
        GATHER.bindings[2],
        Binding::write("x_words").of_u32(),
        GATHER.bindings[4],
    ],
    ..GATHER
};

/// Records the copy of the examples at `indices` into `x` and `labels` (1, rows): as floats into
/// `x` (rows, width) of `f32`, as packed bytes into `x` (rows, words) of `u32`.
pub(crate) fn batch(
    recorder: &mut Recorder<'_>,
    resident: &Resident,
    indices: &Tensor,
    x: &Tensor,
    labels: &Tensor,
) {
    let words = resident.bytes.columns();
    let (kernel, columns) = match x.element() {
        Element::F32 => (&FLOATS, resident.width),
        Element::U32 => (&WORDS, words),
    };
    assert_eq!(
        x.shape(),
        [indices.columns(), columns],
        "gather: shape of x"
    );
    assert_eq!(
        labels.shape(),
        indices.shape(),
        "gather::batch: shape of labels"
    );
    let shape = Shape {
        rows: to_u32(x.rows()),
        columns: to_u32(x.columns()),
        words: to_u32(words),
    };
    let tensors = [indices, &resident.bytes, &resident.labels, x, labels];
    let cost = Cost {
        flops: x.len() as u64,
        iterations: 5 * words.div_ceil(64) as u64,
        bytes: Some(4 * (x.rows() * (words + 3) + x.len()) as u64),
    };
    recorder.dispatch(kernel, shape, &tensors, x.rows() as u64, cost);
}

pub(super) fn contracts() -> Vec<Contract> {
    [&FLOATS, &WORDS].map(Kernel::contract).to_vec()
}

#[cfg(test)]
mod tests;
