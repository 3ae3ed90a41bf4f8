//! A fast first layer of few outputs for features in bytes that are mostly 0: a list of the nonzero features for each
//! row.

use std::sync::{Mutex, PoisonError};

use bytemuck::{Zeroable, zeroed_vec};
use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::super::cores::{self, for_each_chunk};
use super::super::dense::dense;
use super::super::row::sum_of_rows;
use crate::data::Dataset;
use crate::memory::bytes_of;
use crate::parallel;
use crate::reference::Float;

/// Number of rows of a data set that one core counts or converts at a time.
const ROWS: usize = 1 << 10;

/// Returns the number of parts for a number of threads. In the forward pass, the rows of a minibatch are cut into this
/// many parts; for the weight's gradient, the features are cut instead. Every sum is computed within one part, so its
/// bits do not depend on the number of threads. (On two cores, more than 2 parts were not faster, because each part of
/// the features adds work in every row.)
pub(super) fn parts(threads: usize) -> usize {
    match threads {
        0..=3 => threads.clamp(1, 2),
        _ => threads.next_power_of_two().min(MOST_PARTS),
    }
}

/// Maximum number of parts into which the rows of a minibatch, and the features, are cut.
pub(super) const MOST_PARTS: usize = 8;

/// The nonzero bytes of a data set.
#[derive(Debug)]
pub(in super::super) struct SparseRows {
    /// Number of parts into which the features are cut.
    parts: usize,
    /// For each row and each part of the features, the index of the first entry. After the last row: the number of
    /// entries.
    starts: Vec<usize>,
    entries: Vec<Entry>,
}

/// A nonzero byte and the index of its feature.
#[derive(Debug, Clone, Copy, Zeroable)]
struct Entry {
    feature: u16,
    byte: u8,
}

/// Maximum fraction of nonzero bytes. Above it, a product of dense matrices is faster (measured on one core of an AMD
/// EPYC).
const MOST_NONZERO: f64 = 0.5;
/// Maximum number of weights: they fit in a second-level cache. With more, a product of dense matrices is faster.
pub(super) const MOST_WEIGHTS: usize = 1 << 18;

/// The counts of nonzero bytes in a data set.
#[derive(Debug)]
pub(in super::super) struct Nonzero {
    pub(super) examples: usize,
    /// Number of parts into which minibatches and features are cut.
    pub(super) parts: usize,
    /// Number of nonzero bytes in each group of [`ROWS`] rows.
    bytes: Vec<usize>,
    /// Number of nonzero bytes in the row that has the most.
    of_row: usize,
}

impl Nonzero {
    /// Counts the nonzero bytes of a data set. Returns `None` if a layer of `outputs` outputs is not faster with
    /// [`SparseRows`], or if the data set has more than 65,535 features.
    pub(super) fn of(dataset: &Dataset, outputs: usize) -> Option<Self> {
        let is_large = dataset.width().saturating_mul(outputs) > MOST_WEIGHTS;
        if is_large || u16::try_from(dataset.width()).is_err() {
            return None;
        }
        let pieces: Vec<_> = dataset.features().chunks(ROWS * dataset.width()).collect();
        let counts = parallel::map(&pieces, |piece| {
            let counts = piece.chunks_exact(dataset.width()).map(count_nonzero);
            counts.fold((0, 0), |(sum, most), count| (sum + count, count.max(most)))
        });
        let nonzero = Self {
            examples: dataset.len(),
            parts: parts(cores::threads()),
            bytes: counts.iter().map(|(bytes, _)| *bytes).collect(),
            of_row: counts.iter().map(|(_, most)| *most).max().unwrap_or(0),
        };
        let is_dense = nonzero.entries() as f64 > MOST_NONZERO * dataset.features().len() as f64;
        (!is_dense).then_some(nonzero)
    }

