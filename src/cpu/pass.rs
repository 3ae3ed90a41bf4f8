//! Forward passes outside of training: a few rows at a time, however many there are.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Network;
use crate::error::Error;
use crate::memory::{self, bytes_of};
use crate::reference::{Float, Forward};

/// Rows of a pass, at the most.
const ROWS: usize = 500;
/// Bytes that inputs and outputs of the widest layer may take for them, unless that is less than a row.
const BYTES: u64 = 64 << 20;

/// How many of `total` rows a pass takes, where memory is not short.
fn rows_of_pass<F>(widths: &[usize], total: usize) -> usize {
    let of_row = bytes_of::<F>(2 * widest(widths) as u64);
    let by_memory = usize::try_from(BYTES / of_row.max(1)).unwrap_or(usize::MAX);
    by_memory.clamp(1, ROWS).min(total)
}

fn widest(widths: &[usize]) -> usize {
    widths.iter().copied().max().unwrap_or(0)
}

/// Bytes of the passes over so many rows.
pub(super) fn bytes_of_passes<F>(widths: &[usize], total: usize) -> u64 {
    bytes_of_pass::<F>(widths, rows_of_pass::<F>(widths, total))
}

fn bytes_of_pass<F>(widths: &[usize], rows: usize) -> u64 {
    bytes_of::<F>(2 * (rows * widest(widths)) as u64)
}

/// What a pass writes: inputs and outputs of a layer take turns in two blocks of memory.
struct Turns<F> {
    blocks: [Vec<F>; 2],
}

impl<F: Float> Turns<F> {
    fn new(widths: &[usize], rows: usize) -> Self {
        let block = || vec![F::zero(); rows * widest(widths)];
        Self {
            blocks: [block(), block()],
        }
    }

    /// Inputs and outputs of layer `i`.
    fn of_layer(&mut self, i: usize) -> [&mut Vec<F>; 2] {
        let [even, odd] = &mut self.blocks;
        match i.is_multiple_of(2) {
            true => [even, odd],
            false => [odd, even],
        }
    }
}

/// The first values of a block as a matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn matrix<F>(block: &[F], shape: [usize; 2]) -> ArrayView2<'_, F> {
    ArrayView2::from_shape(shape, &block[..shape[0] * shape[1]]).expect("as many as its shape says")
}

/// The same, to be written.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn matrix_mut<F>(block: &mut [F], shape: [usize; 2]) -> ArrayViewMut2<'_, F> {
    let values = &mut block[..shape[0] * shape[1]];
    ArrayViewMut2::from_shape(shape, values).expect("as many as its shape says")
}

impl<F: Float> Network<F> {
    /// Calls `see` with the outputs of all rows, a few at a time, and with room for their gradient. `copy` puts
    /// the inputs of so many rows, from the first of the range on, into a matrix of zeros or of rows before.
    ///
    /// # Errors
    /// [`Error::Memory`] without room for a pass.
    pub(super) fn for_each_pass(
        &self,
        total: usize,
        mut copy: impl FnMut(Range<usize>, ArrayViewMut2<'_, F>),
        mut see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let widths = self.widths();
        let mut most = rows_of_pass::<F>(widths, total);
        // A training has asked for it, but threads may have taken its addresses meanwhile.
        while let Err(error) = memory::check_part(
            || format!("a forward pass of {most} rows"),
            bytes_of_pass::<F>(widths, most),
        ) {
            if most <= 1 {
                return Err(error);
            }
            most /= 2;
        }
        let mut turns = Turns::new(widths, most);
        let last = widths.len() - 1;
        for first in (0..total).step_by(most.max(1)) {
            let rows = first..total.min(first + most);
            let count = rows.len();
            let [inputs, _] = turns.of_layer(0);
            copy(rows.clone(), matrix_mut(inputs, [count, widths[0]]));
            for (i, layer) in self.layers.iter().enumerate() {
                let [x, y] = turns.of_layer(i);
                let pass = Forward::evaluation(
                    matrix(x, [count, widths[i]]),
                    &self.parameters[i],
                    matrix_mut(y, [count, widths[i + 1]]),
                );
                layer.formulas().forward(pass);
            }
            let [outputs, unread] = turns.of_layer(last);
            let shape = [count, widths[last]];
            see(rows, matrix(outputs, shape), matrix_mut(unread, shape));
        }
        Ok(())
    }

    /// [`for_each_pass`](Self::for_each_pass) over rows of a matrix.
    pub(super) fn for_each_pass_over(
        &self,
        x: ArrayView2<'_, F>,
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let copy = |rows, mut to: ArrayViewMut2<'_, F>| to.assign(&x.slice(s![rows, ..]));
        self.for_each_pass(x.nrows(), copy, see)
    }

    /// Outputs of all rows.
    pub(super) fn outputs(&self, x: ArrayView2<'_, F>) -> Result<Array2<F>, Error> {
        let shape = (x.nrows(), self.widths()[self.widths().len() - 1]);
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
