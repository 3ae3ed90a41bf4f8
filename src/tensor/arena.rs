//! Tensors of one role packed together.

use super::{Tensor, span_of};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::shape::TensorShape;

/// The `f32` tensors of one role (parameters, say) packed into few buffers, so that one dispatch can
/// run over all of them and wgpu has few buffers to track.
#[derive(Debug, Clone)]
pub struct Arena {
    tensors: Vec<Tensor>,
    /// Block of each tensor, and its first element there.
    places: Vec<(usize, usize)>,
    blocks: Vec<Tensor>,
    /// Indices of the tensors, as they lie in memory.
    order: Vec<usize>,
}

/// One tensor of an [`Arena`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ArenaSpec {
    /// Its label.
    pub label: String,
    /// Its shape.
    pub shape: TensorShape,
    /// Whether weight decay applies to it: those to which it does lie first, so that an update has few parts.
    pub decays: bool,
}

impl ArenaSpec {
    /// A tensor to which weight decay applies.
    #[must_use]
    pub fn new(label: impl Into<String>, shape: impl Into<TensorShape>) -> Self {
        Self {
            label: label.into(),
            shape: shape.into(),
            decays: true,
        }
    }

    /// The same, or without weight decay.
    #[must_use]
    pub fn decays(self, decays: bool) -> Self {
        Self { decays, ..self }
    }
}

/// Where a tensor is to be: its index, and its first byte and its bytes in a block.
#[derive(Debug, Clone, Copy)]
struct Planned {
    index: usize,
    offset: u64,
    span: u64,
}

impl Arena {
    /// Zeroed tensors of these labels and shapes, in order.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn zeros(gpu: &Gpu, role: &str, specs: &[ArenaSpec]) -> Result<Self, Error> {
        let alignment = u64::from(gpu.limits().min_storage_buffer_offset_alignment);
        // As many elements as kernels can count.
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

    /// Tensors that exist, a block each.
    #[cfg(test)]
    pub(crate) fn of(tensors: Vec<Tensor>) -> Self {
        Self {
            places: (0..tensors.len()).map(|block| (block, 0)).collect(),
            order: (0..tensors.len()).collect(),
            blocks: tensors.clone(),
            tensors,
        }
    }

    /// Tensors of these labels and shapes in blocks that exist, where [`starts`](Self::starts) says.
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

    /// The first elements of tensors in a block, and how many elements it has: they begin where the device can bind one.
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

    /// The tensors, in the order they were asked for.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The same memory as few long rows, gaps between tensors (always zero) included.
    #[must_use]
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }

    /// Whether it is the same memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let blocks = self.blocks.iter().zip(&other.blocks);
        let mut buffers = blocks.map(|(own, other)| own.buffer() == other.buffer());
        self.blocks.len() == other.blocks.len() && buffers.all(|is_same| is_same)
    }

    /// Tensors that lie one behind another and have the same key, by their index, as long rows, gaps between them
    /// included; with that key. Arenas of the same specs have the same parts.
    pub(crate) fn parts<K: PartialEq>(&self, key: impl Fn(usize) -> K) -> Vec<(Tensor, K)> {
        // Of each part its block, its first element, and its key.
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

    /// Writes all tensors, a block at a time; there are as many elements as each has.
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

    /// The elements of every tensor at the time of this call, read a block at a time.
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

/// Makes a block, and the tensors in it.
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
