//! A fast first layer of many outputs for features in bytes that are mostly 0. It computes matrix products in blocks of
//! six rows, and skips the features that are 0 in all rows of a block. This pays off because digits have ink in similar
//! places: in a block of six random digits, 56 % of the pixels are 0 in all six. The weight's gradient uses blocks of
//! six features instead: in a block of six neighboring pixels, 66 % of the digits have no ink.

use std::array;

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use super::super::cores::for_each_part;
use super::super::dense::dense;
use super::super::product::is_shared;
use super::super::relu;
use crate::data::{Dataset, Sampling};
use crate::memory::bytes_of;
use crate::reference::Float;

/// Number of rows per block, and of features per block of the transposed minibatch. The sums of a block for one panel
/// (see [`PANELS`]) fill the registers of AVX-512 or of AVX2.
pub(super) const ROWS: usize = 6;
/// Number of panels per piece of work. A product multiplies the blocks by another matrix, the other operand: the
/// weights or `dy`. A panel is some columns of the other operand. The panels stay in a second-level cache while they
/// are multiplied by block after block.
const PANELS: usize = 4;
/// Number of blocks per piece of work.
pub(super) const BLOCKS: usize = 16;
/// Minimum number of rows of a minibatch for products in blocks. With fewer rows, copying the weights into panels does
/// not pay off.
pub(super) const LEAST: usize = 64;
/// Maximum number of rows of a panel (features, or rows of the minibatch): a longer panel exceeds the caches.
pub(super) const MOST: usize = 1 << 12;
/// Number of blocks of the data set that are examined to decide whether products in blocks pay off.
const LOOKED_AT: usize = 64;
/// Maximum fraction of the data set's bytes that the blocks do not skip. Above it, products in blocks do not pay off.
const MOST_LEFT: f64 = 0.75;

/// The instruction set that computes the sums of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Kernel {
    /// Returns the kernels that the processor supports, the fastest first; none on platforms where products in blocks
    /// were not measured.
    pub(super) fn of_processor() -> impl Iterator<Item = Self> {
        let kernels: Vec<Option<Self>> = vec![
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("fma"))
            .then_some(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Self::Avx2),
        ];
        kernels.into_iter().flatten()
    }

    /// Number of columns per panel.
    pub(super) fn columns<F>(self) -> usize {
        self.bytes() / size_of::<F>()
    }

    /// Size of a row of a panel in bytes.
    fn bytes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 256,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 64,
        }
    }
}

/// The sizes from which memory is computed before it is allocated.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sizes {
    pub(super) examples: usize,
    pub(super) kernel: Kernel,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Sizes {
    /// Returns the sizes if products in blocks are faster than products of dense matrices: if the sizes are in range,
    /// and the blocks skip enough of the data set.
    pub(super) fn of<F>(dataset: &Dataset, batch: usize, outputs: usize) -> Option<Self> {
        let kernel = Kernel::of_processor().next()?;
        let inputs = dataset.width();
        let is_small = batch < LEAST || outputs < kernel.columns::<F>();
        if is_small || inputs.max(batch) > MOST {
            return None;
        }
        (left(dataset) <= MOST_LEFT).then_some(Self {
            examples: dataset.len(),
            kernel,
            inputs,
            outputs,
        })
    }

    /// Memory of a minibatch of `batch` rows in bytes.
    pub(super) fn memory<F>(&self, batch: usize) -> u64 {
        let [rows, features] = [batch, self.inputs].map(|of| of.div_ceil(ROWS));
        let terms = (rows * self.inputs + features * batch) as u64;
        let panels = self.panels::<F>() * self.inputs.max(batch);
        bytes_of::<Term<F>>(terms)
            .saturating_add(bytes_of::<usize>((rows + features) as u64))
            .saturating_add(bytes_of::<F>(panels as u64))
    }

    /// Number of columns of all panels together.
    fn panels<F>(&self) -> usize {
        self.outputs.next_multiple_of(self.kernel.columns::<F>())
    }
}

