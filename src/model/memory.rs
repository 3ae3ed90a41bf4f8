//! Allocates the tensors of a pass: one for every value of the network, for a given number of rows.

use super::Model;
use crate::error::Error;
use crate::kernel::Element;
use crate::network::{Slots, Source, Span};
use crate::shape::TensorShape;
use crate::tensor::Tensor;

/// Largest size of the widest value in a pass outside of training, in bytes.
const PASS_BYTES: u64 = 64 << 20;

/// The tensors of one pass.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    /// Features of the rows: floats, or packed bytes.
    pub(crate) features: Tensor,
    /// The tensor of each value of the network. With a fused head, only the values up to the head's input. If the
    /// network has one input, the first tensor is the features. If a `Linear` or `Conv2d` is fused with the `Relu`
    /// after it, both outputs share one tensor.
    pub(crate) of: Vec<Tensor>,
    /// For each layer use, the tensors that it stores in the forward pass for its backward pass.
    pub(crate) kept: Vec<Vec<Tensor>>,
}

impl Values {
    /// The tensor of the last value: the output of the network, or the input of a fused head.
    pub(crate) fn output(&self) -> &Tensor {
        &self.of[self.of.len() - 1]
    }

    /// Returns the tensors for the first `rows` rows, in the same memory.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        let all = self.features.rows();
        self.map(|tensor| {
            if tensor.rows() == all {
                tensor.first_rows(rows)
            } else {
                // A layer stores this tensor once per minibatch, not for each row.
                tensor.clone()
            }
        })
    }

    /// Returns the same tensors with other features and another output. `features` and `output` must not have more rows
    /// than these tensors.
    pub(crate) fn between(&self, features: &Tensor, output: &Tensor) -> Self {
        let mut values = self.first_rows(features.rows());
        let first = self.features.clone();
        let last = self.output().clone();
        for value in &mut values.of {
            let replaced = [(&first, features), (&last, output)];
            let replaced = replaced
                .into_iter()
                .find(|(old, _)| value.buffer() == old.buffer());
            if let Some((_, new)) = replaced {
                *value = new.reshaped(value.label().to_owned(), value.shape());
            }
        }
        values.features = features.clone();
        values
    }

    fn map(&self, map: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            features: map(&self.features),
            of: self.of.iter().map(&map).collect(),
            kept: self
                .kept
                .iter()
                .map(|kept| kept.iter().map(&map).collect())
                .collect(),
        }
    }
}

impl Model {
    /// Allocates a tensor for rows of features. Elements of `u32` contain four packed bytes each.
    pub(crate) fn features_tensor(&self, rows: usize, element: Element) -> Result<Tensor, Error> {
        let columns = match element {
            Element::F32 => self.graph.features(),
            Element::U32 => self.graph.features().div_ceil(4),
        };
        Tensor::zeros(&self.gpu, "features", [rows, columns], element)
    }

    /// Allocates a tensor in the shape of the network's output.
    pub(crate) fn output_tensor(&self, label: &str, rows: usize) -> Result<Tensor, Error> {
        let shape = TensorShape::from((rows, self.graph.output().shape));
        Tensor::zeros(&self.gpu, label, shape, Element::F32)
    }

    /// Allocates the values up to the index `last`, each with its own memory, so that a backward pass or the host can
    /// read them. If `fuses`, a `Relu` after a `Linear` or `Conv2d` is fused with it, and the value between them is not
    /// stored.
    pub(crate) fn values_to(
        &self,
        last: usize,
        features: &Tensor,
        fuses: bool,
    ) -> Result<Values, Error> {
        let rows = features.rows();
        let mut of: Vec<Tensor> = Vec::new();
        for (index, value) in self.graph.values[..=last].iter().enumerate() {
            let label = format!("values.{index}");
            let shape = TensorShape::from((rows, value.shape));
            let tensor = match self.fused_from(index).filter(|_| fuses) {
                Some(product) => of[product].reshaped(label, shape),
                None if self.is_features(index) => as_value(features, label, shape),
                None => Tensor::zeros(&self.gpu, label, shape, Element::F32)?,
            };
            of.push(tensor);
        }
        let kept = self
            .graph
            .uses
            .iter()
            .enumerate()
            .map(|(index, layer_use)| {
                let kept = layer_use.spec.kept.iter().map(|kept| {
                    let label = format!("layers.{index}.{}", kept.name);
                    Tensor::zeros(&self.gpu, label, kept.tensor_shape(rows), Element::F32)
                });
                kept.collect::<Result<Vec<_>, _>>()
            });
        Ok(Values {
            features: features.clone(),
            of,
            kept: kept.collect::<Result<_, _>>()?,
        })
    }

