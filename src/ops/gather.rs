use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::data::{Dataset, Examples, Labels};
#[cfg(not(target_arch = "wasm32"))]
use crate::data::{Layout, Rows};
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::TargetKind;
use crate::fields;
use crate::gpu::Gpu;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// The examples of a data set or a stream, in GPU memory.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    /// Features. Bytes are packed, (examples, words) of `u32`: four bytes per word, and each row starts a new word.
    /// Floats are (examples, width) of `f32`.
    features: Tensor,
    /// Targets: classes, (1, examples) of `u32`, or values, (examples, outputs) of `f32`.
    targets: Tensor,
    width: usize,
}

/// Bytes per write. wgpu holds a copy of the bytes until the device has received them.
pub(crate) const PIECE: u64 = 8 << 20;
/// Maximum number of writes of which wgpu holds a copy: two in flight, and the one that is being written.
pub(crate) const PIECES: u64 = 3;

impl Resident {
    pub(crate) fn upload(gpu: &Gpu, examples: &Examples) -> Result<Self, Error> {
        let name = examples.name();
        let rows = examples.len();
        let mut upload = Upload { gpu, before: None };
        let label = format!("targets of {name}");
        let targets = match examples.values() {
            Some(values) => {
                let shape = [rows, examples.outputs()];
                let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
                upload.rows(&tensor, values)?;
                tensor
            }
            None => {
                let tensor = Tensor::zeros(gpu, label, [1, rows], Element::U32)?;
                let labels = examples.labels().map_or(&[][..], Labels::indices);
                upload.rows(&column(&tensor), labels)?;
                tensor
            }
        };
        let label = format!("features of {name}");
        let features = match examples {
            Examples::Bytes(dataset) => {
                let shape = [rows, dataset.width().div_ceil(4)];
                let tensor = Tensor::zeros(gpu, label, shape, Element::U32)?;
                upload.bytes(&tensor, dataset)?;
                tensor
            }
            Examples::Table(table) => {
                let tensor = Tensor::zeros(gpu, label, [rows, table.width()], Element::F32)?;
                upload.rows(&tensor, table.features())?;
                tensor
            }
        };
        Ok(Self {
            features,
            targets,
            width: examples.width(),
        })
    }

    /// Allocates memory for `rows` rows of a stream.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn of_stream(gpu: &Gpu, layout: Layout, rows: usize) -> Result<Self, Error> {
        let [features, targets] = ["features", "targets"].map(|of| format!("{of} of the stream"));
        let Layout { width, outputs, .. } = layout;
        Ok(Self {
            features: Tensor::zeros(gpu, features, [rows, width], Element::F32)?,
            targets: match layout.targets {
                TargetKind::Classes => Tensor::zeros(gpu, targets, [1, rows], Element::U32)?,
                TargetKind::Values | TargetKind::Probabilities => {
                    Tensor::zeros(gpu, targets, [rows, outputs], Element::F32)?
                }
            },
            width,
        })
    }

    /// Writes `rows` of a stream into GPU memory, from row `first` of the tensors on.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn write(&self, gpu: &Gpu, first: usize, rows: &Rows) -> Result<(), Error> {
        gpu.write_rows(&self.features, first, &rows.features)?;
        match self.targets.element() {
            Element::U32 => gpu.write_rows(&column(&self.targets), first, &rows.classes),
            Element::F32 => gpu.write_rows(&self.targets, first, &rows.values),
        }
    }

    /// Frees the GPU memory immediately. In a browser, memory that is only dropped waits for the garbage collector.
    pub(crate) fn destroy(&self) {
        for tensor in [&self.features, &self.targets] {
            tensor.buffer().0.destroy();
        }
    }

    /// Returns the number of examples.
    pub(crate) fn len(&self) -> usize {
        self.features.rows()
    }

    /// Returns the features: packed bytes or floats.
    pub(crate) fn features(&self) -> &Tensor {
        &self.features
    }
}

/// Returns a vector as a tensor with one column.
fn column(vector: &Tensor) -> Tensor {
    vector.reshaped(vector.label().to_owned(), [vector.len(), 1])
}

/// Uploads data in pieces of about [`PIECE`] bytes. wgpu holds a copy of each piece until the device has received it.
/// The upload waits between pieces, so that wgpu holds copies of only a few pieces at a time.
struct Upload<'a> {
    gpu: &'a Gpu,
    before: Option<wgpu::SubmissionIndex>,
}

impl Upload<'_> {
    /// Writes all rows of a tensor.
    fn rows<T: Pod>(&mut self, to: &Tensor, values: &[T]) -> Result<(), Error> {
        let rows = rows_of_piece(to);
        for (piece, values) in values.chunks(rows * to.columns()).enumerate() {
            self.gpu.write_rows(to, piece * rows, values)?;
            self.sent()?;
        }
        Ok(())
    }

    /// Writes all rows of a data set of bytes, with four bytes per word; each row starts a new word.
    fn bytes(&mut self, to: &Tensor, dataset: &Dataset) -> Result<(), Error> {
        let width = dataset.width();
        let padded = 4 * to.columns();
        if width == padded {
            let rows = rows_of_piece(to);
            for (piece, bytes) in dataset.features().chunks(rows * width).enumerate() {
                self.gpu.write_rows(to, piece * rows, bytes)?;
                self.sent()?;
            }
            return Ok(());
        }
        let rows = rows_of_piece(to);
        let mut room = vec![0u8; padded * rows.min(dataset.len())];
        for (piece, bytes) in dataset.features().chunks(rows * width).enumerate() {
            for (to, from) in room.chunks_exact_mut(padded).zip(bytes.chunks(width)) {
                to[..width].copy_from_slice(from);
            }
            let written = &room[..padded * (bytes.len() / width)];
            self.gpu.write_rows(to, piece * rows, written)?;
            self.sent()?;
        }
        Ok(())
    }

    /// Submits the last write, and waits until at most two writes are in flight.
    fn sent(&mut self) -> Result<(), Error> {
        let submitted = self.gpu.flush()?;
        self.gpu.wait_in_turn(&mut self.before, submitted)
    }
}

/// Returns the number of rows per write: at most [`PIECE`] bytes, but at least one row.
fn rows_of_piece(tensor: &Tensor) -> usize {
    let rows = PIECE / (4 * tensor.columns() as u64);
    usize::try_from(rows).unwrap_or(usize::MAX).max(1)
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

/// Records the gathering of a minibatch: row `r` of `x` and of `targets` receives the example `indices[first + r]`.
/// `targets` has the element type of `resident`'s targets. `x` receives byte features either as floats, (rows, width)
/// of `f32`, or packed, (rows, words) of `u32`.
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

/// Records the gathering of classes, for one minibatch or several: `labels[r]` receives the class of example
/// `indices[first + r]`.
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

/// Records `to[r] = from[indices[first + r]]` for every row `r` of `to`.
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