/// Estimates the fraction of a data set's bytes that the blocks do not skip. This is the mean of two fractions: one for
/// blocks of rows, one for blocks of features. The examples are drawn at random as in minibatches, because neighboring
/// rows of a data set may belong to the same class, and then have more zeros in common.
fn left(dataset: &Dataset) -> f64 {
    let inputs = dataset.width();
    let mut examples = [0; ROWS * LOOKED_AT];
    Sampling::WithReplacement { seed: 0 }.minibatch(dataset.len(), 0, &mut examples);
    let rows = examples.map(|example| dataset.row(example as usize));
    let of_rows = rows.chunks_exact(ROWS).map(|block| {
        let is_left = |feature: &usize| block.iter().any(|row| row[*feature] != 0);
        (0..inputs).filter(is_left).count()
    });
    let of_features = rows.iter().map(|row| {
        let is_left = |block: &&[u8]| block.iter().any(|byte| *byte != 0);
        row.chunks(ROWS).filter(is_left).count()
    });
    let share = |left: usize, all: usize| left as f64 / all as f64;
    let of_rows = share(of_rows.sum(), LOOKED_AT * inputs);
    let of_features = share(of_features.sum(), rows.len() * inputs.div_ceil(ROWS));
    f64::midpoint(of_rows, of_features)
}

/// The values of one feature in all rows of a block. At least one of these values is nonzero. (In blocks of features:
/// the values of one row for all features of a block.)
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Term<F> {
    x: [F; ROWS],
    /// The index of the row of the other operand by which the values are multiplied.
    at: u32,
}

/// All blocks of a minibatch in sparse form.
#[derive(Debug)]
struct Terms<F> {
    /// The terms of all blocks: `most` elements per block, of which the first `counts[block]` are used.
    terms: Vec<Term<F>>,
    most: usize,
    counts: Vec<usize>,
}

impl<F: Float> Terms<F> {
    fn new(rows: usize, most: usize) -> Self {
        let none = Term {
            x: [F::zero(); ROWS],
            at: 0,
        };
        let blocks = rows.div_ceil(ROWS);
        Self {
            terms: vec![none; blocks * most],
            most,
            counts: vec![0; blocks],
        }
    }

    fn block(&self, block: usize) -> &[Term<F>] {
        &self.terms[block * self.most..][..self.counts[block]]
    }

    /// Returns all blocks, to be filled, grouped into pieces of work.
    fn parts(&mut self) -> impl Iterator<Item = impl Iterator<Item = Block<'_, F>>> {
        let most = self.most;
        let parts = self.terms.chunks_mut(BLOCKS * most);
        parts
            .zip(self.counts.chunks_mut(BLOCKS))
            .map(move |(terms, counts)| {
                let blocks = terms.chunks_mut(most).zip(counts);
                blocks.map(|(terms, count)| Block { terms, count })
            })
    }
}

/// A mutable view of a block, to fill it.
struct Block<'a, F> {
    terms: &'a mut [Term<F>],
    count: &'a mut usize,
}

impl<F: Float> Block<'_, F> {
    /// Fills the block with the features that are nonzero in at least one of `rows`.
    fn put_rows(&mut self, rows: [&[u8]; ROWS], unit: &[F; 256]) {
        const WORD: usize = size_of::<u64>();
        *self.count = 0;
        let inputs = rows[0].len();
        for (at, first) in (0..).step_by(WORD).zip((0..inputs).step_by(WORD)) {
            let words = rows.map(|row| &row[first..inputs.min(first + WORD)]);
            // Most words are 0.
            if words.iter().all(|word| word.iter().all(|byte| *byte == 0)) {
                continue;
            }
            for (at, column) in (at..).zip(0..words[0].len()) {
                self.add(&words.map(|word| word[column]), unit, at);
            }
        }
    }

    /// Adds a term of these bytes unless all of them are 0. The term is multiplied by row `at` of the other operand.
    fn add(&mut self, bytes: &[u8], unit: &[F; 256], at: u32) {
        if bytes.iter().all(|byte| *byte == 0) {
            return;
        }
        let term = &mut self.terms[*self.count];
        *self.count += 1;
        term.at = at;
        // The last block may have fewer features; sums of the missing features are never read.
        for (x, &byte) in term.x.iter_mut().zip(bytes) {
            *x = unit[usize::from(byte)];
        }
    }
}

/// A minibatch in blocks of rows and, for the weight's gradient, in blocks of features.
#[derive(Debug)]
pub(in super::super) struct Blocks<F> {
    sizes: Sizes,
    rows: Terms<F>,
    features: Terms<F>,
    /// The other operand of a product, copied so that each panel is contiguous in memory.
    panels: Vec<F>,
}