    /// Number of nonzero bytes in all rows.
    fn entries(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Memory of the data set as [`SparseRows`], in bytes.
    pub(super) fn of_examples(&self) -> u64 {
        let rows = bytes_of::<usize>((self.parts * self.examples + 1) as u64);
        rows.saturating_add(bytes_of::<Entry>(self.entries() as u64))
    }

    /// Memory of the data set as [`SparseRows`] and of a minibatch of `batch` rows, in bytes.
    pub(super) fn memory<F>(&self, batch: usize) -> u64 {
        let ends = bytes_of::<usize>((batch as u64).saturating_mul(self.parts as u64));
        let terms = bytes_of::<Term<F>>((batch as u64).saturating_mul(self.of_row as u64));
        self.of_examples()
            .saturating_add(ends)
            .saturating_add(terms)
    }
}

impl SparseRows {
    /// Converts the rows of a data set to lists of nonzero bytes.
    pub(super) fn new(dataset: &Dataset, nonzero: &Nonzero) -> Self {
        let parts = nonzero.parts;
        // The operating system zeroes this memory at the first access, which is by the thread that fills it.
        let mut rows = Self {
            parts,
            starts: zeroed_vec(parts * dataset.len() + 1),
            entries: zeroed_vec(nonzero.entries()),
        };
        let mut starts = &mut rows.starts[..];
        let mut entries = &mut rows.entries[..];
        let mut pieces = Vec::new();
        let mut first = 0;
        let features = dataset.features().chunks(ROWS * dataset.width());
        for (features, &bytes) in features.zip(&nonzero.bytes) {
            let of_piece = starts.split_off_mut(..parts * features.len() / dataset.width());
            let of_entries = entries.split_off_mut(..bytes);
            let of_piece = of_piece.unwrap_or_default();
            let of_entries = of_entries.unwrap_or_default();
            pieces.push(Mutex::new((features, of_piece, of_entries, first)));
            first += bytes;
        }
        starts.fill(first);
        parallel::map(&pieces, |piece| {
            let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
            let (features, starts, entries, first) = &mut *piece;
            put(features, (dataset.width(), parts), starts, entries, *first);
        });
        drop(pieces);
        rows
    }

    /// Returns the index of an example's first entry for each part of the features, and then the index after its last
    /// entry.
    fn starts(&self, example: u32) -> &[usize] {
        &self.starts[self.parts * example as usize..][..=self.parts]
    }

    fn row(&self, example: u32) -> &[Entry] {
        let starts = self.starts(example);
        &self.entries[starts[0]..starts[self.parts]]
    }
}

/// Counts the nonzero bytes of a row. It adds in `u8` first, because one instruction adds many `u8`.
fn count_nonzero(row: &[u8]) -> usize {
    let pieces = row.chunks(usize::from(u8::MAX));
    let counts = pieces.map(|piece| piece.iter().map(|byte| u8::from(*byte != 0)).sum::<u8>());
    counts.map(usize::from).sum()
}

/// Converts rows of `width` features to `entries`. Writes to `starts`, for each row and each of the `parts` parts of
/// the features, the index of the first entry within the data set. `first` is the index of `entries[0]` within the data
/// set.
fn put(
    rows: &[u8],
    (width, parts): (usize, usize),
    starts: &mut [usize],
    entries: &mut [Entry],
    first: usize,
) {
    const WORD: usize = size_of::<u64>();
    let share = width.div_ceil(parts);
    // Every byte of a word is written, and a 0 is then overwritten by the next byte. A branch on each byte would often
    // be mispredicted.
    let mut of_row = vec![Entry::zeroed(); width + 1];
    let mut end = 0;
    for (row, starts) in rows.chunks_exact(width).zip(starts.chunks_exact_mut(parts)) {
        let mut count = 0;
        for (word, feature) in row.chunks(WORD).zip((0..=u16::MAX).step_by(WORD)) {
            // Most words are 0.
            if word.iter().all(|byte| *byte == 0) {
                continue;
            }
            for (&byte, feature) in word.iter().zip(feature..) {
                of_row[count] = Entry { feature, byte };
                count += usize::from(byte != 0);
            }
        }
        let of_row = &of_row[..count];
        entries[end..end + count].copy_from_slice(of_row);
        for (part, at) in starts.iter_mut().enumerate() {
            let before = of_row.partition_point(|entry| usize::from(entry.feature) < part * share);
            *at = first + end + before;
        }
        end += count;
    }
}

/// A minibatch in which each row is a list of nonzero features.
#[derive(Debug)]
pub(in super::super) struct SparseBatch<F> {
    parts: Vec<Part<F>>,
    outputs: usize,
}

/// One part of the rows of a minibatch.
#[derive(Debug)]
struct Part<F> {
    /// For each row and each part of the features, the index after the last term.
    ends: Vec<usize>,
    /// Number of parts into which the features are cut.
    parts: usize,
    terms: Vec<Term<F>>,
}

/// A nonzero feature of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<F> {
    /// The feature's value.
    x: F,
    /// The feature's index times the number of outputs: the index of its first weight in the layer's weights.
    at: u32,
}

