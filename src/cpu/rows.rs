//! Forward passes outside of training: a few rows at a time, however many there are.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Network;
use super::passes::{Context, Passes};
use super::workspace::{kept_by, matrix, matrix_mut};
use crate::error::Error;
use crate::memory::{self, bytes_of, total};
use crate::network::{Slots, Source, Span, Use};
use crate::reference::Float;

/// Rows of a pass, at the most.
const ROWS: usize = 500;
/// Bytes that the values of a pass may take, unless that is less than a row; two as large as the largest are counted
/// at the least.
const BYTES: u64 = 64 << 20;

/// What a pass writes: values take turns in a few blocks of memory.
pub(super) struct Turns {
    /// Of each value, and of the gradient by the outputs.
    slots: Slots,
    /// Numbers of a row, in all blocks and in what one layer keeps.
    of_row: u64,
    /// Numbers of the largest value.
    widest: u64,
    /// Numbers that do not depend on the rows.
    once: u64,
}

impl Turns {
    pub(super) fn new(passes: &Passes) -> Self {
        let graph = &passes.graph;
        let end = graph.values.len();
        let value = |(index, size): (usize, usize)| {
            // The outputs are read when all is computed.
            let last = match index + 1 == end {
                true => end,
                // In order.
                false => graph.values[index]
                    .readers
                    .last()
                    .map_or(index, |&last| last),
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
        let kept = |is_per_row: bool| {
            let of_use = |of_use: &Use| {
                let kept = of_use
                    .spec
                    .kept
                    .iter()
                    .filter(|kept| kept.is_per_row == is_per_row);
                total(kept.map(|kept| kept.shape.len() as u64))
            };
            graph.uses.iter().map(of_use).max().unwrap_or(0)
        };
        let sizes = slots.sizes.iter().map(|&size| size as u64);
        let state = graph
            .state
            .iter()
            .map(|state| state.spec.shape.len() as u64);
        Self {
            of_row: total(sizes.chain([kept(true)])),
            widest: graph.sizes().max().unwrap_or(0) as u64,
            once: total(state.chain([kept(false), passes.scratch()])),
            slots,
        }
    }

    /// How many of `all` rows a pass takes, where memory is not short.
    pub(super) fn rows<F>(&self, all: usize) -> usize {
        let of_row = self.of_row.max(self.widest.saturating_mul(2));
        let by_memory = BYTES / bytes_of::<F>(of_row).max(1);
        usize::try_from(by_memory)
            .unwrap_or(usize::MAX)
            .clamp(1, ROWS)
            .min(all)
    }

    /// Bytes of a pass over so many rows.
    pub(super) fn bytes<F>(&self, rows: usize) -> u64 {
        let of_rows = self.of_row.saturating_mul(rows as u64);
        bytes_of::<F>(of_rows.saturating_add(self.once))
    }

    /// Where a value is, or behind all values the gradient by the outputs.
    #[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
    fn slot(&self, value: usize) -> usize {
        self.slots.of[value].expect("cpu::Turns: every value has memory")
    }
}

impl<F: Float> Network<F> {
    /// Calls `see` with the outputs of all rows, a few at a time, and with room for their gradient. `copy` puts
    /// features of so many rows, from a row and a column on, into a matrix of zeros or of rows before.
    ///
    /// # Errors
    /// [`Error::Memory`] without room for a pass.
    pub(super) fn for_each_pass(
        &self,
        total: usize,
        mut copy: impl FnMut(Range<usize>, usize, ArrayViewMut2<'_, F>),
        mut see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let (passes, turns) = (&*self.passes, Turns::new(&self.passes));
        let mut most = turns.rows::<F>(total);
        // A training has asked for it, but threads may have taken its addresses meanwhile.
        while let Err(error) = memory::check_part(
            || format!("a forward pass of {most} rows"),
            turns.bytes::<F>(most),
        ) {
            if most <= 1 {
                return Err(error);
            }
            most /= 2;
        }
        let sizes = turns.slots.sizes.iter();
        let mut blocks: Vec<Vec<F>> = sizes.map(|&size| vec![F::zero(); most * size]).collect();
        let mut state = self.state.clone();
        let mut context = Context {
            parameters: &self.parameters,
            state: &mut state,
            step: None,
        };
        let output = passes.output();
        for first in (0..total).step_by(most.max(1)) {
            let rows = first..total.min(first + most);
            let dims = |value| [rows.len(), passes.columns(value)];
            for (index, value) in self.graph().values.iter().enumerate() {
                let mut block = std::mem::take(&mut blocks[turns.slot(index)]);
                let y = matrix_mut(&mut block, dims(index));
                match value.source {
                    Source::Input { first } => copy(rows.clone(), first, y),
                    ref source => {
                        let mut kept = match *source {
                            Source::Layer { layer, .. } => {
                                kept_by(&self.graph().uses[layer], rows.len())
                            }
                            _ => Vec::new(),
                        };
                        let of = |value| matrix(&blocks[turns.slot(value)], dims(value));
                        passes.value((index, false), of, y, &mut kept, &mut context);
                    }
                }
                blocks[turns.slot(index)] = block;
            }
            let unread = turns.slot(output + 1);
            let mut block = std::mem::take(&mut blocks[unread]);
            let outputs = matrix(&blocks[turns.slot(output)], dims(output));
            see(rows.clone(), outputs, matrix_mut(&mut block, dims(output)));
            blocks[unread] = block;
        }
        Ok(())
    }

    /// [`for_each_pass`](Self::for_each_pass) over rows of a matrix.
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

    /// Outputs of all rows.
    pub(super) fn outputs(&self, x: ArrayView2<'_, F>) -> Result<Array2<F>, Error> {
        let shape = (x.nrows(), self.graph().outputs());
        let what = || format!("the outputs of {} rows", shape.0);
        let needed = bytes_of::<F>((shape.0 as u64).saturating_mul(shape.1 as u64));
        memory::check(what, needed)?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass_over(x, |rows, of_rows, _| {
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
        })?;
        Ok(outputs)
    }
}