impl<F: Float> Blocks<F> {
    pub(super) fn new(sizes: &Sizes, batch: usize) -> Self {
        let inputs = sizes.inputs;
        Self {
            rows: Terms::new(batch, inputs),
            features: Terms::new(inputs, batch),
            panels: vec![F::zero(); sizes.panels::<F>() * inputs.max(batch)],
            sizes: *sizes,
        }
    }

    /// Copies the examples of a minibatch into blocks. `unit` has `byte / 255` for every byte.
    pub(super) fn gather(&mut self, dataset: &Dataset, examples: &[u32], unit: &[F; 256]) {
        let is_shared = self.is_shared(examples.len());
        let parts = self.rows.parts().zip(examples.chunks(ROWS * BLOCKS));
        for_each_part(parts, is_shared, |(part, examples)| {
            for (mut block, examples) in part.zip(examples.chunks(ROWS)) {
                // The last block repeats its first row in place of missing rows, whose sums are never read.
                let row = |row| {
                    dataset.row(examples[if row < examples.len() { row } else { 0 }] as usize)
                };
                block.put_rows(array::from_fn(row), unit);
            }
        });
        let inputs = self.sizes.inputs;
        let parts = (0..inputs)
            .step_by(ROWS * BLOCKS)
            .zip(self.features.parts());
        for_each_part(parts, is_shared, |(first, part)| {
            let last = inputs.min(first + ROWS * BLOCKS);
            let mut blocks: Vec<_> = part.collect();
            blocks.iter_mut().for_each(|block| *block.count = 0);
            for (at, &example) in (0..).zip(examples) {
                let features = dataset.row(example as usize)[first..last].chunks(ROWS);
                for (block, features) in blocks.iter_mut().zip(features) {
                    block.add(features, unit, at);
                }
            }
        });
    }

    /// Computes `y = x·w + b`, or `y = x·w` without a bias, for the minibatch `x`; with `relu`, then applies a `Relu`.
    pub(super) fn times(
        &mut self,
        w: &Array2<F>,
        b: Option<&Array2<F>>,
        y: ArrayViewMut2<'_, F>,
        relu: bool,
    ) {
        // A custom optimizer may leave parameters in any memory order.
        let w = w.as_standard_layout();
        let b = b.map(|b| b.as_standard_layout());
        let b = b.as_ref().map(|b| dense(b.as_slice()));
        self.pack(&w.view());
        self.products((&self.rows, w.nrows()), (b, relu), y);
    }

    /// Computes `dw = xᵀ·dy` for the minibatch `x`.
    pub(super) fn transposed_times(&mut self, dy: ArrayView2<'_, F>, dw: &mut Array2<F>) {
        self.pack(&dy);
        self.products((&self.features, dy.nrows()), (None, false), dw.view_mut());
    }

    /// Whether several cores share the work on `rows` rows.
    fn is_shared(&self, rows: usize) -> bool {
        is_shared(rows.saturating_mul(self.sizes.inputs * self.sizes.outputs))
    }

    /// Copies a matrix into panels. In the last panel, the elements after the matrix's last column only affect sums
    /// that are never read.
    fn pack(&mut self, matrix: &ArrayView2<'_, F>) {
        let (rows, columns) = matrix.dim();
        let matrix = dense(matrix.to_slice());
        let width = self.sizes.kernel.columns::<F>();
        let firsts = (0..columns).step_by(width);
        let is_shared = is_shared(rows.saturating_mul(self.sizes.inputs * columns));
        let panels = firsts.zip(self.panels.chunks_mut(rows * width));
        for_each_part(panels, is_shared, |(first, panel)| {
            let last = columns.min(first + width);
            let from = matrix.chunks_exact(columns).map(|row| &row[first..last]);
            for (to, from) in panel.chunks_exact_mut(width).zip(from) {
                to[..from.len()].copy_from_slice(from);
            }
        });
    }