impl<F: Float> SparseBatch<F> {
    /// Makes an empty minibatch of a data set, for a layer of `outputs` outputs.
    pub(super) fn new(outputs: usize, nonzero: &Nonzero) -> Self {
        let part = |_| Part {
            ends: Vec::new(),
            parts: nonzero.parts,
            terms: Vec::new(),
        };
        Self {
            parts: (0..nonzero.parts).map(part).collect(),
            outputs,
        }
    }

    /// Copies the nonzero features of a minibatch's examples. `unit` has `byte / 255` for every byte.
    pub(super) fn gather(&mut self, rows: &SparseRows, examples: &[u32], unit: &[F; 256]) {
        let outputs = u32::try_from(self.outputs).unwrap_or(u32::MAX);
        let share = examples.len().div_ceil(self.parts.len());
        for_each_chunk(&mut self.parts, 1, |at, part| {
            let [first, last] = [at, at + 1].map(|at| (at * share).min(examples.len()));
            part[0].gather(rows, &examples[first..last], unit, outputs);
        });
    }

    /// Computes `y = x·w + b`, or `y = x·w` without a bias, for the minibatch `x`.
    pub(super) fn times(&self, w: &Array2<F>, b: Option<&Array2<F>>, mut y: ArrayViewMut2<'_, F>) {
        // A custom optimizer may leave parameters in any memory order.
        let w = w.as_standard_layout();
        let b = b.map(|b| b.as_standard_layout());
        let w = dense(w.as_slice());
        let b = b.as_ref().map(|b| dense(b.as_slice()));
        let share = y.nrows().div_ceil(self.parts.len()) * self.outputs;
        for_each_chunk(dense(y.as_slice_mut()), share, |at, y| {
            let rows = self.parts[at].rows();
            for (row, y) in rows.zip(y.chunks_exact_mut(self.outputs)) {
                row_times(row, w, b, y);
            }
        });
    }

    /// Computes `dw = xᵀ·dy` for the minibatch `x`.
    pub(super) fn transposed_times(&self, dy: ArrayView2<'_, F>, dw: &mut Array2<F>) {
        let dy = dense(dy.as_slice());
        let share = dw.nrows().div_ceil(self.parts.len()) * self.outputs;
        for_each_chunk(dense(dw.as_slice_mut()), share, |at, dw| {
            dw.fill(F::zero());
            let rows = self.parts.iter().flat_map(|part| part.rows_within(at));
            for (row, dy) in rows.zip(dy.chunks_exact(self.outputs)) {
                add_outer(row, dy, dw, at * share);
            }
        });
    }
}