    /// Allocates the values of a forward pass from `features` to `output`. The values between them use memory that all
    /// forward passes of the model share. A block of this memory is reused after the last layer that reads its value.
    pub(crate) fn passing_values(
        &self,
        features: &Tensor,
        output: &Tensor,
    ) -> Result<Values, Error> {
        let graph = &self.graph;
        let rows = features.rows();
        let last = graph.values.len() - 1;
        // The value whose memory a value uses. If a `Relu` is fused with the `Linear` or `Conv2d` before it, the output
        // of that layer uses the memory of the `Relu`'s output.
        let owner = |index: usize| match graph.values[index].source {
            Source::Layer { layer, .. } => graph.relu_after(&graph.uses[layer]).unwrap_or(index),
            _ => index,
        };
        let mut spans: Vec<Option<(Span, usize)>> = vec![None; graph.values.len()];
        for (index, value) in graph.values.iter().enumerate() {
            let owner = owner(index);
            if self.is_features(index) || owner == last {
                continue;
            }
            let read = graph.values[owner].readers.last().copied();
            let span = Span {
                first: spans[owner].map_or(index, |(span, _)| span.first),
                last: read.unwrap_or(index),
            };
            spans[owner] = Some((span, value.shape.len()));
        }
        for layer_use in &graph.uses {
            let first = layer_use.value;
            let last = layer_use.value;
            let kept = layer_use.spec.kept.iter().filter(|kept| kept.is_per_row);
            spans.extend(kept.map(|kept| Some((Span { first, last }, kept.shape.len()))));
        }
        let slots = Slots::new(&spans);
        let blocks = self.scratch_blocks(&slots.sizes, rows)?;
        let at = |index: usize, label: String, shape: TensorShape| {
            let slot = slots.of[index].unwrap_or_default();
            blocks[slot].reshaped(label, shape)
        };
        let of = graph.values.iter().enumerate().map(|(index, value)| {
            let label = format!("values.{index}");
            let shape = TensorShape::from((rows, value.shape));
            match owner(index) {
                _ if self.is_features(index) => as_value(features, label, shape),
                owner if owner == last => output.reshaped(label, shape),
                owner => at(owner, label, shape),
            }
        });
        let of = of.collect();
        let mut next = graph.values.len();
        let mut kept = Vec::new();
        for (index, layer_use) in graph.uses.iter().enumerate() {
            let mut of_layer = Vec::new();
            for spec in &layer_use.spec.kept {
                let label = format!("layers.{index}.{}", spec.name);
                let shape = spec.tensor_shape(rows);
                of_layer.push(if spec.is_per_row {
                    next += 1;
                    at(next - 1, label, shape)
                } else {
                    Tensor::zeros(&self.gpu, label, shape, Element::F32)?
                });
            }
            kept.push(of_layer);
        }
        Ok(Values {
            features: features.clone(),
            of,
            kept,
        })
    }

    /// Returns one memory block for each of `sizes`, which are in elements per row. Plans run one after another, so all
    /// can share the same blocks. Blocks that are too small are allocated again.
    fn scratch_blocks(&self, sizes: &[usize], rows: usize) -> Result<Vec<Tensor>, Error> {
        let mut scratch = crate::gpu::lock(&self.scratch);
        for (slot, &size) in sizes.iter().enumerate() {
            let needed = rows.saturating_mul(size);
            if scratch.get(slot).is_some_and(|block| block.len() >= needed) {
                continue;
            }
            let label = format!("forward passes, block {slot}");
            let block = Tensor::zeros(&self.gpu, label, [1, needed], Element::F32)?;
            match scratch.get_mut(slot) {
                Some(smaller) => *smaller = block,
                None => scratch.push(block),
            }
        }
        Ok(scratch.iter().take(sizes.len()).cloned().collect())
    }

    /// Whether a value is the features themselves.
    fn is_features(&self, value: usize) -> bool {
        value == 0 && self.graph.inputs == 1
    }

    /// If this value is the output of a `Relu` that can be fused with the `Linear` or `Conv2d` before it, returns the
    /// index of that layer's output.
    fn fused_from(&self, value: usize) -> Option<usize> {
        let Source::Layer { x, .. } = self.graph.values[value].source else {
            return None;
        };
        let Source::Layer { layer, .. } = self.graph.values[x].source else {
            return None;
        };
        let behind = self.graph.relu_after(&self.graph.uses[layer]);
        behind.filter(|&behind| behind == value).map(|_| x)
    }

    /// The largest number of rows for which the widest value takes at most [`PASS_BYTES`] and fits in one binding.
    pub(crate) fn rows_by_memory(&self) -> usize {
        let kept = self
            .graph
            .uses
            .iter()
            .flat_map(|layer_use| &layer_use.spec.kept);
        let kept = kept
            .filter(|kept| kept.is_per_row)
            .map(|kept| kept.shape.len());
        let widest = self
            .graph
            .sizes()
            .chain(kept)
            .chain([self.features()])
            .max();
        let bytes = PASS_BYTES.min(self.gpu.largest_binding());
        let of_row = bytes_of_row(widest.unwrap_or(1));
        usize::try_from(bytes / of_row).map_or(usize::MAX, |rows| rows.max(1))
    }
}

fn bytes_of_row(elements: usize) -> u64 {
    (elements.max(1) as u64).saturating_mul(4)
}

/// Returns the features as the value of the only input. Packed bytes stay packed: the first layer unpacks them.
fn as_value(features: &Tensor, label: String, shape: TensorShape) -> Tensor {
    match features.element() {
        Element::F32 => features.reshaped(label, shape),
        Element::U32 => features.clone(),
    }
}
