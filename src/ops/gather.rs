use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::data::{Dataset, Examples, Labels};
use crate::error::Error;
use crate::fields;
use crate::gpu::Gpu;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Examples on the GPU.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    /// Of bytes (examples, words) of `u32`: four to a word, each row starting a new word. Of floats
    /// (examples, width) of `f32`.
    features: Tensor,
    /// Classes (1, examples) of `u32`, or values (examples, outputs) of `f32`.
    targets: Tensor,
    width: usize,
}

impl Resident {
    pub(crate) fn upload(gpu: &Gpu, examples: &Examples) -> Result<Self, Error> {
        let name = examples.name();
        let label = format!("targets of {name}");
        let targets = match examples.values() {
            Some(values) => {
                let shape = [examples.len(), examples.outputs()];
                let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
                gpu.write(&tensor, values)?;
                tensor
            }
            None => {
                let shape = [1, examples.len()];
                let tensor = Tensor::zeros(gpu, label, shape, Element::U32)?;
                gpu.write(&tensor, examples.labels().map_or(&[][..], Labels::indices))?;
                tensor
            }
        };
        let features = match examples {
            Examples::Bytes(dataset) => Self::upload_bytes(gpu, dataset)?,
            Examples::Table(table) => {
                let label = format!("features of {name}");
                let shape = [table.len(), table.width()];
                let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
                gpu.write(&tensor, table.features())?;
                tensor
            }
        };
        Ok(Self {
            features,
            targets,
            width: examples.width(),
        })
    }

    fn upload_bytes(gpu: &Gpu, dataset: &Dataset) -> Result<Tensor, Error> {
        let words = dataset.width().div_ceil(4);
        let name = dataset.name();
        let shape = [dataset.len(), words];
        let bytes = Tensor::zeros(gpu, format!("features of {name}"), shape, Element::U32)?;
        if dataset.width().is_multiple_of(4) {
            gpu.write_packed(&bytes, dataset.features())?;
        } else {
            let mut padded = vec![0u8; 4 * words * dataset.len()];
            let rows = dataset.features().chunks_exact(dataset.width());
            for (to, from) in padded.chunks_exact_mut(4 * words).zip(rows) {
                to[..from.len()].copy_from_slice(from);
            }
            gpu.write_packed(&bytes, &padded)?;
        }
        Ok(bytes)
    }

    /// Frees it at once, where dropping it would leave that to a browser's garbage collector.
    pub(crate) fn destroy(&self) {
        for tensor in [&self.features, &self.targets] {
            tensor.buffer().0.destroy();
        }
    }

    /// Number of examples.
    pub(crate) fn len(&self) -> usize {
        self.features.rows()
    }

    /// Packed bytes or floats.
    pub(crate) fn features(&self) -> &Tensor {
        &self.features
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    columns: u32,
    words: u32,
    first: u32,
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
    fields: fields!(Shape: rows, columns, words, first),
    constants: &[],
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

static ROWS: Kernel<Shape> = Kernel {
    entry: "rows",
    bindings: &[
        GATHER.bindings[0],
        Binding::read("all_rows"),
        Binding::write("x_rows"),
    ],
    ..GATHER
};
static CLASSES: Kernel<Shape> = Kernel {
    entry: "classes",
    bindings: &[
        GATHER.bindings[0],
        Binding::read("all_labels").of_u32(),
        Binding::write("labels_out").of_u32(),
    ],
    ..GATHER
};

/// Records the copy of the examples at the indices from `first` on into `x` and `targets`, which are as those of the
/// resident examples: bytes as floats into `x` (rows, width) of `f32`, or packed into `x` (rows, words)
/// of `u32`.
pub(crate) fn batch(
    recorder: &mut Recorder<'_>,
    resident: &Resident,
    (indices, first): (&Tensor, usize),
    x: &Tensor,
    targets: &Tensor,
) {
    if resident.features.element() == Element::U32 {
        return bytes(recorder, resident, (indices, first), x, targets);
    }
    rows(recorder, (indices, first), &resident.features, x);
    match resident.targets.element() {
        Element::F32 => rows(recorder, (indices, first), &resident.targets, targets),
        Element::U32 => classes(recorder, resident, (indices, first), targets),
    }
}

/// Records the copy of the classes of the examples at the indices from `first` on, of one minibatch or of several,
/// into `labels`.
pub(crate) fn classes(
    recorder: &mut Recorder<'_>,
    resident: &Resident,
    (indices, first): (&Tensor, usize),
    labels: &Tensor,
) {
    let rows = labels.len();
    assert!(
        first + rows <= indices.len(),
        "gather::classes: shape of {}",
        labels.label()
    );
    let shape = Shape {
        rows: to_u32(rows),
        columns: 1,
        words: 0,
        first: to_u32(first),
    };
    let tensors = [indices, &resident.targets, labels];
    recorder.dispatch_each(&CLASSES, shape, &tensors, rows, Cost::default());
}

/// Records `to[r] = from[indices[first + r]]`, row by row.
fn rows(
    recorder: &mut Recorder<'_>,
    (indices, first): (&Tensor, usize),
    from: &Tensor,
    to: &Tensor,
) {
    let shape = to.dims();
    assert!(
        first + shape[0] <= indices.len() && shape[1] == from.columns(),
        "gather::rows: shape of {}",
        to.label()
    );
    let settings = Shape {
        first: to_u32(first),
        rows: to_u32(shape[0]),
        columns: to_u32(shape[1]),
        words: 0,
    };
    let cost = Cost {
        flops: 0,
        iterations: shape[1].div_ceil(64) as u64,
        bytes: Some(4 * (2 * to.len() + shape[0]) as u64),
    };
    recorder.dispatch(&ROWS, settings, &[indices, from, to], shape[0] as u64, cost);
}

fn bytes(
    recorder: &mut Recorder<'_>,
    resident: &Resident,
    (indices, first): (&Tensor, usize),
    x: &Tensor,
    labels: &Tensor,
) {
    let words = resident.features.columns();
    let (kernel, columns) = match x.element() {
        Element::F32 => (&FLOATS, resident.width),
        Element::U32 => (&WORDS, words),
    };
    assert!(
        first + x.rows() <= indices.len() && x.columns() == columns,
        "gather: shape of x"
    );
    assert_eq!(labels.len(), x.rows(), "gather::batch: shape of labels");
    let shape = Shape {
        first: to_u32(first),
        rows: to_u32(x.rows()),
        columns: to_u32(x.columns()),
        words: to_u32(words),
    };
    let tensors = [indices, &resident.features, &resident.targets, x, labels];
    let cost = Cost {
        flops: x.len() as u64,
        iterations: 5 * words.div_ceil(64) as u64,
        bytes: Some(4 * (x.rows() * (words + 3) + x.len()) as u64),
    };
    recorder.dispatch(kernel, shape, &tensors, x.rows() as u64, cost);
}

pub(super) fn contracts() -> Vec<Contract> {
    [&FLOATS, &WORDS, &ROWS, &CLASSES]
        .map(Kernel::contract)
        .to_vec()
}

#[cfg(test)]
mod tests;
