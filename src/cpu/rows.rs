//! Forward passes outside training. Many rows are split into passes of at most [`ROWS`] rows each.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Network;
use super::passes::{Context, Passes};
use super::workspace::{matrix, matrix_mut};
use crate::error::Error;
use crate::fit::check_outputs;
use crate::memory::{self, bytes_of, total};
use crate::network::{Slots, Source, Span};
use crate::reference::Float;

/// Maximum number of rows per pass.
const ROWS: usize = 500;
/// Maximum number of bytes for the values of a pass, unless one row takes more. For this limit, the values of a row
/// count as at least twice the size of the row's largest value.
const BYTES: u64 = 64 << 20;

/// The memory layout of a forward pass. Values that are not needed at the same time share a block of memory.
#[derive(Debug)]
pub(super) struct PassLayout {
    /// The block of each value. One more entry, after all values, is the block of the gradient with respect to the
    /// outputs.
    slots: Slots,
    /// Number of elements per row, in all blocks and in the arrays that layers store for a backward pass.
    of_row: u64,
    /// Number of elements per row of the largest value.
    widest: u64,
    /// Number of elements that do not depend on the number of rows.
    once: u64,
}

impl PassLayout {
    pub(super) fn new(passes: &Passes) -> Self {
        let graph = &passes.graph;
        let end = graph.values.len();
        let value = |(index, size): (usize, usize)| {
            // The outputs are read after all values are computed.
            let last = if index + 1 == end {
                end
            } else {
                // Readers are in ascending order.
                graph.values[index]
                    .readers
                    .last()
                    .map_or(index, |&last| last)
            };
            Some((Span { first: index, last }, size))
        };
        let unread = Span {
            first: end,
            last: end,
        };
        let values = graph.sizes().enumerate().map(value);
        let values: Vec<_> = values.chain([Some((unread, graph.outputs()))]).collect();
        let slots = Slots::new(&values);
        let sizes = slots.sizes.iter().map(|&size| size as u64);
        let state = graph
            .state
            .iter()
            .map(|state| state.spec.shape.len() as u64);
        Self {
            of_row: total(sizes.chain([graph.kept(true)])),
            widest: graph.sizes().max().unwrap_or(0) as u64,
            once: total(state.chain([graph.kept(false), passes.scratch()])),
            slots,
        }
    }

    /// Returns the number of rows per pass, for `all` rows in total, if the host has enough memory.
    pub(super) fn rows<F>(&self, all: usize) -> usize {
        let of_row = self.of_row.max(self.widest.saturating_mul(2));
        let by_memory = BYTES / bytes_of::<F>(of_row).max(1);
        usize::try_from(by_memory)
            .unwrap_or(usize::MAX)
            .clamp(1, ROWS)
            .min(all)
    }

    /// Returns the memory of a pass over `rows` rows in bytes.
    pub(super) fn bytes<F>(&self, rows: usize) -> u64 {
        let of_rows = self.of_row.saturating_mul(rows as u64);
        bytes_of::<F>(of_rows.saturating_add(self.once))
    }

    /// Returns the index of the block of a value. If `value` is the number of values, returns the index of the block
    /// for the gradient with respect to the outputs.
    #[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
    fn slot(&self, value: usize) -> usize {
        self.slots.of[value].expect("cpu::PassLayout: every value has memory")
    }
}

/// The memory of a forward pass.
#[derive(Debug)]
pub(super) struct PassMemory<F> {
    rows: usize,
    /// The memory blocks of the values. Values that are not needed at the same time share a block: see [`PassLayout`].
    blocks: Vec<Vec<F>>,
    /// The arrays that each use of a layer stores for a backward pass.
    kept: Vec<Vec<Array2<F>>>,
}

