//! Tensors with the same role, packed together.

use super::{Tensor, span_of};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::shape::TensorShape;

/// The `f32` tensors of one role, for example all parameters of a model, packed into few buffers. One dispatch can then
/// process all of them, and wgpu has fewer buffers to track.
#[derive(Debug, Clone)]
pub struct Arena {
    tensors: Vec<Tensor>,
    /// For each tensor: the index of its block, and its first element in this block.
    places: Vec<(usize, usize)>,
    blocks: Vec<Tensor>,
    /// Indices of the tensors, sorted by their position in memory.
    order: Vec<usize>,
}

/// Describes one tensor of an [`Arena`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ArenaSpec {
    /// Label of the tensor.
    pub label: String,
    /// Shape of the tensor.
    pub shape: TensorShape,
    /// Whether weight decay applies to the tensor. Tensors with weight decay come first in memory, so that an update
    /// needs few dispatches.
    pub decays: bool,
}

impl ArenaSpec {
    /// Describes a tensor to which weight decay applies.
    #[must_use]
    pub fn new(label: impl Into<String>, shape: impl Into<TensorShape>) -> Self {
        Self {
            label: label.into(),
            shape: shape.into(),
            decays: true,
        }
    }

    /// Sets whether weight decay applies.
    #[must_use]
    pub fn decays(self, decays: bool) -> Self {
        Self { decays, ..self }
    }
}

/// The planned position of a tensor: its index, and its first byte and size in a block.
#[derive(Debug, Clone, Copy)]
struct Planned {
    index: usize,
    offset: u64,
    span: u64,
}

impl Arena {
    /// Makes tensors of zeros with the labels and shapes of `specs`, in this order.
    ///
    /// # Errors
    /// The errors of [`Tensor::zeros`].
    pub fn zeros(gpu: &Gpu, role: &str, specs: &[ArenaSpec]) -> Result<Self, Error> {
        let alignment = u64::from(gpu.limits().min_storage_buffer_offset_alignment);
        // A kernel counts the elements of a block in a `u32`.
        let largest = gpu.largest_binding().min(4 * u64::from(u32::MAX));
        let mut blocks = Vec::new();
        let mut tensors: Vec<Option<(Tensor, (usize, usize))>> = vec![None; specs.len()];
        let with =
            |decays: bool| (0..specs.len()).filter(move |&index| specs[index].decays == decays);
        let order: Vec<usize> = with(true).chain(with(false)).collect();
        let mut pending = Vec::new();
        let mut used = 0;
        for &index in &order {
            let spec = &specs[index];
            let span = span_of(gpu, &spec.label, spec.shape)?;
            if used + span > largest {
                let full = std::mem::take(&mut pending);
                blocks.push(fill(gpu, role, specs, &full, blocks.len(), &mut tensors)?);
                used = 0;
            }
            pending.push(Planned {
                index,
                offset: used,
                span,
            });
            used = (used + span).next_multiple_of(alignment);
        }
        if !pending.is_empty() {
            let number = blocks.len();
            blocks.push(fill(gpu, role, specs, &pending, number, &mut tensors)?);
        }
        let (tensors, places) = tensors.into_iter().flatten().unzip();
        Ok(Self {
            tensors,
            places,
            blocks,
            order,
        })
    }

    /// Makes an arena of existing tensors. Each tensor is a block.
    #[cfg(test)]
    pub(crate) fn of(tensors: Vec<Tensor>) -> Self {
        Self {
            places: (0..tensors.len()).map(|block| (block, 0)).collect(),
            order: (0..tensors.len()).collect(),
            blocks: tensors.clone(),
            tensors,
        }
    }