    /// Writes to `y` the product of the blocks in `of` and the matrix that `pack` copied to `self.panels`. The second
    /// element of `of` is the number of rows of that matrix. `behind` is what follows the product: a bias to add, if
    /// there is one, and then a `Relu`, if the second element is true.
    fn products(
        &self,
        of: (&Terms<F>, usize),
        behind: (Option<&[F]>, bool),
        y: ArrayViewMut2<'_, F>,
    ) {
        match self.sizes.kernel.columns::<F>() {
            64 => self.products_of::<64>(of, behind, y),
            32 => self.products_of::<32>(of, behind, y),
            16 => self.products_of::<16>(of, behind, y),
            8 => self.products_of::<8>(of, behind, y),
            columns => unreachable!("sparse::blocks: a panel of {columns} columns"),
        }
    }

    fn products_of<const COLUMNS: usize>(
        &self,
        (of, rows): (&Terms<F>, usize),
        (b, relu): (Option<&[F]>, bool),
        y: ArrayViewMut2<'_, F>,
    ) {
        let is_shared = is_shared(y.len().saturating_mul(rows));
        let mut pieces = Vec::new();
        for (panels, y) in cut(y, Axis(1), PANELS * COLUMNS).into_iter().enumerate() {
            let of_columns = cut(y, Axis(0), BLOCKS * ROWS).into_iter().enumerate();
            let piece = |(blocks, y)| (blocks * BLOCKS, panels * PANELS, y);
            pieces.extend(of_columns.map(piece));
        }
        let size = rows * COLUMNS;
        for_each_part(pieces.into_iter(), is_shared, |(blocks, panels, mut y)| {
            let mut sums = [[F::zero(); COLUMNS]; ROWS];
            for (block, mut y) in y.axis_chunks_iter_mut(Axis(0), ROWS).enumerate() {
                let terms = of.block(blocks + block);
                for (panel, mut y) in y.axis_chunks_iter_mut(Axis(1), COLUMNS).enumerate() {
                    let panel = panels + panel;
                    sum(terms, &self.panels[panel * size..][..size], &mut sums);
                    let b = b.map(|b| &b[panel * COLUMNS..][..y.ncols()]);
                    for (mut y, sums) in y.outer_iter_mut().zip(&sums) {
                        finish(sums, b, relu, dense(y.as_slice_mut()));
                    }
                }
            }
        });
    }
}

/// Number of allocated bytes.
#[cfg(test)]
impl<F> Blocks<F> {
    pub(super) fn allocated(&self) -> u64 {
        let of = |terms: &Terms<F>| {
            bytes_of::<Term<F>>(terms.terms.capacity() as u64)
                + bytes_of::<usize>(terms.counts.capacity() as u64)
        };
        of(&self.rows) + of(&self.features) + bytes_of::<F>(self.panels.capacity() as u64)
    }
}

/// Cuts a matrix along an axis into pieces of `size` rows or columns; the last piece may be smaller.
fn cut<F>(matrix: ArrayViewMut2<'_, F>, axis: Axis, size: usize) -> Vec<ArrayViewMut2<'_, F>> {
    let mut pieces = Vec::new();
    let mut rest = matrix;
    while rest.len_of(axis) > size {
        let (piece, behind) = rest.split_at(axis, size);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

/// Computes `sums[row] = Σ_term x[row] · panel[at]`, from the first term to the last.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn sum<F: Float, const COLUMNS: usize>(
    terms: &[Term<F>],
    panel: &[F],
    sums: &mut [[F; COLUMNS]; ROWS],
) {
    let panel = panel.as_chunks::<COLUMNS>().0;
    // Use a local array, because the compiler keeps it in registers.
    let mut local = [[F::zero(); COLUMNS]; ROWS];
    for term in terms {
        let columns = &panel[term.at as usize];
        for (sums, x) in local.iter_mut().zip(term.x) {
            for (sum, &column) in sums.iter_mut().zip(columns) {
                *sum = x.mul_add(column, *sum);
            }
        }
    }
    *sums = local;
}

/// Writes one row of sums to `y`; then adds the bias, if there is one, and with `relu` applies a `Relu`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn finish<F: Float>(sums: &[F], b: Option<&[F]>, relu: bool, y: &mut [F]) {
    y.copy_from_slice(&sums[..y.len()]);
    if let Some(b) = b {
        for (y, &b) in y.iter_mut().zip(b) {
            *y = b + *y;
        }
    }
    if relu {
        relu::rectify(y);
    }
}