impl<F> Default for PassMemory<F> {
    fn default() -> Self {
        Self {
            rows: 0,
            blocks: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl<F: Float> PassMemory<F> {
    /// Resizes the memory for `rows` rows. Allocates nothing if an earlier call was for at least as many rows.
    pub(super) fn fit(&mut self, passes: &Passes, layout: &PassLayout, rows: usize) {
        if rows == self.rows && !self.blocks.is_empty() {
            return;
        }
        self.rows = rows;
        let sizes = &layout.slots.sizes;
        self.blocks.resize_with(sizes.len(), Vec::new);
        for (block, size) in self.blocks.iter_mut().zip(sizes) {
            let needed = rows * size;
            if block.len() < needed {
                block.resize(needed, F::zero());
            }
        }
        self.kept.resize_with(passes.graph.uses.len(), Vec::new);
        for (kept, layer_use) in self.kept.iter_mut().zip(&passes.graph.uses) {
            let specs = &layer_use.spec.kept;
            kept.resize_with(specs.len(), || Array2::zeros((0, 0)));
            for (kept, spec) in kept.iter_mut().zip(specs) {
                resize(kept, spec.tensor_shape(rows).dims());
            }
        }
    }

    /// Computes a forward pass outside training. `copy` is called for each input of the network. It gets the index of
    /// the input's first feature column, and the array to which it must write the input's features.
    pub(super) fn pass(
        &mut self,
        passes: &Passes,
        layout: &PassLayout,
        context: &mut Context<'_, F>,
        mut copy: impl FnMut(usize, ArrayViewMut2<'_, F>),
    ) {
        let dims = |value| [self.rows, passes.columns(value)];
        for (index, value) in passes.graph.values.iter().enumerate() {
            let slot = layout.slot(index);
            // A value never shares a block with a value that it is computed from.
            let mut block = std::mem::take(&mut self.blocks[slot]);
            let y = matrix_mut(&mut block, dims(index));
            match value.source {
                Source::Input { first } => copy(first, y),
                ref source => {
                    let kept: &mut [Array2<F>] = match *source {
                        Source::Layer { layer, .. } => &mut self.kept[layer],
                        _ => &mut [],
                    };
                    let of = |value| matrix(&self.blocks[layout.slot(value)], dims(value));
                    passes.value((index, false), of, y, kept, context);
                }
            }
            self.blocks[slot] = block;
        }
    }

    /// Returns the outputs, and unused memory of the same shape for the gradient with respect to the outputs.
    pub(super) fn outputs(
        &mut self,
        passes: &Passes,
        layout: &PassLayout,
    ) -> (ArrayView2<'_, F>, ArrayViewMut2<'_, F>) {
        let output = passes.output();
        let dims = [self.rows, passes.columns(output)];
        let slots = [layout.slot(output), layout.slot(output + 1)];
        #[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
        let [outputs, unread] = self
            .blocks
            .get_disjoint_mut(slots)
            .expect("cpu::PassMemory: both are there at once");
        (matrix(outputs, dims), matrix_mut(unread, dims))
    }
}

/// Changes the shape of a matrix and reuses its memory. Its contents become arbitrary.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn resize<F: Float>(matrix: &mut Array2<F>, dims: [usize; 2]) {
    let (mut values, _) =
        std::mem::replace(matrix, Array2::zeros((0, 0))).into_raw_vec_and_offset();
    values.resize(dims[0] * dims[1], F::zero());
    *matrix = Array2::from_shape_vec(dims, values).expect("as many as its shape says");
}

impl<F: Float> Network<F> {
    /// Computes the outputs of `total` rows, a few hundred rows per pass. In each pass, `copy` is called for each input
    /// of the network. It gets the range of rows, the index of the input's first feature column, and the array to which
    /// it must write the input's features. Then `see` gets the range of rows, their outputs, and memory for the
    /// gradient with respect to the outputs.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for a pass.
    pub(super) fn for_each_pass(
        &self,
        total: usize,
        copy: impl FnMut(Range<usize>, usize, ArrayViewMut2<'_, F>),
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        self.for_some_passes(total, |passes| 0..passes, copy, see)
            .map(drop)
    }

    /// Runs some of the passes of [`for_each_pass`](Self::for_each_pass): `own` gets the number of passes and returns
    /// the range to run. Returns the number of passes, including those that were not run.
    pub(super) fn for_some_passes(
        &self,
        total: usize,
        own: impl FnOnce(usize) -> Range<usize>,
        mut copy: impl FnMut(Range<usize>, usize, ArrayViewMut2<'_, F>),
        mut see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<usize, Error> {
        let passes = &*self.passes;
        let layout = PassLayout::new(&self.passes);
        let mut most = layout.rows::<F>(total);
        // The trainer has already checked that there is memory, but threads that started since then may have taken
        // address space.
        while let Err(error) = memory::check_part(
            || format!("a forward pass of {most} rows"),
            layout.bytes::<F>(most),
        ) {
            if most <= 1 {
                return Err(error);
            }
            most /= 2;
        }
        let mut memory = PassMemory::default();
        let mut state = self.state.clone();
        let count = total.div_ceil(most.max(1));
        for pass in own(count) {
            let first = pass * most;
            let rows = first..total.min(first + most);
            memory.fit(passes, &layout, rows.len());
            let copy = |first: usize, to: ArrayViewMut2<'_, F>| copy(rows.clone(), first, to);
            let mut context = Context {
                parameters: &self.parameters,
                state: &mut state,
                step: None,
            };
            memory.pass(passes, &layout, &mut context, copy);
            let (outputs, unread) = memory.outputs(passes, &layout);
            see(rows.clone(), outputs, unread);
        }
        Ok(count)
    }

    /// Runs [`for_each_pass`](Self::for_each_pass) over the rows of a matrix.
    pub(super) fn for_each_pass_over(
        &self,
        x: ArrayView2<'_, F>,
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let copy = |rows, first: usize, mut to: ArrayViewMut2<'_, F>| {
            let columns = first..first + to.ncols();
            to.assign(&x.slice(s![rows, columns]));
        };
        self.for_each_pass(x.nrows(), copy, see)
    }

    /// Computes the outputs of all rows of `x`.
    pub(super) fn outputs_of(&self, x: ArrayView2<'_, F>) -> Result<Array2<F>, Error> {
        let shape = [x.nrows(), self.graph().outputs()];
        check_outputs::<F>(shape)?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass_over(x, |rows, of_rows, _| {
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
        })?;
        Ok(outputs)
    }
}