impl<F: Float> Part<F> {
    fn gather(&mut self, rows: &SparseRows, examples: &[u32], unit: &[F; 256], outputs: u32) {
        self.ends.clear();
        self.ends.reserve_exact(examples.len() * self.parts);
        self.terms.clear();
        let terms = examples.iter().map(|&example| rows.row(example).len());
        self.terms.reserve_exact(terms.sum());
        let term = |entry: &Entry| Term {
            x: unit[usize::from(entry.byte)],
            at: u32::from(entry.feature) * outputs,
        };
        // Load one byte of each cache line first. The rows are scattered in memory, and loads that do not depend on
        // each other run in parallel.
        let lines = examples
            .iter()
            .flat_map(|&example| rows.row(example).iter().step_by(16));
        std::hint::black_box(lines.fold(0, |sum, entry| sum ^ entry.byte));
        for &example in examples {
            let start = self.terms.len();
            let starts = rows.starts(example);
            self.terms.extend(rows.row(example).iter().map(term));
            let ends = starts[1..].iter().map(|end| start + end - starts[0]);
            self.ends.extend(ends);
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[Term<F>]> {
        let mut start = 0;
        let ends = self.ends.chunks_exact(self.parts);
        ends.map(move |ends| {
            let row = &self.terms[start..ends[self.parts - 1]];
            start = ends[self.parts - 1];
            row
        })
    }

    /// Returns the terms of every row within one part of the features.
    fn rows_within(&self, part: usize) -> impl Iterator<Item = &[Term<F>]> {
        let mut row_start = 0;
        let ends = self.ends.chunks_exact(self.parts);
        ends.map(move |ends| {
            let start = if part == 0 { row_start } else { ends[part - 1] };
            row_start = ends[self.parts - 1];
            &self.terms[start..ends[part]]
        })
    }
}

/// Computes `y = b + Σ byte/255 · w[feature]`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn row_times<F: Float>(row: &[Term<F>], w: &[F], b: Option<&[F]>, y: &mut [F]) {
    let outputs = y.len();
    let terms = row.iter();
    let terms = terms.map(|&Term { x, at }| (x, &w[at as usize..][..outputs]));
    let add = |sum, x: F, w| sum + x * w;
    sum_of_rows(terms, add, b, y);
}

/// Computes `dw[feature] += byte/255 · dy`. `dw` is a part of the weight's gradient: its first element has the index
/// `first`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn add_outer<F: Float>(row: &[Term<F>], dy: &[F], dw: &mut [F], first: usize) {
    let mut at = 0;
    let outputs = dy.len();
    while at < outputs {
        // Two more columns, if there are any, cost less here than in a separate pass.
        at += match outputs - at {
            66.. => add_columns::<F, 64, 2>(row, dy, dw, first, at),
            64.. => add_columns::<F, 64, 0>(row, dy, dw, first, at),
            50.. => add_columns::<F, 48, 2>(row, dy, dw, first, at),
            34.. => add_columns::<F, 32, 2>(row, dy, dw, first, at),
            32.. => add_columns::<F, 32, 0>(row, dy, dw, first, at),
            18.. => add_columns::<F, 16, 2>(row, dy, dw, first, at),
            16.. => add_columns::<F, 16, 0>(row, dy, dw, first, at),
            10.. => add_columns::<F, 8, 2>(row, dy, dw, first, at),
            8.. => add_columns::<F, 8, 0>(row, dy, dw, first, at),
            2.. => add_columns::<F, 2, 0>(row, dy, dw, first, at),
            _ => add_columns::<F, 1, 0>(row, dy, dw, first, at),
        };
    }
}

/// Computes [`add_outer`] for `WIDTH + MORE` columns, from column `at` on. Returns the number of these columns.
#[inline(always)]
fn add_columns<F: Float, const WIDTH: usize, const MORE: usize>(
    row: &[Term<F>],
    dy: &[F],
    dw: &mut [F],
    first: usize,
    at: usize,
) -> usize {
    let mut columns = [F::zero(); WIDTH];
    let mut more = [F::zero(); MORE];
    columns.copy_from_slice(&dy[at..at + WIDTH]);
    more.copy_from_slice(&dy[at + WIDTH..at + WIDTH + MORE]);
    for &Term { x, at: term } in row {
        let dw = &mut dw[term as usize - first + at..][..WIDTH + MORE];
        let (wide, rest) = dw.split_at_mut(WIDTH);
        for (dw, &dy) in wide.iter_mut().zip(&columns) {
            *dw += x * dy;
        }
        for (dw, &dy) in rest.iter_mut().zip(&more) {
            *dw += x * dy;
        }
    }
    WIDTH + MORE
}

#[cfg(test)]
impl<F> SparseBatch<F> {
    /// Number of allocated bytes, including the data set.
    pub(super) fn memory(&self, rows: &SparseRows) -> u64 {
        let of_part = |part: &Part<F>| {
            bytes_of::<usize>(part.ends.capacity() as u64)
                + bytes_of::<Term<F>>(part.terms.capacity() as u64)
        };
        let of_rows = bytes_of::<usize>(rows.starts.capacity() as u64)
            + bytes_of::<Entry>(rows.entries.capacity() as u64);
        of_rows + self.parts.iter().map(of_part).sum::<u64>()
    }
}