    /// Makes an arena in existing blocks. The tensors have these labels and shapes, and begin at the elements that
    /// [`starts`](Self::starts) returns.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn within(gpu: &Gpu, blocks: &[(Tensor, Vec<(String, TensorShape)>)]) -> Self {
        let mut tensors = Vec::new();
        let mut places = Vec::new();
        for (number, (block, specs)) in blocks.iter().enumerate() {
            let shapes = specs.iter().map(|(_, shape)| *shape);
            let (starts, _) = Self::starts(gpu, shapes);
            for ((label, shape), start) in specs.iter().zip(starts) {
                let elements = block.elements(start, start + shape.len());
                tensors.push(elements.reshaped(label.clone(), *shape));
                places.push((number, start));
            }
        }
        Self {
            order: (0..tensors.len()).collect(),
            tensors,
            places,
            blocks: blocks.iter().map(|(block, _)| block.clone()).collect(),
        }
    }

    /// Returns the first element of each tensor in a block, and the number of elements of the block. Each tensor begins
    /// at an offset where the device can bind it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn starts(
        gpu: &Gpu,
        shapes: impl Iterator<Item = TensorShape>,
    ) -> (Vec<usize>, usize) {
        let alignment = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        let mut starts = Vec::new();
        let mut end = 0usize;
        for shape in shapes {
            let start = end.next_multiple_of(alignment.max(1));
            starts.push(start);
            end = start.saturating_add(shape.len());
        }
        (starts, end)
    }

    /// The tensors, in the order of their specs.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The arena's memory as a few tensors of one long row each. A row includes the gaps between tensors, which always
    /// contain zeros.
    #[must_use]
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }

    /// Whether both arenas use the same memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let blocks = self.blocks.iter().zip(&other.blocks);
        let mut buffers = blocks.map(|(own, other)| own.buffer() == other.buffer());
        self.blocks.len() == other.blocks.len() && buffers.all(|is_same| is_same)
    }

    /// Joins neighboring tensors of a block that have the same key into one long row, gaps included. Returns each row
    /// with its key. `key` receives the index of a tensor. Arenas with the same specs have the same parts.
    pub(crate) fn parts<K: PartialEq>(&self, key: impl Fn(usize) -> K) -> Vec<(Tensor, K)> {
        // For each part: its first position (block, element) and its key.
        let mut starts: Vec<((usize, usize), K)> = Vec::new();
        for &index in &self.order {
            let place = self.places[index];
            let key = key(index);
            let is_same = starts
                .last()
                .is_some_and(|((block, _), last)| *block == place.0 && *last == key);
            if !is_same {
                starts.push((place, key));
            }
        }
        let ends: Vec<usize> = (1..=starts.len())
            .map(|next| match starts.get(next) {
                Some(&((block, first), _)) if block == starts[next - 1].0.0 => first,
                _ => self.blocks[starts[next - 1].0.0].len(),
            })
            .collect();
        let parts = starts.into_iter().zip(ends);
        parts
            .map(|(((block, first), key), end)| (self.blocks[block].elements(first, end), key))
            .collect()
    }

    /// Writes all tensors, block by block. `values` yields one slice per tensor, with as many values as the tensor has
    /// elements.
    pub(crate) fn write<'a>(
        &self,
        gpu: &Gpu,
        values: impl Iterator<Item = &'a [f32]>,
    ) -> Result<(), Error> {
        let blocks = self.blocks.iter();
        let mut contents: Vec<Vec<f32>> = blocks.map(|block| vec![0.0; block.len()]).collect();
        for (values, (tensor, &(block, first))) in values.zip(self.tensors.iter().zip(&self.places))
        {
            assert_eq!(values.len(), tensor.len(), "{}", tensor.label());
            contents[block][first..first + values.len()].copy_from_slice(values);
        }
        for (block, contents) in self.blocks.iter().zip(contents) {
            gpu.write(block, &contents)?;
        }
        Ok(())
    }

    /// Reads the elements that all tensors have at the time of this call, block by block.
    pub(crate) fn read(
        &self,
        gpu: &Gpu,
    ) -> impl Future<Output = Result<Vec<Vec<f32>>, Error>> + use<> {
        let blocks = self.blocks.iter();
        let reads: Vec<_> = blocks.map(|block| gpu.read_async::<f32>(block)).collect();
        let lengths = self.tensors.iter().map(Tensor::len);
        let places: Vec<_> = self.places.iter().copied().zip(lengths).collect();
        async move {
            let mut contents = Vec::new();
            for read in reads {
                contents.push(read.await?);
            }
            let part = |((block, first), length): ((usize, usize), usize)| {
                contents[block][first..first + length].to_vec()
            };
            Ok(places.into_iter().map(part).collect())
        }
    }
}

/// Creates block `number` with the tensors that are planned in it.
fn fill(
    gpu: &Gpu,
    role: &str,
    specs: &[ArenaSpec],
    pending: &[Planned],
    number: usize,
    tensors: &mut [Option<(Tensor, (usize, usize))>],
) -> Result<Tensor, Error> {
    let last = pending[pending.len() - 1];
    let elements = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let shape = [1, elements(last.offset + last.span)];
    let block = Tensor::zeros(gpu, format!("{role}.{number}"), shape, Element::F32)?;
    for &Planned {
        index,
        offset,
        span,
    } in pending
    {
        let label = specs[index].label.clone();
        let shape = specs[index].shape;
        let range = [offset, span];
        let tensor = Tensor::within(gpu, label, &block.buffer, range, shape, Element::F32)?;
        tensors[index] = Some((tensor, (number, elements(offset))));
    }
    Ok(block)
}
